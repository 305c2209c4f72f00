"""RECIST 1.1 axes of a mask: the longest axial diameter and, on its slice, the longest perpendicular to it.

The boundary of a mask runs through the middles of its pixels' outer edges, so a row of n pixels is n pixels
long. Of a slice, the largest connected part is measured.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from resources.cases.strict import CaseError

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class PlaneAxes:
    """End points (x, y) in pixels of the long and the short axis on slice z, and their lengths in mm."""

    z: int
    long: Array
    short: Array
    long_mm: float
    short_mm: float


@dataclasses.dataclass(frozen=True)
class Axes:
    """RECIST axes of a lesion: those of its key slice, and how far it reaches along z, in mm."""

    key: PlaneAxes
    z_extent_mm: float

    @property
    def long_mm(self) -> float:
        return self.key.long_mm

    @property
    def short_mm(self) -> float:
        return self.key.short_mm


def bounds(mask: Bools) -> tuple[slice, slice, slice]:
    """(z, y, x) of the smallest box that holds a mask, which must not be empty."""
    occupied = [np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    z, y, x = (slice(int(where[0]), int(where[-1]) + 1) for where in occupied)
    return z, y, x


def measure_axes(mask: Bools, spacing_mm: Spacing) -> Axes:
    """The axes of a lesion's mask (z, y, x); spacing (x, y, z). Raises CaseError where the mask is empty.

    The key slice is the one with the longest diameter, the first of those equally long.
    """
    levels = np.flatnonzero(mask.any((1, 2)))
    if not len(levels):
        raise CaseError("mask: expected at least one voxel, found none")
    key: PlaneAxes | None = None
    for z in levels:
        here = measure_plane(mask[z], int(z), spacing_mm)
        if key is None or here.long_mm > key.long_mm + 1e-9:
            key = here
    assert key is not None
    return Axes(key, float(levels[-1] - levels[0] + 1) * spacing_mm[2])


def measure_plane(plane: Bools, z: int, spacing_mm: Spacing) -> PlaneAxes:
    """The axes of the largest connected part of a mask (y, x), which must not be empty.

    The long axis joins the two farthest points of the boundary; the short axis is the longest line
    perpendicular to it from boundary to boundary, so that its ends lie on the boundary of a concave lesion.
    """
    from scipy.spatial import ConvexHull
    from skimage.measure import find_contours, label

    parts = label(plane, connectivity=2)
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    contours = find_contours(np.pad(parts == largest, 1).astype(np.float32), 0.5, fully_connected="high")
    rings = [(ring[:, ::-1] - 1) * spacing_mm[:2] for ring in contours]
    points = np.concatenate(rings)
    hull = points[ConvexHull(points).vertices]
    apart = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    first, second = np.unravel_index(int(apart.argmax()), apart.shape)
    long = hull[[first, second]]
    length = float(apart[first, second])
    short = _longest_across(rings, (long[1] - long[0]) / length)
    pixel = np.array(spacing_mm[:2])
    width = min(length, float(np.linalg.norm(short[1] - short[0])))  # but for rounding it is shorter
    return PlaneAxes(z, long / pixel, short / pixel, length, width)


def _longest_across(rings: list[Array], along: Array) -> Array:
    """(2, 2) ends of the longest line perpendicular to the unit vector `along` between closed polygons.

    Width is piecewise linear along the long axis, so its maximum lies at a vertex.
    """
    across = np.array([-along[1], along[0]])
    starts, stops = (np.concatenate([ring[part] for ring in rings]) for part in (slice(-1), slice(1, None)))
    t = np.unique(np.round(starts @ along, 9))
    t0, t1, s0, s1 = starts @ along, stops @ along, starts @ across, stops @ across
    share = (t[:, None] - t0) / np.where(t1 == t0, 1.0, t1 - t0)
    cut = (share >= -1e-6) & (share <= 1 + 1e-6)
    level = np.where(t1 == t0, s0, s0 + share.clip(0, 1) * (s1 - s0))
    cut &= (t1 != t0) | (np.abs(t[:, None] - t0) < 1e-6)
    low, high = np.where(cut, level, np.inf).min(1), np.where(cut, level, -np.inf).max(1)
    widest = int((high - low).argmax())
    return np.stack([t[widest] * along + s * across for s in (low[widest], high[widest])])
