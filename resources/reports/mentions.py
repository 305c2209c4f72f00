"""What a report's words are: lesions, places, sides, sizes, counts, image numbers and cues, in sentences."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Sequence

from resources.reports.sections import Block
from resources.reports.tables import Row
from resources.reports.tokens import Tokens
from resources.reports.vocabulary import Entry, Tongue, Vocabulary, places

LONGEST_SENTENCE = 120
"""Tokens after which a text without full stops is cut, so that reading stays linear."""

_NUMBER = r"\d{1,3}(?:[.,]\d{1,2})?"
_UNIT = r"(?:mm|cm|milli-?met(?:er|re)s?|centi-?met(?:er|re)s?)"
_BY = r" {0,3}(?:x|×|\*|by|bij|op|maal) {0,4}"
_SIZE = re.compile(
    rf"(?<![\w.,/])"
    rf"(?P<many>(?:{_NUMBER}(?: ?{_UNIT})?(?:, | en | and | ?/ ?)){{1,6}}(?={_NUMBER} ?-?{_UNIT}))?"
    rf"(?P<dims>{_NUMBER} ?-?(?:{_UNIT})?(?:{_BY}{_NUMBER} ?-?(?:{_UNIT})?){{0,2}}"
    rf"(?P<range>(?: ?[-–] ?| to | tot | à | a ){_NUMBER} ?-?{_UNIT})?)"
    rf"(?![\w²³^])(?!/\d)(?! ?(?:ml|mg|cc|hu)\b)",
    re.IGNORECASE,
)
_PART = re.compile(rf"({_NUMBER}) ?-?({_UNIT})?", re.IGNORECASE)
_IMAGE_WORD = r"(?:images?|ima?g?|ima's?|beeld(?:en)?|snede|slices?|coupe)"
_SERIES_WORD = r"(?:series?|ser?|serie)"
_IMAGES = r"(\d{1,4}(?:(?: ?[-,&/] ?|,? (?:en|and) | tot | to )\d{1,4}){0,8})"
_REFERENCE = re.compile(
    rf"(?=[sibc(\d])"  # how all of these begin
    rf"(?:\b{_SERIES_WORD}[.:]? ?#?(\d{{1,3}})[,;:/ ]{{0,3}}{_IMAGE_WORD}[.:]? ?#?{_IMAGES}"
    rf"|\b(?P<image>{_IMAGE_WORD}[.:]? ?#?{_IMAGES})[,;/ ]{{1,3}}{_SERIES_WORD}[.:]? ?#?(?P<last>\d{{1,3}})"
    rf"|\b{_SERIES_WORD}/{_IMAGE_WORD}[.:]? ?(\d{{1,3}}) ?[/:-] ?{_IMAGES}"
    rf"|\b{_IMAGE_WORD}[.:]? ?#?(\d{{1,3}}) ?[-/:] ?(\d{{1,4}})\b"
    rf"|\b{_IMAGE_WORD}[.:]? ?#?{_IMAGES}"
    rf"|\((\d{{1,3}}) ?[-:/] ?(\d{{1,4}})\)"
    rf"|(?<=[mM], )(\d{{1,3}})[-:/](\d{{1,4}})(?=\))"
    rf"|(?<=, )(\d{{1,3}}):(\d{{1,4}})(?=[,.;)]|$))",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"((?:c|th?|l|s)\d{1,2})-([^\W\d]{4,30})", re.IGNORECASE)
_CHANGE = re.compile(r"(?:from|van) (?:[^\d\n]{0,12})$", re.IGNORECASE)


@dataclasses.dataclass(slots=True)
class Mention:
    """A word of a report. start, end: clean text. first, last: its tokens, last excluded.

    category: lesions, places, assertion (cues), side, count, size, reference. mm, axis, prior: sizes only.
    """

    category: str
    name: str
    start: int
    end: int
    first: int = 0
    last: int = 0
    plural: bool = False
    number: int = 0
    mm: tuple[float, ...] = ()
    prior: bool = False
    ranged: bool = False
    series: int | None = None
    images: tuple[int, ...] = ()


@dataclasses.dataclass(slots=True)
class Sentence:
    """Mentions in order, with the block they stand in; first and last: tokens, last excluded."""

    start: int
    end: int
    first: int
    last: int
    block: Block
    mentions: list[Mention]
    heading: list[Mention]
    heading_sides: list[Mention]
    language: Tongue
    _by_category: dict[str, list[Mention]] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for mention in self.mentions:
            self._by_category.setdefault(mention.category, []).append(mention)

    def of(self, category: str, name: str | None = None) -> list[Mention]:
        """The mentions of a category, and of a name if one is given; not to be changed."""
        found = self._by_category.get(category, [])
        return found if name is None else [m for m in found if m.name == name]


def read_sentences(
    text: str, found_blocks: list[Block], words: Vocabulary, rows: Sequence[Row] = ()
) -> list[Sentence]:
    """The sentences of all blocks. text: clean, its line ends made blanks. rows: of its tables."""
    divided = words.tokenize(text)
    starts = divided.starts
    tokens = list(zip(divided.texts, starts, strict=True))
    found = _references(text) + sizes(text) + _bare_sizes(text, rows)
    found = _without_overlap(found)
    taken = [(m.start, m.end) for m in found]
    for mention in found:
        mention.first = bisect.bisect_right(starts, mention.start) - 1
        mention.last = bisect.bisect_left(starts, mention.end)
    found += [m for m in _words(divided, tokens, words) if not _inside(m, taken)]
    found = _without_old_cells(found, rows)
    found.sort(key=lambda m: (m.start, -m.end))
    ends = {end for end in divided.sentences if _full_stop(tokens, end, words)} | _after_brackets(tokens)
    return _in_sentences(starts, ends, found_blocks, found, words.language)


def _bare_sizes(text: str, rows: Sequence[Row]) -> list[Mention]:
    """The sizes of a table whose unit stands in its heading."""
    found = []
    for row in rows:
        if row.value:
            mm = tuple(_mm(number, row.unit) for number, _ in _PART.findall(text[slice(*row.value)]))
            found += [Mention("size", "", *row.value, mm=mm)] if all(0 < v <= 500 for v in mm) else []
    return found


def _without_old_cells(found: list[Mention], rows: Sequence[Row]) -> list[Mention]:
    """The mentions, less those in the cells of earlier sizes."""
    cells = [cell for row in rows for cell in row.old]
    starts = [low for low, _ in cells]

    def is_old(mention: Mention) -> bool:
        index = bisect.bisect_right(starts, mention.start) - 1
        return index >= 0 and mention.start < cells[index][1]

    return [m for m in found if not is_old(m)] if cells else found


def _words(divided: Tokens, tokens: list[tuple[str, int]], words: Vocabulary) -> list[Mention]:
    """Vocabulary found in the text; within a category and between lesions and places the longest wins."""
    matches = sorted(words.phrases.find(divided.lower), key=lambda m: (m[1] - m[2], m[1]))
    taken: dict[str, bytearray] = {
        name: bytearray(len(tokens)) for name in ("lesions", "places", "words", "assertion")
    }
    found: list[Mention] = []
    for key, first, last in matches:
        for entry in words.entries[key]:
            covered = any(taken[entry.category][first:last])
            if entry.category == "lesions" and all(taken["places"][first:last]) and last - first == 1:
                covered = True
            if not covered or (entry.category == "assertion" and _same(found, first, last)):
                taken[entry.category][first:last] = b"\1" * (last - first)
                found.append(_mention(tokens, entry, first, last))
    if words.compound is not None:
        for index, (word, start) in enumerate(tokens):
            if len(word) > 6:
                found += _compound(divided.lower[index], index, start, words, taken)
            elif word.endswith("-"):
                found += _elliptical(tokens, index, words)
    for index, (word, start) in enumerate(tokens):
        if "-" in word and (level := _LEVEL.fullmatch(word)):
            found += _of_level(level, index, start, words, taken)
    names = {m.first: m.last for m in found if m.category == "lesions" and m.last - m.first > 1}
    return [m for m in found if not _describes(m, names)]


def _describes(place: Mention, names: dict[int, int]) -> bool:
    """ "Soft tissue nodule": a wide place that opens a lesion's name says what it is, not where."""
    wide = place.category == "places" and places()[place.name].weak
    return wide and names.get(place.first, 0) > place.last


