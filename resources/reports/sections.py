"""The blocks of a report: which section and organ heading each stretch of text stands under."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
from collections.abc import Mapping
from types import MappingProxyType

from resources.reports.tables import Row
from resources.reports.vocabulary import Vocabulary

SKIPPED = ("indication", "technique", "comparison", "end")
"""Sections whose words are no findings of this scan."""
OWN_SENTENCE = ("technique", "comparison")
"""Headings that speak for their own sentence only, where no findings heading follows."""

_INLINE_HEADING = re.compile(r"(?<= )[A-Z](?=[\w ./-]{2,40}:)")
_AFTER_SENTENCE = re.compile(r"(?<=[.;?!)]) (?=[A-Z])")
_SENTENCE_END = re.compile(r"[.;?!]\s+(?=[^\W_a-z])")
_BLANK = re.compile(r"\n[ \t]*\n")
_BULLET = re.compile(r"(?:[-*•·–>]|\d{1,2}[.)])\s+\S|[-•*]\w")
_LABELLED = re.compile(r"[^\W\d_][^:.;,\n]{2,40}:\s+\S")
_SIZE = re.compile(r"\d ?(?:mm|cm)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_CT = re.compile(r"ct", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b|\?")
MARKUP = " -=#*_•\t"


@dataclasses.dataclass(slots=True)
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


@dataclasses.dataclass(frozen=True)
class _Mark:
    """Where a heading, or the end of a background section, cuts the text. body: where its text starts."""

    start: int
    body: int
    section: str = ""
    heading: tuple[int, int] = (0, 0)


def blocks(text: str, words: Vocabulary, rows: Mapping[int, Row] = MappingProxyType({})) -> list[Block]:
    """The blocks of a clean text, in order. rows: of tables, by their start; each is a block of targets."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n]+", text)]
    width = max((end - start for start, end in lines if end - start <= 160), default=0)
    marks = _marks(text, lines, words, width)
    offsets = sorted(marks)
    found: list[Block] = []
    section, heading, paragraph, inline = "findings", (0, 0), 0, False
    before, previous, after_row = "", -1, False
    for start, end in lines:
        line = text[start:end]
        broken = after_row or start in rows or breaks(before, line, width)
        if inline and broken:
            heading, inline = (0, 0), False
        blank = _blank_before(text, previous, start)
        if blank:
            paragraph, heading = paragraph + 1, (0, 0)
        cuts = offsets[bisect.bisect_right(offsets, start) : bisect.bisect_left(offsets, end)]
        for at, stop in itertools.pairwise([start, *cuts, end]):
            mark = marks.get(at)
            if mark and (mark.section or section in SKIPPED):
                section, heading, paragraph = mark.section or "findings", (0, 0), paragraph + 1
            if mark and mark.heading != (0, 0):
                heading, inline = mark.heading, mark.heading[1] + 2 < stop
                paragraph += not inline
            if mark or blank or broken or not found:
                found.append(Block(mark.body if mark else at, stop, section, heading, paragraph))
            else:
                found[-1].end = stop
            blank = broken = False
        if start in rows:
            kind = "technique" if rows[start].title else "targets"
            found[-1] = Block(start, end, kind, (0, 0), paragraph)
        previous, before = end, line
        after_row = start in rows
    return found


def _blank_before(text: str, previous: int, start: int) -> bool:
    return previous < 0 or not text[previous:start].strip() and text.count("\n", previous, start) > 1


def _marks(text: str, lines: list[tuple[int, int]], words: Vocabulary, width: int) -> dict[int, _Mark]:
    """All headings by offset, and where the background sections end."""
    sections: list[_Mark] = []
    organs: list[_Mark] = []
    before, previous = "", -1
    for start, end in lines:
        line = text[start:end]
        titles = [_Mark(start + at, start + body, name) for at, body, name in _section_headings(line, words)]
        fresh = _blank_before(text, previous, start) or breaks(before, line, width)
        taken = {mark.start for mark in titles}
        organs += [m for m in _organ_headings(line, start, fresh, words) if m.start not in taken]
        sections += titles
        before, previous = line, end
    if sections and _is_referral(text, sections):
        sections[0] = dataclasses.replace(sections[0], section="indication")
    result = {mark.start: mark for mark in [*organs, *sections]}
    stops = [*sorted(result), len(text)]
    follow = ""
    for mark in reversed(sections):
        if mark.section not in SKIPPED:
            follow = mark.section
            continue
        limit = stops[bisect.bisect_right(stops, mark.start)]
        end = limit
        if follow != "findings" or mark.section == "end":
            end = _background_end(text, mark, limit, words, width)
        while text[end : end + 1] == "\n":
            end += 1
        if end not in result:
            result[end] = _Mark(end, end, "findings")
    return result


