"""What an annotation means in mm: a lesion's centre, axes and size, for training and evaluation alike.

By RECIST 1.1 (Eisenhauer et al. 2009) the long axis, the longest axial diameter, measures a lesion; the short
axis is the longest diameter perpendicular to it. The centre of a pair of axes is that of the ellipse which
they span: halfway along the long axis, moved along the short one to its middle.

What an annotation leaves open follows laws of 3,600 lesion masks of ULS23 (de Grauw et al. 2024).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry
from resources.cases.axes import measure_axes
from resources.cases.case import Annotation
from resources.cases.strict import CaseError

Array = npt.NDArray[np.float64]

Z_RATIO = {0.10: 0.53, 0.50: 0.97, 0.90: 1.57, 0.975: 2.19}
"""Quantiles of Z / sqrt(L S): L long and S short axial diameter, Z extent along z."""
SHORT_RATIO = 0.74
"""Median of S / L."""
LONG_MM = (8.5, 19.0, 51.5)
"""Quantiles (10, 50, 90 %) of DeepLesion's long diameter: all that a point says of a lesion's size."""
NEAREST_MM = 4.0
"""What is nearer to a lesion's centre than this is at the lesion, however small it is."""
FLAT_SLICES = 1.01
"""A box of at most so many slices was drawn on a key slice and says nothing of the extent along z."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """A lesion's place and size, in LPS mm (x, y, z).

    axes: (3, 3) rows, unit vectors at right angles. half_mm: half axes along `axes` of the ellipsoid that
    stands for the lesion, NaN where nothing is known. size_mm: long and short axial diameter and z extent, as
    measured or as the laws expect them, NaN where nothing is known. measured: (3,) which of them were.
    """

    center_mm: Array
    axes: Array
    half_mm: Array
    size_mm: Array
    measured: npt.NDArray[np.bool_]


def reach_mm(long_mm: npt.ArrayLike) -> Array:
    """How near to a lesion's centre a proposal must be to be at the lesion: half the long diameter, that of
    a median lesion where it is NaN, and NEAREST_MM at least. The shape is that of long_mm.
    """
    return np.maximum(NEAREST_MM, np.nan_to_num(np.asarray(long_mm, dtype=float), nan=LONG_MM[1]) / 2)


def mark_of(annotation: Annotation, place: Geometry) -> Mark:
    """The mark of a box, RECIST axes or a point on a scan. Raises CaseError."""
    if annotation.kind == "recist":
        return _of_recist(annotation, place)
    if annotation.kind == "box3d":
        return _of_box(annotation, place)
    if annotation.kind == "point":
        return _of_point(annotation, place)
    raise CaseError(f"kind: expected recist, box3d or point, found {annotation.kind}")


def mark_of_mask(
    annotation: Annotation, place: Geometry, voxels: npt.NDArray[np.bool_], first: npt.ArrayLike = (0, 0, 0)
) -> Mark:
    """The mark of a mask: the centre of its voxels, and the RECIST axes that the annotation does not give.

    voxels: (z, y, x) part of the mask's image, with the index (x, y, z) of its first voxel. half_mm: half the
    edges of the enclosing box along the index axes. Raises CaseError where the mask is empty.
    """
    index = np.argwhere(voxels)[:, ::-1]
    if not len(index):
        raise CaseError("mask: expected at least one voxel, found none")
    sizes = (math.nan,) * 3
    if None in (annotation.long_mm, annotation.short_mm, annotation.z_extent_mm):
        axes = measure_axes(voxels, place.spacing_mm)
        sizes = axes.long_mm, axes.short_mm, axes.z_extent_mm
    size, measured = _sized(annotation, sizes, (True,) * 3)
    center = place.index_to_world(index.mean(0) + np.asarray(first))[0]
    edges = (index.max(0) - index.min(0) + 1) * place.spacing_mm
    return Mark(center, place.direction.T, edges / 2, size, measured)


def _world(annotation: Annotation, place: Geometry, points: object) -> Array:
    """(n, 3) LPS mm of points in the annotation's frame."""
    array = np.asarray(points, np.float64).reshape(-1, 3)
    return array if annotation.frame == "mm" else place.index_to_world(array)


