"""What the network should say at each output cell, from the lesions and from what is known of the rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from model.heads import GEOMETRY
from model.network import OUTPUT_STRIDE
from resources.cases.cache import CachedScan
from resources.cases.case import Annotation
from resources.cases.lesions import LONG_MM
from resources.training.data.batch import FULL, REPORT_NEGATIVE, UNMARKED, WEAK, Batch
from resources.training.targets.states import POSITIVE, REPORT_WEIGHT, Marked
from resources.training.targets.terms import type_of

MIN_SIGMA_MM = 3.0
SIGMA_PER_SIZE = 1 / 6
"""The heat map is a Gaussian of a sixth of the lesion's mean diameter, at least 3 mm wide."""
FAR_SIGMAS = 4.0
"""Beyond so many sigmas (heat below 0.0004) the heat is 0."""
POSITIVE_FROM, REACH_CELLS = 0.4, 1.5
"""Cells where the Gaussian is at least this high, and that are no farther from the centre, are positive too:
about four for a small lesion. After CPM-Net (Song et al. 2020), whose positives are the nearest points: a
single positive cell teaches little."""
FULL_WEIGHT_CELLS = 7
"""A lesion with more positive cells than these weighs as much as one with these."""
LEAST_INSIDE = 0.5
"""A lesion of whose extent less than this lies in the patch is ignored there."""
LAW_WEIGHT = (0.5, 0.5, 0.25)
"""Weight of long and short diameter and z extent that nobody measured: inverse to their spread. A measured
diameter is right within about a tenth; the short one by its law within a fifth, the z extent within 0.4
(both as a logarithm; see resources.cases.lesions)."""
LAW_OFFSET_WEIGHT = 0.5
"""Weight of the centre's z where the z extent is not measured: the key slice is one of several."""


@dataclasses.dataclass(frozen=True)
class Lesions:
    """n lesions in the voxels of one scan or patch.

    center: (n, 3) voxel positions (z, y, x), may lie outside the patch. size_mm: (n, 3) axial long
    and short diameter and z extent, NaN where unknown. kind: (n,) channel of the type, -1 where unknown.
    said_by: (n,) FULL or WEAK. geometry_weight: (n, 6) of offset (z, y, x) and sizes, 0 where unknown.
    """

    center: torch.Tensor
    size_mm: torch.Tensor
    kind: torch.Tensor
    said_by: torch.Tensor
    geometry_weight: torch.Tensor


def geometry_weights(annotation: Annotation, boxed: bool) -> list[float]:
    """Weights of offset (z, y, x) and of long, short and z size, by what was measured.

    boxed: whether it is a box of several slices.
    """
    a = annotation
    if a.kind == "mask":
        return [1.0] * 3 + [float(mm is not None) for mm in (a.long_mm, a.short_mm, a.z_extent_mm)]
    measured = (
        a.long_mm is not None or a.kind == "recist",
        a.short_mm is not None or a.short is not None,
        a.z_extent_mm is not None or boxed,
    )
    sizes = [1.0 if known else law for known, law in zip(measured, LAW_WEIGHT, strict=True)]
    if a.kind == "point" and a.long_mm is None:
        sizes = [float(mm is not None) for mm in (a.long_mm, a.short_mm, a.z_extent_mm)]
    return [1.0 if measured[2] else LAW_OFFSET_WEIGHT, 1.0, 1.0, *sizes]


def lesions_of(marks: list[Marked], scan: CachedScan, types: tuple[str, ...]) -> Lesions:
    """The lesions of a case in the voxels of its cached scan; benign and doubtful ones are none."""
    lesions = [mark for mark in marks if mark.annotation.status == "lesion"]
    weights = [geometry_weights(m.annotation, m.shape is not None and m.shape.boxed) for m in lesions]
    center = scan.grid.world_to_voxel([mark.center_mm for mark in lesions])
    named = [type_of(mark.annotation) for mark in lesions]
    return Lesions(
        torch.from_numpy(center.reshape(-1, 3).astype(np.float32)),
        torch.from_numpy(np.array([mark.size_mm for mark in lesions], np.float32).reshape(-1, 3)),
        torch.tensor([types.index(name) if name in types else -1 for name in named], dtype=torch.long),
        torch.tensor([FULL if mark.shape is None else WEAK for mark in lesions], dtype=torch.int8),
        torch.tensor(weights).reshape(-1, GEOMETRY),
    )


@dataclasses.dataclass(frozen=True)
class Spot:
    """A lesion on the cells around it. box: these cells; the tensors are theirs.

    offset: (3, z, y, x) to the centre, in cells. value: heat, 1 in its own cells. touched: where it may
    reach. middle: its centre's cell, counted from the box's corner, None where too little of the lesion lies
    in the patch to be learnt.
    """

    box: tuple[slice, slice, slice]
    offset: torch.Tensor
    value: torch.Tensor
    touched: torch.Tensor
    middle: tuple[int, int, int] | None

    @property
    def own(self) -> torch.Tensor:
        return self.value == 1

    @property
    def share(self) -> float:
        """Weight of each of its own cells."""
        return min(1.0, FULL_WEIGHT_CELLS / max(1, int(self.own.sum())))


