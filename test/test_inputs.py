"""Which scans an input folder holds, and what is written for each."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import Series
from model.inputs import Inputs, Scan, find_inputs
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
    suffixes = ".mha, .mhd, .nhdr, .nii, .nii.gz, .nrrd"
    assert text.startswith(f"{tmp_path}: expected a {suffixes} file or a DICOM series")
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
    (root / "inputs.json").write_text(json.dumps(entries), encoding="utf-8")
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
