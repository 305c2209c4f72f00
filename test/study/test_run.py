"""A whole setting on a handful of coarse scans: every stage, gone on with after a stop."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from resources.study.__main__ import STAGES, run
from resources.study.errors import CAUSES
from resources.study.setting import FOLDER, Setting, read_setting
from resources.study.tables import table_of
from resources.synthetic.files import read_truth

ELSEWHERE = """
[scans.elsewhere]
site = "B"
seed = 980000
count = 1
split = "test"
[cases.elsewhere]
scans = ["elsewhere"]
"""
ARMS = ["all masks", "base going on", "reports"]


def tiny(path: Path) -> Setting:
    """`hospital.toml` with a coarse scan of each kind and of site B, two steps of small patches, one seed."""
    text = (FOLDER / "hospital.toml").read_text(encoding="utf-8")
    for before, after in (
        ("scan_mm = 2.0", "scan_mm = 4.0"),
        ('endpoint = "saved"', 'endpoint = "mean"'),
        ("arm_steps = 1200", "arm_steps = 2"),
        ("seeds = [1, 2]", "seeds = [1]"),
        ("least_headroom = 0.33", "least_headroom = -9.0"),
        ("[48, 80, 80]", "[48, 32, 32]"),
        ("batch = 4", "batch = 1"),
        ("every_steps = 600", "every_steps = 2"),
        ("[cases.test]", ELSEWHERE + "[cases.test]"),
        *((f"count = {count}", "count = 1") for count in (10, 20, 30, 50)),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return read_setting(path)


@pytest.mark.slow
def test_a_setting_is_run_and_gone_on_with(tmp_path: Path) -> None:
    setting, work, out = tiny(tmp_path / "tiny.toml"), tmp_path / "work", tmp_path / "out"
    plan = {"work": work, "maps": None, "data": None, "arms": ARMS, "out": out}
    assert run(setting, "tiny", argparse.Namespace(to="headroom", **plan)) == 0
    stored = json.loads((out / "tiny.json").read_text(encoding="utf-8"))
    assert set(stored) == {"errors", "headroom"}
    lesions = sum(
        lesion.status == "lesion"
        for name in ("ill", "healthy")
        for folder in (work / "scans" / name / "scans").iterdir()
        for lesion in read_truth(folder)[0].lesions
    )
    ends = stored["errors"]["report negatives and positives (g)"]
    assert sum(ends[cause] for cause in CAUSES) == lesions > 0
    kept = [*work.rglob("*.mha"), *work.rglob("centernet3d.safetensors"), work / "errors.json"]
    before = {path: os.stat(path).st_mtime_ns for path in kept}
    assert run(setting, "tiny", argparse.Namespace(to=STAGES[-1], **plan)) == 0
    assert before == {path: os.stat(path).st_mtime_ns for path in kept}
    stored = json.loads((out / "tiny.json").read_text(encoding="utf-8"))
    test, elsewhere = stored["test"], stored["elsewhere"]
    assert (test["scans"], set(test["arms"])) == (2, set(ARMS))
    measured = [contrast["arm"] for contrast in test["contrasts"]]
    assert measured == ["reports", "all masks"]  # an arm of the others was not run
    assert (elsewhere["scans"], set(elsewhere["arms"])) == (1, set(ARMS))
    assert {path.name for path in (work / "predictions" / "elsewhere").iterdir()} == {
        f"{arm.replace(' ', '-')}-1" for arm in ARMS
    }
    lines = table_of(setting, stored, {})
    assert lines[2].startswith("| **headroom** |")
