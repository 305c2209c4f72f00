"""Report text as it comes (HTML, wrapped lines, any line ends) to plain blocks, keeping every offset."""

from __future__ import annotations

import bisect
import dataclasses
import html
import re

from resources.reports.vocabulary import Vocabulary

LONGEST_WORD = 200
SKIPPED = ("indication", "technique", "comparison", "end")
"""Sections whose words are no findings of this scan."""

_TAG = re.compile(
    r"</?(?:p|br|div|html|body|table|tr|td|th|span|b|i|u|h[1-6]|li|ul|ol|pre|font|a)\b[^<>]{0,300}>", re.I
)
_PLAIN = re.compile(rf"\r\n?|[^\S\n\r]+|\S{{{LONGEST_WORD},}}")
_HTML = re.compile(rf"(?P<tag><[!/?a-zA-Z][^<>]{{0,300}}>)|(?P<entity>&#?\w{{1,8}};)|{_PLAIN.pattern}")
_INLINE_TAG = re.compile(r"</?(?:span|b|i|u|font|a|strong|em|sub|sup)\b", re.I)
_INLINE_HEADING = re.compile(r"(?<= )[A-Z](?=[\w ./-]{2,40}:)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FENCE = re.compile(r"^```.*$", re.MULTILINE)
_BULLET = re.compile(r"(?:[-*•·–>]|\d{1,2}[.)])\s+\S|[-•*]\w")


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
    """Markup, repeated blanks and runs without a blank that no person writes become one blank each."""
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
        return "" if _INLINE_TAG.match(word) else "\n"
    if word[0] == "&" and word[-1] == ";":
        found = html.unescape(word)
        return " " if found.isspace() else found
    return " "


@dataclasses.dataclass(frozen=True)
class Block:
    """A stretch of clean text under one heading: a paragraph, or an item of a list.

    section: findings, impression, addendum, targets, nontargets, indication, technique, comparison, end.
    heading: (start, end) of the organ heading it stands under, (0, 0) if none. paragraph: counts what belongs
    together.
    """

    start: int
    end: int
    section: str
    heading: tuple[int, int]
    paragraph: int


def blocks(text: str, words: Vocabulary) -> list[Block]:
    """The blocks of a clean text, in order."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n]+", text)]
    width = max((end - start for start, end in lines if end - start <= 160), default=0)
    last_findings = max((s for s, e in lines if _opens(text[s:e], words)[0] == "findings"), default=-1)
    found: list[Block] = []
    section, heading, paragraph, previous, before = "findings", (0, 0), 0, -1, ""
    inline = False
    for start, end in lines:
        line = text[start:end]
        if inline and _breaks(before, line, width):
            heading, inline = (0, 0), False
        blank = previous < 0 or text.count("\n", previous, start) > 1 or not line.strip()
        if blank:
            paragraph += 1
            heading = (0, 0)
            if section in SKIPPED and start > last_findings and found and found[-1].section == section:
                section = "findings"
        for at, stop, name, body in _pieces(line, words):
            title = words.place_heading.match(line, at, stop)
            starts = blank or at or _breaks(before, line, width)
            if title and not starts and (line[title.end() - 1] != ":" or line[:1].islower()):
                title = None
            if name:
                section, heading, paragraph = name, (0, 0), paragraph + 1
            elif title:
                heading = (start + title.start(1), start + title.end(1))
                paragraph += title.end() == stop
                inline = title.end() < stop
            new = starts or name or title
            if new or not found:
                found.append(Block(start + body, start + stop, section, heading, paragraph))
            else:
                found[-1] = dataclasses.replace(found[-1], end=start + stop)
            blank = False
        previous, before = end, line
    return found


def _opens(line: str, words: Vocabulary) -> tuple[str, int]:
    """The section that a line's first words open, or "", and where what follows them starts."""
    bare = line.lstrip(" -=#*_•\t")
    match = words.heading.match(bare.rstrip(" -=#*_\t"))
    if match is None:
        return "", 0
    return words.headings[match.group(1).lower()], len(line) - len(bare) + match.end()


def _pieces(line: str, words: Vocabulary) -> list[tuple[int, int, str, int]]:
    """Where headings cut a line: (start, end, section that a heading there opens or "", its end)."""
    name, body = _opens(line, words)
    cuts = [(0, name, body)]
    at = 0
    for match in _INLINE_HEADING.finditer(line) if ":" in line else ():
        found = words.heading.match(line, match.start()) if match.start() >= at else None
        if found and found.group(2):
            at = found.end()
            cuts += [(match.start(), words.headings[found.group(1).lower()], at)] if match.start() else []
    ends = [cut[0] for cut in cuts[1:]] + [len(line)]
    return [(at, end, name, body) for (at, name, body), end in zip(cuts, ends, strict=True)]


def _breaks(before: str, line: str, width: int) -> bool:
    """Whether a line does not go on with the sentence of the line before."""
    wrapped = len(before) >= 0.6 * width and line[:1].islower()
    if before.rstrip()[-1:] in (";", ".", "?", "!") or _BULLET.match(line):
        return True
    if before.rstrip().endswith(":"):
        return not wrapped
    return len(before) < 0.6 * width and not line[:1].islower()
