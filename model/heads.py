"""What the channels of the network's output are, and what is done with them: the only place that knows.

Lesion heads, (types + 6, z, y, x) on cells of OUTPUT_STRIDE voxels: one heat-map logit per lesion type, the
offset (z, y, x) of the lesion's centre from the cell's centre in cells, and log(size / size_scale_mm) of the
axial long diameter, the axial short diameter and the z extent. Organ logits, (organs, z, y, x), lie on cells
of ORGAN_STRIDE voxels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.config import DetectorConfig

OFFSETS, SIZES = 3, 3
GEOMETRY = OFFSETS + SIZES
SIZE_LIMITS_MM = (2.0, 300.0)
"""Sizes that no lesion exceeds; a head may say anything about a place it was never shown."""


class Split(NamedTuple):
    """Views of the lesion heads, their channels on axis -4: types, offset in cells, logarithm of sizes."""

    heat: torch.Tensor
    offset: torch.Tensor
    size: torch.Tensor


def channels_of(types: int) -> int:
    """Channels of the lesion heads."""
    return types + GEOMETRY


def split(heads: torch.Tensor) -> Split:
    """The parts of lesion heads (channels, z, y, x) or (batch, channels, z, y, x)."""
    types = heads.shape[-4] - GEOMETRY
    return Split(*torch.split(heads, [types, OFFSETS, SIZES], dim=-4))


def calibrated(heads: torch.Tensor, config: DetectorConfig) -> torch.Tensor:
    """Heads whose heat maps are calibrated probabilities (Platt 1999) and whose sizes are mm."""
    heat, offset, size = split(heads)
    slope, intercept = config.calibration
    size_mm = (size.clamp(-6, 6).exp() * config.size_scale_mm).clamp(*SIZE_LIMITS_MM)
    return torch.cat([torch.sigmoid(heat * slope + intercept), offset, size_mm])


def organs_at(logits: torch.Tensor, voxels: npt.NDArray[np.float64], stride: int) -> npt.NDArray[np.intp]:
    """Number of the likeliest organ class at each of n places, the first class (background) left out.

    logits: (classes, z, y, x) on cells of `stride` voxels. voxels: (n, 3) positions (z, y, x) in the grid.
    Probabilities are interpolated linearly between cells, at the border continued.
    """
    size = torch.tensor(logits.shape[1:], dtype=torch.float64)
    cell = (torch.from_numpy(np.asarray(voxels, np.float64)) - (stride - 1) / 2) / stride
    place = (2 * cell + 1) / size - 1  # of grid_sample: -1 to 1 from edge to edge
    points = place.flip(-1)[None, :, None, None].to(logits)
    sampled = F.grid_sample(
        logits.softmax(0)[None], points, mode="bilinear", padding_mode="border", align_corners=False
    )
    return np.asarray(sampled[0, 1:, :, 0, 0].argmax(0).cpu().numpy() + 1)


def organ_map(logits: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """The likeliest class of each voxel, uint8 (z, y, x), the background included.

    logits: (classes, z, y, x) on cells that fill a grid of `shape` voxels. Probabilities are interpolated
    linearly, one class at a time: all of them at once would fill the memory.
    """
    best = torch.full(shape, -1.0, device=logits.device)
    labels = torch.zeros(shape, dtype=torch.uint8, device=logits.device)
    for number, probability in enumerate(logits.softmax(0)):
        fine = F.interpolate(probability[None, None], shape, mode="trilinear", align_corners=False)[0, 0]
        higher = fine > best
        best, labels = torch.where(higher, fine, best), labels.masked_fill_(higher, number)
    return labels


def mirrored(heads: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Heads (channels, z, y, x) of a grid mirrored along `axes`, in the frame of the grid; its own inverse.

    Offsets (z, y, x) along these axes change their sign.
    """
    if not axes:
        return heads
    heads = heads.flip([axis + 1 for axis in axes])
    split(heads).offset[list(axes)] *= -1
    return heads
