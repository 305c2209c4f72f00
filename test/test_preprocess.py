"""The grid that the network sees: the same however a scan is stored, with HU and mm kept."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.preprocess import Grid, preprocess
from model.volume import Volume


def body(shape: tuple[int, int, int] = (20, 24, 28), seed: int = 0) -> np.ndarray:
    """(z, y, x) int16: noise in a box of soft tissue that lies nowhere central, air around."""
    hu = np.full(shape, -1000, np.int16)
    hu[4:16, 6:20, 3:22] = np.random.default_rng(seed).integers(-50, 150, (12, 14, 19))
    return hu


def stored_as(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same scan with its index axes (x, y, z) reordered and reversed."""
    hu = volume.hu.transpose(2, 1, 0).transpose(order)
    spacing = np.array(volume.spacing_mm)[list(order)]
    direction = volume.direction[:, list(order)].copy()
    origin = np.array(volume.origin_mm, float)
    for axis, flip in enumerate(flips):
        if flip:
            origin = origin + direction[:, axis] * spacing[axis] * (hu.shape[axis] - 1)
            direction[:, axis] *= -1
            hu = np.flip(hu, axis)
    return Volume(
        np.ascontiguousarray(hu.transpose(2, 1, 0)), tuple(spacing), tuple(origin), direction, volume.warnings
    )


AXIAL = Volume(body(), (1.3, 1.1, 2.7), (-17.3, 8.1, 300.4), np.eye(3))
ORIENTATIONS = list(
    itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))
)


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_all_48_axis_orders_and_flips_give_the_same_grid(
    order: tuple[int, ...], flips: tuple[bool, ...]
) -> None:
    expected = preprocess(AXIAL, 2.0, 8)
    found = preprocess(stored_as(AXIAL, order, flips), 2.0, 8)
    assert found.lower == expected.lower
    assert (found.hu.int() - expected.hu.int()).abs().max() <= 1  # sums in another order, then rounded


def test_a_voxel_on_the_grid_keeps_its_value() -> None:
    """At the grid's spacing and phase nothing is interpolated: the array is cut and padded, no more."""
    volume = Volume(body(), (2.0, 2.0, 2.0), (-20.0, 40.0, 100.0), np.eye(3))
    grid = preprocess(volume, 2.0, 8)
    index = np.array([[10, 12, 9]])  # x, y, z
    voxel = grid.from_world(volume.index_to_world(index))[0]
    np.testing.assert_allclose(voxel, voxel.round(), atol=1e-9)
    z, y, x = voxel.astype(int)
    assert grid.hu[z, y, x] == volume.hu[9, 12, 10]
    assert all(n % 8 == 0 for n in grid.hu.shape)
    assert all(n % 8 == 0 for n in grid.lower)


def test_coarsening_averages_by_hand() -> None:
    """From 1 mm to 2 mm along x: weights 1/4, 1/2, 1/4 around each grid point."""
    hu = np.zeros((4, 4, 9), np.int16)
    hu[..., :] = [0, 0, 0, 0, 400, 0, 0, 0, 0]
    grid = preprocess(Volume(hu, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)), 2.0, 2)
    z, y, x = (int(n) for n in grid.from_world(np.array([[4.0, 2.0, 2.0]]))[0])
    assert grid.hu[z, y, x - 1 : x + 2].tolist() == [0, 200, 0]


def test_refining_interpolates_by_hand() -> None:
    """From 4 mm to 2 mm along z: the new slice between two is their mean."""
    hu = np.zeros((3, 4, 4), np.int16)
    hu[1] = 100
    grid = preprocess(Volume(hu, (2.0, 2.0, 4.0), (0.0, 0.0, 0.0), np.eye(3)), 2.0, 2)
    z, y, x = (int(n) for n in grid.from_world(np.array([[2.0, 2.0, 4.0]]))[0])
    assert grid.hu[z - 2 : z + 3, y, x].tolist() == [0, 50, 100, 50, 0]


