"""Ellipsoids as lesions of known place and size, with the marks and the report that they would have."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from model.volume import Volume
from resources.cases.case import Annotation, Finding, Point
from resources.cases.geometry import Shape

ORGAN_VALUES = {"liver": (1,), "spleen": (2,), "kidney": (3,), "lung": (4,)}
MARK_ERROR = 0.03
"""Relative standard deviation of a reader's end points."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """One lesion: centre (x, y, z) in LPS mm, axial long and short diameter and z extent in mm.

    angle: of the long axis from x towards y, in radians.
    """

    center_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float
    z_extent_mm: float
    type: str
    angle: float
    organ: str


def ellipsoid_of(truth: Truth) -> Shape:
    """The true lesion; all its radii are sure."""
    c, s = math.cos(truth.angle), math.sin(truth.angle)
    size = np.array([truth.long_mm, truth.short_mm, truth.z_extent_mm])
    axes = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return Shape(np.array(truth.center_mm), axes, size, size / 2, size / 2, size / 2)


def recist_of(truth: Truth, volume: Volume, draw: np.random.Generator) -> Annotation:
    """The mark of a reader: both axes on the slice nearest to the centre, with a reader's error.

    A slice shows the average over its thickness, so the axes are the greatest within it: the lesion's own.
    """
    shape = ellipsoid_of(truth)
    middle = volume.world_to_index(shape.center_mm)[0]
    level = float(np.clip(round(float(middle[2])), 0, volume.hu.shape[0] - 1))
    limit = np.array(volume.hu.shape[::-1]) - 1.0
    ends: list[Point] = []
    for axis in range(2):
        for sign in (-1, 1):
            radius = shape.size_mm[axis] / 2 * (1 + draw.normal(0.0, MARK_ERROR))
            point = volume.world_to_index(shape.center_mm + sign * radius * shape.axes[axis])[0]
            x, y, _ = np.clip(point, 0, limit).tolist()
            ends.append((x, y, level))
    first, second = (ends[0], ends[1]), (ends[2], ends[3])
    spacing = np.array(volume.spacing_mm)
    lengths = [float(np.linalg.norm((np.array(b) - a) * spacing)) for a, b in (first, second)]
    if lengths[1] > lengths[0]:
        first, second = second, first
    return Annotation(
        "recist", truth.type, long=first, short=second, long_mm=max(lengths), short_mm=min(lengths)
    )


def findings_of(truths: list[Truth]) -> tuple[Finding, ...]:
    """A report without omissions: each lesion with its axes, and every organ without one as clear."""
    present = [
        Finding(t.type, t.organ, sizes_mm=(t.long_mm, t.short_mm), character="suspicious") for t in truths
    ]
    affected = {t.organ for t in truths}
    absent = [
        Finding(None, organ, count=None, presence="absent") for organ in ORGAN_VALUES if organ not in affected
    ]
    return (*present, *absent)
