"""From the network's heads to candidates: peaks, sub-voxel positions, sizes, each lesion once."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.boxes import suppress
from model.config import MOST_POINTS
from model.heads import OFFSETS, split
from model.network import OUTPUT_STRIDE

MIN_PROBABILITY = 0.01
PEAKS = 1000
"""Peaks kept before suppression."""
MIN_APART_MM = 6.0
"""Two lesions nearer than this, or than half the mean diameter of the surer one, are one."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Sorted by probability, highest first.

    voxel: (n, 3) position (z, y, x) in the grid. probability: (n,). types: (n, types) probabilities.
    size_mm: (n, 3) axial long and short diameter, z extent.
    """

    voxel: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    types: npt.NDArray[np.float64]
    size_mm: npt.NDArray[np.float64]


def decode(maps: torch.Tensor, spacing_mm: float) -> Candidates:
    """Candidates from calibrated maps (channels, z, y, x), see model.heads: peaks of the highest heat map.

    Where neighbours are exactly equal the first in memory is the peak.
    """
    types = split(maps).heat.shape[0]
    best = split(maps).heat.amax(0)
    _, highest = F.max_pool3d(best[None, None], 3, stride=1, padding=1, return_indices=True)
    peak = highest.flatten() == torch.arange(best.numel(), device=best.device)
    score = torch.where(peak & (best.flatten() >= MIN_PROBABILITY), best.flatten(), 0.0)
    values, order = torch.topk(score, min(PEAKS, score.numel()))
    order = order[values > 0]
    chosen = maps.flatten(1)[:, order].double().cpu().numpy()
    flat = order.cpu().numpy()
    cell = np.stack(np.unravel_index(flat, tuple(best.shape)), 1)
    sequence = np.lexsort((flat, -chosen[:types].max(0, initial=0.0)))
    chosen, cell = chosen[:, sequence], cell[sequence]
    heat, offset, size = np.split(chosen, [types, types + OFFSETS])
    offset = np.clip(offset.T, -1.5, 1.5)
    voxel = (cell + offset) * OUTPUT_STRIDE + (OUTPUT_STRIDE - 1) / 2
    size_mm = size.T
    size_mm[:, :2] = np.sort(size_mm[:, :2], axis=1)[:, ::-1]
    reach_mm = np.maximum(MIN_APART_MM, size_mm.mean(1) / 2)
    kept = suppress(voxel * spacing_mm, reach_mm)[:MOST_POINTS]
    heat = heat.T[kept]
    return Candidates(voxel[kept], heat.max(1, initial=0.0), heat, size_mm[kept])
