"""The log of mined lesions and its pictures, read back."""

import dataclasses
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from model.geometry import Geometry
from model.preprocess import AIR_HU
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, Finding, ImageSource
from resources.review.planes import AROUND_MM, window_of
from resources.training.reports.audit import (
    Mined,
    chosen,
    crop,
    draw_sheet,
    mined_of,
    write_log,
)
from resources.training.reports.pseudo_labels import PseudoLesion

LESION = PseudoLesion((20.0, 30.0, 11.0), (9.0, 6.0, 8.0), "liver", "positive", 0.8, "teacher", 0.9, 2)
FINDING = Finding("liver", "liver", span=(17, 42))
CASE = Case("a/b", "p", "s", "train", ImageSource("a.mha"), findings=(Finding(None, "lung"), FINDING))


def scan_of(hu: int = 50) -> CachedScan:
    """24 x 20 x 16 mm (z, y, x) from (8, 20, 0) in voxels of 2 mm; the image: 5 mm slices, head first."""
    array = np.zeros((3, 12, 10, 8), np.int16)
    array[HU] = hu
    array[HU, 5, 5, 6] = 1000  # at (20, 30, 10)
    place = Geometry((16, 20, 5), (1.0, 1.0, 5.0), (8.0, 20.0, 22.0), np.diag([1.0, 1.0, -1.0]))
    return CachedScan(array, (0, 10, 4), 2.0, place, {}, "")


def test_every_mined_lesion_is_one_line(tmp_path: Path) -> None:
    reported = dataclasses.replace(LESION, source="report", finding=1, size_mm=(12.0, None, None), type=None)
    doubtful = dataclasses.replace(LESION, verdict="doubtful")
    lines = mined_of(CASE, scan_of(), (doubtful, LESION, reported))
    write_log(tmp_path / "audit.jsonl", lines)
    first, second = map(json.loads, (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines())
    # z 11 is (22 - 11) / 5 = 2.2 slices below the first.
    same = {
        "case": "a/b",
        "place_mm": [20, 30, 11],
        "slice": 2,
        "probability": 0.9,
        "rounds": 2,
        "weight": 0.8,
    }
    assert first == same | {
        "size_mm": [9, 6, 8], "type": "liver", "source": "teacher", "finding": None, "span": None
    }  # fmt: skip
    assert second == same | {
        "size_mm": [12, None, None], "type": None, "source": "report", "finding": 1, "span": [17, 42]
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["audit.jsonl"]


def mined(probability: float, case: str = "a") -> Mined:
    (line,) = mined_of(dataclasses.replace(CASE, id=case), scan_of(), [LESION])
    return dataclasses.replace(line, probability=probability)


def test_pictures_are_chosen_evenly_from_the_surest_to_the_least_sure() -> None:
    lines = [mined(p / 10) for p in (3, 9, 5, 7, 1)]
    assert chosen(lines, 9) == [1, 3, 2, 0, 4]
    assert chosen(lines, 3) == [1, 2, 4]
    assert chosen(lines, 2) == [1, 4]
    assert chosen(lines, 1) == [1]
    assert chosen(lines, 0) == chosen([], 3) == []
    equals = [mined(0.5, case) for case in "bca"]
    assert chosen(equals, 2) == [2, 1]


def test_crops_are_centred_with_the_head_up_and_air_beyond() -> None:
    """The bright voxel is where the place is said to be; 4 voxels to each side of it."""
    for axis in range(3):
        image, (column, row) = crop(scan_of(), (20.0, 30.0, 10.0), axis, 16.0)
        assert image.shape == (9, 9)
        assert (column, row) == (4, 4)
        assert image[4, 4] == 1000
        assert (image == 1000).sum() == 1
    # x is voxels 2 to 10 of 8, so the last three columns are air.
    axial, _ = crop(scan_of(), (20.0, 30.0, 10.0), 0, 16.0)
    assert (axial == AIR_HU).all(0).tolist() == [False] * 6 + [True] * 3
    array = scan_of().array.copy()
    array[HU, 9] = 77
    above, (_, row) = crop(dataclasses.replace(scan_of(), array=array), (20.0, 30.0, 10.8), 1, 16.0)
    assert (above[0, :6] == 77).all()  # z 9 is the highest of the crop
    assert row == pytest.approx(4 - 0.4)


def shown_in(lesion: Mined, scan: CachedScan) -> str:
    return window_of(crop(scan, lesion.place_mm, 0, 2 * AROUND_MM)[0], lesion.type)


def test_the_window_suits_the_place_before_the_type() -> None:
    lung = dataclasses.replace(mined(0.9), type="lung")
    bone = dataclasses.replace(lung, type="bone")
    array = np.full((3, 40, 40, 40), 50, np.int16)
    scan = dataclasses.replace(scan_of(), array=array, lower=(0, 0, 0))
    assert [shown_in(m, scan) for m in (lung, bone)] == ["soft tissue", "bone"]
    array[:, :, :, :9] = -800  # x up to 16 mm of the square from -6 to 44 mm
    assert [shown_in(m, scan) for m in (lung, bone)] == ["lung", "lung"]


def test_the_sheet_shows_what_was_mined(tmp_path: Path) -> None:
    """Three lesions make two rows; the same bytes twice."""
    unknown = dataclasses.replace(mined(0.4), type=None, size_mm=(None, None, None))
    pairs = [(mined(0.9), scan_of()), (mined(0.5), scan_of()), (unknown, scan_of(-900))]
    for name in ("one.png", "two.png"):
        draw_sheet(tmp_path / name, pairs, "Round 1: 3 of 3 mined lesions")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    image = matplotlib.image.imread(tmp_path / "one.png")
    assert image.shape[:2] == (40 + 2 * 265, 2 * 680)
    gray = image[..., :3].mean(-1)
    assert gray[90:300, 10:225].max() > 0.5
    assert gray[310:, 690:].max() < 0.05  # no fourth lesion
