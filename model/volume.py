"""A CT volume in Hounsfield units and in its place: reading files, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.hounsfield import OFFSET, why_no_offset, why_not_hu
from model.integrity import read_header

ORTHONORMAL = 1e-3
"""By how much the axes of a scan may miss right angles and unit length: 0.3 mm over 300 mm."""
LONGEST_MM = 4000.0
"""No scan is longer; a file that says so has the wrong unit."""
SLICE_TOLERANCE = 0.02
"""Share of the slice interval by which a DICOM slice may miss its place."""
SFORM_MM = 0.01
"""By how much an entry of the sform of a NIfTI file may differ from what ITK made of it."""
_CHUNK = 1 << 24


class InputError(ValueError):
    """An input that cannot be used; the message is one line: file, what was expected, what was found."""


@dataclasses.dataclass(frozen=True)
class Volume:
    """HU on a regular grid.

    hu: (z, y, x), any signed integer or float type, finite. spacing_mm and origin_mm: (x, y, z), the
    origin being the centre of voxel (0, 0, 0) in LPS. direction: (3, 3) orthonormal, its columns the world
    directions of the index axes x, y, z. warnings: what had to be assumed.
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
    check_name(path)
    try:
        image, assumed = (_read_series(path, series), ()) if path.is_dir() else _read_file(path)
    except RuntimeError as error:
        raise InputError(f"{path}: expected a CT image, found: {_itk_reason(error)}") from None
    geometry = _checked_geometry(path, image)
    hu, warnings = _checked_hu(path, np.asarray(_Voxels(image)))
    return Volume(hu, *geometry, (*assumed, *warnings))


def check_name(path: Path) -> None:
    """Raises InputError if a name is not UTF-8: SimpleITK would end the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: expected a name in UTF-8, found other bytes") from None


class _Voxels:
    """An image's voxels (z, y, x) for numpy, without a copy.

    numpy keeps this object, and so the image, as long as the array or a view of it is in use: the views
    that SimpleITK gives do not, and point into freed memory once the image is gone.
    """

    def __init__(self, image: Any):
        import SimpleITK as sitk

        self.image = image
        view = sitk.GetArrayViewFromImage(image)
        self.__array_interface__ = view.__array_interface__ | {"data": (view.ctypes.data, False)}


def _read_file(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The image, and what had to be assumed."""
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
        raise InputError(f"{path}: expected one value per voxel, found {components} (colours, vectors)")
    header = read_header(path)
    voxel_bytes = math.prod(size) * sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
    fault = header and (header.fault or header.why_truncated(voxel_bytes))
    if fault:
        raise InputError(f"{path}: {fault}")
    spacing = reader.GetSpacing()[:3]
    if not all(mm > 0 for mm in spacing):  # ITK makes another direction of a negative one
        raise InputError(f"{path}: expected a positive spacing, found {_numbers(spacing)} mm")
    image = reader.Execute()
    if header is None:
        return image, ()
    fault = header.why_damaged(np.asarray(_Voxels(image))) or _why_not_at(header.sform, image)
    if fault:
        raise InputError(f"{path}: {fault}")
    return image, header.warnings


def _why_not_at(sform: npt.NDArray[np.float64] | None, image: Any) -> str | None:
    """None if ITK took a NIfTI file's sform (3, 4), RAS mm: it passes over one with shear."""
    if sform is None:
        return None
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    found = np.diag([-1.0, -1.0, 1.0]) @ np.column_stack([direction, image.GetOrigin()])
    if np.abs(found - sform).max() <= SFORM_MM:
        return None
    return f"expected a sform with the header's spacing and right angles, found {_numbers(sform.ravel())}"


