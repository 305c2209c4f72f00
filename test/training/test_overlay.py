"""Pseudo-labels over what is known, on patches of 8 x 8 x 8 cells of 4 mm, by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from resources.training.config import Supervision
from resources.training.data.batch import (
    FULL,
    REPORT_NEGATIVE,
    REPORT_POSITIVE,
    TEACHER,
    UNMARKED,
    WEAK,
)
from resources.training.reports.overlay import Placed, draw_pseudo_lesions, with_empty, without_report
from resources.training.reports.pseudo_labels import PseudoLesion
from resources.training.targets.draw import Drawing, Known, Lesions, draw_known, draw_lesions
from resources.training.targets.states import IGNORED, NEGATIVE

ON = Supervision(teacher=1.0, report_positive=1.0, report_negative=1.0)
MIDDLE = (8.5, 8.5, 8.5)
"""Of cell (4, 4, 4)."""
TOUCHED = 123
"""Cells nearer to it than 3 mm and half of the z extent, which is not told: 19.0 mm."""


def unknown() -> Known:
    said_by = torch.full((8, 8, 8), UNMARKED, dtype=torch.int8)
    return torch.full((8, 8, 8), IGNORED, dtype=torch.int8), torch.ones(8, 8, 8), said_by


def lesion_of(**changes: object) -> PseudoLesion:
    first = PseudoLesion((0, 0, 0), (8.0, 8.0, 8.0), "liver", "positive", 0.6, "teacher", 0.9, 2)
    return dataclasses.replace(first, **changes)  # type: ignore[arg-type]


def placed(
    lesion: PseudoLesion, kind: int = 1, center: tuple[float, ...] = MIDDLE, size: float = 8.0
) -> Placed:
    return Placed(lesion, torch.tensor(center), torch.tensor([size, size, math.nan]), kind)


def drawn(known: Known, lesions: list[Placed], supervision: Supervision = ON) -> Drawing:
    drawing = draw_known(known, 3)
    draw_pseudo_lesions(drawing, lesions, supervision, 2.0, 10.0)
    return drawing


def test_a_positive_of_the_teacher() -> None:
    target = drawn(unknown(), [placed(lesion_of())]).finish()
    positive = target.heat[1] == 1
    assert int(positive.sum()) == 7
    assert (target.weight[1][positive] == 0.6).all()
    assert (target.said_by[1][positive] == TEACHER).all()
    assert torch.equal(target.any_heat, target.heat[1])
    assert (target.any_weight[positive] == 0.6).all()
    assert (target.any_said_by[positive] == TEACHER).all()
    assert (target.weight[[0, 2], 4, 4, 4] == 0).all()  # the teacher may err in the type
    assert target.weight[1, 3, 3, 4] == 0  # touched, and not its own: never denied
    assert (target.weight[:, 0, 0, 0] == 1).all()
    assert (target.said_by[:, 0, 0, 0] == UNMARKED).all()
    weights = target.geometry_weight[:, 4, 4, 4].tolist()
    assert weights == pytest.approx([0.6, 0.6, 0.6, 0.6, 0.6, 0])
    assert target.geometry_said_by[4, 4, 4] == TEACHER


def test_one_that_a_finding_was_assigned_to_and_one_of_unknown_type() -> None:
    target = drawn(unknown(), [placed(lesion_of(source="report", finding=0))]).finish()
    assert target.said_by[1, 4, 4, 4] == REPORT_POSITIVE
    target = drawn(unknown(), [placed(lesion_of(type=None), kind=-1)]).finish()
    assert target.heat.max() == 0
    assert (target.weight[:, 4, 4, 4] == 0).all()
    assert (target.any_heat[4, 4, 4], target.any_said_by[4, 4, 4]) == (1, TEACHER)


@pytest.mark.parametrize(
    ("lesion", "supervision"),
    [
        (lesion_of(verdict="doubtful"), ON),
        (lesion_of(), dataclasses.replace(ON, teacher=0.0)),
        (lesion_of(source="report"), dataclasses.replace(ON, report_positive=0.0)),
    ],
)
def test_what_is_doubtful_or_not_learnt_is_ignored(lesion: PseudoLesion, supervision: Supervision) -> None:
    target = drawn(unknown(), [placed(lesion)], supervision).finish()
    assert target.any_heat.max() == target.heat.max() == 0
    assert (target.weight[:, 4, 4, 4] == 0).all()
    assert target.any_weight[4, 4, 4] == 0
    assert (target.weight[:, 0, 0, 0] == 1).all()


def test_pseudo_labels_give_way_to_complete_annotation() -> None:
    state, weight, said_by = unknown()
    state[:, :, 4:], said_by[:, :, 4:] = NEGATIVE, FULL
    target = drawn((state, weight, said_by), [placed(lesion_of())]).finish()
    assert target.heat.max() == 0  # its centre is known to be free
    assert (target.said_by[:, :, :, 4:] == FULL).all()
    assert (target.weight[:, :, :, 4:] == 1).all()
    beside = drawn((state, weight, said_by), [placed(lesion_of(), center=(8.5, 8.5, 6.5))]).finish()
    positive = (beside.heat[1] == 1).nonzero()
    assert positive[:, 2].max() == 3  # not in the part that is known
    assert (beside.weight[:, :, :, 4:] == 1).all()


def test_pseudo_labels_give_way_to_marks_and_their_edges() -> None:
    mark = Lesions(
        torch.tensor([MIDDLE]),
        torch.full((1, 3), 8.0),
        torch.tensor([1]),
        torch.tensor([WEAK]),
        torch.ones(1, 6),
    )
    state, weight, said_by = unknown()
    weight[3:6, 3:6, 3:6] = 0
    drawing = draw_known((state, weight, said_by), 3)
    draw_lesions(drawing, mark, 2.0, 10.0)
    before = drawing.finish()
    for center in (MIDDLE, (6.5, 6.5, 6.5)):
        draw_pseudo_lesions(drawing, [placed(lesion_of(), kind=2, center=center)], ON, 2.0, 10.0)
    after = drawing.finish()
    assert torch.equal(after.heat, before.heat)
    assert (after.weight[1][before.heat[1] == 1] == 1).all()
    assert (after.said_by[1][before.heat[1] == 1] == WEAK).all()


def test_a_report_yields_to_what_is_sure_but_not_to_what_is_doubtful() -> None:
    state, weight, said_by = unknown()
    state[:], weight[:], said_by[:] = NEGATIVE, 0.5, REPORT_NEGATIVE
    sure = drawn((state, weight, said_by), [placed(lesion_of())]).finish()
    assert (sure.heat[1, 4, 4, 4], sure.said_by[1, 4, 4, 4]) == (1, TEACHER)
    doubtful = drawn((state, weight, said_by), [placed(lesion_of(verdict="doubtful"))]).finish()
    assert (doubtful.weight == 0.5).all()


def test_the_order_of_pseudo_labels_does_not_matter() -> None:
    pair = [
        placed(lesion_of()),
        placed(lesion_of(verdict="doubtful"), center=(8.5, 8.5, 12.5)),
        placed(lesion_of(source="report"), kind=2, center=(2.5, 8.5, 4.5)),
    ]
    one, other = (drawn(unknown(), lesions).finish() for lesions in (pair, pair[::-1]))
    for field in dataclasses.fields(one):
        assert torch.equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_empty_cells_are_negative_where_nothing_else_is_known() -> None:
    state, weight, said_by = unknown()
    weight[0], said_by[1], state[1] = 0, WEAK, 1
    empty = torch.zeros(8, 8, 8, dtype=torch.bool)
    empty[:3] = True
    found = with_empty((state, weight, said_by), empty)
    assert (found[2][2] == TEACHER).all()
    assert (found[0][2] == NEGATIVE).all()
    assert (found[2][1] == WEAK).all()
    assert (found[1][0] == 0).all()
    assert (found[2][3:] == UNMARKED).all()
    target = drawn(found, [placed(lesion_of(), center=(4.5, 8.5, 8.5))]).finish()
    assert (target.heat[1, 2, 4, 4], target.said_by[1, 2, 4, 4]) == (1, TEACHER)  # it has changed its mind


def test_without_the_report() -> None:
    state, weight, said_by = unknown()
    state[0], weight[0], said_by[0] = NEGATIVE, 0.5, REPORT_NEGATIVE
    found = without_report((state, weight, said_by))
    for part, expected in zip(found, unknown(), strict=True):
        assert torch.equal(part, expected)