def ball(center_mm: np.ndarray, volume: Volume) -> np.ndarray:
    """HU of a smooth ball of 12 mm around a point, on the grid of a volume."""
    shape = volume.hu.shape
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape[::-1]), indexing="ij"), -1).reshape(-1, 3)
    distance = np.linalg.norm(volume.index_to_world(index) - center_mm, axis=1)
    hu = 1000 / (1 + np.exp((distance - 12) / 1.5)) - 1000
    return hu.reshape(shape[::-1]).transpose(2, 1, 0).astype(np.int16)


def center_of_mass_mm(grid: Grid) -> np.ndarray:
    weight = (grid.hu.double() + 1000).clamp(min=0)
    places = torch.nonzero(weight > 100)
    mass = weight[tuple(places.T)]
    return grid.to_world(((places * mass[:, None]).sum(0) / mass.sum()).numpy()[None])[0]


angle = st.floats(-0.5, 0.5)


@settings(max_examples=15, deadline=None)
@given(st.tuples(angle, angle, angle), st.tuples(*[st.floats(0.8, 3.0)] * 3))
@example((0.0, 0.0625, 1e-300), (1.0, 1.0, 3.0))  # ITK makes nothing but air of such a direction
def test_a_ball_stays_where_it_is_on_oblique_and_anisotropic_volumes(
    angles: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    turn = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]]) @ np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    turn = turn @ np.array([[1, 0, 0], [0, cc, -sc], [0, sc, cc]])
    shape = tuple(int(60 / mm) for mm in reversed(spacing))
    empty = Volume(np.zeros(shape, np.int16), spacing, (10.0, -20.0, 5.0), turn)
    center = empty.index_to_world([[(n - 1) / 2 for n in reversed(shape)]])[0]
    grid = preprocess(Volume(ball(center, empty), spacing, empty.origin_mm, turn), 2.0, 8)
    np.testing.assert_allclose(center_of_mass_mm(grid), center, atol=0.25)


def test_grid_points_round_trip() -> None:
    grid = preprocess(AXIAL, 2.0, 8)
    voxels = np.array([[0.0, 1.5, 7.25], [3, 2, 1]])
    np.testing.assert_allclose(grid.from_world(grid.to_world(voxels)), voxels)


def test_padding_below_air_is_air_and_metal_is_clipped() -> None:
    hu = body()
    hu[:, :2] = -3024
    hu[8, 10, 10:12] = 9000
    grid = preprocess(Volume(hu, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)), 2.0, 8)
    assert grid.hu.min() == -1024
    assert grid.hu.max() == 3071


@pytest.mark.parametrize("hu", [np.full((6, 5, 4), -1000, np.int16), np.zeros((2, 5, 4), np.float32)])
def test_air_only_and_thin_slabs_have_a_grid(hu: np.ndarray) -> None:
    grid = preprocess(Volume(hu, (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), np.eye(3)), 2.0, 8)
    assert min(grid.hu.shape) >= 8


@pytest.mark.parametrize("count", [1, 33])
def test_a_last_slice_by_itself_that_runs_downwards(count: int) -> None:
    """32 slices of 512 x 512 are resampled at a time; numpy calls the one left over contiguous as it is."""
    hu = np.zeros((count, 512, 512), np.int16)
    down = preprocess(Volume(hu, (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), np.diag([1.0, 1.0, -1.0])), 2.0, 8)
    up = preprocess(Volume(hu, (1.0, 1.0, 2.0), (0.0, 0.0, -2.0 * (count - 1)), np.eye(3)), 2.0, 8)
    assert torch.equal(down.hu, up.hu)
    assert down.lower == up.lower


def test_the_crop_keeps_the_body_and_drops_the_air() -> None:
    hu = np.full((60, 60, 60), -1000, np.int16)
    hu[20:30, 25:40, 10:20] = 40
    grid = preprocess(Volume(hu, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)), 2.0, 8)
    assert int((grid.hu == 40).sum()) == 10 * 15 * 10
    assert grid.hu.numel() < 60**3 / 4
