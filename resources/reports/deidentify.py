"""Names, dates and numbers out of a report's text, every offset kept."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from resources.reports.reader import Reading
from resources.reports.vocabulary import vocabulary

MASK = "_"
_MONTH = (
    r"jan(?:uar[iy])?|feb(?:ruar[iy])?|maart|march|mar|apr(?:il)?|mei|may|jun[ei]?|juni|jul[iy]?|juli|"
    r"aug(?:ust(?:us)?)?|sep(?:t(?:ember)?)?|o[kc]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
    r"maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag"
)
_DATE = re.compile(rf"\b(?:{_MONTH})\b\.?", re.IGNORECASE)
_TOKEN = re.compile(r"\S+")
_ADDRESS = re.compile(r"https?://\S+|\bwww\.\S+")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_RUN = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_SIGNATURE = re.compile(
    r"\b(?:name|naam|patient|patiënt|dr|drs|prof|mr|mrs|ms|mevr|mevrouw|dhr|de heer|mw|radiologist|"
    r"radioloog|physician|arts|aanvrager|signed by|dictated by|authorized by|geautoriseerd door)\b"
    r"[.:]* *([^\n,;()]{0,60})",
    re.IGNORECASE,
)


def mask(reading: Reading, text: str) -> str:
    """The report with `_` for each character of a name, date, address or number; same length.

    What stays is known: the vocabulary's words, words in lower case, and the numbers of sizes and body levels
    that the reader understood. Whatever else has a capital or a digit is masked, so a rare term may go
    with the names; in a text all in capitals only the vocabulary stays.
    """
    keep = _kept(reading)
    hidden = bytearray(len(text))

    def hide(start: int, end: int) -> None:
        hidden[start:end] = b"\1" * (end - start)

    known = _known_words(reading)
    for match in _WORD.finditer(text):
        word = match.group()
        if word != word.lower() and word.lower() not in known and not all(keep[match.start() : match.end()]):
            hide(*match.span())
    for match in _SIGNATURE.finditer(text):
        for part in _WORD.finditer(text, *match.span(1)):
            if part.group().lower() not in known:
                hide(*part.span())
    for match in itertools.chain(_numbers(text), _DATE.finditer(text), _addresses(text)):
        if not all(keep[match.start() : match.end()]):
            hide(*match.span())
    return "".join(
        MASK if flag and not letter.isspace() else letter for flag, letter in zip(hidden, text, strict=True)
    )


def _numbers(text: str) -> Iterator[re.Match[str]]:
    """Letters and digits in a row, one of them a digit. No pattern for both: it would be quadratic."""
    return (match for match in _RUN.finditer(text) if _DIGIT.search(match.group()))


def _addresses(text: str) -> Iterator[re.Match[str]]:
    """Of mail, with something on both sides of an @, and of pages."""
    yield from (match for match in _TOKEN.finditer(text) if "@" in match.group()[1:-1])
    yield from _ADDRESS.finditer(text)


def _kept(reading: Reading) -> bytearray:
    """1 for each character of the report that a size, place or lesion word holds."""
    end = max((reading.text.span(s.start, s.end)[1] for s in reading.sentences), default=0)
    keep = bytearray(max(end, 0) + 1)
    for sentence in reading.sentences:
        for mention in sentence.mentions:
            if mention.category in ("size", "places", "lesions"):
                start, stop = reading.text.span(mention.start, mention.end)
                keep[start:stop] = b"\1" * (stop - start)
    return keep


def _known_words(reading: Reading) -> frozenset[str]:
    words = vocabulary(reading.language)
    phrases = " ".join(words.entries)
    return (
        frozenset(_WORD.findall(phrases)) | words.common | frozenset(_WORD.findall(" ".join(words.headings)))
    )
