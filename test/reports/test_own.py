"""Twenty reports of our own, annotated before the reader read them: own/truth.jsonl."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from resources.reports.reader import read_report
from resources.reports.score import Score, read_findings

OWN = Path(__file__).parent / "own"
LEAST = {"lesion": 0.95, "organ": 0.93, "sizes": 0.97, "negatives": 0.97, "all fields": 0.88}


@pytest.mark.parametrize("language", ["en", "nl"])
def test_reports_of_our_own(language: str) -> None:
    score = Score()
    for name, truth in read_findings(OWN / "truth.jsonl").items():
        if name.startswith(language):
            text = (OWN / name).read_text(encoding="utf-8")
            score.add([dataclasses.asdict(f) for f in read_report(text)], truth)
    found = {kind: score.counts[kind].f1 for kind in LEAST}
    assert all(found[kind] >= least for kind, least in LEAST.items()), found
    assert score.counts["organs cleared wrongly"].read == 0
    assert score.counts["scans cleared wrongly"].read == 0
