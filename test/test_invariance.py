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
from helpers import ROOT, SMALL, lively, read_here
from model.detector import save_weights
from model.preprocess import Grid, preprocess

SCAN = next((ROOT / "test" / "input" / "images").rglob("*.mha"))
ORDERS = list(itertools.permutations(range(3)))
GRID_MM = 4.0
"""Twice that of the network, which costs an eighth; what a turn or a mirror does to a grid is the same."""
FINE_MM = 0.75
"""Where voxels lie moves the weights more than a turn: straight copies of 1 mm, half a voxel apart, differ by
up to .064 in probability, turned ones by .032; turned ones of 0.75 mm by .024, of 0.6 mm by .040."""
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
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the demo scan, which goes through the network in one piece."""
    folder = tmp_path_factory.mktemp("whole")
    detect(SCAN, folder)
    return folder


@pytest.fixture(scope="module")
def expected(whole: Path) -> Points:
    return points_of(whole)


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
    return preprocess(read_here(scan), GRID_MM, 8)


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


def tiles_of(folder: Path) -> int:
    return int(json.loads((folder / "lesion-details.json").read_text(encoding="utf-8"))["tiles"])


def check_tiled(memory_gb: str, scan: Path, whole: Path, tiled: Path, *options: str) -> None:
    """With a budget so small that the scan goes in tiles it gives what it gave whole."""
    detect(scan, tiled, "--memory-gb", memory_gb, *options)
    expected, found = points_of(whole), points_of(tiled)
    check_same(expected, found, 0.1, 1e-3)
    assert len(found) == pytest.approx(len(expected), abs=1)  # one may cross the reporting limit of 0.01


@pytest.mark.slow
def test_in_two_tiles_with_the_weights_that_ship(whole: Path, tmp_path: Path) -> None:
    check_tiled("0.05", SCAN, whole, tmp_path)
    assert (tiles_of(whole), tiles_of(tmp_path)) == (1, 2)


def test_in_many_tiles(tmp_path: Path) -> None:
    """The scan and its mirror image, one on the other, through a small network, which reaches less far."""
    network, types = lively(), slice(len(SMALL.types))
    network.out.weight.data[types] *= 40  # tens of points above 0.1, none of them where all voxels are alike
    network.out.bias.data[types] = -15.84
    (tmp_path / "weights").mkdir()
    save_weights(tmp_path / "weights" / "small.safetensors", network, SMALL)
    image = sitk.ReadImage(str(SCAN))
    hu = sitk.GetArrayFromImage(image)
    tall = sitk.GetImageFromArray(np.concatenate([hu, hu[::-1]]))
    tall.SetSpacing(image.GetSpacing())
    sitk.WriteImage(tall, str(tmp_path / "tall.mha"))
    small = ("--weights", str(tmp_path / "weights"))
    detect(tmp_path / "tall.mha", tmp_path / "whole", "--memory-gb", "4", *small)
    check_tiled("0.4", tmp_path / "tall.mha", tmp_path / "whole", tmp_path / "tiles", *small)
    assert 20 <= sum(point["probability"] >= 0.1 for point in points_of(tmp_path / "whole")) < 100
    assert tiles_of(tmp_path / "whole") == 1
    assert tiles_of(tmp_path / "tiles") > 4