def _same(found: list[Mention], first: int, last: int) -> bool:
    """Whether one and the same words were just found as another cue: a word may be several cues."""
    return any(m.first == first and m.last == last and m.category == "assertion" for m in found[-6:])


def _mention(tokens: list[tuple[str, int]], entry: Entry, first: int, last: int) -> Mention:
    start, end = tokens[first][1], tokens[last - 1][1] + len(tokens[last - 1][0])
    if entry.category != "words":
        return Mention(entry.category, entry.name, start, end, first, last, entry.plural)
    if entry.name in ("left", "right", "both"):
        return Mention("side", entry.name, start, end, first, last)
    number = int(entry.name) if entry.name.isdigit() else 0
    return Mention(
        "count", entry.name, start, end, first, last, entry.name == "several" or number > 1, number
    )


def _compound(
    word: str, index: int, start: int, words: Vocabulary, taken: dict[str, bytearray]
) -> list[Mention]:
    """levermetastase: the lesion, and the place that its first part names, where not yet known."""
    parts = words.compound(word) if words.compound else None
    if parts is None:
        return _part_of(word, index, start, words, taken)
    stem, head = parts
    found = []
    if not taken["places"][index]:
        found.append(Mention("places", words.stems[stem], start, start + len(stem), index, index + 1))
    if not taken["lesions"][index]:
        entry = words.lesions[head]
        found.append(Mention("lesions", entry.name, start, start + len(word), index, index + 1, entry.plural))
    return found


