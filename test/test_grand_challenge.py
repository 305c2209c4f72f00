"""Which scans an input folder holds, and what is written for each."""

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
from model.grand_challenge import (
    Inputs,
    OutputError,
    Scan,
    check_writable,
    details_json,
    find_inputs,
    fingerprint,
    likelihood_json,
    points_file,
    points_json,
    write_files,
)
from model.volume import InputError

Entry = dict[str, Any]


def touch(*paths: Path) -> None:
    """Files with names only: finding looks at nothing else, DICOM aside."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(inputs: Inputs) -> list[str]:
    return [scan.case_id for scan in inputs.scans]


def why_refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_inputs(root)
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text
    assert "found" in text
    return text


# Without inputs.json.


def test_a_scan_itself(tmp_path: Path) -> None:
    for name in ("a.mha", "a.nii.gz", "a.NRRD", "a"):
        touch(tmp_path / name)
        assert find_inputs(tmp_path / name) == Inputs((Scan("a", tmp_path / name),), single=True)


def test_nothing_to_be_found(tmp_path: Path) -> None:
    assert why_refused(tmp_path / "nowhere").endswith("expected a scan or a folder with scans, found nothing")
    assert "found an empty folder" in why_refused(tmp_path)
    touch(tmp_path / "a.txt", tmp_path / "b.png", tmp_path / ".hidden.mha", tmp_path / ".cache" / "c.mha")
    text = why_refused(tmp_path)
    assert text.startswith(f"{tmp_path}: expected a .mha, .mhd, .nii, .nii.gz, .nrrd file or a DICOM series")
    assert ".cache, .hidden.mha, a.txt and more" in text


def test_the_platforms_folder_with_one_image(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "ct" / "1234.mha")
    inputs = find_inputs(tmp_path)
    assert inputs == Inputs((Scan("images/ct/1234", tmp_path / "images" / "ct" / "1234.mha"),), single=True)


def test_the_first_of_several_image_folders_is_taken_and_told(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "b" / "1.mha", tmp_path / "images" / "c" / "2.mha")
    (tmp_path / "images" / "a").mkdir()
    inputs = find_inputs(tmp_path)
    assert ids(inputs) == ["images/b/1"]
    assert inputs.notes == ("no inputs.json: taking images/b, not a, c",)


def test_a_folder_of_scans(tmp_path: Path) -> None:
    touch(tmp_path / "b.mha", tmp_path / "a.nii.gz", tmp_path / "deep" / "er" / "b.NRRD", tmp_path / "c.json")
    inputs = find_inputs(tmp_path)
    assert ids(inputs) == ["a", "b", "deep/er/b"]
    assert not inputs.single


def test_a_folder_with_one_scan_is_a_folder_of_scans(tmp_path: Path) -> None:
    """So that a cohort of one is written like a cohort of two."""
    touch(tmp_path / "a.mha")
    assert not find_inputs(tmp_path).single


def test_scans_of_one_name_keep_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "a.mha", tmp_path / "a.nii.gz", tmp_path / "b.mhd")
    assert ids(find_inputs(tmp_path)) == ["a.mha", "a.nii.gz", "b"]


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    Series().write(tmp_path / "a")
    touch(tmp_path / "a.mha", tmp_path / "a" / "b.mha")
    assert ids(find_inputs(tmp_path)) == ["a", "a.mha", "a/b"]


def test_names_that_stay_equal_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.mha", tmp_path / "a.nii", tmp_path / "a.nii.mha")
    assert "expected one scan per name, found 2 named a.nii" in why_refused(tmp_path)


def test_links_are_followed_and_rings_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "data" / "images" / "ct" / "1.mha", tmp_path / "elsewhere" / "2.mha")
    (tmp_path / "input").symlink_to(tmp_path / "data")
    assert ids(find_inputs(tmp_path / "input")) == ["images/ct/1"]
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "linked").symlink_to(tmp_path / "elsewhere")
    (cohort / "3.mha").symlink_to(tmp_path / "elsewhere" / "2.mha")
    (cohort / "ring").symlink_to(cohort)
    assert ids(find_inputs(cohort)) == ["3", "linked/2"]


def test_dicom_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Series().write(tmp_path / "patient" / "chest")
    for path in (tmp_path / "patient" / "chest").iterdir():
        path.rename(path.with_suffix(""))
    Series().write(tmp_path / "patient" / "two")
    Series(uid="1.2.9", stem="other").write(tmp_path / "patient" / "two")
    inputs = find_inputs(tmp_path)
    assert ids(inputs) == ["patient/chest", "patient/two/1.2.3", "patient/two/1.2.9"]
    assert [scan.series for scan in inputs.scans] == [None, "1.2.3", "1.2.9"]
    one = find_inputs(tmp_path / "patient" / "chest")
    assert one.single
    assert ids(one) == ["chest"]
    monkeypatch.chdir(tmp_path / "patient" / "chest")
    assert ids(find_inputs(Path())) == ["chest"]


def test_a_folder_of_unreadable_dicom_is_a_scan_that_can_fail(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.dcm")
    assert ids(find_inputs(tmp_path)) == ["a"]


# With inputs.json.


def image_socket(slug: str = "ct", **changes: object) -> Entry:
    """As today's platform describes it."""
    return {
        "title": slug.upper(),
        "slug": slug,
        "kind": "Image",
        "super_kind": "Image",
        "relative_path": f"images/{slug}",
    } | changes


def value_socket() -> Entry:
    return {"slug": "age", "kind": "Integer", "super_kind": "Value", "relative_path": "age.json"}


def write_inputs(root: Path, *entries: Entry) -> Path:
    touch(root / "images" / "ct" / "1.mha", root / "images" / "pet" / "2.mha")
    (root / "inputs.json").write_text(json.dumps(entries))
    return root


