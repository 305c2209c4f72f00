"""A CT volume in Hounsfield units and in its place: reading files, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.hounsfield import OFFSET, why_no_offset, why_not_hu

ORTHONORMAL = 1e-3
"""By how much the axes of a scan may miss right angles and unit length: 0.3 mm over 300 mm."""
LONGEST_MM = 4000.0
"""No scan is longer; a file that says so has the wrong unit."""
SLICE_TOLERANCE = 0.02
"""Share of the slice interval by which a DICOM slice may miss its place."""
_CHUNK = 1 << 24


class InputError(ValueError):
    """An input that cannot be used; the message is one line: file, what was expected, what was found."""


@dataclasses.dataclass(frozen=True)
class Volume:
    """HU on a regular grid.

    hu: (z, y, x), any signed integer or float type, finite. spacing_mm and origin_mm: (x, y, z), the origin
    being the centre of voxel (0, 0, 0) in LPS. direction: (3, 3) orthonormal, its columns the world directions
    of the index axes x, y, z. warnings: what had to be assumed.
    """

    hu: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    def index_to_world(self, index_xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(n, 3) index positions (x, y, z), 0-based -> (n, 3) LPS mm."""
        scaled = np.asarray(index_xyz, np.float64).reshape(-1, 3) * self.spacing_mm
        return scaled @ self.direction.T + self.origin_mm

    def world_to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of `index_to_world`."""
        shifted = np.asarray(points_mm, np.float64).reshape(-1, 3) - self.origin_mm
        return shifted @ self.direction / self.spacing_mm


def read_volume(path: Path, series: str | None = None) -> Volume:
    """A file that ITK reads, or a folder with a DICOM series (`series`: its UID, if there are several).

    Raises InputError where it is no CT in three dimensions with sound geometry.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = _read_series(path, series) if path.is_dir() else _read_file(path)
    except RuntimeError as error:
        raise InputError(f"{path}: expected a CT image, found: {_itk_reason(error)}") from None
    geometry = _checked_geometry(path, image)
    voxels = sitk.GetArrayViewFromImage(image)
    hu, warnings = _checked_hu(path, voxels)
    return Volume(hu, *geometry, warnings)