def _part_of(
    word: str, index: int, start: int, words: Vocabulary, taken: dict[str, bytearray]
) -> list[Mention]:
    """humeruskop: the place that its first part names."""
    parts = words.part(word) if words.part and not taken["places"][index] else None
    if parts is None:
        return []
    return [Mention("places", words.stems[parts[0]], start, start + len(word), index, index + 1)]


def _of_level(
    level: re.Match[str], index: int, start: int, words: Vocabulary, taken: dict[str, bytearray]
) -> list[Mention]:
    """ "T8-vertebra", "L2-metastase": the vertebra, and the lesion if the second half names one."""
    if taken["places"][index] or taken["lesions"][index]:
        return []
    entry, end = words.lesions.get(level.group(2).lower()), start + level.end()
    place = Mention("places", "vertebra", start, start + level.end(1) if entry else end, index, index + 1)
    lesion = [Mention("lesions", entry.name, start, end, index, index + 1, entry.plural)] if entry else []
    return [place, *lesion]


def _elliptical(tokens: list[tuple[str, int]], index: int, words: Vocabulary) -> list[Mention]:
    """The first half of "long- of levermetastasen": a lesion of its own."""
    word, start = tokens[index]
    name = words.stems.get(word[:-1].lower())
    later = [token.lower() for token, _ in tokens[index + 2 : index + 4]]
    heads = [match for token in later if (match := words.tail.fullmatch(token))] if words.tail else []
    if (
        name is None
        or not heads
        or tokens[index + 1][0].lower() not in ("of", "en", "noch", "/", ",", "en/of")
    ):
        return []
    entry = words.lesions[heads[0].group(1)]
    end = start + len(word)
    return [
        Mention("places", name, start, end - 1, index, index + 1),
        Mention("lesions", entry.name, start, end, index, index + 1, entry.plural),
    ]


def _inside(mention: Mention, taken: list[tuple[int, int]]) -> bool:
    index = bisect.bisect_right(taken, (mention.start, 1 << 62)) - 1
    return index >= 0 and mention.start < taken[index][1] and mention.category != "assertion"


def _without_overlap(found: list[Mention]) -> list[Mention]:
    found.sort(key=lambda m: (m.start, -m.end))
    kept: list[Mention] = []
    for mention in found:
        if not kept or mention.start >= kept[-1].end:
            kept.append(mention)
    return kept


def _mm(number: str, unit: str) -> float:
    value = float(number.replace(",", "."))
    return round(value * (10 if unit.lower().startswith("c") else 1), 2)


