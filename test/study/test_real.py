"""The benchmark on real CT, on made scans; and the split of the real data, where they are here."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from evaluation.scenario import ball, write_prediction

from helpers import DATA, SMALL, image_of, phantom
from model.detector import save_weights
from model.network import CenterNet3D
from resources.cases.case import Annotation, Case, ImageSource, read_cases
from resources.evaluation.evaluation import Evaluation
from resources.study.detector_tables import REAL as FOLDER
from resources.study.detector_tables import with_detector_tables
from resources.study.real import evaluated, main, predict, read_cases_of
from resources.study.real_data import (
    CROPS,
    VALIDATION_SCANS,
    WHOLE,
    of_fifth,
    read_case,
    read_split,
    with_marks,
)
from resources.study.real_figures import figures_of, text_of, weights_of
from resources.study.real_page import detections_of

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


SPACING = (2.0, 2.0, 4.0)


def write_image(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(voxels, SPACING, (0.0, 0.0, 0.0)), str(path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three whole scans, the first with a mask, the third with a box, and four crops of one nodule each."""
    root = tmp_path / "real"
    scan = phantom((6, 40, 48))
    mask = np.zeros(scan.shape, np.uint8)
    mask[1, 2, 1:4] = 1  # 3 voxels of 2 mm along x
    for name in ("big-1", "big-2", "lungdx-a0001"):
        write_image(root / "scans" / "images" / f"{name}.mha", scan)
    write_image(root / "scans" / "labels" / "big-1.mha", mask)
    mask[1, 6, 6] = 1  # the nodule of the crops is in two pieces
    for name in ("crop-1", "crop-2", "crop-3", "crop-4"):
        write_image(root / "lidc" / "images" / f"{name}.mha", scan)
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


def made(name: str, patient: str, source: str, *lesions: Annotation) -> Case:
    """A case whose image is not there."""
    return Case(name, patient, source, "test", ImageSource(f"{name}.mha"), lesions)


@pytest.fixture
def counted(tmp_path: Path) -> tuple[list[Case], Path]:
    """Two whole scans with a lesion each and three false positives between them; three crops with a nodule
    of 5, 8 and 12 mm. Lesions lie at x = 0, false positives far off. A's whole scan and crop are of one
    patient.
    """
    found = [
        (made("whole-1", "A", WHOLE, ball(0)), [(0, 0.9), (100, 0.8), (200, 0.7)]),
        (made("whole-2", "B", WHOLE, ball(0)), [(100, 0.6), (0, 0.5)]),
        (made("crop-5", "A", CROPS, ball(0, diameter=5)), [(100, 0.99), (0, 0.75)]),
        (made("crop-8", "C", CROPS, ball(0, diameter=8)), [(0, 0.55)]),
        (made("crop-12", "D", CROPS, ball(0, diameter=12)), [(0, 0.05)]),
    ]
    for case, rows in found:
        write_prediction(tmp_path / case.id, [((x, 0, 0), p) for x, p in rows])
    return [case for case, _ in found], tmp_path


def sensitivity(figures: dict[str, Any], column: str) -> dict[str, float]:
    return {title: group["sensitivity"][column]["value"] for title, group in figures["groups"].items()}


def test_stored_results_become_a_table_of_the_page(counted: tuple[list[Case], Path], tmp_path: Path) -> None:
    """Of two nodules of 6 mm or more one is above 0.5, the operating point; 3 false positives in two scans
    are at or above it, and one in three crops. A file of another split has no place in this page.
    """
    figures = figures_of(evaluated(*counted, {}), "luna16_distance")
    results = {"weights": "small", "weights_sha256": "0123456789abcdef", "commit": "fedcba9876"}
    results |= {"rules": {"luna16_distance": figures}}
    (tmp_path / FOLDER).mkdir()
    for split in ("validation", "test"):
        text = json.dumps(results | {"split": split}, allow_nan=False)
        (tmp_path / FOLDER / f"{split}.json").write_text(text, encoding="utf-8")
    page = "a\n<!-- study: real validation -->\nold\n<!-- end of study: real validation -->\nb\n"
    lines = with_detector_tables(page, tmp_path).splitlines()
    assert [*lines[:2], *lines[-2:]] == [*page.splitlines()[:2], *page.splitlines()[-2:]]
    cells = [line.strip("| ").split(" | ") for line in lines[2:-2]]
    title = "nodules of 6 mm or more (2), sensitivity at false positives a whole scan"
    assert cells[0][:4] == [title, "1", "4", "8"]
    assert cells[2][0] == "small (0123456789ab)"
    wanted = [".000", "1.000", "1.000", ".500", "1.500", ".333"]
    assert [cell.split()[0] for cell in cells[2][1:7]] == wanted
    assert cells[2][7] == "fedcba9"
    assert len(cells) == 3


