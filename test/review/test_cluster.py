"""The cluster's entry points as far as a machine without SLURM goes: options parsed, bodies run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import ROOT, environment, read_results, write_scan
from resources.cases.case import Case, CaseError, ImageSource, write_cases
from resources.cases.work import part_of

FOLDER = ROOT / "resources" / "cluster"


def test_parts_are_disjoint_and_complete() -> None:
    assert part_of("abcdefg", "1/1") == list("abcdefg")
    assert [part_of("abcdefg", f"{i}/3") for i in (1, 2, 3)] == [list("adg"), list("be"), list("cf")]
    assert part_of("ab", "3/3") == []
    for wrong in ("0/3", "4/3", "1", "a/b", "1/0", ""):
        with pytest.raises(CaseError, match="expected I/N with I from 1 to N"):
            part_of("abc", wrong)


def test_sbatch_options_are_those_of_slurm() -> None:
    text = (FOLDER / "predict.sbatch").read_text(encoding="utf-8")
    head = text[: text.index("set -euo")]
    options = re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", head, re.MULTILINE)
    known = {"job-name", "array", "cpus-per-task", "mem", "time", "output"}
    assert {name for name, _ in options} == known
    assert text.startswith("#!")
    assert text.count("#SBATCH") == len(options)  # SLURM reads none behind the first command
    for script in FOLDER.iterdir():
        subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.slow
def test_the_array_detects_all_scans_and_makes_their_pages(weights: Path, tmp_path: Path) -> None:
    """Both tasks of an array of two, one after the other, in a repository of its own with small weights."""
    for name in ("model", "resources"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "model" / "weights")
    shutil.copytree(weights, tmp_path / "model" / "weights")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    cases = []
    for name in ("a", "b", "c"):
        path = write_scan(tmp_path / "scans" / f"{name}.mha")
        cases.append(Case(name, name, "s", None, ImageSource(str(path))))
    write_cases(tmp_path / "cases.jsonl", cases)
    command = ["bash", "resources/cluster/predict.sbatch", "cases.jsonl", "out"]
    for task in ("1", "2"):
        slurm = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        subprocess.run(command, cwd=tmp_path, env=environment() | slurm, check=True, capture_output=True)
        made = sorted(path.parent.name for path in (tmp_path / "out").glob("*/review.html"))
        assert made == (["a", "c"] if task == "1" else ["a", "b", "c"])
    for name in ("a", "b", "c"):
        read_results(tmp_path / "out" / name)
    words = ["-m", "resources.review", "out", "--cases", "cases.jsonl", "--summary-only"]
    subprocess.run(
        [os.path.join(".venv", "bin", "python"), *words], cwd=tmp_path, env=environment(), check=True
    )
    assert (tmp_path / "out" / "summary.html").read_text(encoding="utf-8").count("review.html") == 3