def sizes(text: str) -> list[Mention]:
    """Diameters in mm. "5, 6 and 12 mm" are three; of a range ("4-6 mm") the upper end."""
    found: list[Mention] = []
    for match in _SIZE.finditer(text):
        dims = _PART.findall(match["dims"])
        units = [unit for _, unit in dims if unit]
        if not units and len(dims) < 2:
            continue
        fallback = (
            "cm" if all(float(n.replace(",", ".")) < 20 for n, _ in dims) and "." in match["dims"] else "mm"
        )
        values: list[float] = []
        for position, (number, unit) in enumerate(dims):
            later = next((u for _, u in dims[position:] if u), units[-1] if units else fallback)
            values.append(_mm(number, unit or later))
        if not all(0 < value <= 500 for value in values) or (not units and min(values) < 4):
            continue
        if not units and " op " in match["dims"]:
            continue
        if match["many"] and len(dims) == 1 and not _numbered(text, match.start()):
            for part in _PART.finditer(match["many"]):
                value = _mm(part.group(1), part.group(2) or units[-1])
                at = match.start("many") + part.start()
                if 0 < value <= 500:
                    found.append(Mention("size", "", at, at + len(part.group(1)), mm=(value,)))
        ranged = bool(match["range"])
        start = match.start("dims")
        changed = (
            ranged
            and not re.match(r" ?[-–]", match["range"])
            and _CHANGE.search(text[max(0, start - 20) : start])
        )
        taken = (values[-1],) if ranged else tuple(values)
        found.append(Mention("size", "", start, match.end("dims"), mm=taken, ranged=ranged and not changed))
    return found


def _numbered(text: str, start: int) -> bool:
    """Whether the number that starts here is a segment's, a level's or an image's."""
    return (
        re.search(
            r"(?:segm\w*|level|station|im\w*|se\w*|stage|phase|fase|grade|graad)[. ]*$",
            text[max(0, start - 14) : start],
            re.I,
        )
        is not None
    )


def _numbers(text: str) -> tuple[int, ...]:
    """57 or 57-60 or 57, 58: the image numbers, a range by its ends."""
    return tuple(dict.fromkeys(int(number) for number in re.findall(r"\d+", text)))[:8]


def _references(text: str) -> list[Mention]:
    found: list[Mention] = []
    for match in _REFERENCE.finditer(text):
        s1, i1, _, i0, s0, s2, i2, s3, i3, i4, s5, i5, s6, i6, s7, i7 = match.groups()
        series, images = s1 or s0 or s2 or s3 or s5 or s6 or s7, i1 or i0 or i2 or i3 or i4 or i5 or i6 or i7
        if s5 and not _after_size(text, match.start()) and (int(i5) <= 12 or i5.startswith("0")):
            continue
        number = int(series) if series else None
        found.append(
            Mention("reference", "", match.start(), match.end(), series=number, images=_numbers(images))
        )
    return found


def _after_size(text: str, start: int) -> bool:
    return re.search(rf"{_UNIT}[ ,;]*$", text[max(0, start - 20) : start], re.IGNORECASE) is not None


def _in_sentences(
    starts: list[int], ends: set[int], found_blocks: list[Block], found: list[Mention], language: Tongue
) -> list[Sentence]:
    sentences: list[Sentence] = []
    at = 0
    offsets = [m.start for m in found]
    for block in found_blocks:
        low_head, high_head = (bisect.bisect_left(offsets, edge) for edge in block.heading)
        above = [m for m in found[low_head:high_head] if m.category == "places"]
        sides = [m for m in found[low_head:high_head] if m.category == "side"]
        first = bisect.bisect_left(starts, block.start)
        last = bisect.bisect_left(starts, block.end)
        begin = first
        for index in range(first + 1, last + 1):
            long = index - begin >= LONGEST_SENTENCE
            if index < last and not long and index not in ends:
                continue
            low = starts[begin]
            high = starts[index] if index < last else block.end
            while at < len(found) and found[at].start < low:
                at += 1
            stop = at
            while stop < len(found) and found[stop].start < high:
                stop += 1
            sentences.append(Sentence(low, high, begin, index, block, found[at:stop], above, sides, language))
            at, begin = stop, index
    return sentences


def _full_stop(tokens: list[tuple[str, int]], index: int, words: Vocabulary) -> bool:
    """Whether the sentence that ends before token `index` is none that an abbreviation cut short."""
    if tokens[index - 1][0] == "?" and index < len(tokens) and tokens[index][1] == tokens[index - 1][1] + 1:
        return False  # "?metastasis"
    if index < 2 or tokens[index - 1][0] != ".":
        return True
    return tokens[index - 2][0].lower().rstrip(".") not in words.abbreviations


def _after_brackets(tokens: list[tuple[str, int]]) -> set[int]:
    """Where a sentence starts without a full stop before it: "... (32 mm) Normal liver"."""
    return {
        index
        for index in range(2, len(tokens))
        if tokens[index - 1][0] == ")"
        and tokens[index][0][0].isupper()
        and (tokens[index - 2][0][-1].isdigit() or tokens[index - 2][0].lower() in ("mm", "cm"))
    }
