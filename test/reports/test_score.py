"""Scores of readers, counted on paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resources.reports.score import Score, main, match


def row(
    organ: str | None, *sizes: float, at: int = 0, presence: str = "present", **more: Any
) -> dict[str, Any]:
    fields = {"type": None, "side": None, "series": None, "images": [], "time": "current"}
    fields |= {"count": None if presence == "absent" else 1, "character": "indeterminate"}
    return {
        **fields,
        "organ": organ,
        "sizes_mm": list(sizes),
        "presence": presence,
        "span": [at, at + 10] if at else [0, 0],
    }


def test_on_paper() -> None:
    """Three true lesions, one of them read with the wrong organ, one missed, one invented."""
    truth = [row("liver", 12, at=100), row("spleen", 20, at=200), row("lung", 5, at=900)]
    truth += [row("kidney", presence="absent"), row("pancreas", presence="absent")]
    found = [row("liver", 12, at=105), row("kidney", 20, at=205), row("bone", at=500)]
    found += [
        row("kidney", presence="absent"),
        row("spleen", presence="absent"),
        row(None, presence="absent"),
    ]
    score = Score()
    errors = score.add(found, truth)
    counts = {kind: (c.right, c.read, c.annotated) for kind, c in score.counts.items()}
    assert counts["lesion"] == (2, 3, 3)
    assert counts["organ"] == (1, 3, 3)
    assert counts["sizes"] == (2, 2, 3)
    assert counts["negatives"] == (1, 3, 2)
    assert counts["all fields"] == (2, 6, 5)
    assert counts["organs cleared wrongly"][1] == 1
    assert counts["scans cleared wrongly"][1] == 1
    assert score.counts["lesion"].f1 == pytest.approx(2 / 3)
    assert any(line.startswith("missed  lung") for line in errors)


def test_findings_without_spans_match_by_organ_and_sizes() -> None:
    pairs = match([row("liver", 9), row("liver", 12)], [row("liver", 12), row("lung", 9)])
    assert [(f["sizes_mm"], t["organ"]) for f, t in pairs] == [([12], "liver")]


def test_two_readers_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("truth", [row("liver", 12)]), ("one", [row("liver", 12)]), ("two", [])):
        line = json.dumps({"report": "a.txt", "findings": rows})
        (tmp_path / f"{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in ("truth", "one", "two")]
    assert main(files) == 0
    shown = capsys.readouterr().out
    assert "one.jsonl" in shown
    assert "1.000 (1; 1; 1)" in shown
    assert "0.000 (0; 0; 1)" in shown
    (tmp_path / "two.jsonl").write_text("", encoding="utf-8")
    assert main(files) == 2
    assert "expected findings of all 1 annotated reports, found none of 'a.txt'" in capsys.readouterr().err
