"""The words the reader knows. All of them are data: tables/ is common, terms/en and terms/nl hold the words.

A line of a terms file is `name: word, word` or, for lesions, `name: word, word / word for several`.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import spacy
from spacy.language import Language

from resources.cases.organs import organs
from resources.reports.tokens import REMEMBERED, Phrases, Tokenizer

FOLDER = Path(__file__).parent

Tongue = Literal["en", "nl"]


class VocabularyError(ValueError):
    """A line of a vocabulary file that cannot be read; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A row of places.tsv: what a finding there is called, where it lies, and its organ's lesion type."""

    name: str
    organ: str
    side: str
    parents: tuple[str, ...]
    type: str | None
    node: str
    nodal: bool
    weak: bool
    paired: bool


@dataclasses.dataclass(frozen=True)
class LesionWord:
    """A row of lesions.tsv."""

    name: str
    kind: Literal["lesion", "node", "measured", "abnormality", "other"]
    character: str
    place: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a word stands for: its category, the name there, and whether it speaks of several."""

    category: str
    name: str
    plural: bool = False


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """One language's tokenizer and words. entries: by the phrase in lower case, as `phrases` finds it.

    compound, part: see `_compounds`, of lesions and of parts of
    organs ("humeruskop"); None where the language has none. opening: see `_openings`.
    """

    language: Tongue
    tokenize: Tokenizer
    phrases: Phrases
    entries: dict[str, list[Entry]]
    compound: Callable[[str], tuple[str, str] | None] | None
    part: Callable[[str], tuple[str, str] | None] | None
    tail: re.Pattern[str] | None
    stems: dict[str, str]
    lesions: dict[str, Entry]
    headings: dict[str, str]
    heading: re.Pattern[str]
    place_heading: re.Pattern[str]
    opening: Callable[[str], bool]
    place: re.Pattern[str]
    history: re.Pattern[str]
    states: re.Pattern[str]
    columns: dict[str, re.Pattern[str]]
    common: frozenset[str]
    abbreviations: frozenset[str]


def _openings(words: Iterable[str]) -> Callable[[str], bool]:
    """Whether a heading can begin with a word: quicker to ask first than to try all headings.

    True for all that the pattern of headings may read in a way of its own: other alphabets, "ct-thorax".
    """
    first = {match.group().lower() for word in words if (match := re.match(r"\w+", word))}
    odd = any(not re.match(r"\w", word) for word in words)

    def opening(word: str) -> bool:
        return odd or not word.isascii() or word.lower() in first

    return opening


def _compounds(stems: list[str], heads: list[str]) -> Callable[[str], tuple[str, str] | None]:
    """Finds the first part and the lesion word of a compound in lower case ("levermetastase"), or None."""
    pattern = re.compile(f"({_alternatives(stems)})s?-?({_alternatives(heads)})")

    @functools.lru_cache(REMEMBERED)
    def compound(word: str) -> tuple[str, str] | None:
        match = pattern.fullmatch(word)
        return (match.group(1), match.group(2)) if match else None

    return compound


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        yield from csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")


@functools.cache
def places() -> dict[str, Place]:
    """places.tsv by name."""
    return {
        row["name"]: Place(
            row["name"],
            row["organ"] or row["name"],
            row["side"],
            tuple(filter(None, row["parent"].split("+"))),
            row["type"] or organs()[row["organ"] or row["name"]].type,
            row["node"],
            row["nodal"] == "yes",
            row["weak"] == "yes",
            organs()[row["organ"] or row["name"]].paired,
        )
        for row in _rows(FOLDER / "tables" / "places.tsv")
    }


@functools.cache
def lesion_words() -> dict[str, LesionWord]:
    """lesions.tsv by name."""
    return {
        row["name"]: LesionWord(row["name"], row["kind"], row["character"], row["place"])  # type: ignore[arg-type]
        for row in _rows(FOLDER / "tables" / "lesions.tsv")
    }


@functools.cache
def ancestors(name: str) -> tuple[str, ...]:
    """A place and all wider ones, narrowest first."""
    found = [name]
    for wide in found:
        found += [parent for parent in places()[wide].parents if parent not in found]
    return tuple(found)


def station(name: str) -> str:
    """The lymph nodes of a place or of the nearest wider one that has some; empty if none has."""
    return next((places()[wide].node for wide in ancestors(name) if places()[wide].node), "")


def read_terms(path: Path) -> list[tuple[str, str, bool]]:
    """(name, word, plural) of every word in a terms file. Raises VocabularyError."""
    found: list[tuple[str, str, bool]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, words = line.partition(":")
        if not colon or not words.strip():
            raise VocabularyError(f"{path}, line {number}: expected `name: word, word`, found {line[:60]!r}")
        one, slash, many = (
            words.partition(" / ") if not words.lstrip().startswith("/") else ("", "/", words.strip()[1:])
        )
        for group, plural in ((one, False), (many, True)):
            found += [(name.strip(), word.strip(), plural) for word in group.split(",") if word.strip()]
    return found


def _alternatives(words: Iterator[str] | list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _checked(path: Path, known: dict[str, Place] | dict[str, LesionWord]) -> list[tuple[str, str, bool]]:
    terms = read_terms(path)
    unknown = sorted({name for name, _, _ in terms} - set(known))
    if unknown:
        raise VocabularyError(f"{path}: expected names of the table, found {unknown}")
    return terms


@functools.cache
def vocabulary(language: Tongue) -> Vocabulary:
    """The words of one language, read once. Raises VocabularyError."""
    folder = FOLDER / "terms" / language
    terms = {
        "lesions": _checked(folder / "lesions.txt", lesion_words()),
        "places": _checked(folder / "places.txt", places()),
        "words": read_terms(folder / "words.txt"),
        "assertion": read_terms(folder / "assertion.txt"),
    }
    nlp = spacy.blank(language)
    common = frozenset(word for name, word, _ in terms["words"] if name == "common")
    parts = [word for name, word, _ in terms["words"] if name == "part"]
    columns = {
        kind: _whole([word for name, word, _ in terms["words"] if name == f"column {kind}"])
        for kind in ("old", "new", "title")
    }
    abbreviations = frozenset(word for name, word, _ in terms["words"] if name == "abbreviations")
    terms["words"] = [
        row
        for row in terms["words"]
        if row[0] not in ("common", "abbreviations", "part") and "column" not in row[0]
    ]
    entries: dict[str, list[Entry]] = {}
    for category, rows in terms.items():
        for name, word, plural in rows:
            entries.setdefault(word.lower(), []).append(Entry(category, name, plural))
    phrases = Phrases()
    for word in entries:
        phrases.add(word, _spellings(nlp, word))

    stems = {word: name for name, word, _ in _checked(folder / "compounds.txt", places())}
    heads = {
        word: Entry("lesions", name, plural) for name, word, plural in terms["lesions"] if " " not in word
    }
    compound = _compounds(list(stems), list(heads)) if stems else None
    part = _compounds(list(stems), parts) if stems and parts else None
    tail = re.compile(f".*?({_alternatives(list(heads))})") if stems else None
    headings = {word: name for name, word, _ in read_terms(folder / "headings.txt")}
    side = "|".join(word for name, word, _ in terms["words"] if name in ("left", "right", "both"))
    places_ = [word for _, word, _ in terms["places"]]
    cues = {
        name: [word for cue, word, _ in terms["assertion"] if cue == name]
        for name, _, _ in terms["assertion"]
    }
    opening = _openings(
        [*places_, *side.split("|"), "ct", "lymph", "nodes", "klieren", "lymfklieren", "lymfeklieren"]
    )
    one = f"(?:(?:{side}) )?(?:{_alternatives(places_)})"
    return Vocabulary(
        language, Tokenizer(nlp), phrases, entries, compound, part, tail, stems, heads, headings,
        _heading(_alternatives(list(headings))), _place_heading(one), opening, _whole(places_, list(stems)),
        _whole(cues["prior"]), _whole(cues["normal"] + cues["not before"]), columns, common, abbreviations,
    )  # fmt: skip


def _whole(words: list[str], starts: list[str] | None = None) -> re.Pattern[str]:
    """Any of the words, or of the first parts of words."""
    open_end = rf"|\b(?:{_alternatives(starts)})" if starts else ""
    return re.compile(rf"\b(?:{_alternatives(words)})\b{open_end}", re.IGNORECASE)


def _heading(terms: str) -> re.Pattern[str]:
    """A section's heading at the start of a line, perhaps after one more word ("Clinical question:")."""
    return re.compile(
        rf"(?:[^\W\d_]{{3,20}} (?=[^:\n]{{1,40}}:))??({terms})(?: ?(:)| [-–] (?=\S)| ?\.?$)", re.IGNORECASE
    )


def _place_heading(one: str) -> re.Pattern[str]:
    """An organ heading: "Thorax.", "Lever:", "Skeleton and soft tissues"."""
    node = r"(?:(?:lymph )?nodes|(?:lymfe?)?klieren)"
    joint = r"(?:,? en |,? and |, ?| ?/ ?| ?& ?| ?\+ ?| |-)"
    return re.compile(
        rf"(?:ct[ -]?(?:van )?(?:de |het |the )?|{node}(?: (?:of|in|van)(?: (?:the|het|de))?)? )?"
        rf"({one}(?:{joint}{one})*)(?: {node})? ?(?::|\.?$)",
        re.IGNORECASE,
    )


def _spellings(nlp: Language, word: str) -> list[list[str]]:
    """A word's tokens, and those with a space or nothing for its hyphens."""
    forms = {word, word.replace("-", " ")} | ({word.replace(" ", "-")} if word.count(" ") == 1 else set())
    return [[token.lower_ for token in nlp.make_doc(form)] for form in sorted(forms)]
