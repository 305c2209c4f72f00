"""The comparison that decides whether the regression case passes: each kind of mismatch has to be seen."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regression

POINTS = [
    {"name": "liver", "point": [10.0, -20.0, 30.0], "probability": 0.9},
    {"name": "lung", "point": [14.0, -20.0, 30.0], "probability": 0.5},
    {"name": "bone", "point": [-70.0, 5.0, 100.0], "probability": 0.015},
]
FILES: dict[str, Any] = {
    "lesion-points.json": {
        "type": "Multiple points",
        "version": {"major": 1, "minor": 0},
        "name": "lesions",
        "points": POINTS,
    },
    "metastasis-likelihood.json": 0.75,
    "lesion-details.json": {"timings_s": {"read": 1.0}},
}


def write(folder: Path, change: Callable[[dict[str, Any]], object] = lambda files: None) -> Path:
    folder.mkdir()
    files = json.loads(json.dumps(FILES))
    change(files)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def points(files: dict[str, Any]) -> list[dict[str, Any]]:
    return files["lesion-points.json"]["points"]


TOLERATED = {
    "nothing": lambda files: None,
    "0.9 mm": lambda files: points(files)[0].update(point=[10.0, -20.9, 30.0]),
    "probability by 0.02": lambda files: points(files)[0].update(probability=0.92),
    "order": lambda files: points(files).reverse(),
    "a point that may fall below the reporting limit": lambda files: points(files).pop(),
    "likelihood by 0.02": lambda files: files.update({"metastasis-likelihood.json": 0.77}),
    "timings": lambda files: files["lesion-details.json"].update(timings_s={"read": 9.0}),
}
REFUSED = {
    "1.1 mm": (lambda files: points(files)[0].update(point=[10.0, -20.0, 31.1]), "1.1 mm away"),
    "probability by 0.03": (lambda files: points(files)[0].update(probability=0.93), "probability 0.930"),
    "type": (lambda files: points(files)[1].update(name="bone"), "found bone at (14.0"),
    "missing": (lambda files: points(files).pop(0), "missing: liver at (10.0, -20.0, 30.0) mm"),
    "all missing": (lambda files: points(files).clear(), "missing: lung"),
    "further": (
        lambda files: points(files).append({"name": "lung", "point": [0.0, 0.0, 0.0], "probability": 0.04}),
        "not expected: lung at (0.0, 0.0, 0.0)",
    ),
    "reported twice": (lambda files: points(files).append(points(files)[0]), "not expected: liver"),
    "likelihood": (
        lambda files: files.update({"metastasis-likelihood.json": 0.7}),
        "expected 0.75, found 0.7",
    ),
    "not a number": (
        lambda files: files.update({"metastasis-likelihood.json": float("nan")}),
        "expected JSON, found NaN",
    ),
    "version": (lambda files: files["lesion-points.json"].update(version="1.0"), "'major': 1"),
    "file missing": (lambda files: files.pop("lesion-details.json"), "lesion-details.json: missing"),
    "file too many": (lambda files: files.update({"extra.json": 1}), "extra.json: not expected"),
}


@pytest.mark.parametrize("change", TOLERATED.values(), ids=TOLERATED)
def test_tolerated(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    assert regression.compare_folders(write(tmp_path / "expected"), write(tmp_path / "found", change)) == []


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    differences = regression.compare_folders(write(tmp_path / "expected"), write(tmp_path / "found", change))
    assert len(differences) >= 1
    assert any(message in line for line in differences), differences


@pytest.mark.parametrize("change", TOLERATED.values(), ids=TOLERATED)
def test_tolerated_the_other_way_round(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    assert regression.compare_folders(write(tmp_path / "expected", change), write(tmp_path / "found")) == []


def test_no_expected_files_is_a_mismatch(tmp_path: Path) -> None:
    (tmp_path / "expected").mkdir()
    assert regression.compare_folders(tmp_path / "expected", write(tmp_path / "found"))


def test_exit_code(tmp_path: Path) -> None:
    expected = write(tmp_path / "expected")
    same = write(tmp_path / "same")
    other = write(tmp_path / "other", REFUSED["1.1 mm"][0])
    codes = []
    for arguments in ([expected, same], [expected, other], [expected]):
        command = [sys.executable, regression.__file__, *map(str, arguments)]
        codes.append(subprocess.run(command, capture_output=True, encoding="utf-8", check=False).returncode)
    assert codes == [0, 1, 2]
