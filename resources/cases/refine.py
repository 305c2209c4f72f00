"""The lesion on the key slice of a RECIST mark, by thresholds: the region whose axes fit the marks best.

The idea is that of ULS23 (de Grauw et al. 2024), there with GrabCut: the inner ellipse is lesion, beyond
the outer one is none, several candidates in between, and the one whose measured axes agree with the marks
is kept.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from model.volume import Volume
from resources.cases.axes import measure_plane
from resources.cases.geometry import Shape

LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Thresholds between the median HU of the surroundings and of the core, as shares of the way."""
WORST_FIT = 0.15
"""Mean absolute log ratio of measured to marked axes above which no candidate is trusted."""
MIN_CONTRAST_HU = 15.0


def refine_key_slice(volume: Volume, z: int, shape: Shape) -> npt.NDArray[np.bool_] | None:
    """(y, x) mask of the lesion on slice z, or None where no threshold gives one that fits the marks."""
    from scipy import ndimage

    inner, outer, ring = _zones(volume, z, shape)
    if inner.sum() < 4 or ring.sum() < 4:
        return None
    smooth = ndimage.gaussian_filter(volume.hu[z].astype(np.float32), 0.7)
    core, around = float(np.median(smooth[inner])), float(np.median(smooth[ring]))
    if abs(core - around) < MIN_CONTRAST_HU:
        return None
    best, mask = WORST_FIT, None
    for share in LEVELS:
        level = around + share * (core - around)
        bright = smooth >= level if core > around else smooth <= level
        candidate = _cleaned((bright & outer) | inner, inner)
        axes = measure_plane(candidate, z, volume.spacing_mm)
        wrong = abs(math.log(axes.long_mm / shape.size_mm[0])) + abs(
            math.log(axes.short_mm / shape.size_mm[1])
        )
        if wrong / 2 < best:
            best, mask = wrong / 2, candidate
    return mask


def _zones(volume: Volume, z: int, shape: Shape) -> tuple[npt.NDArray[np.bool_], ...]:
    """(y, x) masks: surely lesion, possibly lesion, and the surroundings."""
    _, rows, columns = volume.hu.shape
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    flat = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], 1)
    away = (volume.index_to_world(flat) - shape.center_mm) @ shape.axes[:2].T
    radii = shape.size_mm[:2] / 2
    distance = np.sqrt(((away / radii) ** 2).sum(1)).reshape(rows, columns)
    near = np.sqrt(((away / (radii + 6.0)) ** 2).sum(1)).reshape(rows, columns)
    return distance <= 0.6, distance <= 1.3, (distance > 1.3) & (near <= 1.3)


def _cleaned(mask: npt.NDArray[np.bool_], core: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The part that is connected to the core, without holes and threads."""
    from scipy import ndimage

    opened = ndimage.binary_opening(mask) | core
    labels, _ = ndimage.label(opened)
    kept = np.isin(labels, np.unique(labels[core]))
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(kept)
    return filled
