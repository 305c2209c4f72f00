"""Annotations as lesions in the scan's own mm, and where the scan is exhaustively annotated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from model.volume import InputError, Volume
from resources.cases.case import Annotation, Case
from resources.cases.geometry import SHORT_RATIO, Z_RATIO, measure_axes
from resources.cases.images import check_same_grid, read_labels
from resources.evaluation import EvaluationError
from resources.evaluation.frame import Frame
from resources.evaluation.matching import Bools, Floats, Targets

UNSIZED_RADIUS_MM = 5.0
"""A point without a diameter counts as a ball of this radius for the rules that compare points."""
DEEPLESION_PAD_VOX = 5.0


@dataclass(frozen=True)
class Lesion:
    """One annotation, in the scan's own mm.

    axes: (3, 3) rows are the half axes of its ellipsoid. mask: (z, y, x) crop with the index (x, y, z) of its
    first voxel, or None. key_box_mm: x and y of lower, then upper corner on the key slice at key_z_mm.
    measured: (long, short, z) mm, nan where nobody measured.
    """

    annotation: Annotation
    centre_mm: Floats
    axes: Floats
    box_mm: Floats
    key_box_mm: Floats
    key_z_mm: float
    key_pad_vox: float
    measured: Floats
    sized: bool = True
    mask: tuple[Bools, npt.NDArray[np.intp]] | None = None

    def contains(self, points: Floats, frame: Frame) -> Bools:
        """(n, 3) -> (n,): in a voxel of the mask; else in the ellipsoid, its surface included."""
        if self.mask is None:
            scaled = (points - self.centre_mm) @ np.linalg.inv(self.axes)
            return np.asarray((scaled**2).sum(1) <= 1 + 1e-9)
        crop, first = self.mask
        place = np.floor(frame.to_index(points) + 0.5).astype(np.intp) - first
        within = ((place >= 0) & (place < np.array(crop.shape[::-1]))).all(1)
        place[~within] = 0
        return np.asarray(within & crop[place[:, 2], place[:, 1], place[:, 0]])


def _half_axes(long_mm: float, short_mm: float, z_mm: float, along: Floats, across: Floats) -> Floats:
    """Rows: half axes along the unit vectors `along` and `across`, and perpendicular to both."""
    directions = np.stack([along, across, np.cross(along, across)])
    return directions * np.array([[long_mm], [short_mm], [z_mm]]) / 2


def _ellipsoid_box(centre: Floats, axes: Floats) -> Floats:
    """The box that encloses an ellipsoid: half its width along an axis is the length of that column."""
    reach = np.linalg.norm(axes, axis=0)
    return np.concatenate([centre - reach, centre + reach])


def _measured(annotation: Annotation, *otherwise: float) -> Floats:
    given = (annotation.long_mm, annotation.short_mm, annotation.z_extent_mm)
    return np.array([b if a is None else a for a, b in zip(given, otherwise, strict=True)], np.float64)


def _of_box(annotation: Annotation, frame: Frame) -> Lesion:
    corners = np.array([annotation.lower, annotation.upper], np.float64)
    if annotation.frame == "index":
        box = frame.of_index(corners).ravel()
    else:
        box = frame.of_world_boxes(corners.reshape(1, 6))[0]
    extent = box[3:] - box[:3]
    if not extent.min() > 0:
        raise EvaluationError(f"expected a box of positive volume, found edges of {extent.tolist()} mm")
    centre = (box[:3] + box[3:]) / 2
    measured = _measured(annotation, max(extent[:2]), min(extent[:2]), extent[2])
    key_box = box[[0, 1, 3, 4]]
    return Lesion(annotation, centre, np.diag(extent / 2), box, key_box, float(centre[2]), 0.0, measured)


def _of_recist(annotation: Annotation, frame: Frame) -> Lesion:
    place = frame.of_index if annotation.frame == "index" else frame.of_world
    ends = place(np.array(annotation.long, np.float64))
    short = None if annotation.short is None else place(np.array(annotation.short, np.float64))
    axis = ends[1] - ends[0]
    long_mm = float(np.linalg.norm(axis))
    if not long_mm > 0:
        raise EvaluationError("expected a long axis of positive length, found two equal end points")
    along = axis / long_mm
    across = np.cross([0.0, 0.0, 1.0], along) if short is None else short[1] - short[0]
    across = across - along * (across @ along)
    if not np.linalg.norm(across) > 1e-6:
        raise EvaluationError("expected a short axis across the long one on an axial slice, found none")
    short_mm = SHORT_RATIO * long_mm if short is None else float(np.linalg.norm(short[1] - short[0]))
    measured = _measured(annotation, long_mm, np.nan if short is None else short_mm, np.nan)
    z_mm = annotation.z_extent_mm or Z_RATIO[0.50] * float(np.sqrt(long_mm * short_mm))
    centre = ends.mean(0)
    axes = _half_axes(long_mm, short_mm, z_mm, along, across / np.linalg.norm(across))
    marks = np.concatenate([ends, ends if short is None else short])
    box = _ellipsoid_box(centre, axes)
    key_box = (
        np.concatenate([marks[:, :2].min(0), marks[:, :2].max(0)]) if short is not None else box[[0, 1, 3, 4]]
    )
    return Lesion(annotation, centre, axes, box, key_box, float(centre[2]), DEEPLESION_PAD_VOX, measured)


def _of_point(annotation: Annotation, frame: Frame) -> Lesion:
    place = frame.of_index if annotation.frame == "index" else frame.of_world
    centre = place(np.array(annotation.point, np.float64))[0]
    measured = _measured(annotation, np.nan, np.nan, np.nan)
    sized = annotation.long_mm is not None
    long_mm = annotation.long_mm or 2 * UNSIZED_RADIUS_MM
    short_mm = annotation.short_mm or long_mm
    axes = np.diag([long_mm, short_mm, annotation.z_extent_mm or short_mm]) / 2
    if annotation.short_mm is not None:  # which way the axes run is not known
        axes[0, 0] = axes[1, 1] = float(np.sqrt(long_mm * short_mm)) / 2
    box = _ellipsoid_box(centre, axes)
    key_box = box[[0, 1, 3, 4]]
    return Lesion(annotation, centre, axes, box, key_box, float(centre[2]), 0.0, measured, sized)


def _of_mask(annotation: Annotation, frame: Frame, labels: npt.NDArray[Any]) -> Lesion:
    voxels = labels == annotation.label
    found = ndimage.find_objects(voxels.astype(np.uint8))
    if not found or found[0] is None:
        raise EvaluationError(f"expected the value {annotation.label} in {annotation.mask}, found it nowhere")
    crop = voxels[found[0]].copy()
    first = np.array([part.start for part in found[0][::-1]], np.intp)
    index = np.argwhere(crop)[:, ::-1] + first
    lower, upper = frame.of_index(index.min(0) - 0.5)[0], frame.of_index(index.max(0) + 0.5)[0]
    spacing = (float(frame.spacing_mm[0]), float(frame.spacing_mm[1]), float(frame.spacing_mm[2]))
    axes = measure_axes(crop, spacing)
    key = int(axes.long[0][2]) + first[2]
    on_key = frame.of_index(index[index[:, 2] == key])[:, :2]
    measured = _measured(annotation, axes.long_mm, axes.short_mm, axes.z_extent_mm)
    half = frame.spacing_mm[:2] / 2
    key_box = np.concatenate([on_key.min(0) - half, on_key.max(0) + half])
    return Lesion(
        annotation,
        frame.of_index(index).mean(0),
        np.diag(upper - lower) / 2,
        np.concatenate([lower, upper]),
        key_box,
        float(key * frame.spacing_mm[2]),
        0.0,
        measured,
        mask=(crop, first),
    )


class LabelImages:
    """Label images of one case, on the scan's grid; the last one is kept until `forget`."""

    def __init__(self, place: Volume | None) -> None:
        self._place = place
        self._read: dict[str, npt.NDArray[Any]] = {}

    def forget(self) -> None:
        """Frees the memory; a cohort's label images together may not fit."""
        self._read.clear()

    def __call__(self, path: str) -> npt.NDArray[Any]:
        """(z, y, x). Raises EvaluationError if it cannot be read or is on another grid."""
        if path not in self._read:
            try:
                labels = read_labels(Path(path))
                if self._place is not None:
                    check_same_grid(Path(path), labels, self._place)
            except InputError as error:
                raise EvaluationError(str(error)) from None
            self._read = {path: labels.values}
        return self._read[path]


