"""How a report says things: places, sizes, counts, dates, with the phrases of one language.

Each function returns the text and what a reader can know from it, which may be less than the truth.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

Language = Literal["en", "nl"]
Side = Literal["left", "right", "both"]

FOLDER = Path(__file__).parent / "phrases"
PATTERNS = {
    "liver": r"segment (?P<n>\d)[ab]?",
    "vertebra": r"[CTLS]\d+",
    "rib": r"(?:(?:left|right) )?rib (?P<n>\d+)",
}
"""Segments of an organ that are spoken by a rule; all others are in the phrase files, word by word."""
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
OPEN, CLOSE = "\ue000", "\ue001"
"""Marks around a part of a sentence whose place in the finished text is wanted."""


class ReportError(ValueError):
    """A truth that cannot be put into words; the message is one line."""


@functools.cache
def phrases(language: Language) -> dict[str, Any]:
    """The phrase file of a language."""
    with (FOLDER / f"{language}.toml").open("rb") as file:
        return tomllib.load(file)


class Speaker:
    """Picks phrases of one language with a seeded generator."""

    def __init__(self, language: Language, draw: random.Random) -> None:
        self.language, self.draw = language, draw
        self.words = phrases(language)

    def pick(self, *keys: str) -> str:
        """One of the phrases under these keys."""
        node: Any = self.words
        for key in keys:
            node = node[key]
        return str(self.draw.choice(node))

    def name(self, phrase: str, many: bool) -> str:
        """Singular or plural of "singular | plural"."""
        return phrase.split(" | ")[many]

    def article(self, noun: str) -> str:
        return str(self.words["an"][noun[:1].lower() in "aeiou"])

    def place(
        self, organ: str, side: Side | None, segment: str | None, lesion_type: str, headed: bool
    ) -> tuple[str, Side | None]:
        """(where it is, the side that this tells). headed: the sentence stands below the organ's name."""
        sites: dict[str, list[str]] = self.words["sites"]
        ending = {None: "", "both": " + both"}.get(side, " + one")
        ruled = segment is not None and re.fullmatch(PATTERNS.get(organ, "$^"), segment) is not None
        names = [*([segment] if segment else []), *(["*"] if ruled else [])]
        keys = [f"{organ} / {name}{end}" for name in names for end in (ending, "")]
        keys += [f"{organ}{ending}", organ, f"{organ} / {lesion_type}"]
        key = next((key for key in keys if key in sites), None)
        if key is None:
            raise ReportError(f"organ: expected one that reports have words for, found {organ}")
        full, bar, below = self.draw.choice(sites[key]).partition(" |")
        phrase = below.strip() if headed and bar else full
        named: Side | None = None
        if "{side" in full or key.endswith(" + both"):
            named = side
        elif segment is not None and organ == "lung" and f"/ {segment}" in key:
            named = "left" if segment.startswith("left") else "right"
        return phrase.format(**self._fillers(organ, side, segment)), named

    def _fillers(self, organ: str, side: Side | None, segment: str | None) -> dict[str, str]:
        number = re.fullmatch(PATTERNS.get(organ, "$^"), segment or "")
        n = int(number["n"]) if number and "n" in number.groupdict() else 0
        text = segment or ""
        if organ == "vertebra" and self.language == "nl":
            text = text.replace("T", "Th")
        if organ == "liver" and 1 <= n <= len(ROMAN) and text[-1:].isdigit() and self.draw.random() < 0.25:
            text = f"segment {ROMAN[n - 1]}"
        endings = {1: "st", 2: "nd", 3: "rd"}
        nth = f"{n}e" if self.language == "nl" else f"{n}{endings.get(n, 'th')}"
        one = side if side in ("left", "right") else "left"
        sides, alone = self.words["sides"][one], self.words["sides_alone"][one]
        return {"side": sides, "side_alone": alone, "segment": text, "n": str(n), "nth": nth}

    def size(self, sizes_mm: tuple[float, ...], in_cm: bool) -> tuple[str, tuple[float, ...]]:
        """("2.3 x 1.8 cm", (23.0, 18.0)): the diameters as they are stated, in the order given."""
        stated_mm = [max(1, round(mm)) for mm in sizes_mm]
        whole = all(mm % 10 == 0 for mm in stated_mm) and self.draw.random() < 0.5
        numbers = [f"{mm / 10:.{0 if whole else 1}f}" if in_cm else str(mm) for mm in stated_mm]
        unit = "cm" if in_cm else "mm"
        gap = "" if self.draw.random() < 0.08 else " "
        times = self.pick("size", "x")
        if len(numbers) > 1 and self.draw.random() < 0.06:
            times = f"{gap}{unit} x "
        text = times.join(numbers).replace(".", self.words["decimal"])
        return f"{text}{gap}{unit}", tuple(float(mm) for mm in stated_mm)

    def count(self, number: int) -> tuple[str, int | Literal["several"]]:
        """("three", 3) or ("multiple", "several") for two lesions or more."""
        exact = 0.9 if number == 2 else 0.5 if number <= 5 else 0.1
        if number <= 10 and self.draw.random() < exact:
            word = self.words["numbers"][number - 1] if self.draw.random() < 0.75 else str(number)
            return word, number
        return self.pick("many" if number >= 6 else "several"), "several"

    def date(self) -> str:
        day, month = self.draw.randint(1, 28), self.draw.randint(1, 12)
        year = self.draw.randint(2014, 2023)
        if self.draw.random() < 0.5:
            return f"{day} {self.words['months'][month - 1]} {year}"
        return f"{day:02d}-{month:02d}-{year}"

    def joined(self, parts: list[str]) -> str:
        """ "a, b and c"."""
        return self.words["and"].join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def tidy(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A sentence with one space between words and a capital, and the spans of its marked parts."""
    text = re.sub(f"({OPEN}) +", r" \1", re.sub(f" +({CLOSE})", r"\1 ", text))  # no space inside of marks
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r" ([,.;:?](?: |$))", r"\1", text).replace("..", ".")
    first = next((i for i, c in enumerate(text) if c not in OPEN + CLOSE), 0)
    text = text[:first] + text[first : first + 1].upper() + text[first + 1 :]
    spans: list[tuple[int, int]] = []
    clean = ""
    starts: list[int] = []
    for character in text:
        if character == OPEN:
            starts.append(len(clean))
        elif character == CLOSE:
            spans.append((starts.pop(), len(clean)))
        else:
            clean += character
    return clean, spans
