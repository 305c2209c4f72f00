"""However the demo scan is stored, and in tiles or whole, process.py gives the same points in mm.

The network sees nothing of a scan but its preprocessed grid. So all 48 orders of the axes are compared there,
and four of them, which turn every axis into every other and both ways, go through the whole pipeline.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import process
from helpers import ROOT
from model.preprocess import Grid, preprocess
from model.volume import read_volume

SCAN = next((ROOT / "test" / "input" / "images").rglob("*.mha"))
ORDERS = list(itertools.permutations(range(3)))
FINE_MM = 1.0
FLIPS = list(itertools.product((False, True), repeat=3))
THROUGH_THE_NETWORK = [
    ((1, 2, 0), (False, True, False)),
    ((2, 0, 1), (True, False, True)),
    ((2, 1, 0), (False, False, True)),
    ((0, 2, 1), (True, True, False)),
]

Points = list[dict[str, Any]]


def detect(scan: Path, out: Path, *options: str) -> None:
    arguments = ["--device", "cpu", "--input", str(scan), "--output", str(out), *options]
    assert process.main(arguments) == 0


def points_of(folder: Path) -> Points:
    points: Points = json.loads((folder / "lesion-points.json").read_text(encoding="utf-8"))["points"]
    return points


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Points:
    folder = tmp_path_factory.mktemp("expected")
    detect(SCAN, folder)
    return points_of(folder)


def check_same(expected: Points, found: Points, mm: float, probability: float) -> None:
    """One to one above 0.1; what lies below is only compared where the partner is not."""
    left = list(found)
    for point in expected:
        if point["probability"] < 0.1:
            continue
        nearest = min(left, key=lambda other: math.dist(point["point"], other["point"]))
        assert math.dist(point["point"], nearest["point"]) <= mm, (point, nearest)
        assert abs(point["probability"] - nearest["probability"]) <= probability, (point, nearest)
        assert point["name"] == nearest["name"], (point, nearest)
        left.remove(nearest)
    assert [point for point in left if point["probability"] >= 0.1 + probability] == []


def test_the_demo_scan_can_prove_something(expected: Points) -> None:
    """At least five findings above 0.3, which no mirror or turn maps onto each other."""
    sure = np.array([point["point"] for point in expected if point["probability"] > 0.3])
    assert len(sure) >= 5
    centred = sure - sure.mean(0)
    for order, flips in itertools.product(ORDERS, FLIPS):
        if order == (0, 1, 2) and not any(flips):
            continue
        turned = centred[:, list(order)] * np.where(flips, -1, 1)
        nearest = np.linalg.norm(centred[:, None] - turned[None], axis=2).min(0)
        assert nearest.max() > 10, (order, flips)


def write_stored(image: sitk.Image, folder: Path, order: tuple[int, ...], flips: tuple[bool, ...]) -> Path:
    """The same scan in a file, its index axes reordered and reversed."""
    name = "".join("xyz"[axis] for axis in order) + "".join("-" if flip else "+" for flip in flips)
    stored = sitk.Flip(sitk.PermuteAxes(image, list(order)), list(flips), False)
    sitk.WriteImage(stored, str(folder / f"{name}.mha"))
    return folder / f"{name}.mha"


def grid_of(scan: Path) -> Grid:
    return preprocess(read_volume(scan), 2.0, 8)


def test_all_axis_orders_and_flips_give_the_same_grid(tmp_path: Path) -> None:
    image, expected = sitk.ReadImage(str(SCAN)), grid_of(SCAN)
    for order, flips in itertools.product(ORDERS, FLIPS):
        stored = write_stored(image, tmp_path, order, flips)
        found = grid_of(stored)
        assert found.lower == expected.lower, (order, flips)
        apart = (found.hu.int() - expected.hu.int()).abs().max()
        assert apart <= 1, (order, flips)  # sums in another order, then rounded
        stored.unlink()


def test_four_orders_give_the_same_points(expected: Points, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(SCAN))
    for order, flips in THROUGH_THE_NETWORK:
        write_stored(image, tmp_path, order, flips)
    detect(tmp_path, tmp_path / "out")
    folders = sorted(path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(folders) == len(THROUGH_THE_NETWORK)
    for folder in folders:
        check_same(expected, points_of(folder), 0.5, 0.01)


def resampled(image: sitk.Image, direction: npt.NDArray[np.float64]) -> sitk.Image:
    """The same patient on a finer and larger grid that is turned around the scan's middle."""
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    half = np.array(image.GetSize()) * image.GetSpacing() / 2 * 1.3
    size = (2 * half / FINE_MM).astype(int)
    origin = np.array(middle) - direction @ (FINE_MM * (size - 1) / 2)
    return sitk.Resample(
        image, size.tolist(), sitk.Transform(), sitk.sitkBSpline3, origin.tolist(), [FINE_MM] * 3,
        direction.ravel().tolist(), -1024, sitk.sitkInt16,
    )  # fmt: skip


@pytest.mark.slow
def test_an_oblique_direction(tmp_path: Path) -> None:
    """Sampled finely, straight and turned by 20 and 10 degrees, so that both copies hold what the scan holds.

    A coarse scan is blurred by each further interpolation, whatever its direction. Both copies have the
    same air around the scan: what lies beyond a border changes what is found near it.
    """
    image = sitk.ReadImage(str(SCAN))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(math.radians(10), 0, math.radians(20))
    directions = {"straight": np.eye(3), "oblique": np.array(turn.GetMatrix()).reshape(3, 3)}
    for name, direction in directions.items():
        sitk.WriteImage(resampled(image, direction), str(tmp_path / f"{name}.mha"))
        detect(tmp_path / f"{name}.mha", tmp_path / name)
    straight, oblique = (points_of(tmp_path / name) for name in directions)
    assert sum(point["probability"] > 0.3 for point in straight) >= 5
    check_same(straight, oblique, 2.0, 0.03)


def test_tiles(tmp_path: Path) -> None:
    """A budget so small that the scan, its mirror image and the scan again, one on the other, go in tiles."""
    image = sitk.ReadImage(str(SCAN))
    hu = sitk.GetArrayFromImage(image)
    tall = sitk.GetImageFromArray(np.concatenate([hu, hu[::-1], hu]))
    tall.SetSpacing(image.GetSpacing())
    sitk.WriteImage(tall, str(tmp_path / "tall.mha"))
    detect(tmp_path / "tall.mha", tmp_path / "whole", "--memory-gb", "4")
    detect(tmp_path / "tall.mha", tmp_path / "tiles", "--memory-gb", "0.05")
    tiles = [
        json.loads((tmp_path / name / "lesion-details.json").read_text(encoding="utf-8"))["tiles"]
        for name in ("whole", "tiles")
    ]
    assert tiles[0] == 1
    assert tiles[1] > 4
    whole, tiled = points_of(tmp_path / "whole"), points_of(tmp_path / "tiles")
    check_same(whole, tiled, 0.1, 1e-3)
    assert len(tiled) == pytest.approx(len(whole), abs=1)  # one may cross the reporting limit of 0.01
