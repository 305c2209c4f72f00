"""Annotations as lesions in the scan's own mm, and where the scan is exhaustively annotated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry
from model.volume import InputError
from resources.cases.axes import bounds, measure_axes
from resources.cases.case import Annotation, Case, CaseError
from resources.cases.images import check_same_grid, read_labels
from resources.cases.lesions import Mark, mark_of, mark_of_mask
from resources.cases.regions import complete_at
from resources.evaluation import EvaluationError
from resources.evaluation.frame import Frame, values_at
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
        return np.asarray(values_at(crop, frame.to_index(points) - first), bool)


def _lesion(annotation: Annotation, mark: Mark, frame: Frame, key_pad_vox: float = 0.0) -> Lesion:
    """An ellipsoid with the mark's half axes; a ball of UNSIZED_RADIUS_MM where they are not known."""
    sized = bool(np.isfinite(mark.half_mm).all())
    half_mm = mark.half_mm if sized else np.full(3, UNSIZED_RADIUS_MM)
    centre, axes = frame.of_world(mark.center_mm)[0], (mark.axes * half_mm[:, None]) @ frame.place.direction
    reach = np.linalg.norm(axes, axis=0)  # half the width of the ellipsoid's box
    box = np.concatenate([centre - reach, centre + reach])
    measured = np.where(mark.measured, mark.size_mm, np.nan)
    key_z_mm = float(centre[2])
    return Lesion(annotation, centre, axes, box, box[[0, 1, 3, 4]], key_z_mm, key_pad_vox, measured, sized)


def _of_mark(annotation: Annotation, frame: Frame) -> Lesion:
    """A box, RECIST axes or a point. Like predicted boxes, a box along the world's axes becomes its enclosing
    one in a tilted scan's frame. DeepLesion's 2D boxes enclose the end points of both axes.
    """
    mark, pad_vox = mark_of(annotation, frame.place), DEEPLESION_PAD_VOX * (annotation.kind == "recist")
    lesion = _lesion(annotation, mark, frame, pad_vox)
    if annotation.kind == "box3d":
        reach = (np.abs(mark.axes @ frame.place.direction) * mark.half_mm[:, None]).sum(0)
        box = np.concatenate([lesion.centre_mm - reach, lesion.centre_mm + reach])
        return dataclasses.replace(lesion, box_mm=box, key_box_mm=box[[0, 1, 3, 4]])
    if annotation.short is not None:
        to_frame = frame.of_index if annotation.frame == "index" else frame.of_world
        ends = to_frame(np.array([annotation.long, annotation.short], np.float64).reshape(-1, 3))[:, :2]
        return dataclasses.replace(lesion, key_box_mm=np.concatenate([ends.min(0), ends.max(0)]))
    return lesion


def _of_mask(annotation: Annotation, frame: Frame, labels: npt.NDArray[Any]) -> Lesion:
    voxels = labels == annotation.label
    if not voxels.any():
        raise CaseError(f"expected the value {annotation.label} in {annotation.mask}, found it nowhere")
    box = bounds(voxels)
    crop, first = voxels[box].copy(), np.array([part.start for part in box[::-1]], np.intp)
    lesion = _lesion(annotation, mark_of_mask(annotation, frame.place, crop, first), frame)
    key = measure_axes(crop, frame.place.spacing_mm).key.z
    on_key = frame.of_index(np.argwhere(crop[key])[:, ::-1] @ np.eye(2, 3) + first)[:, :2]
    half = frame.spacing_mm[:2] / 2
    last = first + np.array(crop.shape[::-1]) - 1
    return dataclasses.replace(
        lesion,
        box_mm=np.concatenate([frame.of_index(first - 0.5)[0], frame.of_index(last + 0.5)[0]]),
        key_box_mm=np.concatenate([on_key.min(0) - half, on_key.max(0) + half]),
        key_z_mm=float((key + first[2]) * frame.spacing_mm[2]),
        mask=(crop, first),
    )


class LabelImages:
    """Label images of one case, on the scan's grid; the last one is kept until `forget`."""

    def __init__(self, place: Geometry | None) -> None:
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
                lesions.append(_of_mark(annotation, frame))
        except (EvaluationError, CaseError) as error:
            raise EvaluationError(f"case {case.id}, annotations[{number}]: {error}") from None
    return tuple(lesions)


def targets_of(lesions: tuple[Lesion, ...], points: Floats, frame: Frame) -> Targets:
    """What the matching rules need, for predictions at points (n, 3)."""

    def rows(values: list[Any], width: int) -> Floats:
        return np.array(values, np.float64).reshape(len(lesions), width)

    long_mm = np.array([lesion.measured[0] for lesion in lesions], np.float64)
    half_slice = frame.spacing_mm[2] / 2 if frame.known else 0.0
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


def complete_in(case: Case, frame: Frame, points: Floats, labels: LabelImages) -> Bools:
    """(n, 3) -> (n,): whether the scan is exhaustively annotated there, so that a prediction can be false."""
    index, at = frame.to_index(points), None
    if case.completeness.kind == "organs":
        organs = labels(str(case.completeness.organ_labels))
        at = values_at(organs, index)[:, None]
    return complete_at(case.completeness, index, at)
