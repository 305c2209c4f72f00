"""What is written for a scan, and how: valid for the platform, all of the files or none."""

import json
import math
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from helpers import RESULTS, Series, validator_of
from model.config import LESION_TYPES
from model.detector import Lesion, Prediction
from model.files import OutputError, check_writable, write_files
from model.inputs import Scan, fingerprint
from model.outputs import details_json, likelihood_json, points_file, points_json

Entry = dict[str, Any]


def lesion(probability: float, **changes: Any) -> Lesion:
    """With numpy's numbers, which json refuses."""
    values = {
        "point_mm": (np.float64(1.5), np.float32(-2), 3),
        "probability": np.float32(probability),
        "type": "liver",
        "type_probabilities": {name: np.float32(0.125) for name in LESION_TYPES},
        "long_mm": np.float32(12),
        "short_mm": np.float32(8),
        "z_extent_mm": np.float32(9),
        "organ": "liver",
        "box_mm": (np.zeros(3), np.ones(3)),
    }
    return Lesion(**values | changes)


class Settings:
    """What the details say of the detector."""

    operating_point, scan_operating_point, weights_version = 0.5, 0.7, "small"
    weights_digest = "0" * 64


def prediction(*lesions: Lesion, likelihood: float = 0.75) -> Prediction:
    timings = {"preprocess": 0.1, "network": 0.2, "decode": 0.3}
    return Prediction(lesions, likelihood, timings, ("a warning",), 2.0, 1)


def test_what_is_written_is_what_the_platform_takes(tmp_path: Path) -> None:
    found = prediction(lesion(0.9), lesion(0.5), lesion(0.01))
    values = [points_json(found), details_json(found, Settings(), 0.5, {}), likelihood_json(found.likelihood)]  # type: ignore[arg-type]
    for value, schema in zip(values, RESULTS.values(), strict=True):
        validator_of(schema).validate(json.loads(json.dumps(value, allow_nan=False)))
    assert values[0]["points"][0] == {
        "name": "liver",
        "point": [1.5, -2, 3],
        "probability": pytest.approx(0.9),
    }
    assert [row["above_operating_point"] for row in values[1]["points"]] == [True, True, False]
    assert values[1]["scan_above_operating_point"] is True
    assert values[2] == 0.75
    validator_of("multiple_points.json").validate(points_json(prediction()))


@pytest.mark.parametrize(
    "change",
    [
        {"points": [{"name": "liver", "point": [0, 0, 0], "probability": 1.0000001}]},
        {"points": [{"name": "liver", "point": [0, 0, 0], "probability": None}]},
        {"points": [{"name": None, "point": [0, 0, 0], "probability": 0.5}]},
        {"points": [{"name": "liver", "point": [0, 0], "probability": 0.5}]},
        {"points": [{"name": "liver", "point": [0, 0, 0], "probability": 0.5, "size": 3}]},
        {"version": "1.0"},
        {"version": {"major": 1}},
        {"name": None},
        {"type": "Point"},
        {"extra": 1},
    ],
)
def test_the_schema_refuses_what_the_platform_refuses(change: Entry) -> None:
    good = points_file([("liver", (0, 0, 0), 0.5)])
    validator_of("multiple_points.json").validate(good)
    with pytest.raises(jsonschema.ValidationError):
        validator_of("multiple_points.json").validate(good | change)


@pytest.mark.parametrize(
    "rows",
    [
        [("liver", (0, 0, math.nan), 0.5)],
        [("liver", (0, math.inf, 0), 0.5)],
        [("liver", (0, 0), 0.5)],
        [("liver", (0, 0, 0), 1.0000001)],
        [("liver", (0, 0, 0), -0.1)],
        [("liver", (0, 0, 0), math.nan)],
        [("", (0, 0, 0), 0.5)],
        [(None, (0, 0, 0), 0.5)],
        [("liver", (0, 0, 0), 0.5), ("liver", (0, 0, 0), 0.6)],
        [("liver", (0, 0, 0), 0.5)] * 101,
    ],
)
def test_points_that_the_platform_would_refuse_are_not_written(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        points_file(rows)


def test_a_likelihood_that_is_no_probability_is_not_written() -> None:
    for likelihood in (-0.1, 1.01, math.nan):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            likelihood_json(likelihood)


def test_fingerprint_tells_whether_a_scan_is_the_same(tmp_path: Path) -> None:
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_text("ElementSpacing = 1 1 1\nElementDataFile = a.raw\n", encoding="utf-8")
    voxels.write_bytes(b"12")
    scan = Scan("a", header)
    before = fingerprint(scan)
    assert before == fingerprint(scan)
    os.utime(voxels, (1, 1e9 * 4))
    assert fingerprint(scan) != before
    series = Scan("b", tmp_path / "b")
    paths = Series().write(tmp_path / "b")
    before = fingerprint(series)
    paths[0].unlink()
    assert fingerprint(series) != before


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    write_files(tmp_path / "new" / "folder", {"a": "1", "b": "2"})
    assert files_of(tmp_path) == {"new/folder/a": "1", "new/folder/b": "2"}
    (tmp_path / "new" / "folder" / "c").mkdir()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_files(tmp_path / "new" / "folder", {"a": "3", "c": "4"})
    assert caught.value.filename == str(tmp_path / "new" / "folder" / "c")
    assert files_of(tmp_path) == {"new/folder/a": "1", "new/folder/b": "2"}


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old", encoding="utf-8")
    for call in (check_writable, lambda folder: write_files(folder, {"a": "1"})):
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OutputError):
                call(folder)
    with pytest.raises(OutputError):
        write_files(tmp_path / "x" / "y", {"name" * 100: "too long"})
    assert files_of(tmp_path) == {"file": "old"}
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_probing_a_folder_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_between_two_files_waits_for_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": "old", "b": "old"})
    replace, calls = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append(target)
        if len(calls) == 1:
            raise SystemExit(143)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(SystemExit):
        write_files(tmp_path, {"a": "new", "b": "new"})
    assert files_of(tmp_path) == {"a": "new", "b": "new"}