def lesions_of(case: Case, frame: Frame, labels: LabelImages, exclude: tuple[str, ...]) -> tuple[Lesion, ...]:
    """The lesions of a case, and the findings to be excluded. Raises EvaluationError.

    exclude: statuses ("benign", "doubtful") whose findings count neither way; those of another status are
    left out, so that a prediction on them is false.
    """
    lesions = []
    for number, annotation in enumerate(case.annotations):
        if annotation.status not in ("lesion", *exclude):
            continue
        try:
            if annotation.kind == "mask":
                lesions.append(_of_mask(annotation, frame, labels(str(annotation.mask))))
            else:
                make = {"box3d": _of_box, "recist": _of_recist, "point": _of_point}[annotation.kind]
                lesions.append(make(annotation, frame))
        except EvaluationError as error:
            raise EvaluationError(f"case {case.id}, annotations[{number}]: {error}") from None
    return tuple(lesions)


def targets_of(lesions: tuple[Lesion, ...], points: Floats, frame: Frame) -> Targets:
    """What the matching rules need, for predictions at points (n, 3)."""

    def rows(values: list[Any], width: int) -> Floats:
        return np.array(values, np.float64).reshape(len(lesions), width)

    long_mm = np.array([lesion.measured[0] for lesion in lesions], np.float64)
    half_slice = frame.spacing_mm[2] / 2 if frame.size is not None else 0.0
    inside = [lesion.contains(points, frame) for lesion in lesions]
    return Targets(
        centres_mm=rows([lesion.centre_mm for lesion in lesions], 3),
        radii_mm=np.where(np.isfinite(long_mm), long_mm / 2, UNSIZED_RADIUS_MM),
        boxes_mm=rows([lesion.box_mm for lesion in lesions], 6),
        key_boxes_mm=rows([lesion.key_box_mm for lesion in lesions], 4),
        key_z_mm=rows([(les.key_z_mm - half_slice, les.key_z_mm + half_slice) for les in lesions], 2),
        key_pad_mm=rows([lesion.key_pad_vox * frame.spacing_mm[:2] for lesion in lesions], 2),
        inside=np.array(inside, bool).reshape(len(lesions), len(points)).T,
        sized=np.array([lesion.sized for lesion in lesions], bool),
        excluded=np.array([lesion.annotation.status != "lesion" for lesion in lesions], bool),
    )


def complete_at(case: Case, frame: Frame, points: Floats, labels: LabelImages) -> Bools:
    """(n, 3) -> (n,): whether the scan is exhaustively annotated there, so that a prediction can be false."""
    extent = case.completeness
    if extent.kind in ("all", "none"):
        return np.full(len(points), extent.kind == "all")
    index = frame.to_index(points)
    if extent.region is not None:
        lower, upper = np.array(extent.region)
        return np.asarray(((index >= lower) & (index <= upper)).all(1))
    voxel = np.floor(index + 0.5).astype(np.intp)
    if extent.slices is not None:
        return np.asarray((voxel[:, 2] >= extent.slices[0]) & (voxel[:, 2] <= extent.slices[1]))
    organs = labels(str(extent.organ_labels))
    values = [value for organ in extent.organs for value in extent.organ_values[organ]]
    within = ((voxel >= 0) & (voxel < np.array(organs.shape[::-1]))).all(1)
    voxel[~within] = 0
    return np.asarray(within & np.isin(organs[voxel[:, 2], voxel[:, 1], voxel[:, 0]], values))
