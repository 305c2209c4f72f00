"""Real reports against hand annotations: offsets and labels in gold.json, the texts in the shared data."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from resources.reports.reader import read_report

HERE = Path(__file__).parent
REPORTS = HERE.parents[2] / "shared" / "data" / "reports"
GOLD: dict[str, dict[str, Any]] = json.loads((HERE / "gold.json").read_text(encoding="utf-8"))

spec = importlib.util.spec_from_file_location("scoring", HERE / "scoring.py")
assert spec is not None
assert spec.loader is not None
scoring = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scoring)

needs_reports = pytest.mark.skipif(not REPORTS.is_dir(), reason=f"no real reports in {REPORTS}")


@needs_reports
@pytest.mark.parametrize("name", sorted(GOLD))
def test_annotations_are_of_this_file(name: str) -> None:
    data = (REPORTS / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == GOLD[name]["sha256"], f"{name} changed: annotate it again"
    text = data.decode("utf-8")
    assert all(text[slice(*f["span"])].strip() for f in GOLD[name]["findings"])


@needs_reports
@pytest.mark.parametrize("language", ["dutch", "english"])
@pytest.mark.parametrize(
    ("level", "least"),
    [
        ("sizes with their organ", 0.9),
        ("present: type, organ, sizes", 0.85),
        ("absent: type, organ", 0.85),
        ("all fields", 0.85),
    ],
)
def test_f1(language: str, level: str, least: float) -> None:
    score, errors = scoring.Score(), []
    for name in (name for name in GOLD if name.startswith(language)):
        text = (REPORTS / name).read_text(encoding="utf-8")
        found = [dataclasses.asdict(f) for f in read_report(text)]
        wrong, missed = score.add(found, GOLD[name]["findings"], scoring.LEVELS[level])
        errors += [f"{name}: + {key}" for key in wrong] + [f"{name}: - {key}" for key in missed]
    print(f"{language}, {level}: {score.right} right of {score.read}, {score.annotated} annotated", *errors)
    assert score.f1 >= least


def test_scoring_on_paper() -> None:
    """Two read, three annotated, one in common: F1 2/5."""
    key = scoring.LEVELS["sizes with their organ"]

    def row(organ: str, *sizes: float) -> dict[str, Any]:
        return {"organ": organ, "sizes_mm": sizes, "presence": "present"}

    score = scoring.Score()
    wrong, missed = score.add(
        [row("liver", 12), row("lung", 8)], [row("liver", 12), row("lung", 9), row("bone", 5)], key
    )
    assert (score.f1, wrong, missed) == (0.4, [("lung", (8,))], [("lung", (9,)), ("bone", (5,))])
