"""From marks to shapes: what a RECIST measurement, a box or a point says about the lesion in three
dimensions.

The laws come from 3,600 lesion masks of ULS23 (L long, S short axial diameter, Z extent along z, V volume,
mm): Z / sqrt(L S) has the quantiles below, and log V = -0.506 + 1.745 log L + 1.059 log S (residual sd 0.48).
An ellipsoid with the axes L, S and the median Z is a quarter too large by that law, for lesions are less
round than ellipses; so the expected body keeps Z and is narrowed in the plane until its volume is V.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from model.volume import Volume
from resources.cases.case import Annotation
from resources.cases.strict import CaseError

Array = npt.NDArray[np.float64]

Z_RATIO = {0.10: 0.53, 0.50: 0.97, 0.90: 1.57, 0.975: 2.19}
"""Quantiles of Z / sqrt(L S)."""
SHORT_RATIO = 0.74
"""Median of S / L."""
INNER_PLANE, OUTER_PLANE = 0.85, 1.3
"""In the plane: within the first share of the marked radii is lesion, beyond the second none of it. On 24
sarcoma masks marked by their own axes, 3.9 % of the inner part is no lesion and 1.3 % of the lesion is
outside the outer part."""
INNER_BOX = 0.75
"""Share of a box's half edges within which an ellipsoid that touches its sides is sure to be."""
LONG_MM = (8.5, 19.0, 51.5)
"""Quantiles (10, 50, 90 %) of DeepLesion's long diameter: all that a point tells of a lesion's size."""
POINT_INNER_MM = 2.0