@pytest.mark.parametrize(
    "entries",
    [
        [{"socket": image_socket(), "interface": image_socket(), "image": {"pk": "1", "name": "a.mha"}}],
        [{"interface": image_socket(), "value": None, "file": None}],
        [{"socket": {"slug": "ct", "relative_path": "images/ct"}}],
        [{"socket": {"slug": "ct", "super_kind": "Image"}}],
        [{"socket": {"slug": "ct", "is_image_kind": True, "relative_path": "images/ct"}}],
        [{"socket": value_socket(), "value": 63}, {"socket": image_socket()}],
        [
            {"socket": {"slug": "report", "is_image_kind": False, "relative_path": "images/not.json"}},
            {"socket": image_socket()},
        ],
    ],
    ids=["both names", "interface", "path only", "no path", "flag", "beside a value", "flag of another"],
)
def test_the_image_socket_is_found_however_it_is_described(tmp_path: Path, entries: list[Entry]) -> None:
    inputs = find_inputs(write_inputs(tmp_path, *entries))
    assert inputs == Inputs((Scan("images/ct/1", tmp_path / "images" / "ct" / "1.mha"),), single=True)


def test_a_socket_may_name_the_file_or_hold_several(tmp_path: Path) -> None:
    write_inputs(tmp_path, {"socket": image_socket(relative_path="images/ct/1.mha")})
    assert find_inputs(tmp_path).single
    touch(tmp_path / "images" / "ct" / "0.mha")
    write_inputs(tmp_path, {"socket": image_socket()})
    inputs = find_inputs(tmp_path)
    assert ids(inputs) == ["images/ct/0", "images/ct/1"]
    assert not inputs.single


def test_a_dicom_socket(tmp_path: Path) -> None:
    write_inputs(tmp_path, {"socket": image_socket("series", kind="DICOM Image Set")})
    Series().write(tmp_path / "images" / "series")
    inputs = find_inputs(tmp_path)
    assert ids(inputs) == ["images/series"]
    assert inputs.single


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, found Expecting value"),
        ("[{", "expected JSON, found Expecting property name"),
        ("[" * 100_000, "expected JSON, found maximum recursion depth"),
        ("\xff\xfe\x00", "expected JSON, found"),
        ("{}", "expected a list of sockets, found {}"),
        ('["ct"]', 'expected a list of sockets, found ["ct"]'),
        ("[{}]", "expected a description of each socket, found null"),
        ('[{"socket": "ct"}]', 'expected a description of each socket, found "ct"'),
        ("[]", "expected one image socket, found none"),
        (json.dumps([{"socket": value_socket()}]), "expected one image socket, found none"),
        (
            json.dumps([{"socket": image_socket()}, {"socket": image_socket("pet")}]),
            "expected one image socket, found ct, pet",
        ),
        (json.dumps([{"socket": image_socket("mr")}]), "images/mr, found nothing there"),
        (json.dumps([{"socket": image_socket(relative_path="/etc")}]), "expected a path below the input"),
        (json.dumps([{"socket": image_socket(relative_path="images/../..")}]), "expected a path below"),
        (json.dumps([{"socket": image_socket(relative_path=["images/ct"])}]), "expected a path below"),
        (json.dumps([{"socket": image_socket(relative_path="images/\0")}]), "expected a path below"),
    ],
)  # fmt: skip
def test_inputs_json_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    write_inputs(tmp_path)
    (tmp_path / "inputs.json").write_bytes(text.encode("latin-1"))
    found = why_refused(tmp_path)
    assert found.startswith(f"{tmp_path / 'inputs.json'}: ")
    assert message in found


def test_a_socket_without_a_scan(tmp_path: Path) -> None:
    write_inputs(tmp_path, {"socket": image_socket()})
    (tmp_path / "images" / "ct" / "1.mha").rename(tmp_path / "images" / "ct" / "1.tif")
    text = why_refused(tmp_path)
    assert text.startswith(f"{tmp_path / 'images' / 'ct'}: expected a .mha")
    assert text.endswith("found 1.tif")


# What is written.


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
        "box_mm": (np.zeros(3), np.ones(3)),
    }
    return Lesion(**values | changes)


class Settings:
    """What the details say of the detector."""

    operating_point, scan_operating_point, weights_version = 0.5, 0.7, "small"


def prediction(*lesions: Lesion, likelihood: float = 0.75) -> Prediction:
    timings = {"preprocess": 0.1, "network": 0.2, "decode": 0.3}
    return Prediction(lesions, likelihood, timings, ("a warning",), 2.0, 1)


def test_what_is_written_is_what_the_platform_takes(tmp_path: Path) -> None:
    found = prediction(lesion(0.9), lesion(0.5), lesion(0.01))
    values = [points_json(found), details_json(found, Settings(), 0.5, {}), likelihood_json(found)]  # type: ignore[arg-type]
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
            likelihood_json(prediction(likelihood=likelihood))


def test_fingerprint_tells_whether_a_scan_is_the_same(tmp_path: Path) -> None:
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_text("ElementSpacing = 1 1 1\nElementDataFile = a.raw\n")
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
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    write_files(tmp_path / "new" / "folder", {"a": "1", "b": "2"})
    assert files_of(tmp_path) == {"new/folder/a": "1", "new/folder/b": "2"}
    (tmp_path / "new" / "folder" / "c").mkdir()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_files(tmp_path / "new" / "folder", {"a": "3", "c": "4"})
    assert caught.value.filename == str(tmp_path / "new" / "folder" / "c")
    assert files_of(tmp_path) == {"new/folder/a": "1", "new/folder/b": "2"}


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
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