def spot_of(
    center: torch.Tensor, measured_mm: torch.Tensor, cells: tuple[int, int, int], spacing_mm: float
) -> Spot | None:
    """A lesion at voxel (z, y, x) of a patch of `cells`; None if it reaches none of them."""
    size_mm = torch.where(measured_mm.isnan(), torch.tensor(LONG_MM[1]), measured_mm)
    sigma_mm = max(MIN_SIGMA_MM, float(size_mm.mean()) * SIGMA_PER_SIZE)
    touch_mm = float(size_mm.max()) / 2 + MIN_SIGMA_MM
    cell_mm = spacing_mm * OUTPUT_STRIDE
    cell = (center - (OUTPUT_STRIDE - 1) / 2) / OUTPUT_STRIDE
    reach = max(touch_mm, FAR_SIGMAS * sigma_mm, cell_mm) / cell_mm
    low = [max(0, int(c)) for c in (cell - reach).ceil()]
    high = [min(n, int(c) + 1) for c, n in zip((cell + reach).floor(), cells, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    axes = [torch.arange(a, b, dtype=torch.float32) for a, b in zip(low, high, strict=True)]
    offset = cell[:, None, None, None] - torch.stack(torch.meshgrid(*axes, indexing="ij"))
    distance_mm = offset.square().sum(0).sqrt() * cell_mm
    value = torch.exp(-0.5 * (distance_mm / sigma_mm) ** 2)
    z, y, x = (int(c) - a for c, a in zip(cell.round(), low, strict=True))
    learnt = all(0 <= i + a < n for i, a, n in zip((z, y, x), low, cells, strict=True))
    learnt = learnt and _share_inside(cell, size_mm / cell_mm, cells) >= LEAST_INSIDE
    if learnt:
        value[(offset.abs().amax(0) <= REACH_CELLS) & (value >= POSITIVE_FROM)] = 1.0
        value[z, y, x] = 1.0
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    return Spot(box, offset, value, distance_mm < touch_mm, (z, y, x) if learnt else None)


def near_patch(
    centers: torch.Tensor, measured_mm: torch.Tensor, cells: tuple[int, int, int], spacing_mm: float
) -> list[int]:
    """Numbers of the lesions that may reach a patch of `cells`: a quick look at all of a scan.

    centers: (n, 3) voxel (z, y, x). measured_mm: (n, 3) long, short, z, NaN unknown.
    """
    size_mm = torch.where(measured_mm.isnan(), torch.tensor(LONG_MM[1]), measured_mm)
    sigma_mm = (size_mm.mean(-1) * SIGMA_PER_SIZE).clamp(min=MIN_SIGMA_MM)
    touch_mm = size_mm.amax(-1) / 2 + MIN_SIGMA_MM
    reach = torch.maximum(touch_mm, FAR_SIGMAS * sigma_mm) / spacing_mm + 2 * OUTPUT_STRIDE
    high = torch.tensor(cells) * OUTPUT_STRIDE
    inside = (centers > -reach[:, None]) & (centers < high + reach[:, None])
    return inside.all(1).nonzero().flatten().tolist()


def _share_inside(cell: torch.Tensor, size: torch.Tensor, cells: tuple[int, int, int]) -> float:
    """Of the box around a lesion, its diameters in the plane being the mean one; all in cells."""
    plane = (size[0] + size[1]) / 2
    half = torch.stack([size[2], plane, plane]) / 2
    low, high = (cell - half).clamp(min=-0.5), torch.minimum(cell + half, torch.tensor(cells) - 0.5)
    return float(((high - low).clamp(min=0) / (2 * half)).prod())


@dataclasses.dataclass
class Drawing:
    """The target of one patch while lesions are put into it. TARGETS: as in Batch, without its first axis.

    state: (Z, Y, X). share, any_share: weight of the cells where the heat is 1. near: heat of the lesion
    whose offset and size a cell has. closed: cells of which annotations speak, and those that are never
    learnt.
    """

    heat: torch.Tensor
    weight: torch.Tensor
    said_by: torch.Tensor
    any_heat: torch.Tensor
    any_weight: torch.Tensor
    any_said_by: torch.Tensor
    geometry: torch.Tensor
    geometry_weight: torch.Tensor
    geometry_said_by: torch.Tensor
    state: torch.Tensor
    share: torch.Tensor
    any_share: torch.Tensor
    near: torch.Tensor
    closed: torch.Tensor

    def finish(self) -> Drawing:
        """The same with the weights of its lesions' cells."""
        weight = torch.where(self.heat == 1, self.share, self.weight)
        any_weight = torch.where(self.any_heat == 1, self.any_share, self.any_weight)
        return dataclasses.replace(self, weight=weight, any_weight=any_weight)


TARGETS = tuple(f.name for f in dataclasses.fields(Batch) if f.name in Drawing.__dataclass_fields__)
"""The fields of a drawing that are those of a batch."""
Known = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""State, weight and said_by (z, y, x) of a patch's cells, as `states_of` gives them for a scan."""


def draw_known(known: Known, types: int, cleared: tuple[int, ...] = ()) -> Drawing:
    """What is known before any lesion. cleared: channels of which a report says that there is no lesion.

    The rest of a lesion's cells is learnt only with its centre (`draw_lesions`), so it begins with weight 0.
    """
    state, own_weight, said_by = known
    cells = tuple(state.shape)
    any_weight = own_weight * (state != POSITIVE)
    weight = any_weight.expand(types, *cells).clone()
    said = said_by.expand(types, *cells).clone()
    free = (said_by == UNMARKED) & (any_weight > 0)
    for kind in cleared:
        weight[kind, free], said[kind, free] = REPORT_WEIGHT, REPORT_NEGATIVE
    return Drawing(
        heat=torch.zeros(types, *cells), weight=weight, said_by=said,
        any_heat=torch.zeros(cells), any_weight=any_weight.clone(), any_said_by=said_by.clone(),
        geometry=torch.zeros(GEOMETRY, *cells), geometry_weight=torch.zeros(GEOMETRY, *cells),
        geometry_said_by=torch.full(cells, UNMARKED, dtype=torch.int8), state=state,
        share=torch.zeros(types, *cells), any_share=torch.zeros(cells), near=torch.zeros(cells),
        closed=(own_weight == 0) | (said_by == FULL) | (said_by == WEAK),
    )  # fmt: skip


def draw_lesions(drawing: Drawing, lesions: Lesions, spacing_mm: float, size_scale_mm: float) -> None:
    """Puts in what is annotated. A lesion that lies mostly outside is ignored where it reaches in."""
    cells = tuple(drawing.state.shape)
    cut_off = []
    for i in near_patch(lesions.center, lesions.size_mm, cells, spacing_mm):  # type: ignore[arg-type]
        spot = spot_of(lesions.center[i], lesions.size_mm[i], cells, spacing_mm)  # type: ignore[arg-type]
        if spot is None:
            continue
        if spot.middle is None:
            cut_off.append(spot)
            continue
        said_by, kind = int(lesions.said_by[i]), int(lesions.kind[i])
        here = (slice(None), *spot.box)
        body = spot.touched & (drawing.state[spot.box] == POSITIVE)
        drawing.weight[here][:, body] = 1.0
        drawing.any_weight[spot.box][body] = 1.0
        put(drawing, spot, kind, said_by, 1.0, spot.own)
        drawing.closed[spot.box] |= spot.own
        if kind < 0:
            drawing.weight[here][:, spot.touched] = 0.0
        log_size = torch.log(lesions.size_mm[i] / size_scale_mm)
        put_geometry(drawing, spot, log_size, lesions.geometry_weight[i], said_by)
    for spot in cut_off:
        drawing.weight[(slice(None), *spot.box)][:, spot.touched] = 0.0
        drawing.any_weight[spot.box][spot.touched] = 0.0
        drawing.closed[spot.box] |= spot.touched


def put(drawing: Drawing, spot: Spot, kind: int, said_by: int, weight: float, positive: torch.Tensor) -> None:
    """The heat of a lesion. own: the cells of the spot that become positive, of all with value 1."""
    value = torch.where(spot.own & ~positive, torch.zeros(()), spot.value)
    maps = [(drawing.any_heat, drawing.any_share, drawing.any_said_by)]
    if kind >= 0:
        maps.append((drawing.heat[kind], drawing.share[kind], drawing.said_by[kind]))
    for heat, share, said in maps:
        heat[spot.box] = torch.maximum(heat[spot.box], value)
        share[spot.box] = torch.maximum(share[spot.box], positive * (spot.share * weight))
        said[spot.box][positive] = said_by


def put_geometry(
    drawing: Drawing, spot: Spot, log_size: torch.Tensor, weight: torch.Tensor, said_by: int
) -> None:
    """Cells around a centre learn its offset and size with the weight of the heat there.

    log_size: (3,) of long, short, z, NaN where unknown. weight: (6,), which is 0 there.
    """
    near = (spot.offset.abs().amax(0) <= REACH_CELLS) & (spot.value > drawing.near[spot.box])
    sizes = log_size.nan_to_num()[:, None, None, None].expand(3, *near.shape)
    here = (slice(None), *spot.box)
    drawing.near[spot.box][near] = spot.value[near]
    drawing.geometry[here][:, near] = torch.cat([spot.offset, sizes])[:, near]
    known = weight * torch.cat([torch.ones(3), (~log_size.isnan()).float()])
    drawing.geometry_weight[here][:, near] = known[:, None] * spot.value[near]
    drawing.geometry_said_by[spot.box][near] = said_by
