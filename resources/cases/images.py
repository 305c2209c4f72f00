"""The voxels of a case: its scan, and label images on the scan's grid."""

from __future__ import annotations

import dataclasses
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry, image_of
from model.reading.child import read
from model.reading.header import check_regular, format_of
from model.reading.scan import read_header as read_image_header
from model.volume import InputError, Volume, read_volume
from resources.cases.case import Case, ImageSource

PNG_OFFSET = 32768
"""A 16-bit PNG of DeepLesion holds HU + 32768."""
MOST_PNG_OVERHEAD = 1 << 16
"""Bytes by which a PNG may be longer than its pixels."""
HEAD_TO_FEET = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""DeepLesion's slices run from head to feet, columns to the patient's left, rows to the back (row-major)."""
GRID_TOLERANCE_MM = 0.1


def read_case_volume(case: Case) -> Volume:
    """The scan of a case in HU. Raises InputError."""
    source = case.image
    if source.reader == "deeplesion":
        return _read_slices(source)
    volume = read_volume(Path(source.path), source.series)
    if source.size is not None and volume.hu.shape[::-1] != source.size:
        raise InputError(
            f"{source.path}: expected {source.size} voxels (x, y, z), found {volume.hu.shape[::-1]}"
        )
    return volume


def _read_slices(source: ImageSource) -> Volume:
    """Only the slices of the case are read, one after the other, into one int16 array."""
    assert source.slices is not None
    assert source.size is not None
    assert source.spacing_mm is not None
    columns, rows, _ = source.size
    first, last = source.slices
    hu = np.empty((last - first + 1, rows, columns), np.int16)
    path = Path(source.path)
    archive = zipfile.ZipFile(path) if path.is_file() else None
    try:
        for z, number in enumerate(range(first, last + 1)):
            hu[z] = _read_png(path, archive, f"{source.series}/{number:03d}.png", (rows, columns))
    finally:
        if archive is not None:
            archive.close()
    direction = np.array(source.direction or HEAD_TO_FEET).reshape(3, 3)
    return Volume(hu, source.spacing_mm, source.origin_mm or (0.0, 0.0, 0.0), direction)


def _read_png(
    path: Path, archive: zipfile.ZipFile | None, name: str, shape: tuple[int, int]
) -> npt.NDArray[np.int16]:
    from PIL import Image

    rows, columns = shape
    most = 2 * rows * columns + MOST_PNG_OVERHEAD
    try:
        data = _bytes_of(path, archive, name, most)
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "PNG" or not image.mode.startswith("I"):
                raise InputError(f"{path}/{name}: expected a 16-bit PNG, found {image.format} {image.mode}")
            if image.size != (columns, rows):
                found = f"found {image.size[::-1]}"
                raise InputError(f"{path}/{name}: expected {shape} pixels (rows, columns), {found}")
            pixels = np.asarray(image)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, SyntaxError, EOFError, struct.error, zlib.error,
            zipfile.BadZipFile, Image.DecompressionBombError) as error:  # fmt: skip
        raise InputError(f"{path}/{name}: expected a 16-bit PNG, found: {_one_line(error)}") from None
    return (pixels.astype(np.int32) - PNG_OFFSET).astype(np.int16)


def _bytes_of(path: Path, archive: zipfile.ZipFile | None, name: str, most: int) -> bytes:
    """A file of the folder or the archive. Raises InputError where it is larger than it can be."""
    if archive is None:
        check_regular(path / name)
        with (path / name).open("rb") as file:
            data = file.read(most + 1)
    else:
        with archive.open(f"Images_png/{name}") as member:
            data = member.read(most + 1)
    if len(data) > most:
        raise InputError(f"{path}/{name}: expected at most {most} bytes, found more")
    return data


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def read_header(path: Path) -> Geometry:
    """Where the voxels of an image file lie; they are not read. Raises InputError."""
    return (read("scan", path) if format_of(path) == "DICOM" else read_image_header(path)).geometry


@dataclasses.dataclass(frozen=True)
class Labels:
    """values: (z, y, x) whole numbers."""

    values: npt.NDArray[Any]
    geometry: Geometry


def read_labels(path: Path) -> Labels:
    """A label image, read as strictly as a scan. Raises InputError, for other than whole numbers too."""
    answer = read("labels", path)
    values = answer.voxels
    assert values is not None
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            raise InputError(f"{path}: expected whole numbers as labels, found fractions")
        values = whole.astype(np.int32)
    if values.min(initial=0) < 0:
        raise InputError(f"{path}: expected labels of 0 or more, found {values.min()}")
    return Labels(values, answer.geometry)


def resample_labels(labels: Labels, place: Geometry) -> npt.NDArray[Any]:
    """Labels at the voxel centres of another grid, (z, y, x): the nearest voxel's; 0 outside."""
    import SimpleITK as sitk

    image, direction = image_of(labels.values, labels.geometry), place.direction.ravel().tolist()
    moved = sitk.Resample(
        image, place.size, sitk.Transform(), sitk.sitkNearestNeighbor, place.origin_mm, place.spacing_mm,
        direction, 0.0,
    )  # fmt: skip
    return np.asarray(sitk.GetArrayFromImage(moved))


def check_same_grid(path: Path, labels: Labels, place: Geometry) -> None:
    """Raises InputError where a label image has another size or place than its scan."""
    if labels.geometry.size != place.size:
        raise InputError(
            f"{path}: expected a mask of the image's {place.size} voxels, found {labels.geometry.size}"
        )
    corners = np.array([[0, 0, 0], np.array(place.size) - 1], np.float64)
    apart = np.abs(labels.geometry.index_to_world(corners) - place.index_to_world(corners)).max()
    if apart > GRID_TOLERANCE_MM:
        raise InputError(f"{path}: expected a mask on the image's grid, found it {apart:.1f} mm off")
