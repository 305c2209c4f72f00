"""What ITK passes over in silence: damaged image files, and headers that do not say where the voxels lie.

ITK reads a truncated NIfTI, and any compressed voxels that do not unpack, without an error: the voxels are
then whatever the memory held. A spacing it cannot read becomes 1 mm, a place 0. So the lengths of MetaImage,
NIfTI and NRRD files are compared with their headers, compressed voxels with their checksum (RFC 1950, 1952).
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 20
_LONGEST_LINE, _MOST_LINES = 1 << 16, 1000
_GZIP = b"\x1f\x8b"
_PLACE = ("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation")


@dataclasses.dataclass(frozen=True)
class Header:
    """Where a file's voxels lie, and what its header lacks.

    data, start: the file with the voxels, and the byte where they or their compressed stream begin.
    size: the bytes of that stream, where the header tells. skip: its unpacked bytes before the voxels.
    voxel_bytes: those of the voxels, if they may be of another type than ITK's. swapped: big-endian.
    fault: what is wrong with the header. sform: (3, 4), RAS mm, if the voxels have to lie there.
    warnings: what has to be assumed.
    """

    data: Path
    start: int
    packed: bool
    size: int | None = None
    skip: int = 0
    voxel_bytes: int | None = None
    swapped: bool = False
    fault: str | None = None
    sform: npt.NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()

    def why_truncated(self, voxel_bytes: int) -> str | None:
        """None if the file is long enough for voxels of that many bytes, or that shows in unpacking only."""
        expected = self.size if self.packed else (self.voxel_bytes or voxel_bytes)
        found = self.data.stat().st_size - self.start
        if expected is None or found >= expected:
            return None
        return f"expected {expected} bytes of voxels, found {max(0, found)}: the file is truncated"

    def why_damaged(self, voxels: npt.NDArray[np.generic]) -> str | None:
        """None if compressed voxels are as they were stored; voxels (z, y, x) as ITK read them."""
        if not self.packed:
            return None
        with self.data.open("rb") as file:
            file.seek(self.start)
            if file.read(2) == _GZIP:
                file.seek(self.start)
                return _why_no_gzip(
                    gzip.GzipFile(fileobj=file), self.skip + (self.voxel_bytes or voxels.nbytes)
                )
            file.seek(-4, 2) if self.size is None else file.seek(self.start + self.size - 4)
            stored = int.from_bytes(file.read(4), "big")
        whole = np.ascontiguousarray(voxels.byteswap() if self.swapped else voxels)
        if zlib.adler32(whole.data.cast("B")) == stored:
            return None
        return "expected the voxels that the checksum in the file tells, found others: the file is damaged"


def read_header(path: Path) -> Header | None:
    """The header of a MetaImage, NIfTI or NRRD file; None of any other, or one that is too odd to be read."""
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            return _nifti(path)
        if name.endswith(".nrrd"):
            return _nrrd(path)
        if name.endswith((".mha", ".mhd")):
            return _metaimage(path)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error, ValueError):
        pass  # ITK says what it is not
    return None


def _why_no_gzip(file: gzip.GzipFile, expected: int) -> str | None:
    """Unpacks to the end, where the checksum is."""
    found = 0
    try:
        while part := file.read(_CHUNK):
            found += len(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"expected {expected} bytes after unpacking, found damage after {found}: {error}"
    return None if found >= expected else f"expected {expected} bytes after unpacking, found {found}"


def _fields(path: Path, separator: str, last: str) -> tuple[dict[str, str], int]:
    """The lines `key separator value` of a header up to the key `last` (an empty line: ""), and its end."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            key, found, value = (part.strip() for part in line.decode("latin-1").partition(separator))
            if found:
                fields[key] = value
            if line and key == last:
                return fields, file.tell()
    raise ValueError(f"{path}: expected the end of the header")


def _finite(numbers: str) -> bool:
    try:
        return all(math.isfinite(float(number)) for number in numbers.split())
    except ValueError:
        return False


def _metaimage(path: Path) -> Header | None:
    fields, end = _fields(path, "=", "ElementDataFile")
    where = fields.get("ElementDataFile", "")
    data = path if where.upper() == "LOCAL" else path.parent / where
    if fields.get("BinaryData", "True").lower() == "false":
        return None
    if not data.is_file():
        several = where.upper().startswith("LIST") or "%" in where
        return (
            None
            if several
            else Header(data, 0, False, fault=f"expected the voxels in {data}, found no such file")
        )
    faults = [
        f"expected finite numbers as {key}, found {fields[key]}"
        for key in ("ElementSpacing", "ElementSize", *_PLACE)
        if key in fields and not _finite(fields[key])
    ]
    if "ElementSpacing" not in fields and "ElementSize" not in fields:
        faults.append("expected an ElementSpacing in the header, found none")
    order = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    packed = fields.get("CompressedData", "False").lower() == "true"
    size = fields.get("CompressedDataSize", "") if packed else ""
    return Header(
        data,
        end if data == path else max(0, int(fields.get("HeaderSize", 0))),
        packed,
        int(size) if size.isdecimal() and int(size) > 4 else None,
        swapped=order.lower() == "true",
        fault=faults[0] if faults else None,
    )


def _nrrd(path: Path) -> Header | None:
    fields, end = _fields(path, ":", "")
    if "encoding" not in fields or {"data file", "datafile"} & set(fields):
        return None
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz") or {"line skip", "byte skip"} & set(fields):
        return None
    spacing = fields.get("space directions", fields.get("spacings"))
    fault = None
    if spacing is None or not _finite(spacing.translate(str.maketrans("(),", "   "))):
        fault = f"expected space directions or spacings in finite numbers, found {spacing or 'none'}"
    return Header(path, end, encoding != "raw", swapped=fields.get("endian") == "big", fault=fault)


def _nifti(path: Path) -> Header | None:
    """NIfTI-1, https://nifti.nimh.nih.gov/nifti-1: ITK reads no other."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    with gzip.open(path) if packed else path.open("rb") as stream:
        header = stream.read(352)
    order = "<" if header[:4] == struct.pack("<i", 348) else ">"
    count, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    (bits,) = struct.unpack_from(f"{order}h", header, 72)
    spacing = struct.unpack_from(f"{order}3f", header, 80)
    (offset,) = struct.unpack_from(f"{order}f", header, 108)
    qform, sform = struct.unpack_from(f"{order}2h", header, 252)
    fault = None
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        fault = f"expected a positive spacing, found ({', '.join(f'{mm:g}' for mm in spacing)}) mm"
    affine = np.array(struct.unpack_from(f"{order}12f", header, 280)).reshape(3, 4)
    return Header(
        path,
        0 if packed else int(offset),
        packed,
        skip=int(offset),
        voxel_bytes=math.prod(sizes[:count]) * bits // 8,
        fault=fault,
        sform=affine if sform == 1 or (sform > 0 and qform <= 0) else None,
        warnings=() if qform > 0 or sform > 0 else ("no position in the NIfTI header: taken as its origin",),
    )
