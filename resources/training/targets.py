"""What the network should say at each output cell, from the lesions and from what is known of the rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from model.network import OUTPUT_STRIDE
from resources.cases.cache import CachedScan
from resources.cases.geometry import LONG_MM
from resources.training.states import IGNORED, Marked

MIN_SIGMA_MM = 3.0
SIGMA_PER_SIZE = 1 / 6
"""The heat map is a Gaussian of a sixth of the lesion's mean diameter, at least 3 mm wide."""
POSITIVE_FROM, REACH_CELLS = 0.4, 1.5
"""Cells where the Gaussian is at least this high, and that are no farther from the centre, are positive too:
about four for a small lesion. After CPM-Net (Song et al. 2020), whose positives are the nearest points: a
single positive cell teaches little."""
FULL_WEIGHT_CELLS = 7
"""A lesion with more positive cells than these weighs as much as one with these."""


@dataclasses.dataclass(frozen=True)
class Lesions:
    """Lesions in the voxels of one patch.

    center: (n, 3) voxel positions (z, y, x), may lie outside the patch. size_mm: (n, 3) axial long
    and short diameter and z extent, NaN where unknown. kind: (n,) channel of the type, -1 where unknown.
    """

    center: torch.Tensor
    size_mm: torch.Tensor
    kind: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Target:
    """heat: (types, z, y, x) 0..1, exactly 1 at each lesion's cells; weight: the same shape, 0 = ignored.

    any_heat, any_weight: (z, y, x), the same for the maximum over the type maps, in which lesions of
    unknown type are; these are ignored in every single map. geometry: (6, z, y, x) offset in cells and
    log size; geometry_weight: (z, y, x).
    """

    heat: torch.Tensor
    weight: torch.Tensor
    any_heat: torch.Tensor
    any_weight: torch.Tensor
    geometry: torch.Tensor
    geometry_weight: torch.Tensor


def lesions_of(marks: list[Marked], scan: CachedScan, types: tuple[str, ...]) -> Lesions:
    """The lesions of a case in the voxels of its cached scan; benign and doubtful ones are none."""
    own = [mark for mark in marks if mark.annotation.status == "lesion"]
    center = np.array([mark.center_mm[::-1] / scan.spacing_mm - np.array(scan.lower) for mark in own])
    kinds = [-1 if m.annotation.type not in types else types.index(m.annotation.type) for m in own]
    return Lesions(
        torch.from_numpy(center.reshape(-1, 3).astype(np.float32)),
        torch.from_numpy(np.array([mark.size_mm for mark in own], np.float32).reshape(-1, 3)),
        torch.tensor(kinds, dtype=torch.long),
    )


def make_target(
    lesions: Lesions,
    shape: tuple[int, int, int],
    spacing_mm: float,
    types: int,
    size_scale_mm: float,
    states: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Target:
    """Target of a patch of `shape` voxels (z, y, x).

    A lesion whose centre lies outside the patch is ignored where it reaches in, not denied. Cells
    around a centre learn its offset and size with the weight of the heat there; not those of a lesion
    of unknown size. states: state and weight (z, y, x) of the patch's cells, as `states_of` gives them
    for a scan; without them everything but the lesions is known to be free of lesions.
    """
    cells = tuple(n // OUTPUT_STRIDE for n in shape)
    heat, any_heat = torch.zeros(types, *cells), torch.zeros(cells)
    known = torch.ones(cells) if states is None else states[1] * (states[0] != IGNORED)
    weight, any_weight = known.expand(types, *cells).clone(), known.clone()
    share = torch.zeros(types, *cells)
    geometry, geometry_weight = torch.zeros(6, *cells), torch.zeros(cells)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in cells), indexing="ij")).float()
    for voxel, measured_mm, kind in zip(lesions.center, lesions.size_mm, lesions.kind.tolist(), strict=True):
        size_mm = torch.where(measured_mm.isnan(), torch.tensor(LONG_MM[1]), measured_mm)
        cell = (voxel - (OUTPUT_STRIDE - 1) / 2) / OUTPUT_STRIDE
        offset = cell[:, None, None, None] - index
        distance_mm = offset.square().sum(0).sqrt() * OUTPUT_STRIDE * spacing_mm
        nearest = tuple(int(c) for c in cell.round())
        touched = distance_mm < size_mm.max() / 2 + MIN_SIGMA_MM
        if any(not 0 <= i < n for i, n in zip(nearest, cells, strict=True)):
            weight[:, touched], any_weight[touched] = 0, 0
            continue
        sigma_mm = max(MIN_SIGMA_MM, float(size_mm.mean()) * SIGMA_PER_SIZE)
        value = torch.exp(-0.5 * (distance_mm / sigma_mm) ** 2)
        close = offset.abs().amax(0) <= REACH_CELLS
        value[close & (value >= POSITIVE_FROM)] = 1.0
        value[nearest] = 1.0
        own = (value == 1) * min(1.0, FULL_WEIGHT_CELLS / int((value == 1).sum()))
        any_heat, any_weight = torch.maximum(any_heat, value), torch.maximum(any_weight * (value < 1), own)
        if kind < 0:
            weight[:, touched] = 0
        else:
            heat[kind], share[kind] = torch.maximum(heat[kind], value), torch.maximum(share[kind], own)
        if not bool(measured_mm.isnan().any()):
            near = close & (value > geometry_weight)
            log_size = torch.log(size_mm / size_scale_mm)[:, None, None, None].expand(3, *cells)
            geometry[:, near] = torch.cat([offset, log_size])[:, near]
            geometry_weight[near] = value[near]
    weight = torch.where(heat == 1, share, weight)
    return Target(heat, weight, any_heat, any_weight, geometry, geometry_weight)
