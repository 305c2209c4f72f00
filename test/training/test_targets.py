"""Targets by hand: lesions of unknown type and size, and the states of the cells."""

import numpy as np
import pytest
import torch

from model.volume import Volume
from resources.cases.cache import CachedScan
from resources.cases.case import Annotation, Case, Completeness, ImageSource
from resources.training.states import IGNORED, locate, states_of
from resources.training.targets import Lesions, lesions_of, make_target

SHAPE = (16, 16, 16)


def lesions(kind: int, size: float = 8.0) -> Lesions:
    """One lesion in the middle of cell (4, 4, 4)."""
    return Lesions(torch.tensor([[8.5, 8.5, 8.5]]), torch.full((1, 3), size), torch.tensor([kind]))


def test_a_lesion_of_known_type_is_in_its_map_and_in_the_maximum() -> None:
    target = make_target(lesions(1), SHAPE, 2.0, 3, 10.0)
    beside = [[3, 4, 4], [4, 3, 4], [4, 4, 3], [4, 4, 4], [4, 4, 5], [4, 5, 4], [5, 4, 4]]
    assert (target.heat[1] == 1).nonzero().tolist() == beside  # 4 mm away the Gaussian is 0.41
    assert torch.equal(target.any_heat, target.heat[1])
    assert target.heat[[0, 2]].max() == 0
    assert target.weight.min() == target.any_weight.min() == 1
    np.testing.assert_allclose(target.geometry[:, 4, 4, 4], [0, 0, 0, *[np.log(0.8)] * 3], rtol=1e-5)
    assert target.geometry_weight[4, 4, 4] == 1


def test_a_large_lesion_weighs_as_much_as_seven_cells() -> None:
    target = make_target(lesions(1, 40.0), SHAPE, 2.0, 3, 10.0)
    positive = target.heat[1] == 1
    assert positive.sum() == 27  # all within 1.5 cells: at most 6.9 mm, the Gaussian's sigma being 6.7 mm
    assert target.weight[1][positive].sum().item() == pytest.approx(7)
    assert target.any_weight[positive].sum().item() == pytest.approx(7)
    assert (target.weight[0] == 1).all()
    assert (target.weight[1][~positive] == 1).all()


def test_a_lesion_between_cells_has_the_nearest_ones() -> None:
    between = Lesions(torch.tensor([[10.5, 8.5, 8.5]]) - 1, torch.full((1, 3), 8.0), torch.tensor([0]))
    target = make_target(between, SHAPE, 2.0, 1, 10.0)
    # centre at cell (4.5, 3.5, 3.5): the eight cells around are 3.5 mm away, where the Gaussian is 0.51
    assert (target.heat[0] == 1).sum() == 8


def test_a_lesion_of_unknown_type_is_only_in_the_maximum() -> None:
    target = make_target(lesions(-1), SHAPE, 2.0, 3, 10.0)
    assert target.heat.max() == 0
    assert target.any_heat[4, 4, 4] == 1
    assert (target.weight[:, 4, 4, 4] == 0).all()
    assert (target.weight[:, 3:6, 4, 4] == 0).all()
    assert (target.weight[:, 0, 0, 0] == 1).all()
    assert target.geometry_weight[4, 4, 4] == 1


def test_an_unknown_size_is_not_taught() -> None:
    target = make_target(lesions(0, float("nan")), SHAPE, 2.0, 3, 10.0)
    assert target.heat[0, 4, 4, 4] == 1
    assert target.geometry_weight.max() == 0
    assert bool(torch.isfinite(target.geometry).all())


def test_states_become_weights_but_a_centre_always_counts() -> None:
    state = torch.full((8, 8, 8), IGNORED, dtype=torch.int8)
    weight = torch.zeros(8, 8, 8)
    state[0], weight[0] = 0, 0.5
    target = make_target(lesions(1), SHAPE, 2.0, 3, 10.0, (state, weight))
    assert (target.weight[:, 0] == 0.5).all()
    assert (target.any_weight[0] == 0.5).all()
    assert target.weight[1, 4, 4, 4] == target.any_weight[4, 4, 4] == 1
    assert target.weight[0, 4, 4, 4] == 0
    assert target.weight[1].sum() == 64 * 0.5 + 7


def test_from_a_case_to_its_target() -> None:
    """A point and a benign box in a complete scan whose grid starts at (z, y, x) = (10, 20, 30) voxels."""
    place = Volume(
        np.broadcast_to(np.int16(0), (40, 80, 120)), (1.0, 1.0, 2.0), (50.0, 30.0, 10.0), np.eye(3)
    )
    scan = CachedScan(np.zeros((3, *SHAPE), np.int16), (10, 20, 30), 2.0, place, {}, "")
    point = Annotation("point", "liver", "mm", point=(77.0, 57.0, 37.0), long_mm=8.0)
    benign = Annotation("box3d", lower=(0, 0, 0), upper=(20, 20, 20), status="benign")
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), (point, benign), Completeness("all"))
    marks = locate(case, scan)
    found = lesions_of(marks, scan, ("bone", "liver"))
    assert found.center.tolist() == [[8.5, 8.5, 8.5]]
    assert found.kind.tolist() == [1]
    states = states_of(case, scan)
    both = torch.from_numpy(states.state), torch.from_numpy(states.weight)
    target = make_target(found, SHAPE, 2.0, 2, 10.0, both)
    assert target.heat[1, 4, 4, 4] == target.weight[1, 4, 4, 4] == 1
    assert target.weight[1, 4, 4, 6] == 0  # the lesion may reach there
    assert target.weight[1, 0, 0, 0] == 1
