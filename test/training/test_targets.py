"""Targets by hand: lesions of unknown type and size, and the states of the cells."""

import numpy as np
import pytest
import torch

from model.geometry import Geometry
from model.network import OUTPUT_STRIDE
from resources.cases.cache import CachedScan
from resources.cases.case import Annotation, Case, Completeness, ImageSource
from resources.training.data.batch import FULL, REPORT_NEGATIVE, UNMARKED, WEAK
from resources.training.targets.draw import (
    Drawing,
    Known,
    Lesions,
    draw_known,
    draw_lesions,
    geometry_weights,
    lesions_of,
    near_patch,
    spot_of,
)
from resources.training.targets.states import IGNORED, POSITIVE, REPORT_WEIGHT, locate, states_of

SHAPE = (16, 16, 16)


def make_target(
    lesions: Lesions,
    shape: tuple[int, int, int],
    spacing_mm: float,
    types: int,
    size_scale_mm: float,
    known: Known | None = None,
    cleared: tuple[int, ...] = (),
) -> Drawing:
    """Target of a patch of `shape` voxels (z, y, x) from its lesions and what is known of its cells.

    known: without it everything but the lesions is known to be free of lesions. cleared: channels of
    which the whole scan is clear.
    """
    z, y, x = (n // OUTPUT_STRIDE for n in shape)
    if known is None:
        said = torch.full((z, y, x), FULL, dtype=torch.int8)
        known = torch.zeros(z, y, x, dtype=torch.int8), torch.ones(z, y, x), said
    drawing = draw_known(known, types, cleared)
    draw_lesions(drawing, lesions, spacing_mm, size_scale_mm)
    return drawing.finish()


def lesions(
    kind: int, size: float = 8.0, center: tuple[float, ...] = (8.5, 8.5, 8.5), said_by: int = FULL
) -> Lesions:
    """One lesion, by default in the middle of cell (4, 4, 4)."""
    sizes, said = torch.full((1, 3), size), torch.tensor([said_by])
    return Lesions(torch.tensor([center]), sizes, torch.tensor([kind]), said, torch.ones(1, 6))


def test_a_lesion_of_known_type_is_in_its_map_and_in_the_maximum() -> None:
    target = make_target(lesions(1), SHAPE, 2.0, 3, 10.0)
    beside = [[3, 4, 4], [4, 3, 4], [4, 4, 3], [4, 4, 4], [4, 4, 5], [4, 5, 4], [5, 4, 4]]
    assert (target.heat[1] == 1).nonzero().tolist() == beside  # 4 mm away the Gaussian is 0.41
    assert torch.equal(target.any_heat, target.heat[1])
    assert target.heat[[0, 2]].max() == 0
    assert target.weight.min() == target.any_weight.min() == 1
    np.testing.assert_allclose(target.geometry[:, 4, 4, 4], [0, 0, 0, *[np.log(0.8)] * 3], rtol=1e-5)
    assert (target.geometry_weight[:, 4, 4, 4] == 1).all()
    assert (target.said_by == FULL).all()
    assert (target.geometry_said_by[3:6, 4, 4] == FULL).all()
    assert target.geometry_said_by[0, 0, 0] == UNMARKED


def test_a_large_lesion_weighs_as_much_as_seven_cells() -> None:
    target = make_target(lesions(1, 40.0), SHAPE, 2.0, 3, 10.0)
    positive = target.heat[1] == 1
    assert positive.sum() == 27  # all within 1.5 cells: at most 6.9 mm, the Gaussian's sigma being 6.7 mm
    assert target.weight[1][positive].sum().item() == pytest.approx(7)
    assert target.any_weight[positive].sum().item() == pytest.approx(7)
    assert (target.weight[0] == 1).all()
    assert (target.weight[1][~positive] == 1).all()


def test_a_lesion_between_cells_has_the_nearest_ones() -> None:
    target = make_target(lesions(0, center=(9.5, 7.5, 7.5)), SHAPE, 2.0, 1, 10.0)
    # centre at cell (4.5, 3.5, 3.5): the eight cells around are 3.5 mm away, where the Gaussian is 0.51
    assert (target.heat[0] == 1).sum() == 8


def test_every_lesion_that_reaches_a_patch_is_near_it() -> None:
    random, cells = torch.Generator().manual_seed(0), (8, 6, 7)
    center = torch.rand(500, 3, generator=random) * 120 - 50
    sizes = torch.rand(500, 3, generator=random) * 60 + 2
    sizes[::9, 1] = torch.nan
    near = near_patch(center, sizes, cells, 3.0)
    reaching = [i for i in range(500) if spot_of(center[i], sizes[i], cells, 3.0) is not None]
    assert set(reaching) <= set(near)
    assert 0 < len(reaching) <= len(near) < 250


def test_a_lesion_of_unknown_type_is_only_in_the_maximum() -> None:
    target = make_target(lesions(-1), SHAPE, 2.0, 3, 10.0)
    assert target.heat.max() == 0
    assert target.any_heat[4, 4, 4] == 1
    assert (target.weight[:, 4, 4, 4] == 0).all()
    assert (target.weight[:, 3:6, 4, 4] == 0).all()
    assert (target.weight[:, 0, 0, 0] == 1).all()
    assert target.geometry_weight[3, 4, 4, 4] == 1


def test_an_unknown_size_is_not_taught() -> None:
    target = make_target(lesions(0, float("nan")), SHAPE, 2.0, 3, 10.0)
    assert target.heat[0, 4, 4, 4] == 1
    assert target.geometry_weight[3:].max() == 0
    assert (target.geometry_weight[:3, 4, 4, 4] == 1).all()  # its place is known
    assert bool(torch.isfinite(target.geometry).all())


def test_states_become_weights_but_a_centre_always_counts() -> None:
    state = torch.full((8, 8, 8), IGNORED, dtype=torch.int8)
    weight = torch.zeros(8, 8, 8)
    state[0], weight[0] = 0, 0.5
    said_by = torch.full((8, 8, 8), UNMARKED, dtype=torch.int8)
    said_by[0] = REPORT_NEGATIVE
    target = make_target(lesions(1, said_by=WEAK), SHAPE, 2.0, 3, 10.0, (state, weight, said_by))
    assert (target.weight[:, 0] == 0.5).all()
    assert (target.said_by[:, 0] == REPORT_NEGATIVE).all()
    assert target.said_by[1, 4, 4, 4] == target.any_said_by[4, 4, 4] == WEAK
    assert target.said_by[0, 4, 4, 4] == UNMARKED
    assert (target.any_weight[0] == 0.5).all()
    assert target.weight[1, 4, 4, 4] == target.any_weight[4, 4, 4] == 1
    assert target.weight[0, 4, 4, 4] == 0
    assert target.weight[1].sum() == 64 * 0.5 + 7


def test_from_a_case_to_its_target() -> None:
    """A point and a benign box in a complete scan whose grid starts at (z, y, x) = (10, 20, 30) voxels."""
    place = Geometry((120, 80, 40), (1.0, 1.0, 2.0), (50.0, 30.0, 10.0), np.eye(3))
    scan = CachedScan(np.zeros((3, *SHAPE), np.int16), (10, 20, 30), 2.0, place, {}, "")
    point = Annotation("point", "liver", "mm", point=(77.0, 57.0, 37.0), long_mm=8.0)
    benign = Annotation("box3d", lower=(0, 0, 0), upper=(20, 20, 20), status="benign")
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), (point, benign), Completeness("all"))
    marks = locate(case, scan)
    found = lesions_of(marks, scan, ("bone", "liver"))
    assert found.center.tolist() == [[8.5, 8.5, 8.5]]
    assert found.kind.tolist() == [1]
    states = states_of(case, scan)
    known = tuple(torch.from_numpy(part) for part in (states.state, states.weight, states.said_by))
    target = make_target(found, SHAPE, 2.0, 2, 10.0, known)  # type: ignore[arg-type]
    assert target.heat[1, 4, 4, 4] == target.weight[1, 4, 4, 4] == 1
    assert target.weight[1, 4, 4, 6] == 0  # the lesion may reach there
    assert target.weight[1, 0, 0, 0] == 1
    assert found.said_by.tolist() == [WEAK]
    # the long diameter is measured; the rest follows laws: less weight
    assert found.geometry_weight.tolist() == [[0.5, 1, 1, 1, 0.5, 0.25]]


