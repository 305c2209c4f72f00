"""What is known at each cell of the output grid: lesion, no lesion, or nothing, from all that a case
says.

A cell is positive where a mask, or the sure part of a weaker mark, holds it; negative only where
something says so: complete annotation, or a report that clears the organ; and ignored otherwise, so
around a weak mark wherever the lesion may end.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry
from model.network import OUTPUT_STRIDE
from resources.cases.cache import LESIONS, ORGANS, CachedScan
from resources.cases.case import Annotation, Case
from resources.cases.geometry import Shape, shape_of_annotation
from resources.cases.regions import complete_at
from resources.training.data.batch import FULL, REPORT_NEGATIVE, UNMARKED, WEAK
from resources.training.reports.clearing import cleared_by_report

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
REPORT_WEIGHT = 0.5
"""Weight of a cell that only a report calls free of lesions."""

Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class States:
    """On the output grid (z, y, x). state: int8, POSITIVE, NEGATIVE or IGNORED; weight: float32 of the
    loss; said_by: int8, who says so (FULL, WEAK, REPORT_NEGATIVE; else UNMARKED).

    Of what is IGNORED, the edge of marks and doubtful lesions have weight 0 and are never learnt; cells
    of which nothing is known have weight 1, for the loss decides what an UNMARKED cell is worth.
    """

    state: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float32]
    said_by: npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True)
class Marked:
    """An annotation in place. shape: None for a mask. center_mm: LPS; size_mm: long, short, z, NaN
    unknown.
    """

    annotation: Annotation
    number: int
    shape: Shape | None
    center_mm: npt.NDArray[np.float64]
    size_mm: npt.NDArray[np.float64]


def locate(case: Case, scan: CachedScan) -> list[Marked]:
    """Place and size of each annotation of a case."""
    located = []
    for number, a in enumerate(case.annotations):
        if a.kind == "mask":
            size = scan.mask_sizes_mm.get(number, (a.long_mm, a.short_mm, a.z_extent_mm))
            center_mm, size_mm = np.array(scan.mask_centers_mm[number]), np.array(size, np.float64)
            located.append(Marked(a, number, None, center_mm, size_mm))
        else:
            shape = shape_of_annotation(a, scan.place)
            located.append(Marked(a, number, shape, shape.center_mm, shape.size_mm))
    return located


def states_of(case: Case, scan: CachedScan, stride: int = OUTPUT_STRIDE) -> States:
    """The states of a whole scan on cells of `stride` voxels; the network's output grid by default."""
    z, y, x = scan.shape
    labels = np.asarray(scan.array[LESIONS:]).reshape(
        2, z // stride, stride, y // stride, stride, x // stride, stride
    )
    labels = labels.transpose(0, 1, 3, 5, 2, 4, 6).reshape(2, z // stride, y // stride, x // stride, -1)
    lesions, organs = labels[0], labels[ORGANS - LESIONS]
    marks = locate(case, scan)
    grid = scan.grid.coarsened(stride)
    points = _centers_mm(grid)
    state = np.full(points.shape[:3], IGNORED, np.int8)
    weight = np.ones(points.shape[:3], np.float32)
    said_by = np.full(points.shape[:3], UNMARKED, np.int8)

    def say(cells: Mask, value: int, own_weight: float, speaker: int) -> None:
        state[cells], weight[cells], said_by[cells] = value, own_weight, speaker

    centers = [mark.center_mm for mark in marks if mark.annotation.status == "lesion"]
    inside = [center for center in centers if grid.contains(center)[0]]
    cells = [(int(z), int(y), int(x)) for z, y, x in grid.nearest_voxel(inside)]
    cleared = cleared_by_report(case, organs, cells, scan.spacing_mm * stride)
    say(cleared, NEGATIVE, REPORT_WEIGHT, REPORT_NEGATIVE)
    index = scan.place.world_to_index(points.reshape(-1, 3)).reshape(points.shape)
    say(complete_at(case.completeness, index, organs), NEGATIVE, 1.0, FULL)
    half_cell = scan.spacing_mm * (stride - 1) / 2
    for mark in marks:
        say(_possible(mark, points, lesions, half_cell), IGNORED, 0.0, UNMARKED)
    for status, value in (("benign", NEGATIVE), ("lesion", POSITIVE)):
        for mark in marks:
            if mark.annotation.status == status:
                say(_sure(mark, points, lesions), value, 1.0, FULL if mark.shape is None else WEAK)
    return States(state, weight, said_by)


def _centers_mm(grid: Geometry) -> npt.NDArray[np.float64]:
    """(z, y, x, 3) LPS mm (x, y, z) of the voxels' centres, of a grid along the world's axes."""
    axes = [
        first + step * np.arange(n)
        for first, step, n in zip(grid.origin_mm, grid.spacing_mm, grid.size, strict=True)
    ]
    return np.stack(np.meshgrid(*axes[::-1], indexing="ij")[::-1], -1)


def _near(mark: Marked, points: npt.NDArray[np.float64], reach_mm: float) -> tuple[slice, slice, slice]:
    """The cells within a box around a mark."""
    axes_mm = points[:, 0, 0, 2], points[0, :, 0, 1], points[0, 0, :, 0]
    spans = []
    for axis_mm, middle_mm in zip(axes_mm, mark.center_mm[::-1], strict=True):
        near = np.flatnonzero(np.abs(axis_mm - middle_mm) <= reach_mm)
        spans.append(slice(int(near[0]), int(near[-1]) + 1) if len(near) else slice(0, 0))
    return spans[0], spans[1], spans[2]


def _possible(
    mark: Marked, points: npt.NDArray[np.float64], lesions: npt.NDArray[np.int16], margin: float
) -> Mask:
    """Cells that the lesion may touch."""
    perhaps = (lesions == mark.number + 1).any(-1)
    if mark.shape is not None:
        box = _near(mark, points, mark.shape.reach_mm + 2 * margin + 1.0)
        perhaps[box] |= mark.shape.perhaps(points[box], 1.8 * margin)
    return perhaps


def _sure(mark: Marked, points: npt.NDArray[np.float64], lesions: npt.NDArray[np.int16]) -> Mask:
    """Cells of which at least three quarters lie in the mask, or whose centre lies in the mark's sure
    part.
    """
    surely: Mask = (lesions == mark.number + 1).mean(-1) >= 0.75
    if mark.shape is not None:
        box = _near(mark, points, mark.shape.reach_mm)
        surely[box] |= mark.shape.surely(points[box])
    return surely
