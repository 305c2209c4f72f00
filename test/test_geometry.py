"""Index, voxel and world: there and back on flipped, oblique and anisotropic grids, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import Geometry, along_world, image_of
from model.preprocess import preprocess
from model.volume import Volume

Array = np.ndarray


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any size, spacing from .3 to 8 mm, any direction: axes in any order, flipped, and turned."""
    size = draw(st.tuples(*[st.integers(1, 600)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 8.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-1000.0, 1000.0)] * 3))
    order, signs = draw(st.permutations(range(3))), draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    turned = np.eye(3)
    for axis, angle in enumerate(draw(st.tuples(*[st.floats(-0.8, 0.8)] * 3))):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ turn
    return Geometry(size, spacing, origin, turned @ np.eye(3)[list(order)] * signs)


shares = st.lists(st.tuples(*[st.floats(-0.2, 1.2)] * 3), min_size=1, max_size=4).map(np.array)


@given(geometries(), shares)
def test_there_and_back(place: Geometry, share: Array) -> None:
    index = share * (np.array(place.size) - 1)
    world = place.index_to_world(index)
    np.testing.assert_allclose(place.world_to_index(world), index, atol=1e-6)
    np.testing.assert_allclose(place.voxel_to_world(index[:, ::-1]), world, atol=1e-9)
    np.testing.assert_allclose(place.world_to_voxel(world), index[:, ::-1], atol=1e-6)


@given(geometries(), shares)
def test_distances_are_those_of_the_spacing(place: Geometry, share: Array) -> None:
    """By an independent sum: a step of one index moves by the spacing along the column of its axis."""
    index = share * (np.array(place.size) - 1)
    for point, world in zip(index, place.index_to_world(index), strict=True):
        moved = [point[axis] * place.spacing_mm[axis] * place.direction[:, axis] for axis in range(3)]
        np.testing.assert_allclose(world, np.array(place.origin_mm) + sum(moved), atol=1e-9)


@given(geometries(), shares)
def test_what_the_outermost_voxels_cover_is_inside(place: Geometry, share: Array) -> None:
    index = share * np.array(place.size) - 0.5
    sure = np.abs(np.abs(share - 0.5) - 0.5).min(1) > 1e-6
    inside = ((share > 0) & (share < 1)).all(1)
    assert (place.contains(place.index_to_world(index)) == inside)[sure].all()


def test_by_hand() -> None:
    """Index axes x, y, z run to the back, to the right and to the feet."""
    direction = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, -1]])
    place = Geometry((4, 3, 2), (0.5, 1.0, 5.0), (10.0, 20.0, 30.0), direction)
    assert place.index_to_world([[2, 1, 1]]).tolist() == [[9.0, 21.0, 25.0]]
    assert place.world_to_voxel([[9.0, 21.0, 25.0]]).tolist() == [[1.0, 1.0, 2.0]]
    assert place.contains([[10.4, 20, 30], [10.6, 20, 30], [10, 21.7, 30], [10, 21.8, 30]]).tolist() == [
        True, False, True, False,
    ]  # fmt: skip


def test_cells_of_two_voxels_by_hand() -> None:
    """Of 5 voxels two cells and one voxel in none; the first cell's middle lies between voxels 0 and 1."""
    turned = np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
    cells = Geometry((5, 4, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), turned).coarsened(2)
    assert cells.size == (2, 2, 3)
    assert cells.spacing_mm == (2.0, 4.0, 6.0)
    assert cells.origin_mm == (9.5, 21.0, 28.5)
    np.testing.assert_array_equal(cells.direction, turned)


def test_the_nearest_voxel_is_one_of_the_grid() -> None:
    place = Geometry((4, 5, 6), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    points = [(1.4, 2.9, 3.0), (1.6, 3.1, 4.6), (-7.0, 99.0, 16.4)]
    assert place.nearest_voxel(points).tolist() == [[1, 1, 1], [2, 2, 2], [5, 4, 0]]
    assert place.nearest_voxel([]).shape == (0, 3)


def test_a_grid_along_the_world() -> None:
    place = along_world((1, 2, 3), (5, 6, 7), 2.0)
    assert (place.size, place.origin_mm) == ((7, 6, 5), (6.0, 4.0, 2.0))
    assert place.voxel_to_world([[0, 1, 2]]).tolist() == [[10.0, 6.0, 2.0]]


def test_an_image_lies_where_its_grid_does() -> None:
    turned = np.array([[0.0, -0.8, 0.6], [1, 0, 0], [0, 0.6, 0.8]])
    place = Geometry((2, 3, 4), (0.5, 2.0, 3.0), (10.0, -20.0, 30.0), turned)
    image = image_of(np.arange(24, dtype=np.int16).reshape(4, 3, 2), place)
    assert (image.GetSize(), image[1, 2, 3], image[1, 0, 0]) == ((2, 3, 4), 23, 1)
    expected = place.index_to_world([[1, 2, 3]])[0]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((1, 2, 3)), expected)


@pytest.mark.parametrize("spacing_mm", [1.0, 2.5])
def test_the_network_s_grid_lies_where_the_scan_does(spacing_mm: float) -> None:
    """A bright voxel in air keeps its place, through a flip and a spacing of its own."""
    hu = np.full((20, 30, 30), -1000, np.int16)
    hu[4:16, 4:26, 4:26] = 0
    hu[8:11, 12:15, 18:21] = 3000
    volume = Volume(hu, (1.0, 1.0, 2.0), (-20.0, 35.0, 7.0), np.diag([1.0, -1.0, -1.0]))
    grid = preprocess(volume, spacing_mm, 8)
    weight = np.clip(grid.hu.numpy().astype(float), 0, None)
    middle = np.array([np.average(axis, weights=weight) for axis in np.indices(weight.shape)])
    expected = volume.geometry.voxel_to_world([[9, 13, 19]])[0]
    np.testing.assert_allclose(grid.geometry.voxel_to_world(middle)[0], expected, atol=spacing_mm / 5)
