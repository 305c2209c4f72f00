"""Solids, curves and the grid on which bodies are painted."""

import math

import pytest
import torch

from resources.synthetic.draw import Draw
from resources.synthetic.shapes import capsule, ellipsoid, interpolate, smooth_union, spline
from resources.synthetic.space import Space, bspline_weights


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
    points = [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (10.0, 20.0, 0.0)]
    curve = spline(points, 2.0)
    assert all(min(math.dist(p, q) for q in curve) < 1e-6 for p in points)
    assert len(curve) == 1 + 5 + 10


def test_bspline_weights_are_a_partition_of_one() -> None:
    weights = bspline_weights(torch.linspace(1, 5, 30), 8)
    assert torch.allclose(weights.sum(1), torch.ones(30), atol=1e-5)


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
