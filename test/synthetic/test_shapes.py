"""Solids, curves and the grid on which bodies are painted."""

import math

import numpy as np
import pytest
import torch

from resources.synthetic.draw import Draw
from resources.synthetic.shapes import capsule, ellipsoid, interpolate, interpolate_at, smooth_union, spline
from resources.synthetic.space import BATCH_VOXELS, Space, bspline_weights


def at(*point: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([v]) for v in point)


def test_distances_by_hand() -> None:
    ball = (0.0, 0.0, 0.0), (5.0, 5.0, 5.0)
    assert float(ellipsoid(at(8, 0, 0), *ball)) == pytest.approx(3.0, abs=1e-5)
    assert float(ellipsoid(at(0, 3, 0), *ball)) == pytest.approx(-2.0, abs=1e-5)
    assert float(ellipsoid(at(0, 12, 0), (0, 0, 0), (4, 10, 4), (90, 0, 0))) > 7  # turned: long along x
    assert abs(float(ellipsoid(at(10, 0, 0), (0, 0, 0), (4, 10, 4), (90, 0, 0)))) < 1e-3
    rod = capsule(at(5, 4, 0), (0, 0, 0), (10, 0, 0), (2.0, 2.0))
    assert float(rod) == pytest.approx(2.0)
    assert float(capsule(at(10, 0, 3), (0, 0, 0), (10, 0, 0), (2.0, 1.0))) == pytest.approx(2.0)
    assert float(smooth_union(torch.tensor(3.0), torch.tensor(9.0), 2.0)) == 3.0
    assert float(smooth_union(torch.tensor(3.0), torch.tensor(3.0), 2.0)) == pytest.approx(2.5)


def test_tables_and_curves_pass_through_their_points() -> None:
    table = ((0, 1.0, 5.0), (10, 3.0, 4.0), (30, 2.0, 9.0))
    first, second = interpolate(table, torch.tensor([0.0, 10.0, 30.0, 99.0]))
    assert first.tolist() == pytest.approx([1, 3, 2, 2])
    assert second.tolist() == pytest.approx([5, 4, 9, 9])
    assert interpolate_at(table, 10.0) == [3.0, 4.0]
    assert interpolate_at(table, 4.0) == [float(v) for v in interpolate(table, torch.tensor([4.0]))]
    assert interpolate_at(table, -7.0) == [1.0, 5.0]
    points = [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (10.0, 20.0, 0.0)]
    curve = spline(points, 2.0)
    assert all(min(math.dist(p, q) for q in curve) < 1e-6 for p in points)
    assert len(curve) == 1 + 5 + 10


def test_bspline_weights_are_a_partition_of_one() -> None:
    weights = bspline_weights(np.linspace(1, 5, 30, dtype=np.float32), 8)
    assert weights.sum(1) == pytest.approx(np.ones(30), abs=1e-5)
    assert bspline_weights(np.array([3.0], np.float32), 6)[0].tolist() == pytest.approx(
        [0, 0, 1 / 6, 2 / 3, 1 / 6, 0]
    )


def test_painting_blends_at_the_edge_and_keeps_to_its_room() -> None:
    space = Space((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), Draw(0))
    shape = space.path([(10.0, 10.0, 10.0), (10.2, 10.0, 10.0)], [4.0, 4.0])
    space.paint(shape, 50.0, label=3)
    assert float(space.hu[10, 10, 10]) == 50.0
    assert float(space.hu[10, 10, 2]) == -1000.0
    assert -1000 < float(space.hu[10, 14, 10]) < 50  # on the surface: half of each
    volume = 4 / 3 * math.pi * 4**3
    share = (space.hu + 1000).sum() / 1050
    assert float(share) == pytest.approx(volume, rel=0.08)
    space.paint(space.rod((10, 10, 0), (10, 10, 19), (2.0, 2.0)), 900.0, label=5, inside=(3,))
    assert float(space.hu[10, 10, 10]) == 900.0
    assert int(space.label[2, 10, 10]) == 0


def test_labels_are_told_in_runs_and_a_label_is_painted_over_any_other() -> None:
    space = Space((1, 1, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), Draw(0))
    space.label[0, 0] = torch.tensor([0, 1, 7, 8, 9, 255], dtype=torch.uint8)
    assert space.has(space.whole, (7, 9, 8)).flatten().tolist() == [False, False, True, True, True, False]
    assert space.has(space.whole, (0, 255)).flatten().tolist() == [True, False, False, False, False, True]
    assert not space.has(space.whole, ()).any()
    part = (slice(0, 1), slice(0, 1), slice(2, 6))
    distance = torch.tensor([-9.0, -9.0, 9.0, -9.0]).reshape(1, 1, 4)
    space.paint((part, distance), 40.0, label=3)
    assert space.label.flatten().tolist() == [0, 1, 3, 3, 9, 3]
    assert space.hu.flatten().tolist() == [-1000.0, -1000.0, 40.0, 40.0, -1000.0, 40.0]


