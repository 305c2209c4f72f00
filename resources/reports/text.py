"""Report text as it comes (HTML, Markdown, any line ends) to plain text, keeping every offset."""

from __future__ import annotations

import bisect
import dataclasses
import html
import re

LONGEST_WORD = 200

_TAG = re.compile(
    r"</?(?:p|br|div|html|body|table|tr|td|th|span|b|i|u|h[1-6]|li|ul|ol|pre|font|a)\b[^<>]{0,300}>", re.I
)
_PLAIN = re.compile(rf"\r\n?|[^\S\n\r]{{2,}}|[^\S\n\r ]|\S{{{LONGEST_WORD},}}")  # a single blank stays
_HTML = re.compile(rf"(?P<tag><[!/?a-zA-Z][^<>]{{0,300}}>)|(?P<entity>&#?\w{{1,8}};)|{_PLAIN.pattern}")
_CELL_TAG = re.compile(r"</?(?:td|th)\b", re.I)
_INLINE_TAG = re.compile(r"</?(?:span|b|i|u|font|a|strong|em|sub|sup)\b", re.I)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class CleanText:
    """Text without markup; `origin` leads an offset back to the report."""

    text: str
    starts: list[int]
    origins: list[int]

    def origin(self, offset: int) -> int:
        index = bisect.bisect_right(self.starts, offset) - 1
        return self.origins[index] + offset - self.starts[index] if index >= 0 else offset

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Offsets [start, end) of the report for those of the clean text."""
        return self.origin(start), self.origin(max(start, end - 1)) + (end > start)


def clean(text: str) -> CleanText:
    """Markup and runs without a blank that no person writes become one blank each; repeated blanks a tab."""
    text = _SURROGATE.sub(" ", text)
    pattern = _HTML if _TAG.search(text) else _PLAIN
    begin, finish = _fenced(text)
    pieces: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    length, at = 0, begin

    def add(piece: str, origin: int) -> None:
        nonlocal length
        if piece:
            pieces.append(piece)
            starts.append(length)
            origins.append(origin)
            length += len(piece)

    for match in pattern.finditer(text, begin, finish):
        add(text[at : match.start()], at)
        add(_replacement(match), match.start())
        at = match.end()
    add(text[at:finish], at)
    return CleanText("".join(pieces), starts, origins)


def _fenced(text: str) -> tuple[int, int]:
    """In a Markdown file the first block between fences is the report; else all is."""
    fences = list(_FENCE.finditer(text)) if "```" in text else []
    return (fences[0].end(), fences[1].start()) if len(fences) > 1 else (0, len(text))


def _replacement(match: re.Match[str]) -> str:
    word = match.group()
    if word[0] in "\r\n":
        return "\n"
    if word[0] == "<" and word[-1] == ">" and len(word) > 2:
        if _CELL_TAG.match(word):
            return "\t"
        return "" if _INLINE_TAG.match(word) else "\n"
    if word[0] == "&" and word[-1] == ";":
        found = html.unescape(word)
        return " " if found.isspace() else found
    return "\t" if word.isspace() and (len(word) > 1 or word == "\t") else " "
