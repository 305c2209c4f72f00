"""Random changes of the HU of a batch, on its device, of each patch its own: scanner, contrast, thick slices.

Geometry is changed where patches are cut.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from model.config import DetectorConfig
from model.preprocess import AIR_HU, TOP_HU
from resources.training.config import Augmentation
from resources.training.data.batch import Batch

SOFT_HU, EDGE_HU = (0.0, 250.0), 30.0
"""Soft tissue that takes up contrast, and the width of the transition at both ends."""
FIELD = 3
"""Contrast differs between this many places along each axis, smoothly in between."""


def augment(
    batch: Batch,
    settings: Augmentation,
    generator: torch.Generator,
    spacing_mm: float = DetectorConfig.spacing_mm,
) -> Batch:
    """The batch with other HU: contrast, blur and thick slices first, then noise, gain and shift.

    generator: on the CPU or the batch's device; the same one gives the same on one device. HU stay within
    those that preprocessing gives.
    """
    hu = batch.hu
    draw = _Draw(generator, len(hu), hu.device)
    if settings.phase_hu > 0:
        amount = (draw.uniform(-1, 1) + draw.field(hu.shape)) / 2
        hu = hu + _take_up(hu) * amount * settings.phase_hu
    if settings.blur_mm > 0:
        hu = blur(hu, draw.uniform(0, settings.blur_mm / spacing_mm))
    if settings.slice_mm > spacing_mm:
        thick = draw.uniform(1.0, settings.slice_mm / spacing_mm)
        used = draw.uniform(0, 1) < 0.5
        hu = thicken(hu, torch.where(used, thick, torch.ones_like(thick)), draw.uniform(0, 1))
    if settings.noise_hu > 0:
        hu = hu + draw.noise(hu.shape) * draw.uniform(0, settings.noise_hu)
    gain = 1 + draw.uniform(-settings.gain, settings.gain)
    hu = hu * gain + draw.uniform(-settings.shift_hu, settings.shift_hu)
    return dataclasses.replace(batch, hu=hu.clamp(AIR_HU, TOP_HU))


class _Draw:
    """Random numbers for each patch of a batch, shaped (b, 1, 1, 1, 1) unless said otherwise."""

    def __init__(self, generator: torch.Generator, count: int, device: torch.device):
        self.generator, self.count, self.device = generator, count, device

    def uniform(self, low: float, high: float) -> torch.Tensor:
        drawn = torch.rand(self.count, 1, 1, 1, 1, generator=self.generator, device=self.generator.device)
        return (low + (high - low) * drawn).to(self.device)

    def field(self, shape: torch.Size) -> torch.Tensor:
        """From -1 to 1, smooth in space, of a batch's shape."""
        coarse = (self.count, 1, FIELD, FIELD, FIELD)
        drawn = torch.rand(coarse, generator=self.generator, device=self.generator.device) * 2 - 1
        return F.interpolate(drawn.to(self.device), shape[2:], mode="trilinear", align_corners=True)

    def noise(self, shape: torch.Size) -> torch.Tensor:
        """Standard deviation 1: white noise mixed with noise that neighbours share."""
        white, shared = (
            torch.randn(shape, generator=self.generator, device=self.generator.device).to(self.device)
            for _ in range(2)
        )
        for axis in (2, 3, 4):
            # weights 1, 2, 1, whose squares sum to 6; the batch's ends are joined, so all have one variance
            shared = (2 * shared + shared.roll(1, axis) + shared.roll(-1, axis)) / 6**0.5
        part = self.uniform(0, 1)
        return (1 - part).sqrt() * white + part.sqrt() * shared


def _take_up(hu: torch.Tensor) -> torch.Tensor:
    """0 to 1: how much contrast medium changes such a voxel."""
    low, high = SOFT_HU
    return torch.sigmoid((hu - low) / (EDGE_HU / 4)) * torch.sigmoid((high - hu) / (EDGE_HU / 4))


def blur(hu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of (b, 1, z, y, x) in y and x; sigma: (b, 1, 1, 1, 1) in voxels, up to about 1."""
    taps = torch.exp(
        -0.5 * (torch.arange(3, device=hu.device) / sigma.clamp(min=1e-3)) ** 2
    )  # (b, 1, 1, 1, 3)
    taps = taps / (taps[..., :1] + 2 * taps[..., 1:].sum(-1, keepdim=True))
    for axis in (3, 4):
        edge = (2, 2, 0, 0) if axis == 4 else (0, 0, 2, 2)
        padded = F.pad(hu[:, 0], edge, mode="replicate")[:, None]
        count = hu.shape[axis]
        shifted = [padded.narrow(axis, 2 + step, count) for step in range(-2, 3)]
        first, second, third = (taps[..., i : i + 1] for i in range(3))
        hu = shifted[2] * first + (shifted[1] + shifted[3]) * second + (shifted[0] + shifted[4]) * third
    return hu


def thicken(hu: torch.Tensor, thick: torch.Tensor, begin: torch.Tensor) -> torch.Tensor:
    """As slices of `thick` voxels would look after resampling: averages along z, interpolated in between.

    hu: (b, 1, z, y, x). thick: (b, 1, 1, 1, 1), 1 or more; 1 changes nothing. begin: 0 to 1, where in a
    thick slice the first voxel lies.
    """
    depth = hu.shape[2]
    thick, begin = thick.flatten()[:, None, None], begin.flatten()[:, None, None]
    voxel = torch.arange(depth, device=hu.device, dtype=hu.dtype)
    number = torch.arange(-1, depth + 1, device=hu.device, dtype=hu.dtype)
    middle = (number[None, :, None] + 0.5 - begin * (thick > 1)) * thick - 0.5  # (b, slices, 1)
    inside = torch.minimum(middle + thick / 2, voxel + 0.5) - torch.maximum(middle - thick / 2, voxel - 0.5)
    average = inside.clamp(min=0)
    covered = average.sum(2)
    average = average / covered.clamp(min=1e-6)[..., None]
    near = (1 - (voxel[:, None] - middle.transpose(1, 2)).abs() / thick).clamp(min=0)  # (b, z, slices)
    near = near * (covered > 1e-3)[:, None]
    near = near / near.sum(2, keepdim=True)
    return torch.einsum("bij,bcjyx->bciyx", near @ average, hu)
