"""What runs in the child process: one scan, or one label image, into memory that the parent sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.geometry import Geometry
from model.reading.header import Header, format_of
from model.reading.hounsfield import MOST_HU, OFFSET, why_no_offset, why_not_hu
from model.reading.metaimage import read_metaimage
from model.reading.nifti import read_nifti
from model.reading.nrrd import read_nrrd
from model.reading.stored import Allocate, read_voxels

_CHUNK = 1 << 22
_READERS = {"MetaImage": read_metaimage, "NRRD": read_nrrd, "NIfTI": read_nifti}


@dataclasses.dataclass(frozen=True)
class Image:
    """geometry and voxels (z, y, x); of a header alone, voxels are None. warnings: what had to be assumed."""

    geometry: Geometry
    voxels: npt.NDArray[Any] | None
    warnings: tuple[str, ...]


def read_header(path: Path, expected: str = "a CT image") -> Header:
    """The header of a MetaImage, NRRD or NIfTI file. Raises InputError; expected: as for `format_of`."""
    kind = format_of(path, expected)
    if kind not in _READERS:
        raise InputError(f"{path}: expected {expected} as MetaImage, NRRD or NIfTI, found {kind}")
    return _READERS[kind](path)


def read_image(path: Path, allocate: Allocate, expected: str = "a CT image") -> Image:
    """A MetaImage, NRRD or NIfTI file with whatever values it holds. Raises InputError."""
    header = read_header(path, expected)
    return Image(header.geometry, read_voxels(header, allocate), header.warnings)


def read_scan(path: Path, series: str | None, allocate: Allocate) -> Image:
    """A CT in HU: a file, or a folder with a DICOM series. Raises InputError."""
    if path.is_dir() or format_of(path) == "DICOM":
        from model.reading.dicom import read_series

        image = read_series(path, series, allocate)
    else:
        image = read_image(path, allocate)
    assert image.voxels is not None
    hu, doubt = _checked_hu(path, image.voxels)
    return Image(image.geometry, hu, (*image.warnings, *doubt))


def _checked_hu(path: Path, voxels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The voxels in HU, with a warning where an offset had to be taken off (in place)."""
    kind, expected = voxels.dtype, f"{path}: expected CT values in HU"
    if kind.itemsize == 1 or kind.kind not in "iuf":
        raise InputError(f"{expected}, found voxels of type {kind}, which cannot hold them")
    if kind.kind == "f":
        parts = np.array_split(voxels.reshape(-1), max(1, voxels.size // _CHUNK))
        bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts)
        if bad:
            raise InputError(f"{expected}, found NaN or infinity in {bad} voxels")
    if kind.itemsize > 2 and voxels.max() > MOST_HU:
        count = int(np.count_nonzero(voxels > MOST_HU))
        raise InputError(f"{expected}, found {voxels.max():g}, and more than {MOST_HU} in {count} voxels")
    reason = why_no_offset(voxels) if kind.kind == "u" else why_not_hu(voxels)
    if reason is not None:
        raise InputError(f"{expected}, found {reason}")
    if kind.kind != "u":
        return voxels, ()
    signed = voxels.view(kind.str.replace("u", "i"))
    np.subtract(voxels, OFFSET, out=signed, casting="unsafe")
    return signed, (f"unsigned values: {OFFSET} subtracted, as peaks of air, fat and soft tissue prove it",)
