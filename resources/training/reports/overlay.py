"""The pseudo-labels of a scan, put over what is known of a patch: lesions and empty regions.

Pseudo-labels never count where annotations do: complete annotation, marks and their edges stay as they are.
"""

from __future__ import annotations

import dataclasses

import torch

from resources.training.config import Supervision
from resources.training.data.batch import REPORT_NEGATIVE, REPORT_POSITIVE, TEACHER, UNMARKED
from resources.training.reports.pseudo_labels import PseudoLesion
from resources.training.targets.draw import Drawing, Known, Spot, near_patch, put, put_geometry, spot_of
from resources.training.targets.states import IGNORED, NEGATIVE

REPORTED = (UNMARKED, TEACHER, REPORT_NEGATIVE)
"""Who is not heard where a pseudo-labelled lesion lies."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """A pseudo-labelled lesion in a patch. center: (3,) voxel (z, y, x). size_mm: (3,) long, short, z, NaN
    unknown; both as the patch shows them. kind: channel, -1 for any.
    """

    lesion: PseudoLesion
    center: torch.Tensor
    size_mm: torch.Tensor
    kind: int


def without_report(known: Known) -> Known:
    """What only a report clears is as if nobody had spoken of it."""
    state, weight, said_by = known
    by_report = said_by == REPORT_NEGATIVE
    state, weight = state.masked_fill(by_report, IGNORED), weight.masked_fill(by_report, 1.0)
    return state, weight, said_by.masked_fill(by_report, UNMARKED)


def with_empty(known: Known, empty: torch.Tensor) -> Known:
    """Cells (z, y, x) in which the teacher is sure of no lesion are negative, where nothing else is known."""
    state, weight, said_by = known
    open_cells = empty & (said_by == UNMARKED) & (weight > 0)
    return state.masked_fill(open_cells, NEGATIVE), weight, said_by.masked_fill(open_cells, TEACHER)


def draw_pseudo_lesions(
    drawing: Drawing,
    lesions: list[Placed],
    supervision: Supervision,
    spacing_mm: float,
    size_scale_mm: float,
) -> None:
    """Puts in the pseudo-labels, after what is annotated.

    A positive whose supervision is off, that lies mostly outside the patch, or whose centre annotations
    speak of, is ignored like a doubtful lesion. Doubtful lesions do not speak against what a report clears.
    """
    if not lesions:
        return
    cells = tuple(drawing.state.shape)
    places = torch.stack([one.center for one in lesions]), torch.stack([one.size_mm for one in lesions])
    for placed in [lesions[i] for i in near_patch(*places, cells, spacing_mm)]:  # type: ignore[arg-type]
        spot = spot_of(placed.center, placed.size_mm, cells, spacing_mm)  # type: ignore[arg-type]
        if spot is None:
            continue
        teacher = placed.lesion.source == "teacher"
        used = (supervision.teacher if teacher else supervision.report_positive) > 0
        sure = placed.lesion.verdict == "positive"
        if sure and used and spot.middle and not bool(drawing.closed[spot.box][spot.middle]):
            log_size = torch.log(placed.size_mm / size_scale_mm)
            _draw_positive(drawing, spot, placed, TEACHER if teacher else REPORT_POSITIVE, log_size)
        else:
            _ignore(drawing, spot, REPORTED if sure else (UNMARKED, TEACHER))


def _draw_positive(
    drawing: Drawing, spot: Spot, placed: Placed, said_by: int, log_size: torch.Tensor
) -> None:
    """Its own cells are positive; nothing denies it in the rest of its body or in the maps of other types."""
    weight = placed.lesion.weight
    cells = spot.own & ~drawing.closed[spot.box]
    _ignore(drawing, spot, REPORTED)
    put(drawing, spot, placed.kind, said_by, weight, cells)
    put_geometry(drawing, spot, log_size, torch.full((6,), weight), said_by)


def _ignore(drawing: Drawing, spot: Spot, speakers: tuple[int, ...]) -> None:
    """Takes the weight of the cells a lesion touches from these speakers, but from no positive."""
    giving = torch.tensor(speakers)
    here = (slice(None), *spot.box)
    free = spot.touched & ~drawing.closed[spot.box]
    drawing.weight[here][free & torch.isin(drawing.said_by[here], giving)] = 0.0
    drawing.any_weight[spot.box][free & torch.isin(drawing.any_said_by[spot.box], giving)] = 0.0
