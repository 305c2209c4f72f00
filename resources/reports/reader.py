"""A radiology report's text to its findings."""

from __future__ import annotations

import dataclasses
from typing import Literal

from resources.cases.case import Finding
from resources.reports import aggregation, linking
from resources.reports.language import detect
from resources.reports.mentions import Sentence, read_sentences
from resources.reports.sections import blocks
from resources.reports.tables import find_rows
from resources.reports.text import CleanText, clean
from resources.reports.vocabulary import Tongue, vocabulary


@dataclasses.dataclass(frozen=True)
class Reading:
    """All that was read: the findings, and what `--explain` shows of how they came about."""

    language: Tongue
    text: CleanText
    sentences: list[Sentence]
    findings: list[Finding]


def read_report(text: str, language: Literal["auto", "en", "nl"] = "auto") -> list[Finding]:
    """The findings of one report, in the order of the text. Never fails on a string."""
    return explain_report(text, language).findings


def explain_report(text: str, language: Literal["auto", "en", "nl"] = "auto") -> Reading:
    """As `read_report`, with the sentences and mentions on the way."""
    plain = clean(text)
    tongue = detect(plain.text) if language == "auto" else language
    words = vocabulary(tongue)
    rows = find_rows(plain.text, words)
    lines = plain.text.replace("\t", " ")
    line = lines.replace("\n", " ")
    found = blocks(lines, words, {row.start: row for row in rows})
    sentences = read_sentences(line, found, words, rows)
    drafts = linking.link(sentences, line)
    return Reading(tongue, plain, sentences, aggregation.aggregate(drafts, plain, tongue))
