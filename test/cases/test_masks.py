"""Folders of images and masks, and ULS23, on small files in those layouts and on genuine scans."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cases.layouts import write_image

from model.volume import InputError
from resources.cases.__main__ import main
from resources.cases.case import CaseError, read_cases
from resources.cases.masks import Job, convert_pair, convert_uls23, find_pairs, number_components, uls23_jobs

SARCOMA = Path(__file__).parents[3] / "shared" / "data" / "ct" / "sarcoma"


def ct(shape: tuple[int, int, int] = (4, 10, 12)) -> np.ndarray:
    return np.zeros(shape, np.int16)


def labels() -> np.ndarray:
    """An organ (1) with two lesions (2) of 4 x 1 and 3 x 2 pixels; the second on two slices."""
    values = np.zeros((4, 10, 12), np.uint8)
    values[:, 1:9, 1:11] = 1
    values[1, 2, 2:6] = 2
    values[2:4, 5:7, 6:9] = 2
    return values


def job(folder: Path, **changes: object) -> Job:
    base = {
        "name": "a", "patient": "p", "source": "s", "split": "train", "image": folder / "a_0000.nii.gz",
        "mask": folder / "a.nii.gz", "components": folder / "parts", "lesions": {2: "liver"},
        "organs": {1: "liver"},
    }  # fmt: skip
    return Job(**{**base, **changes})  # type: ignore[arg-type]


def test_components_are_lesions_with_axes(tmp_path: Path) -> None:
    write_image(tmp_path / "a_0000.nii.gz", ct())
    write_image(tmp_path / "a.nii.gz", labels())
    case = convert_pair(job(tmp_path, complete="organs"))
    assert [(a.long_mm, a.short_mm, a.z_extent_mm) for a in case.annotations[:1]] == [(4, 1, 3)]
    second = case.annotations[1]
    assert second.z_extent_mm == 6
    assert second.long_mm == pytest.approx(np.hypot(2, 2), abs=0.5)
    assert case.completeness.organ_values == {"liver": (1,)}
    parts = sitk.ReadImage(str(tmp_path / "parts" / "a.nii.gz"))
    assert [a.label for a in case.annotations] == [1, 2]
    assert parts.GetOrigin() == (5.0, 6.0, 7.0)
    assert (sitk.GetArrayFromImage(parts) == 2).sum() == 12


def test_diagonal_neighbours_are_one_lesion_and_values_stay_apart() -> None:
    values = np.zeros((2, 4, 4), np.uint8)
    values[0, 0, 0] = values[1, 1, 1] = 1
    values[0, 3, 3] = 1
    values[0, 3, 2] = 2
    numbered, owners = number_components(values, [1, 2])
    assert owners == [1, 1, 2]
    assert numbered[0, 0, 0] == numbered[1, 1, 1] != numbered[0, 3, 3]


@pytest.mark.parametrize(
    ("mask", "spacing", "expected"),
    [
        (
            np.zeros((4, 10, 11), np.uint8),
            (1, 1, 3),
            "a mask of the image's (12, 10, 4) voxels, found (11, 10, 4)",
        ),
        (
            np.zeros((4, 10, 12), np.uint8),
            (1, 1, 5),
            "expected a mask on the image's grid, found it 6.0 mm off",
        ),
        (np.full((4, 10, 12), 7, np.uint8), (1, 1, 3), "labels: expected only [0, 1, 2], found [7]"),
        (
            np.full((4, 10, 12), 0.5, np.float32),
            (1, 1, 3),
            "expected whole numbers as labels, found fractions",
        ),
    ],
)
def test_masks_that_are_refused(tmp_path: Path, mask: np.ndarray, spacing: tuple, expected: str) -> None:
    write_image(tmp_path / "a_0000.nii.gz", ct())
    write_image(tmp_path / "a.nii.gz", mask, spacing)
    with pytest.raises((CaseError, InputError)) as error:
        convert_pair(job(tmp_path))
    assert expected in str(error.value)


def test_pairs_of_both_layouts(tmp_path: Path) -> None:
    for name in ("images/a_0000.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "labels/b.nii.gz"):
        write_image(tmp_path / name, ct())
    assert [p[0] for p in find_pairs(tmp_path / "images", tmp_path / "labels")] == ["a", "b"]
    write_image(tmp_path / "labels/c.nii.gz", ct())
    with pytest.raises(CaseError, match="expected its image c or c_0000"):
        find_pairs(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(CaseError, match="expected label images"):
        find_pairs(tmp_path / "images", tmp_path / "none")


def test_uls23_of_both_kinds(tmp_path: Path) -> None:
    lesion = np.zeros((6, 16, 16), np.uint8)
    lesion[2:5, 7:10, 6:11] = 1
    full = tmp_path / "novel_data" / "ULS23_Radboudumc_Bone"
    part = tmp_path / "processed_data" / "partially_annotated" / "DeepLesion"
    for folder, name, kind in (
        (full, "b1_lesion_01", "labels"),
        (part, "000010_02_02_100_lesion_01", "labels_grabcut"),
    ):
        write_image(folder / "images" / f"{name}.nii.gz", ct((6, 16, 16)))
        mask = lesion if folder == full else lesion * (np.arange(6) == 3)[:, None, None]
        write_image(folder / kind / f"{name}.nii.gz", mask.astype(np.uint8))
    jobs = uls23_jobs(tmp_path, 0.0, 0.0, {"DeepLesion-000010": "test"})
    whole, flat = (convert_uls23(j) for j in jobs)
    assert whole.annotations[0].type == "bone"
    assert whole.completeness.region == ((5.5, 6.5, 1.5), (10.5, 9.5, 4.5))
    assert (whole.annotations[0].kind, whole.annotations[0].z_extent_mm) == ("mask", 9)
    assert (flat.patient, flat.split, flat.completeness.kind) == ("DeepLesion-000010", "test", "none")
    (mark,) = flat.annotations
    assert (mark.kind, mark.z_extent_mm) == ("recist", None)
    assert mark.long is not None
    assert {end[2] for end in mark.long} == {3}
    assert np.mean(mark.long, 0).tolist() == pytest.approx([8, 8, 3], abs=0.6)


def test_command_line_from_folders_to_a_checked_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "imagesTr/a_0000.nii.gz", ct())
    write_image(tmp_path / "labelsTr/a.nii.gz", labels())
    out = tmp_path / "out" / "cases.jsonl"
    given = ["masks", "--images", str(tmp_path / "imagesTr"), "--labels", str(tmp_path / "labelsTr")]
    given += ["--source", "site", "--lesion", "2=liver", "--organ", "1=liver", "--complete", "organs"]
    assert main([*given, "--processes", "1", "--out", str(out)]) == 0
    assert main(["check", str(out), "--processes", "1"]) == 0
    (case,) = read_cases(out)
    assert (case.id, case.patient, len(case.annotations)) == ("a", "site-a", 2)
    write_image(tmp_path / "labelsTr/a.nii.gz", labels()[:, :5])
    assert main([*given, "--processes", "1", "--out", str(tmp_path / "other.jsonl")]) == 2
    assert "expected a mask of the image's (12, 10, 4) voxels" in capsys.readouterr().err
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.skipif(not SARCOMA.exists(), reason="the genuine scans are not here")
def test_genuine_tumours_in_nnu_net_layout(tmp_path: Path) -> None:
    for name in ("STS_002", "STS_010"):
        for kind, target in (("image", f"imagesTr/{name}_0000.nii.gz"), ("mask", f"labelsTr/{name}.nii.gz")):
            (tmp_path / target).parent.mkdir(exist_ok=True)
            (tmp_path / target).symlink_to(SARCOMA / f"{name}_CT_{kind}.nii.gz")
    for name, image, mask in find_pairs(tmp_path / "imagesTr", tmp_path / "labelsTr"):
        case = convert_pair(
            Job(name, name, "s", "train", image, mask, tmp_path / "parts", {1: "soft tissue"})
        )
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))
        largest = max(a.long_mm or 0 for a in case.annotations)
        assert 20 < largest < 200
        assert len(case.annotations) == number_components(voxels, [1])[0].max()
