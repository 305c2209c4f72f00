"""The benchmark on real CT: its case lists on a made folder, and the real data's where they are here."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import DATA
from resources.cases.case import read_cases
from resources.study.real import main
from resources.study.real_data import CROPS, VALIDATION_SCANS, WHOLE, read_split

REAL = DATA / "real"
SPLIT = """id\tpatient\tsplit
big-1\tP1\ttrain
big-2\tP2\ttest
lungdx-a0001\tP3\ttrain
crop-1\tP1\ttrain
crop-2\tP4\ttest
crop-3\tQ1\ttrain
crop-4\tQ4\ttrain
"""
"""By the hash, Q1 is a patient for validation, Q4 one for training."""
TABLE = """scan,patient,id,split,kind,unit,x1,y1,z1,x2,y2,z2,type,status,complete
images/lungdx-a0001.mha,P3,lungdx-a0001,train,box,mm,2,2,4,10,8,8,lung,lesion,none
images/big-2.mha,P2,big-2,train,,,,,,,,,,,none
"""


def write_image(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 4.0))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three whole scans, the first with a mask, the third with a box, and four crops of one nodule each."""
    root = tmp_path / "real"
    empty = np.zeros((3, 8, 8), np.int16)
    mask = np.zeros((3, 8, 8), np.uint8)
    mask[1, 2, 1:4] = 1  # 3 voxels of 2 mm along x
    for name in ("big-1", "big-2", "lungdx-a0001"):
        write_image(root / "scans" / "images" / f"{name}.mha", empty)
    write_image(root / "scans" / "labels" / "big-1.mha", mask)
    mask[1, 6, 6] = 1  # the nodule of the crops is in two pieces
    for name in ("crop-1", "crop-2", "crop-3", "crop-4"):
        write_image(root / "lidc" / "images" / f"{name}.mha", empty)
        write_image(root / "lidc" / "labels" / f"{name}.mha", mask)
    (root / "split.tsv").write_text(SPLIT)
    (root / "scans" / "scans.csv").write_text(TABLE)
    return root


def lists_of(data: Path, out: Path) -> dict[str, list[str]]:
    assert main([f"--data={data}", f"--write-cases={out}", "--processes=1"]) == 0
    return {path.stem: [case.id for case in read_cases(path)] for path in sorted(out.glob("*.jsonl"))}


def test_case_lists_of_a_made_folder(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists"
    assert lists_of(data, out) == {
        "train": ["big-1", "crop-1", "crop-4"],
        "train-crops": ["crop-1", "crop-4"],
        "train-marked": ["big-1"],
        "train-unmarked": [],
        "validation": ["lungdx-a0001", "crop-3"],
        "validation-crops": ["crop-3"],
        "validation-marked": ["lungdx-a0001"],
        "validation-unmarked": [],
        "test": ["big-2", "crop-2"],
        "test-crops": ["crop-2"],
        "test-marked": [],
        "test-unmarked": ["big-2"],
        "benchmark-validation": ["lungdx-a0001", "crop-3"],
        "benchmark-test": ["big-2", "crop-2"],
    }
    lists = [read_cases(out / f"{split}.jsonl") for split in ("train", "validation")]
    by_id = {case.id: case for cases in lists for case in cases}
    mask = by_id["big-1"].annotations[0]
    assert (mask.long_mm, mask.z_extent_mm, mask.type) == (6.0, 4.0, "lung")
    assert len(by_id["crop-1"].annotations) == 1  # one nodule, though in two pieces
    assert by_id["crop-1"].patient == by_id["big-1"].patient == "P1"
    box = by_id["lungdx-a0001"].annotations[0]
    assert (box.lower, box.upper) == ((1.0, 1.0, 1.0), (5.0, 4.0, 2.0))
    assert {case.completeness.kind for case in by_id.values()} == {"none"}
    whole, crop = read_cases(out / "benchmark-validation.jsonl")
    assert (whole.source, whole.completeness.kind, crop.source, crop.completeness.kind) == (
        WHOLE, "all", CROPS, "none",
    )  # fmt: skip


def test_what_is_wrong_with_the_data_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "scans" / "images" / "big-2.mha").unlink()
    assert main([f"--data={data}", f"--write-cases={tmp_path / 'lists'}", "--processes=1"]) == 2
    error = capsys.readouterr().err
    assert "big-2" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "lists").glob("train*.jsonl"))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here")
def test_split_of_the_real_data() -> None:
    rows = read_split(REAL)
    names = ("train", "validation", "test")
    patients = {split: {row.patient for row in rows if row.split == split} for split in names}
    counts = {split: (sum(row.split == split for row in rows), len(own)) for split, own in patients.items()}
    assert counts == {"train": (355, 198), "validation": (117, 66), "test": (254, 141)}
    assert not patients["train"] & patients["validation"]
    assert not (patients["train"] | patients["validation"]) & patients["test"]
    assert {row.id for row in rows if row.split == "validation"} >= set(VALIDATION_SCANS)