def _read_series(folder: Path, series: str | None) -> Any:
    import SimpleITK as sitk

    for path in folder.iterdir():
        check_name(path)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series or "")
    _check_complete(folder, set(names))
    if not names:
        raise InputError(f"{folder}: expected a DICOM series, found no readable slice")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    reader.LoadPrivateTagsOff()
    image = reader.Execute()

    def values(tag: str) -> list[str]:
        return [
            str(reader.GetMetaData(number, tag)).strip() if reader.HasMetaDataKey(number, tag) else ""
            for number in range(len(names))
        ]

    modality = values("0008|0060")[0]
    if modality not in ("", "CT"):
        raise InputError(f"{folder}: expected the modality CT, found {modality}")
    if len(names) > 1:
        _check_slices(folder, values("0020|0032"), values("0020|0037"), values("0028|0030"))
    return image


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; one named .dcm may do without."""
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() == ".dcm":
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _check_complete(folder: Path, names: set[str]) -> None:
    """Damaged files would be slices that are missing: GDCM passes over them without a word."""
    import SimpleITK as sitk

    for path in sorted(folder.iterdir()):
        if str(path) not in names and is_dicom(path):
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            try:
                reader.ReadImageInformation()
            except RuntimeError as error:
                if "Unable to determine ImageIO" in str(error):  # other objects, as reports, have readers
                    raise InputError(f"{path}: expected a DICOM file, found a damaged one") from None


def _check_slices(folder: Path, places: list[str], axes: list[str], spacings: list[str]) -> None:
    """Slices have to follow each other at one interval, without a tilted gantry, and to be alike."""
    try:
        positions, directions, spacing = (
            np.array([[float(number) for number in text.split("\\")] for text in texts])
            for texts in (places, axes, spacings)
        )
        steps = np.diff(positions.reshape(-1, 3), axis=0)
        rows, columns = directions[0].reshape(2, 3)
        alike = max(np.ptp(directions, axis=0).max(), np.ptp(spacing, axis=0).max())
    except ValueError:
        raise InputError(
            f"{folder}: expected a position, an orientation and a spacing of each DICOM slice"
        ) from None
    if not alike <= ORTHONORMAL:
        raise InputError(f"{folder}: expected slices of one orientation and spacing, found several")
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
        raise InputError(
            f"{path}: expected at least two slices, rows and columns, found {_times(size)} voxels"
        )
    if not np.isfinite([*spacing, *origin]).all() or min(spacing) <= 0:
        raise InputError(
            f"{path}: expected a positive spacing and a finite origin, found {_numbers(spacing)} mm "
            f"and {_numbers(origin)} mm"
        )
    if not np.abs(direction.T @ direction - np.eye(3)).max() <= ORTHONORMAL:
        found = _numbers(direction.ravel())
        raise InputError(f"{path}: expected a direction matrix of orthogonal unit vectors, found {found}")
    extent = [mm * count for mm, count in zip(spacing, size, strict=True)]
    if max(extent) > LONGEST_MM:
        raise InputError(f"{path}: expected at most {LONGEST_MM:g} mm in length, found {_numbers(extent)} mm")
    return (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction


def _checked_hu(path: Path, voxels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The voxels in HU, with a warning where an offset had to be taken off (in place)."""
    kind, expected = voxels.dtype, f"{path}: expected CT values in HU"
    if kind.itemsize == 1 or kind.kind not in "iuf":
        raise InputError(f"{expected}, found voxels of type {kind}, which cannot hold them")
    if kind.kind == "f":
        parts = np.array_split(voxels, max(1, voxels.size // _CHUNK))
        bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts)
        if bad:
            raise InputError(f"{expected}, found NaN or infinity in {bad} voxels")
    reason = why_no_offset(voxels) if kind.kind == "u" else why_not_hu(voxels)
    if reason is not None:
        raise InputError(f"{expected}, found {reason}")
    if kind.kind != "u":
        return voxels, ()
    signed = voxels.view(kind.str.replace("u", "i"))
    np.subtract(voxels, OFFSET, out=signed, casting="unsafe")
    return signed, (f"unsigned values: {OFFSET} subtracted, as peaks of air, fat and soft tissue prove it",)


def _times(size: Any) -> str:
    return " x ".join(str(count) for count in size)


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


_ITK_REASONS = {
    "Unable to determine ImageIO": "no image format that is known",
    "determinant is 0": "a singular direction matrix",
    "No orthonormal definition": "a NIfTI orientation without right angles",
    "does not fully contain the requested region": "slices of different sizes",
}


def _itk_reason(error: RuntimeError) -> str:
    """What ITK says, in our words or without its own places in memory and source."""
    for telling, reason in _ITK_REASONS.items():
        if telling in str(error):
            return reason
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if "sitk::ERROR" in line or "ITK ERROR" in line] or lines[-1:]
    text = found[0].split("ERROR:", 1)[-1].strip()
    if "(0x" in text:
        text = text.split("): ", 1)[-1]
    return text[:200]