def test_many_rods_are_what_one_after_another_gives() -> None:
    space = Space((70, 90, 80), (1.0, 1.1, 1.3), (-30.0, -40.0, 0.0), Draw(0))
    spots = torch.Generator().manual_seed(1)
    ends = [tuple((torch.rand(3, generator=spots) * 90 - 40).tolist() for _ in range(2)) for _ in range(40)]
    ends += [((-200.0, 0.0, 0.0), (-190.0, 0.0, 0.0)), ((0.0, 0.0, 30.0), (0.0, 0.0, 30.0))]  # outside; a dot
    radii = [(1.0 + k % 3, 2.0) for k in range(len(ends))]
    found = list(space.rods(ends, radii, 1.0))
    assert len(found) == len(ends)
    for (box, distance), (start, end), radius in zip(found, ends, radii, strict=True):
        wanted_box, wanted = space.rod(start, end, radius, 1.0)
        assert box == wanted_box
        assert torch.allclose(distance, wanted, atol=2e-4)
    assert sum(distance.numel() for _, distance in found) > BATCH_VOXELS  # more than are taken at once
    assert list(space.rods([], [])) == []


def test_tubes_together_are_the_nearest_of_each() -> None:
    space = Space((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), Draw(3), (1.0, 1.0, 1.0), 3.0)
    lines = [([(8.0, 9.0, 10.0), (20.0, 12.0, 15.0), (25.0, 30.0, 20.0)], [2.0, 3.0, 2.0]),
             ([(30.0, 8.0, 30.0), (12.0, 30.0, 30.0)], [4.0, 2.0])]  # fmt: skip
    together = torch.full((40, 40, 40), 1e3)
    for points, radii in lines:
        box, distance = space.path(points, radii)
        together[box] = torch.minimum(together[box], distance)
    box, distance = space.paths(lines)
    near = distance < 1.0
    assert int(near.sum()) > 500
    assert torch.allclose(distance[near], together[box][near], atol=1e-5)
    assert bool((together[box][~near] >= 1.0).all())
    assert int((together < 1.0).sum()) == int(near.sum())  # none outside the box


def test_a_part_of_a_part_is_counted_from_both() -> None:
    space = Space((30, 30, 30), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), Draw(0))
    box = (slice(5, 25), slice(5, 25), slice(5, 25))
    part, local = space.within(box, (2.0, 12.0, 20.0), (8.0, 14.0, 99.0))  # x, y, z; an edge's width around
    assert part == (slice(19, 25), slice(11, 16), slice(5, 10))
    assert local == (slice(14, 20), slice(6, 11), slice(0, 5))
    part, local = space.within(box, (27.0, 0.0, 0.0), (29.0, 9.0, 9.0))
    assert part[2].start == part[2].stop
    whole = space.noise(box, 6.0, torch.Generator().manual_seed(2))
    piece = space.noise(box, 6.0, torch.Generator().manual_seed(2), (slice(3, 9), slice(0, 4), slice(7, 8)))
    assert torch.allclose(piece, whole[3:9, 0:4, 7:8], atol=1e-5)


def test_true_points_invert_the_displacement() -> None:
    space = Space((60, 60, 60), (4.0, 4.0, 4.0), (-120.0, -120.0, 100.0), Draw(4), (1.1, 0.9, 1.0), 15.0)
    wanted = (20.0, -30.0, 200.0)
    (true,) = space.true_points([wanted]).tolist()
    index = [round((true[i] - space.lower_mm[i]) / 4.0) for i in range(3)]
    x, y, z = space.reference(space.whole)
    found = [float(v[index[2], index[1], index[0]]) for v in (x, y, z)]
    assert found == pytest.approx(wanted, abs=3.5)  # half a voxel, and a displacement inverted twice


def test_noise_has_unit_spread_and_its_wavelength() -> None:
    space = Space((80, 80, 80), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), Draw(1))
    field = space.noise(space.whole, 6.0, space.draw.generator)
    assert float(field.std()) == pytest.approx(1.0, abs=0.12)
    near = (field[:, :, 1:] * field[:, :, :-1]).mean()
    far = (field[:, :, 24:] * field[:, :, :-24]).mean()
    assert float(near) > 0.85 * float((field**2).mean())
    assert abs(float(far)) < 0.15


def test_same_seed_same_numbers() -> None:
    one, two = Draw(9), Draw(9)
    assert [one.uniform(0, 1) for _ in range(5)] == [two.uniform(0, 1) for _ in range(5)]
    fork = one.fork()
    fork.normal()
    assert one.uniform(0, 1) != fork.uniform(0, 1)
    two.fork()
    assert one.weighted({"a": 1.0, "b": 0.0}) == "a"