@dataclasses.dataclass(frozen=True)
class Shape:
    """A lesion's place, size and what is sure about its extent, in LPS mm (x, y, z).

    axes: (3, 3) rows, the unit vectors of long axis, short axis and normal of the slice. size_mm:
    expected long and short axial diameter and z extent; NaN where nothing is known. inner_mm, body_mm,
    outer_mm: radii along `axes` of the part that is lesion, of the expected body, and of what can be
    lesion at all. Inner and body are ellipsoids; the outer part is one too, or the box with these half
    edges where `boxed`.
    """

    center_mm: Array
    axes: Array
    size_mm: Array
    inner_mm: Array
    body_mm: Array
    outer_mm: Array
    boxed: bool = False

    def _coordinates(self, points_mm: npt.ArrayLike) -> Array:
        return np.abs((np.asarray(points_mm, np.float64) - self.center_mm) @ self.axes.T)

    def surely(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(..., 3) LPS mm -> (...) whether a point is lesion for sure."""
        return ((self._coordinates(points_mm) / self.inner_mm) ** 2).sum(-1) <= 1

    def perhaps(self, points_mm: npt.ArrayLike, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """(..., 3) LPS mm -> (...) whether a point can be lesion, or lies within the margin of that."""
        scaled = self._coordinates(points_mm) / (self.outer_mm + margin_mm)
        return scaled.max(-1) <= 1 if self.boxed else (scaled**2).sum(-1) <= 1

    @property
    def reach_mm(self) -> float:
        """No point that can be lesion is farther from the centre."""
        return float(np.linalg.norm(self.outer_mm) if self.boxed else self.outer_mm.max())


def law_volume_mm3(long_mm: float, short_mm: float) -> float:
    """Median volume of a lesion with these axial diameters."""
    return math.exp(-0.506 + 1.745 * math.log(long_mm) + 1.059 * math.log(short_mm))


def shape_of_recist(long_mm: Array, short_mm: Array | None, normal: Array, slice_mm: float) -> Shape:
    """Two (2, 3) end points of each axis in LPS mm, the slices' normal and interval -> the lesion.

    The centre is the middle of the long axis, moved along the short direction to the middle of the short
    axis. Raises CaseError where the long axis has no length.
    """
    length = float(np.linalg.norm(long_mm[1] - long_mm[0]))
    if not length > 0:
        raise CaseError("long: expected two different end points, found one")
    along = (long_mm[1] - long_mm[0]) / length
    across = np.cross(normal, along)
    center, width = long_mm.mean(0), SHORT_RATIO * length
    if short_mm is not None:
        width = min(length, float(np.linalg.norm(short_mm[1] - short_mm[0])))
        center = center + across * float((short_mm.mean(0) - center) @ across)
    return _shape_of_axes(
        center, np.stack([along, across, normal]), length, max(width, 0.1 * length), slice_mm
    )


def _shape_of_axes(center: Array, axes: Array, length: float, width: float, slice_mm: float) -> Shape:
    mean = math.sqrt(length * width)
    extent = Z_RATIO[0.50] * mean
    fill = math.sqrt(law_volume_mm3(length, width) / (math.pi / 6 * length * width * extent))
    plane = np.array([length / 2, width / 2])
    inner_z = max(Z_RATIO[0.10] * mean / 2 - slice_mm / 4, 0.2 * mean)
    outer_z = Z_RATIO[0.975] * mean / 2 + slice_mm / 2
    return Shape(
        center_mm=center,
        axes=axes,
        size_mm=np.array([length, width, extent]),
        inner_mm=np.array([*(INNER_PLANE * plane), inner_z]),
        body_mm=np.array([*(fill * plane), extent / 2]),
        outer_mm=np.array([*(OUTER_PLANE * np.maximum(plane, plane.mean()) + 1.0), outer_z]),
    )


def shape_of_box(lower_mm: Array, upper_mm: Array, axes: Array, key_plane: bool, slice_mm: float) -> Shape:
    """A box with edges along `axes` (rows: the image's x, y, z) from corner to corner in LPS mm.

    An ellipse that touches the sides of a w x h rectangle has L^2 + S^2 = w^2 + h^2; S/L is taken as the
    median where the rectangle allows it. key_plane: the box is flat, so z follows the law of RECIST axes.
    """
    center = (lower_mm + upper_mm) / 2
    edges = np.maximum(np.abs((upper_mm - lower_mm) @ axes.T), 1e-3)
    square = float(edges[0] ** 2 + edges[1] ** 2)
    length = max(float(edges[:2].max()), math.sqrt(square / (1 + SHORT_RATIO**2)))
    width = math.sqrt(max(square - length**2, (0.1 * length) ** 2))
    if key_plane:
        flat = _shape_of_axes(center, axes, float(edges[0]), float(edges[1]), slice_mm)
        return dataclasses.replace(flat, size_mm=np.array([length, width, flat.size_mm[2]]))
    half = edges / 2
    return Shape(center, axes, np.array([length, width, edges[2]]), INNER_BOX * half, half, half, boxed=True)


def shape_of_point(center_mm: Array, axes: Array, long_mm: float | None, slice_mm: float) -> Shape:
    """A point, with the long diameter where it is known. Without it the size stays unknown (NaN)."""
    if long_mm is not None:
        known = _shape_of_axes(center_mm, axes, long_mm, SHORT_RATIO * long_mm, slice_mm)
        reach = np.full(3, OUTER_PLANE * long_mm)
        return dataclasses.replace(
            known, inner_mm=known.inner_mm / 2, outer_mm=np.maximum(reach, known.outer_mm)
        )
    inner, body, outer = (np.full(3, mm) for mm in (POINT_INNER_MM, LONG_MM[1] / 2, LONG_MM[2] / 2))
    return Shape(center_mm, axes, np.full(3, np.nan), inner, body, outer)


def shape_of_annotation(annotation: Annotation, volume: Volume) -> Shape:
    """The shape of a box, RECIST or point annotation on a scan, of which only the geometry is used."""
    axes, slice_mm = volume.direction.T, volume.spacing_mm[2]

    def world(points: object) -> Array:
        array = np.asarray(points, np.float64).reshape(-1, 3)
        return array if annotation.frame == "mm" else volume.index_to_world(array)

    if annotation.kind == "recist":
        short = None if annotation.short is None else world(annotation.short)
        shape = shape_of_recist(world(annotation.long), short, axes[2], slice_mm)
    elif annotation.kind == "box3d":
        corners = world([annotation.lower, annotation.upper])
        frame = np.eye(3) if annotation.frame == "mm" else axes
        thick = float(np.abs((corners[1] - corners[0]) @ frame[2]))
        shape = shape_of_box(corners[0], corners[1], frame, thick <= slice_mm * 1.01, slice_mm)
    elif annotation.kind == "point":
        shape = shape_of_point(world(annotation.point)[0], axes, annotation.long_mm, slice_mm)
    else:
        raise CaseError(f"kind: expected recist, box3d or point, found {annotation.kind}")
    measured = (annotation.long_mm, annotation.short_mm, annotation.z_extent_mm)
    size = [s if mm is None else mm for s, mm in zip(shape.size_mm, measured, strict=True)]
    return dataclasses.replace(shape, size_mm=np.array(size, np.float64))


@dataclasses.dataclass(frozen=True)
class Axes:
    """RECIST axes of a mask: end points (x, y, z) in index space, diameters and z extent in mm."""

    long: tuple[tuple[float, float, float], tuple[float, float, float]]
    short: tuple[tuple[float, float, float], tuple[float, float, float]]
    long_mm: float
    short_mm: float
    z_extent_mm: float


def measure_axes(mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Axes:
    """The longest axial diameter over all slices and the longest one perpendicular to it on that slice.

    mask: (z, y, x), not empty, spacing (x, y, z). Pixels reach to the middles of their edges, so a row of
    n pixels is n pixels long. Perpendicular diameters are those of the convex hull.
    """
    levels = np.flatnonzero(mask.any((1, 2)))
    if not len(levels):
        raise CaseError("mask: expected at least one voxel, found none")
    best: tuple[float, int, Array, Array] | None = None
    for z in levels:
        hull = _hull_mm(mask[z], spacing_mm)
        apart = np.linalg.norm(hull[:, None] - hull[None], axis=2)
        first, second = np.unravel_index(int(apart.argmax()), apart.shape)
        if best is None or apart[first, second] > best[0] + 1e-9:
            best = float(apart[first, second]), int(z), hull, hull[[first, second]]
    assert best is not None
    length, level, hull, ends = best
    chord = _longest_chord(hull, (ends[1] - ends[0]) / length)

    def index(points_mm: Array) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        (a, b), (c, d) = (points_mm / np.array(spacing_mm[:2])).tolist()
        return (a, b, float(level)), (c, d, float(level))

    extent = float(levels[-1] - levels[0] + 1) * spacing_mm[2]
    return Axes(index(ends), index(chord), length, float(np.linalg.norm(chord[1] - chord[0])), extent)


def _hull_mm(plane: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Array:
    """(n, 2) corners (x, y) in mm of the convex hull of the pixels' edge middles, in order."""
    from scipy.spatial import ConvexHull

    y, x = np.nonzero(plane)
    centers = np.stack([x, y], 1).astype(np.float64)
    steps = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (centers[:, None] + steps).reshape(-1, 2) * spacing_mm[:2]
    return points[ConvexHull(points).vertices]


def _longest_chord(hull: Array, along: Array) -> Array:
    """(2, 2) ends of the longest chord of a convex polygon perpendicular to the unit vector `along`."""
    across = np.array([-along[1], along[0]])
    t, s = hull @ along, hull @ across
    low, high = int(t.argmin()), int(t.argmax())
    order = np.roll(np.arange(len(t)), -low)
    turn = int(np.flatnonzero(order == high)[0])
    chains = order[: turn + 1], np.append(order[turn:], low)[::-1]
    a, b = (np.interp(t, t[chain], s[chain]) for chain in chains)
    widest = int(np.abs(a - b).argmax())
    return np.stack([t[widest] * along + v[widest] * across for v in (a, b)])
