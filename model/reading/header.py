"""What the header of an image file says, once all of it is understood; and which format a file has."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from model.errors import InputError
from model.geometry import Geometry, right_angled

GZIP = b"\x1f\x8b"
MOST_HEADER_BYTES = 1 << 20
MOST_VOXELS_ALONG = 1 << 16
_OTHERS = {
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"# vtk": "VTK", b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
    b"\x89HDF": "HDF5", b"CDF": "NetCDF (MINC)", b"PK\3\4": "a zip archive", b"BM": "BMP", b"GIF8": "GIF",
    b"<?xml": "XML", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "Zstandard",
}  # fmt: skip
SUFFIXES = {
    "MetaImage": (".mha", ".mhd"),
    "NRRD": (".nrrd", ".nhdr"),
    "NIfTI": (".nii", ".nii.gz"),
}


@dataclasses.dataclass(frozen=True)
class Header:
    """What lies where.

    path: of the header. geometry: of the voxels. kind: their type, with the byte order. data: the file that
    holds them. start: the byte of it where they, or their compressed stream, begin; negative: they end it.
    packing: "" (plain), "zlib" or "gzip". packed_bytes: length of the stream, where the header tells. skip:
    unpacked bytes before the voxels. scale: (slope, intercept) that turn them into the values meant, or
    None. warnings: what had to be assumed.
    """

    path: Path
    geometry: Geometry
    kind: np.dtype[np.generic]
    data: Path
    start: int
    packing: str = ""
    packed_bytes: int | None = None
    skip: int = 0
    scale: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def voxel_bytes(self) -> int:
        return math.prod(self.geometry.size) * self.kind.itemsize


def refuse(path: Path, expected: str, found: object) -> NoReturn:
    """Raises InputError; what was found is cut to a length that people read."""
    text = " ".join(str(found).split())
    raise InputError(f"{path}: expected {expected}, found {text if len(text) <= 120 else text[:117] + '...'}")


def check_regular(path: Path, expected: str = "a regular file") -> int:
    """The file's bytes. Raises InputError where it is missing, or a pipe or device, which may never end."""
    try:
        status = os.stat(path)
    except OSError as error:
        refuse(path, expected, error.strerror)
    if not stat.S_ISREG(status.st_mode):
        refuse(path, expected, "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device")
    return status.st_size


def beginning(path: Path, count: int) -> bytes:
    """The first bytes of a regular file; of a gzip file, those that it unpacks to."""
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(count)
        if not head.startswith(GZIP):
            return head
        try:
            return zlib.decompressobj(31).decompress(head + file.read(count), count)
        except zlib.error as error:
            refuse(path, "an image", f"damage in its gzip stream ({error})")


def format_of(path: Path, expected: str = "a CT image") -> str:
    """By content: MetaImage, NRRD, NIfTI or DICOM. Raises InputError where it is none, or not as named.

    expected: what the file is wanted for, in words.
    """
    check_regular(path, expected)
    head = beginning(path, 512)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    found = _format_of(head)
    name = path.name.lower()
    named = next((kind for kind, ends in SUFFIXES.items() if name.endswith(ends)), None)
    if found is None:
        other = next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), None)
        raise InputError(
            f"{path}: expected {expected}, found: {other or 'no image format that is known'}"
            + (", which says nothing of spacing and place" if other in ("TIFF", "PNG", "JPEG", "BMP") else "")
        )
    if named is not None and found != named:
        refuse(path, f"{named} in a file of this name", found)
    if packed and found != "NIfTI":
        refuse(path, f"{found} that is not compressed as a whole", "a gzip file")
    return found


def _format_of(head: bytes) -> str | None:
    if head.startswith(b"NRRD00"):
        return "NRRD"
    if len(head) >= 352 and head[:4] in _NIFTI_SIZES:
        return "NIfTI"
    if is_dicom(head):
        return "DICOM"
    line = head.lstrip().partition(b"\n")[0]
    key, found, _ = line.partition(b"=")
    if found and key.strip() in (b"ObjectType", b"NDims", b"Comment", b"ObjectSubType"):
        return "MetaImage"
    return None


_NIFTI_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as DICOM files do: with their mark, or without preamble by its first element."""
    if head[128:132] == b"DICM":
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if group not in (2, 8) or len(head) < 8 or element > 0x20:
        return False
    explicit = head[4:6] in (b"UL", b"UI", b"CS", b"OB", b"DA", b"TM", b"SH", b"LO")
    return explicit or int.from_bytes(head[4:8], "little") <= 64


def check_size(path: Path, size: list[int]) -> tuple[int, int, int]:
    """Three axes of voxels, or four with a last one of 1; at least two of each. Raises InputError."""
    shown = " x ".join(str(count) for count in size)
    if not (len(size) == 3 or (len(size) == 4 and size[3] == 1)):
        raise InputError(f"{path}: expected 3 dimensions, found {len(size)} ({shown} voxels)")
    x, y, z = size[:3]
    if min(x, y, z) < 2:
        raise InputError(f"{path}: expected at least two slices, rows and columns, found {shown} voxels")
    if max(x, y, z) > MOST_VOXELS_ALONG:
        raise InputError(f"{path}: expected at most {MOST_VOXELS_ALONG} voxels along an axis, found {shown}")
    return x, y, z


def geometry_of(
    path: Path, size: tuple[int, int, int], spacing_mm: ArrayLike, axes: ArrayLike, origin_mm: ArrayLike
) -> Geometry:
    """`right_angled`. Raises InputError."""
    try:
        return right_angled(size, spacing_mm, axes, origin_mm)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def floats(path: Path, key: str, text: str, count: int) -> list[float]:
    """Exactly `count` finite numbers. Raises InputError."""
    parts = text.split(None, count)
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)) or "_" in text:
        raise InputError(f"{path}: expected {count} finite numbers as {key}, found {text[:80]}")
    return values


def wholes(path: Path, key: str, text: str, count: int) -> list[int]:
    """Exactly `count` whole numbers, written as such. Raises InputError."""
    parts = text.split(None, count)
    if len(parts) != count or not all(part.lstrip("+-").isdecimal() and len(part) < 20 for part in parts):
        raise InputError(f"{path}: expected {count} whole numbers as {key}, found {text[:80]}")
    return [int(part) for part in parts]


def beside(path: Path, name: str) -> Path:
    """A data file that a header names: plainly, in the same folder. Raises InputError.

    name: the header's bytes as Latin-1; file systems hold them as they are, mostly UTF-8.
    """
    name = os.fsdecode(name.encode("latin-1"))
    plain = name and not set("/\\%\0") & set(name) and name not in (".", "..") and not name.startswith("LIST")
    if not plain:
        refuse(path, "one data file named plainly, in the folder of its header", name or "none")
    data = path.parent / name
    if not data.exists():
        raise InputError(f"{path}: expected the voxels in {data}, found no such file")
    check_regular(data)
    return data
