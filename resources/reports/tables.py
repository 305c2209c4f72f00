"""Tables of measured lesions: which cell is the current size, which are earlier ones, and in which unit."""

from __future__ import annotations

import dataclasses
import re

from resources.reports.vocabulary import Vocabulary

_UNIT = re.compile(r"\b(?:in )?(mm|cm)\b|\((mm|cm)\)", re.IGNORECASE)
_RULE = re.compile(r"[\s|:+=-]+")
_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_VALUE = re.compile(rf"({_NUMBER}(?: ?[x×*] ?{_NUMBER}){{0,2}}) ?(mm|cm)?\.?", re.IGNORECASE)
_LAST = re.compile(rf"[^\W\d_][^\n|\t]*?[ :\t]({_NUMBER}(?: ?[x×*] ?{_NUMBER}){{0,2}})\s*", re.IGNORECASE)
_SIZED = re.compile(r"\b(?:size|diameter|afmeting|grootte|mm|cm)\b", re.IGNORECASE)
_DATE = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{2,4})|(\d{4})-(\d{2})-(\d{2})")
_SUM = re.compile(r"(?:sum|som|total|totaal|spd|sld)\b", re.IGNORECASE)
LONGEST = 60
"""Rows of a table; further lines are text."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table, by offsets in the clean text.

    value: its current size, if without a unit. unit: of that size. old: the cells of earlier sizes, whose
    words say nothing of this scan. title: the line names columns or a unit.
    """

    start: int
    end: int
    value: tuple[int, int] | None
    unit: str
    old: tuple[tuple[int, int], ...] = ()
    title: bool = False


def find_rows(text: str, words: Vocabulary) -> list[Row]:
    """The rows of all tables of a clean text with its tabs, in order."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n]+", text)]
    rows: list[Row] = []
    index = 0
    while index < len(lines):
        line = text[slice(*lines[index])]
        header = _header(line, words)
        unit = _title_unit(line, words) if header is None else ""
        if header is None and not unit:
            index += 1
            continue
        table = [Row(*lines[index], None, unit, title=True)]
        index += 1
        for start, end in lines[index : index + LONGEST]:
            row = _row(text, start, end, header) if header else _bare(text, start, end, unit)
            if row is None and _RULE.fullmatch(text[start:end]) is None:
                break
            table += [row] if row else []
            index += 1
        rows += table if len(table) > 1 else []
    return rows


@dataclasses.dataclass(frozen=True)
class _Header:
    old: frozenset[int]
    new: int
    unit: str
    count: int


def _cells(line: str, start: int) -> list[tuple[int, int]]:
    """Offsets of the cells of a line, between pipes if it has any, else between tabs."""
    mark = "|" if line.count("|") else "\t"
    cells, at = [], start
    for part in line.split(mark):
        inner = len(part) - len(part.lstrip())
        cells.append((at + inner, at + max(inner, len(part.rstrip()))))
        at += len(part) + 1
    if mark == "|":
        cells = cells[1:] if cells[0][0] == cells[0][1] else cells
        cells = cells[:-1] if len(cells) > 1 and cells[-1][0] == cells[-1][1] else cells
    return cells


def _header(line: str, words: Vocabulary) -> _Header | None:
    """What the columns are, if the line names one of earlier and one of current sizes."""
    if "|" not in line and "\t" not in line:
        return None
    names = [line[a:b] for a, b in _cells(line, 0)]
    dates = {i: _date(name) for i, name in enumerate(names)}
    known = {i: date for i, date in dates.items() if date}
    old = {i for i, name in enumerate(names) if i and words.columns["old"].match(name)}
    new = [i for i, name in enumerate(names) if i and i not in old and words.columns["new"].match(name)]
    if len(known) > 1:
        latest = max(known, key=lambda i: known[i])
        old, new = set(known) - {latest}, [latest]
    if not new and old and len(names) == 3 and len(names) - 1 not in old:
        new = [len(names) - 1]
    if not new and old:
        new = [i for i, name in enumerate(names) if i not in old and (i and _SIZED.search(name))]
    if len(new) != 1 or not old or any(re.search(r"\d (?:mm|cm)", name) for name in names):
        return None
    unit = _UNIT.search(names[new[0]]) or _UNIT.search(line)
    return _Header(
        frozenset(old), new[0], (unit.group(1) or unit.group(2)).lower() if unit else "mm", len(names)
    )


def _date(name: str) -> tuple[int, int, int] | None:
    match = _DATE.search(name)
    if match is None:
        return None
    day, month, year, *iso = match.groups()
    numbers = (int(year) % 100, int(month), int(day)) if day else tuple(int(n) for n in iso)
    return numbers[0] % 100, numbers[1], numbers[2]


def _row(text: str, start: int, end: int, header: _Header) -> Row | None:
    cells = _cells(text[start:end], start)
    if len(cells) < header.count or not text[slice(*cells[0])].strip():
        return None
    named = [cell for i, cell in enumerate(cells) if i not in header.old and i != header.new]
    if not any(re.search(r"[^\W\d_]", text[slice(*cell)]) for cell in named):
        return None
    if _RULE.fullmatch(text[start:end]):
        return None
    if _SUM.match(text, *cells[0]):
        return Row(start, end, None, header.unit, title=True)
    low, high = cells[header.new]
    value = _VALUE.fullmatch(text[low:high])
    bare = (low, low + value.end(1)) if value and not value.group(2) else None
    return Row(start, end, bare, header.unit, tuple(cells[i] for i in sorted(header.old)))


def _title_unit(line: str, words: Vocabulary) -> str:
    """The unit that a heading gives the bare numbers below it: "Target lesions (mm)"."""
    unit = _UNIT.search(line) if len(line) <= 60 else None
    if unit is None or re.search(r"\d", line.replace("1.1", "")) or not words.columns["title"].search(line):
        return ""
    return (unit.group(1) or unit.group(2)).lower()


def _bare(text: str, start: int, end: int, unit: str) -> Row | None:
    match = _LAST.fullmatch(text, start, end)
    return Row(start, end, match.span(1), unit) if match else None