def _is_referral(text: str, sections: list[_Mark]) -> bool:
    """Whether the first heading is a diagnosis that stands above the findings: why the scan was made."""
    title = text[sections[0].start : sections[0].body].strip(MARKUP).lower()
    return title.startswith(("diagnosis", "diagnose")) and any(m.section == "findings" for m in sections[1:])


def _section_headings(line: str, words: Vocabulary) -> list[tuple[int, int, str]]:
    """(start, start of what follows, section) of the section headings of a line."""
    bare = line.lstrip(MARKUP)
    found, at = [], 0
    match = words.heading.match(bare.rstrip(MARKUP))
    if match:
        at = len(line) - len(bare) + match.end()
        found.append((0, at, words.headings[match.group(1).lower()]))
    for start in _INLINE_HEADING.finditer(line) if ":" in line else ():
        match = words.heading.match(line, start.start()) if start.start() >= at else None
        if match and match.group(2):
            at = match.end()
            found.append((start.start(), at, words.headings[match.group(1).lower()]))
    return found


def _organ_headings(line: str, start: int, fresh: bool, words: Vocabulary) -> list[_Mark]:
    """ "Liver: ...", a line "Liver" that does not go on with the one before, ". Liver: ..." within a line."""
    found = []
    bare = len(line) - len(line.lstrip(MARKUP))
    places = [bare, *(m.end() for m in _AFTER_SENTENCE.finditer(line) if m.end() > bare)]
    for at in places if ":" in line else places[:1]:
        first = _WORD.match(line, at)
        if first and not words.opening(first.group()) and not _CT.match(line, at):
            continue
        match = words.place_heading.match(line, at)
        if match is None or (match.end() < len(line) and line[match.end() - 1] != ":"):
            continue
        titled = line[match.end() - 1] == ":" and line[at].isupper()
        if titled or (at == bare and fresh):
            mark = _Mark(start + (0 if at == bare else at), start + (0 if at == bare else at))
            found.append(dataclasses.replace(mark, heading=(start + match.start(1), start + match.end(1))))
    return found


def _background_end(text: str, mark: _Mark, limit: int, words: Vocabulary, width: int) -> int:
    """Where a background heading's text ends: after its line or sentence, or where findings begin."""
    blank = _BLANK.search(text, mark.body, limit)
    while blank and not text[mark.body : blank.start()].strip():
        blank = _BLANK.search(text, blank.end() - 1, limit)
    limit = blank.start() if blank else limit
    stop = text.find("\n", mark.body)
    alone = stop < 0 or stop >= limit or not text[mark.body : stop].strip()
    while not alone and stop < limit:
        following = text[stop + 1 : limit].split("\n", 1)[0]
        line = text[text.rfind("\n", 0, stop) + 1 : stop]
        if not _wrapped(line, following, width):
            limit = stop
            break
        stop = text.find("\n", stop + 1)
        stop = limit if stop < 0 else stop
    return _own_end(text, mark, limit, words)


def _own_end(text: str, mark: _Mark, limit: int, words: Vocabulary) -> int:
    at = mark.body
    while mark.section != "end":
        match = _SENTENCE_END.search(text, at, limit)
        if match is None:
            return limit
        at = match.end()
        word = re.search(r"[\w.]*$", text[max(0, match.start() - 12) : match.start()])
        if word and word.group().lower().rstrip(".") in words.abbreviations:
            continue
        if mark.section in OWN_SENTENCE or _begins_findings(text[at:limit], words):
            return at
    return limit


def _begins_findings(rest: str, words: Vocabulary) -> bool:
    """Whether a sentence of an indication tells what this scan shows: a size or a state of a place."""
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start() + 1] if end else rest
    if _YEAR.search(sentence) or words.history.search(sentence) or not words.place.search(sentence):
        return False
    return bool(_SIZE.search(sentence) or words.states.search(sentence))


def _wrapped(before: str, line: str, width: int) -> bool:
    """Whether a line goes on where the one before had no more room, or stopped within a sentence."""
    if _BULLET.match(line):
        return False
    first = line.split(" ", 1)[0]
    full = len(before) >= 50 and len(before) + 1 + len(first) > width
    return full or (line[:1].islower() and before.rstrip()[-1:] not in (".", ";", "?", "!"))


def breaks(before: str, line: str, width: int) -> bool:
    """Whether a line does not go on with the sentence of the line before."""
    line = line.lstrip()
    wrapped = len(before) >= 0.6 * width and line[:1].islower()
    if before.rstrip()[-1:] in (";", ".", "?", "!") or _BULLET.match(line):
        return True
    if before.rstrip().endswith(":"):
        return not wrapped
    if _LABELLED.match(line) and _LABELLED.match(before.lstrip(MARKUP)):
        return True
    return len(before) < 0.6 * width and not line[:1].islower()