def _read_file(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if len(size) == 4 and size[3] == 1:
        reader.SetExtractSize([*size[:3], 0])
        size = size[:3]
    if len(size) != 3:
        raise InputError(f"{path}: expected 3 dimensions, found {len(size)} ({_times(size)} voxels)")
    if components != 1:
        raise InputError(f"{path}: expected one value per voxel, found {components} (a colour or vector image)")
    spacing = reader.GetSpacing()[:3]
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        raise InputError(f"{path}: expected a positive spacing, found {_numbers(spacing)} mm")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti_length(path)
    return reader.Execute()


def _check_nifti_length(path: Path) -> None:
    """ITK reads a truncated NIfTI without an error, the missing voxels being whatever the memory held."""
    packed = path.name.lower().endswith(".gz")
    opened: Any = gzip.open(path) if packed else path.open("rb")
    with opened as file:
        try:
            header = file.read(352)
            order = "<" if int.from_bytes(header[:4], "little") == 348 else ">"
            dimensions = np.frombuffer(header, f"{order}i2", 8, 40).astype(int)
            bits = int(np.frombuffer(header, f"{order}i2", 1, 72)[0])
            offset = int(np.frombuffer(header, f"{order}f4", 1, 108)[0])
            expected = offset + math.prod(dimensions[1 : 1 + dimensions[0]].tolist()) * bits // 8
            found = _unpacked_bytes(path, expected) if packed else path.stat().st_size
        except (EOFError, OSError, ValueError, zlib.error) as error:
            raise InputError(f"{path}: expected a complete NIfTI file, found: {error}") from None
    if found < expected:
        raise InputError(f"{path}: expected {expected} bytes of NIfTI, found {found}: the file is truncated")


def _unpacked_bytes(path: Path, expected: int) -> int:
    """From the end of the file where it is of one piece; else by unpacking. Raises EOFError if cut off."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        if int.from_bytes(file.read(), "little") == expected % 2**32:
            return expected
    total = 0
    with gzip.open(path) as packed:
        while part := packed.read(_CHUNK):
            total += len(part)
    return total


def _read_series(folder: Path, series: str | None) -> Any:
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series or "")
    if not names:
        raise InputError(f"{folder}: expected a DICOM series, found no readable slice")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    reader.LoadPrivateTagsOff()
    image = reader.Execute()

    def value(number: int, tag: str) -> str:
        return str(reader.GetMetaData(number, tag)).strip() if reader.HasMetaDataKey(number, tag) else ""

    modality = value(0, "0008|0060")
    if modality and modality != "CT":
        raise InputError(f"{folder}: expected the modality CT, found {modality}")
    if len(names) > 1:
        places = [value(number, "0020|0032") for number in range(len(names))]
        _check_slices(folder, places, value(0, "0020|0037"))
    return image


def _check_slices(folder: Path, places: list[str], axes: str) -> None:
    """Slices have to follow each other at one interval, without a tilted gantry."""
    try:
        positions = np.array([[float(number) for number in place.split("\\")] for place in places])
        rows, columns = np.array([float(number) for number in axes.split("\\")]).reshape(2, 3)
        steps = np.diff(positions.reshape(-1, 3), axis=0)
    except ValueError:
        raise InputError(f"{folder}: expected a position and an orientation of each DICOM slice") from None
    normal = np.cross(rows, columns)
    along = np.abs(steps @ normal)
    interval = float(np.median(along))
    off = np.abs(along - interval)
    if not interval > 0 or off.max() > SLICE_TOLERANCE * interval:
        worst = int(np.argmax(off))
        raise InputError(
            f"{folder}: expected DICOM slices at one interval, found {along[worst]:.3f} mm between slices "
            f"{worst + 1} and {worst + 2} but mostly {interval:.3f} mm (a slice is missing or there twice)"
        )
    sideways = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    if sideways.max() > SLICE_TOLERANCE * interval:
        raise InputError(
            f"{folder}: expected slices straight above each other, found them {sideways.max():.3f} mm aside "
            "(a tilted gantry)"
        )


Geometry = tuple[tuple[float, float, float], tuple[float, float, float], npt.NDArray[np.float64]]


def _checked_geometry(path: Path, image: Any) -> Geometry:
    size, spacing, origin = image.GetSize(), image.GetSpacing(), image.GetOrigin()
    direction = np.array(image.GetDirection()).reshape(len(size), -1)[:3, :3]
    if len(size) != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected one value per voxel in 3 dimensions, found {_times(size)} voxels")
    if min(size) < 2:
        raise InputError(f"{path}: expected at least two slices, rows and columns, found {_times(size)} voxels")
    if not np.isfinite([*spacing, *origin]).all() or min(spacing) <= 0:
        raise InputError(
            f"{path}: expected a positive spacing and a finite origin, found {_numbers(spacing)} mm "
            f"and {_numbers(origin)} mm"
        )
    if not np.abs(direction.T @ direction - np.eye(3)).max() <= ORTHONORMAL:
        raise InputError(
            f"{path}: expected a direction matrix of orthogonal unit vectors, found {_numbers(direction.ravel())}"
        )
    extent = [mm * count for mm, count in zip(spacing, size, strict=True)]
    if max(extent) > LONGEST_MM:
        raise InputError(f"{path}: expected at most {LONGEST_MM:g} mm in length, found {_numbers(extent)} mm")
    return (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction


def _checked_hu(path: Path, voxels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The voxels in HU, with a warning where an offset had to be taken off."""
    kind, expected = voxels.dtype, "expected CT values in HU"
    if kind.itemsize == 1 or kind.kind not in "iuf":
        raise InputError(f"{path}: {expected}, found {8 * kind.itemsize}-bit voxels, which cannot hold them")
    if kind.kind == "f":
        bad = sum(
            int(np.count_nonzero(~np.isfinite(part)))
            for part in np.array_split(voxels, max(1, voxels.size // _CHUNK))
        )
        if bad:
            raise InputError(f"{path}: {expected}, found NaN or infinity in {bad} voxels")
    if kind.kind == "u":
        reason = why_no_offset(voxels)
        if reason is not None:
            raise InputError(f"{path}: {expected}, found {reason}")
        signed = np.empty(voxels.shape, np.int16 if kind.itemsize == 2 else np.int32)
        np.subtract(voxels, OFFSET, out=signed, casting="unsafe")
        return signed, (f"unsigned values: {OFFSET} subtracted, as the peaks of air, fat and soft tissue prove",)
    reason = why_not_hu(voxels)
    if reason is not None:
        raise InputError(f"{path}: {expected}, found {reason}")
    return voxels, ()


def _times(size: Any) -> str:
    return " x ".join(str(count) for count in size)


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _itk_reason(error: RuntimeError) -> str:
    """What ITK says without its own places in memory and source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "sitk::ERROR" in line or "ITK ERROR" in line] or lines[-1:]
    text = telling[0].split("ERROR:", 1)[-1].strip()
    if "(0x" in text:
        text = text.split("): ", 1)[-1]
    return text[:200]