def test_a_lesion_that_lies_mostly_outside_is_ignored_where_it_reaches_in() -> None:
    for center in ((-2.0, 8.5, 8.5), (1.0, 1.0, 1.0)):  # outside; in the corner: an eighth or so is inside
        target = make_target(lesions(0, 16.0, center), SHAPE, 2.0, 2, 10.0)
        assert target.heat.max() == target.any_heat.max() == target.geometry_weight.max() == 0
        near = tuple(max(0, round((v - 0.5) / 2)) for v in center)
        assert (target.weight[(slice(None), *near)] == 0).all()
        assert target.any_weight[near] == 0
        assert (target.weight[:, 7, 7, 7] == 1).all()
    edge = make_target(
        lesions(0, 16.0, (1.0, 8.5, 8.5)), SHAPE, 2.0, 2, 10.0
    )  # more than half of it is inside
    assert edge.heat[0, 0, 4, 4] == 1


def test_the_body_of_a_lesion_is_learnt_only_with_its_centre() -> None:
    """Cells of a mask, all positive; the centre is inside, then outside the patch."""
    known = torch.ones(8, 8, 8, dtype=torch.int8), torch.ones(8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.int8)
    assert int(known[0][0, 0, 0]) == POSITIVE
    inside = make_target(lesions(0, 40.0), SHAPE, 2.0, 2, 10.0, known)
    assert inside.weight[1, 4, 4, 7] == 1
    outside = make_target(lesions(0, 40.0, (8.5, 8.5, 30.0)), SHAPE, 2.0, 2, 10.0, known)
    assert outside.weight.max() == outside.any_weight.max() == 0