def test_sensitivity_at_false_positives_of_the_whole_scans(counted: tuple[list[Case], Path]) -> None:
    """Two scans allow two false positives at 1 a scan, so only what is above 0.6 counts there; what is found
    beside the nodule of a crop, at 0.99, counts there alone.
    """
    figures = figures_of(evaluated(*counted, {}), "luna16_distance")
    lesions = {title: group["lesions"] for title, group in figures["groups"].items()}
    assert lesions == {
        "whole-scan lesions": 2,
        "LIDC nodules": 3,
        "nodules below 6 mm": 1,
        "nodules 6 to 10 mm": 1,
        "nodules above 10 mm": 1,
        "nodules of 6 mm or more": 2,
    }
    assert list(sensitivity(figures, "at 1 FP").values()) == pytest.approx([1 / 2, 1 / 3, 1, 0, 0, 0])
    assert list(sensitivity(figures, "at 4 FP").values()) == [1, 1, 1, 1, 1, 1]
    assert list(sensitivity(figures, "p >= 0.5").values()) == pytest.approx([1, 2 / 3, 1, 1, 0, 1 / 2])
    assert figures["false_positives_per_whole_scan"]["p >= 0.5"]["value"] == 1.5
    per_crop = {p: one["value"] for p, one in figures["false_positives_per_crop"].items()}
    assert per_crop == {"p >= 0.1": pytest.approx(1 / 3), "p >= 0.5": pytest.approx(1 / 3)}
    assert figures["probability_above_which"] == {"at 1 FP": 0.6, "at 4 FP": None, "at 8 FP": None}
    text = text_of(figures, "luna16_distance", "made")
    assert "p >= 0.5, op. point" in text
    row = next(line for line in text.splitlines() if line.startswith("whole-scan lesions (2)"))
    assert "0.50 (" in row
    assert "0.33 (" in next(line for line in text.splitlines() if line.startswith("beside nodules, a crop"))


def test_patients_are_resampled_with_all_their_scans(counted: tuple[list[Case], Path]) -> None:
    weights = weights_of(evaluated(*counted, {}).truths)
    whole_1, whole_2, crop_5, crop_8, crop_12 = weights.T
    assert (whole_1 == crop_5).all()
    assert (whole_1 + whole_2 == 2).all()  # every resample has whole scans to take thresholds from
    assert (crop_8 + crop_12 == 2).all()
    assert set(whole_1) == set(crop_8) == {0, 1, 2}


def test_in_a_refused_whole_scan_no_false_positives_are_counted(counted: tuple[list[Case], Path]) -> None:
    cases, folder = counted
    shutil.rmtree(folder / "whole-1")
    figures = figures_of(evaluated(cases, folder, {"whole-1": "cannot be HU"}), "luna16_distance")
    assert figures["false_positives_per_whole_scan"]["p >= 0.5"]["value"] == 1
    assert sensitivity(figures, "p >= 0.5")["whole-scan lesions"] == 0.5


def test_page_lists_what_is_above_the_operating_point(counted: tuple[list[Case], Path]) -> None:
    def listed(evaluation: Evaluation) -> list[tuple[str, int]]:
        return [(fate, failure.case) for fate, failure in detections_of(evaluation, "luna16_distance")]

    hit, false = "hit", "false positive"
    assert listed(evaluated(*counted, {})) == [(hit, 0), (false, 0), (false, 0), (false, 1), (hit, 1)]
    cases, folder = counted
    shutil.rmtree(folder / "whole-2")
    write_prediction(folder / "whole-2", [((0, 0, 0), 0.49)])
    assert listed(evaluated(cases, folder, {}))[3:] == [("missed lesion", 1)]


def test_from_scans_to_the_page(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scan that the reader refuses is named; the same command goes on where it stopped. Nothing is above
    the operating point, so the page shows the lesion that was missed.
    """
    weights = tmp_path / "weights"
    weights.mkdir()
    config = dataclasses.replace(SMALL, operating_point=0.999)
    save_weights(weights / "small.safetensors", CenterNet3D(config).eval(), config)
    hu = np.full((6, 40, 48), 7, np.int16)
    write_image(data / "lidc" / "images" / "crop-3.mha", hu)
    out = tmp_path / "out"
    command = [f"--data={data}", f"--weights={weights}", f"--out={out}", "--processes=1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "1 scans could not be predicted, so are missed: crop-3" in printed
    results = json.loads(next(out.glob("results-validation-*.json")).read_text(encoding="utf-8"))
    assert results["scans"] == {"whole": 1, "crops": 1}
    assert results["refused_by_the_reader"] == ["crop-3"]
    assert list(results["rules"]) == ["luna16_distance", "point_inside", "iou_0.1"]
    nodules = results["rules"]["luna16_distance"]["groups"]["LIDC nodules"]
    assert nodules["sensitivity"]["p >= 0.999"]["value"] == 0
    page = next(out.glob("page-validation-*.html")).read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("missed lesion") == 1
    assert page.count("<img ") == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("lesion-*.json")}
    cases = read_cases_of(data, [row for row in read_split(data) if row.split == "validation"], out, 1)
    (predictions,) = (path for path in (out / "predictions").iterdir() if path.is_dir())
    assert list(predict(cases, weights, predictions, 1)) == ["crop-3"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("lesion-*.json")} == before != {}


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


def test_marks_are_measured_from_masks_and_half_of_them_hidden(data: Path, tmp_path: Path) -> None:
    cases = [read_case(data, row) for row in read_split(data) if row.id == "crop-3"]
    masked = dataclasses.replace(cases[0], annotations=cases[0].annotations * 8)
    found = with_marks(masked)
    assert 0 < len(found.annotations) < 8
    mark = found.annotations[0]
    assert (mark.kind, mark.type, mark.mask, mark.long_mm) == ("recist", "lung", None, 6.0)
    assert mark.long is not None
    assert sorted(mark.long) == [(0.5, 2.0, 1.0), (3.5, 2.0, 1.0)]
    assert with_marks(masked) == found
    people = [dataclasses.replace(cases[0], patient=f"P{n}") for n in range(200)]
    fifth = of_fifth(people, True)
    assert 25 < len(fifth) < 55
    assert len(fifth) + len(of_fifth(people, False)) == 200
