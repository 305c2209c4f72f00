"""What the network should say at each output cell, from lesions whose place and size are known."""

from __future__ import annotations

import dataclasses

import torch

from model.network import OUTPUT_STRIDE

MIN_SIGMA_MM = 3.0
SIGMA_PER_SIZE = 1 / 6
"""The heat map is a Gaussian of a sixth of the lesion's mean diameter, at least 3 mm wide."""


@dataclasses.dataclass(frozen=True)
class Lesions:
    """Lesions in the voxels of one patch.

    center: (n, 3) voxel positions (z, y, x), may lie outside the patch. size_mm: (n, 3) axial long
    and short diameter and z extent. kind: (n,) channel of the type.
    """

    center: torch.Tensor
    size_mm: torch.Tensor
    kind: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Target:
    """heat: (types, z, y, x) 0..1, exactly 1 at each lesion's cell; weight: the same shape, 0 = ignored.

    geometry: (6, z, y, x) offset in cells and log size; geometry_weight: (z, y, x).
    """

    heat: torch.Tensor
    weight: torch.Tensor
    geometry: torch.Tensor
    geometry_weight: torch.Tensor


def make_target(
    lesions: Lesions, shape: tuple[int, int, int], spacing_mm: float, types: int, size_scale_mm: float
) -> Target:
    """Target of a patch of `shape` voxels (z, y, x).

    A lesion whose centre lies outside the patch is ignored where it reaches in, not denied. Cells
    around a centre learn its offset and size with the weight of the heat there.
    """
    cells = tuple(n // OUTPUT_STRIDE for n in shape)
    heat = torch.zeros(types, *cells)
    weight = torch.ones(types, *cells)
    geometry = torch.zeros(6, *cells)
    geometry_weight = torch.zeros(cells)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in cells), indexing="ij")).float()
    for voxel, size_mm, kind in zip(lesions.center, lesions.size_mm, lesions.kind, strict=True):
        cell = (voxel - (OUTPUT_STRIDE - 1) / 2) / OUTPUT_STRIDE
        offset = cell[:, None, None, None] - index
        distance_mm = offset.square().sum(0).sqrt() * OUTPUT_STRIDE * spacing_mm
        nearest = tuple(int(c) for c in cell.round())
        if any(not 0 <= i < n for i, n in zip(nearest, cells, strict=True)):
            weight[:, distance_mm < size_mm.max() / 2 + MIN_SIGMA_MM] = 0
            continue
        sigma_mm = max(MIN_SIGMA_MM, float(size_mm.mean()) * SIGMA_PER_SIZE)
        value = torch.exp(-0.5 * (distance_mm / sigma_mm) ** 2)
        value[nearest] = 1.0
        heat[kind] = torch.maximum(heat[kind], value)
        near = (offset.abs().amax(0) <= 1.5) & (value > geometry_weight)
        log_size = torch.log(size_mm / size_scale_mm)[:, None, None, None].expand(3, *cells)
        geometry[:, near] = torch.cat([offset, log_size])[:, near]
        geometry_weight[near] = value[near]
    return Target(heat, weight, geometry, geometry_weight)