def test_what_the_report_clears_of_one_type_is_negative_in_its_map_alone() -> None:
    state = torch.full((8, 8, 8), IGNORED, dtype=torch.int8)
    weight, said_by = torch.ones(8, 8, 8), torch.full((8, 8, 8), UNMARKED, dtype=torch.int8)
    state[0], said_by[0], weight[1] = 0, FULL, 0  # a complete part, and one that is never learnt
    target = make_target(lesions(-1), SHAPE, 2.0, 3, 10.0, (state, weight, said_by), cleared=(2,))
    assert (target.said_by[2, 2:] == REPORT_NEGATIVE).all()
    assert (target.weight[2, 7] == REPORT_WEIGHT).all()
    assert (target.said_by[:2, 2:] == UNMARKED).all()
    assert (target.any_said_by[7] == UNMARKED).all()
    assert (target.said_by[2, 0] == FULL).all()
    assert (target.weight[:, 1] == 0).all()
    assert target.weight[2, 4, 4, 4] == 0  # the lesion of unknown type may be of this one


def test_weights_of_sizes_by_what_was_measured() -> None:
    segment = ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0))
    short = ((4.0, -3.0, 0.0), (4.0, 3.0, 0.0))
    assert geometry_weights(Annotation("recist", long=segment), False) == [0.5, 1, 1, 1, 0.5, 0.25]
    assert geometry_weights(Annotation("recist", long=segment, short=short), False) == [0.5, 1, 1, 1, 1, 0.25]
    box = Annotation("box3d", lower=(0, 0, 0), upper=(9, 9, 9))
    assert geometry_weights(box, True) == [1, 1, 1, 0.5, 0.5, 1]
    assert geometry_weights(box, False) == [0.5, 1, 1, 0.5, 0.5, 0.25]
    mask = Annotation("mask", mask="m.nii", label=1, long_mm=9.0)
    assert geometry_weights(mask, False) == [1, 1, 1, 1, 0, 0]
    assert geometry_weights(Annotation("point", point=(0, 0, 0)), False) == [0.5, 1, 1, 0, 0, 0]
