"""Where the frames of a DICOM series lie, and in which order they make a volume."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from model.errors import InputError
from model.geometry import TOLERANCE_MM, Geometry
from model.reading.header import geometry_of, refuse

Array = npt.NDArray[np.float64]

_STEP = 0.02
"""Share of the slice interval by which a step may differ, where that is more than rounding."""
_ALIKE = 1e-3
"""By how much the orientations and spacings of slices may differ."""
_UNITS = ("", "HU", "US")


@dataclasses.dataclass(frozen=True)
class Frame:
    """A slice. position: (3,) LPS mm of its first pixel; rows, columns: unit vectors along which the column
    and the row index rise; spacing: mm between columns, mm between rows; HU = slope * stored + intercept;
    scaled: whether the file says so.
    """

    path: Path
    index: int
    size: tuple[int, int]
    position: Array
    axes: Array
    spacing: Array
    slope: float
    intercept: float
    scaled: bool


def frames_of(path: Path, attributes: Dataset) -> list[Frame]:
    """The slices of a file. Raises InputError where one of them has no place."""
    count = int(attributes.get("NumberOfFrames") or 1)
    size = int(attributes.get("Columns") or 0), int(attributes.Rows)
    if "PerFrameFunctionalGroupsSequence" not in attributes:
        if count > 1:
            refuse(path, "a position of each frame", f"{count} frames with one position or none")
        return [_frame(path, 0, size, attributes, attributes, attributes)]
    groups = attributes.PerFrameFunctionalGroupsSequence
    shared = (attributes.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if len(groups) != count:
        refuse(path, f"functional groups for {count} frames", len(groups))
    frames = []
    for index, group in enumerate(groups):
        measures, position, orientation, scale = (
            _item(path, name, group, shared)
            for name in (
                "PixelMeasuresSequence",
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelValueTransformationSequence",
            )
        )
        together = Dataset()
        for item in (measures, position, orientation):
            together.update(item)
        frames.append(_frame(path, index, size, together, together, scale))
    return frames


def _item(path: Path, name: str, group: Dataset, shared: Dataset) -> Dataset:
    sequence = group.get(name) or shared.get(name)
    if not sequence:
        refuse(path, f"a {name} for each frame", "none")
    item: Dataset = sequence[0]
    return item


def _frame(
    path: Path, index: int, size: tuple[int, int], where: Dataset, measures: Dataset, scale: Dataset
) -> Frame:
    unit = str(scale.get("RescaleType") or "").strip().upper()
    if unit not in _UNITS or scale.get("ModalityLUTSequence"):
        refuse(path, "stored values that a slope and an intercept turn into HU", unit or "a look-up table")
    given = [scale.get(name) is not None for name in ("RescaleSlope", "RescaleIntercept")]
    if any(given) and not all(given):
        refuse(path, "RescaleSlope and RescaleIntercept, or neither", "one of them")
    slope, intercept = (
        _numbers(path, name, scale.get(name, default), 1)[0]
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0:
        refuse(path, "a RescaleSlope other than 0", "0")
    rows, columns = _numbers(path, "PixelSpacing", measures.get("PixelSpacing"), 2)
    return Frame(
        path,
        index,
        size,
        _numbers(path, "ImagePositionPatient", where.get("ImagePositionPatient"), 3),
        _numbers(path, "ImageOrientationPatient", where.get("ImageOrientationPatient"), 6).reshape(2, 3),
        np.array([columns, rows]),
        float(slope),
        float(intercept),
        scaled=all(given),
    )


def _numbers(path: Path, name: str, value: Any, count: int) -> Array:
    try:
        found = np.array([float(v) for v in (value if hasattr(value, "__len__") else [value])])
    except (TypeError, ValueError):
        found = np.array([])
    if len(found) != count or not all(map(math.isfinite, found)):
        many = "number" if count == 1 else "numbers"
        shown = "none" if value is None else value
        raise InputError(f"{path}: expected {count} {many} as {name} of each DICOM slice, found {shown}")
    return found


def place(path: Path, frames: list[Frame], keep: bool) -> tuple[list[int], Geometry]:
    """The frames' order along z, and the grid that they make.

    keep: frames that follow each other downwards stay so; else they are ordered upwards along the normal of
    the slices. Raises InputError where they make no grid: a gap, a slice twice, a tilted gantry.
    """
    first = frames[0]
    if len({frame.size for frame in frames}) > 1:
        raise InputError(f"{path}: expected slices of one size, found slices of different sizes")
    if len({frame.scaled for frame in frames}) > 1:
        raise InputError(f"{path}: expected a RescaleSlope of each DICOM slice or of none, found some")
    directions = np.array([frame.axes for frame in frames])
    spacings = np.array([frame.spacing for frame in frames])
    if max(np.ptp(directions, axis=0).max(), np.ptp(spacings, axis=0).max()) > _ALIKE:
        raise InputError(f"{path}: expected slices of one orientation and spacing, found several")
    axes, spacing = directions.mean(0), spacings.mean(0)
    normal = np.cross(*axes)
    if len(frames) < 2:
        x, y = first.size
        raise InputError(
            f"{path}: expected at least two slices, rows and columns, found {x} x {y} x 1 voxels"
        )
    positions = np.array([frame.position for frame in frames])
    along = positions @ normal
    order = list(range(len(frames)))
    if not (keep and (np.diff(along) < 0).all()):
        order = [int(number) for number in np.argsort(along, kind="stable")]
    positions = positions[order]
    _check_steps(path, positions, normal)
    start, step = _line(path, positions)
    interval = float(np.linalg.norm(step))
    columns = np.column_stack([*axes, step / interval])
    return order, geometry_of(path, (*first.size, len(frames)), [*spacing, interval], columns, start)


def _check_steps(path: Path, positions: Array, normal: Array) -> None:
    steps = np.diff(positions, axis=0)
    along = np.abs(steps @ normal)
    interval = float(np.median(along))
    allowed = max(_STEP * interval, min(1.01 * TOLERANCE_MM, 0.4 * interval))
    off = np.abs(along - interval)
    if not interval > 0 or off.max() > allowed:
        worst = int(np.argmax(off))
        raise InputError(
            f"{path}: expected DICOM slices at one interval, found {along[worst]:.3f} mm between slices "
            f"{worst + 1} and {worst + 2} but mostly {interval:.3f} mm (a slice is missing or there twice)"
        )
    sideways = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    if sideways.max() > max(_STEP * interval, 1.5 * TOLERANCE_MM):
        raise InputError(
            f"{path}: expected slices straight above each other, found them {sideways.max():.3f} mm aside "
            "(a tilted gantry)"
        )


def _line(path: Path, positions: Array) -> tuple[Array, Array]:
    """The first position, and the step from one to the next, of the straight line through all of them."""
    numbers = np.arange(len(positions))[:, None]
    start, step = positions[0], (positions[-1] - positions[0]) / (len(positions) - 1)
    if np.abs(start + numbers * step - positions).max() > 1e-3:
        step, start = np.polyfit(numbers[:, 0], positions, 1)
    apart = np.linalg.norm(start + numbers * step - positions, axis=1).max()
    if apart > TOLERANCE_MM:
        raise InputError(
            f"{path}: expected DICOM slices evenly along a straight line, found them {apart:.3f} mm off it"
        )
    return start, step
