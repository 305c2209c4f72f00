"""The guide "Train on your data", followed to the letter: its own shell blocks, in order, on small scans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from training.mission_data import write_inhouse
from training.recipes import replaced

from helpers import ROOT, environment, read_results, summary_of
from model.detector import load_network

GUIDE = ROOT / "docs" / "training.md"
SETTINGS = "data/run.toml"
SMALL = {
    "validation.every_steps": 20,
    "network.widths": [8, 8, 8],
    "network.blocks": [1, 1, 1],
    "teacher.start_step": 20,
    "teacher.every_steps": 10,
    "optimisation.steps": 40,
    "optimisation.batch": 2,
    "patches.shape": [24, 40, 40],
    "patches.workers": 0,
}
"""What is changed of the guide's settings for the test: sizes and numbers of steps."""


def blocks() -> list[str]:
    """The shell blocks that a reader runs."""
    return re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_all_commands_of_ours_are_run_or_meant_to_be_chosen_from() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert set(fences) == {"", "sh"}
    shown = re.findall(r"^```\n((?:\$ .*\n)+)^```$", text, re.MULTILINE)
    assert len(fences) == 2 * (len(blocks()) + len(shown))


def test_links_and_settings_are_there() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for place in re.findall(r"\]\(([^)#]+)\)", text):
        assert (GUIDE.parent / place).exists(), place
    named = set(re.findall(r"`(\w+\.toml)`", text))
    assert named == {path.name for path in (ROOT / "resources" / "configs").glob("*.toml")}


@pytest.mark.slow
def test_followed_to_the_letter(tmp_path: Path) -> None:
    for name in ("model", "resources"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "process.py", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    write_inhouse(tmp_path / "data")
    settings = tmp_path / SETTINGS
    one_core = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]  # workers have tests of their own
    for block in blocks():
        before = settings.exists()
        command = [*one_core, "bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if settings.exists() and not before:
            settings.write_text(replaced(settings.read_text(encoding="utf-8"), SMALL), encoding="utf-8")
    check_results(tmp_path, tmp_path / "data")


def check_results(house: Path, data: Path) -> None:
    with Image.open(data / "cases.png") as figure:
        assert min(figure.size) >= 200
        assert len(figure.convert("RGB").getcolors(2**24) or []) > 20
    assert "metastasis of 24 mm in the liver" in (data / "reports_read.txt").read_text(encoding="utf-8")
    assert sorted(path.parent.name for path in data.glob("run/pseudo_labels/*/audit.jsonl")) == [
        "0000",
        "0001",
    ]
    assert (data / "evaluation" / "index.html").exists()
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["split"] == "test"
    (weights,) = (house / "model" / "weights").iterdir()
    assert load_network(weights).config.provenance["data"] == "site: 3 cases"
    summary = summary_of(data / "found")
    assert len(summary) == 8
    assert {row["status"] for row in summary.values()} == {"done"}
    assert all(read_results(data / "found" / name) for name in summary)
