"""Thirty reports of our own, annotated before the reader read them, in two sets: own/*.jsonl."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from resources.reports.reader import read_report
from resources.reports.score import Score, read_rows

OWN = Path(__file__).parent / "own"
KINDS = ("lesion", "organ", "sizes", "negatives", "all fields")
LEAST = {"truth": (0.97, 0.93, 0.97, 0.97, 0.88), "later": (0.91, 0.87, 0.95, 0.89, 0.73)}
"""F1 of each kind after mending, in either language."""


@pytest.mark.parametrize("language", ["en", "nl"])
@pytest.mark.parametrize("part", LEAST)
def test_reports_of_our_own(part: str, language: str) -> None:
    score = Score()
    for name, truth in read_rows(OWN / f"{part}.jsonl").items():
        if name.startswith(language):
            text = (OWN / name).read_text(encoding="utf-8")
            score.add([dataclasses.asdict(f) for f in read_report(text)], truth)
    found = [score.counts[kind].f1 for kind in KINDS]
    assert all(f1 >= least for f1, least in zip(found, LEAST[part], strict=True)), found
    assert score.counts["organs cleared wrongly"].read == 0
    assert score.counts["scans cleared wrongly"].read == 0