def _sized(
    annotation: Annotation, otherwise: tuple[float, float, float], known: tuple[bool, bool, bool]
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Sizes of which those that the annotation gives stand before others; and which were measured."""
    given = (annotation.long_mm, annotation.short_mm, annotation.z_extent_mm)
    size = np.array([b if a is None else a for a, b in zip(given, otherwise, strict=True)], np.float64)
    return size, np.array([a is not None or b for a, b in zip(given, known, strict=True)])


def _of_recist(annotation: Annotation, place: Geometry) -> Mark:
    ends = _world(annotation, place, annotation.long)
    length = float(np.linalg.norm(ends[1] - ends[0]))
    if not length > 0:
        raise CaseError("long: expected two different end points, found one")
    along = (ends[1] - ends[0]) / length
    across = np.cross(place.direction.T[2], along)
    if not np.linalg.norm(across) > 0.1:
        raise CaseError("long: expected an axis on an axial slice, found one along the slices' normal")
    across /= np.linalg.norm(across)
    center, width = ends.mean(0), SHORT_RATIO * length
    if annotation.short is not None:
        short = _world(annotation, place, annotation.short)
        if not abs((short[1] - short[0]) @ across) > 1e-6:
            raise CaseError("short: expected an axis across the long one on an axial slice, found none")
        width = min(length, float(np.linalg.norm(short[1] - short[0])))
        center = center + across * float((short.mean(0) - center) @ across)
    expected = (length, width, Z_RATIO[0.50] * math.sqrt(length * width))
    size, measured = _sized(annotation, expected, (True, annotation.short is not None, False))
    half = np.array([length, width, size[2]]) / 2
    return Mark(center, np.stack([along, across, np.cross(along, across)]), half, size, measured)


def _of_box(annotation: Annotation, place: Geometry) -> Mark:
    """An ellipse that touches the sides of a w x h rectangle has L^2 + S^2 = w^2 + h^2; S / L is taken as the
    median where the rectangle allows it.
    """
    corners = _world(annotation, place, [annotation.lower, annotation.upper])
    axes = np.eye(3) if annotation.frame == "mm" else place.direction.T
    edges = np.abs((corners[1] - corners[0]) @ axes.T)
    if not edges.min() > 0:
        raise CaseError(f"expected a box of positive volume, found edges of {edges.tolist()} mm")
    square = float(edges[0] ** 2 + edges[1] ** 2)
    length = max(float(edges[:2].max()), math.sqrt(square / (1 + SHORT_RATIO**2)))
    width = math.sqrt(max(square - length**2, (0.1 * length) ** 2))
    flat = float(edges[2]) <= place.spacing_mm[2] * FLAT_SLICES
    extent = Z_RATIO[0.50] * math.sqrt(float(edges[0] * edges[1])) if flat else float(edges[2])
    size, measured = _sized(annotation, (length, width, extent), (True, True, not flat))
    half = np.array([edges[0], edges[1], max(float(edges[2]), size[2]) if flat else edges[2]]) / 2
    return Mark(corners.mean(0), axes, half, size, measured)


def _of_point(annotation: Annotation, place: Geometry) -> Mark:
    """Which way the axes of a measured point run is not known, so its ellipsoid is round in the plane."""
    center = _world(annotation, place, annotation.point)[0]
    long_mm = math.nan if annotation.long_mm is None else annotation.long_mm
    short_mm = SHORT_RATIO * long_mm
    expected = (long_mm, short_mm, Z_RATIO[0.50] * math.sqrt(long_mm * short_mm))
    size, measured = _sized(annotation, expected, (False,) * 3)
    round_mm = long_mm if annotation.short_mm is None else math.sqrt(long_mm * annotation.short_mm)
    deep_mm = annotation.z_extent_mm or annotation.short_mm or long_mm
    return Mark(center, place.direction.T, np.array([round_mm, round_mm, deep_mm]) / 2, size, measured)
