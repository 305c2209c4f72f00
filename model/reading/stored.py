"""The voxels of a file whose header is understood: counted first, then read, never more and never less."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.geometry import numbers
from model.reading.header import GZIP, Header

DEFLATE_RATIO = 1032
"""No deflate stream unpacks to more than this many times its length (RFC 1951: 258 bytes in 2 bits)."""
_CHUNK = 1 << 20

Allocate = Callable[[tuple[int, int, int], np.dtype[Any]], npt.NDArray[Any]]
"""Makes an array (z, y, x) of a type. Raises InputError where the memory does not suffice."""


def read_voxels(header: Header, allocate: Allocate) -> npt.NDArray[Any]:
    """(z, y, x) voxels, scaled where the header says so. Raises InputError."""
    _check_bytes(header)
    shape = header.geometry.size[::-1]
    native = header.kind.newbyteorder("=")
    if header.scale is None:
        voxels = allocate(shape, native)
        _fill(header, voxels)
        return voxels
    whole = _whole_range(header)
    voxels = allocate(shape, whole or np.dtype(np.float32 if native.itemsize < 4 else np.float64))
    stored = voxels if voxels.dtype == native else np.empty(shape, native)
    _fill(header, stored)
    slope, intercept = header.scale
    for given, out in zip(stored, voxels, strict=True):
        np.copyto(out, given.astype(np.float64) * slope + intercept, casting="unsafe")
    return voxels


def _whole_range(header: Header) -> np.dtype[Any] | None:
    """The type of whole numbers that holds whatever the scale makes of the voxels; None: there is none."""
    assert header.scale is not None
    slope, intercept = header.scale
    if header.kind.kind not in "iu" or slope != int(slope) or intercept != int(intercept):
        return None
    limits = np.iinfo(header.kind.str)
    ends = [int(slope) * int(value) + int(intercept) for value in (limits.min, limits.max)]
    fits = (kind for kind in (np.int16, np.int32) if all(abs(end) <= np.iinfo(kind).max for end in ends))
    return next((np.dtype(kind) for kind in fits), None)


def _check_bytes(header: Header) -> None:
    """Before anything is allocated: can the file hold that many?"""
    size = header.data.stat().st_size
    expected = header.voxel_bytes
    if not header.packing:
        found = size if header.start < 0 else size - header.start
        if found < expected:
            _refuse(
                header, f"expected {expected} bytes of voxels, found {max(0, found)}: the file is truncated"
            )
        if header.start >= 0 and found - expected >= _slack(header):
            _refuse(header, f"expected {expected} bytes of voxels, found {found}: more than the header says")
        if header.start >= 0 and found > expected:
            with header.data.open("rb") as file:
                file.seek(header.start + expected)
                _check_rest(header, file.read())
        return
    found = size - header.start
    if header.packed_bytes is not None:
        if found < header.packed_bytes:
            text = f"expected {header.packed_bytes} bytes of voxels, found {max(0, found)}"
            _refuse(header, f"{text}: the file is truncated")
        found = header.packed_bytes
    if expected + header.skip > DEFLATE_RATIO * max(found, 0) + 1024:
        _refuse(
            header,
            f"expected {expected} bytes of voxels ({numbers(header.geometry.size)}), found {max(0, found)} "
            "compressed ones, which cannot hold them",
        )


def _slack(header: Header) -> int:
    """Zeros that may follow the voxels: less than a slice of them; none in a file that holds nothing else."""
    return max(1024, header.voxel_bytes // header.geometry.size[2]) if header.data == header.path else 1


def _check_rest(header: Header, rest: bytes) -> None:
    """What follows the voxels: had they been looked for too early, that would be the last of them."""
    if any(rest):
        _refuse(header, f"expected nothing but zeros behind the voxels, found others in {len(rest)} bytes")


def _refuse(header: Header, text: str) -> None:
    where = "" if header.data == header.path else f" (in {header.data.name})"
    raise InputError(f"{header.path}: {text}{where}")


def _fill(header: Header, voxels: npt.NDArray[Any]) -> None:
    """Writes the stored voxels into the array, in the machine's byte order."""
    target = voxels.reshape(-1).data.cast("B")
    with header.data.open("rb") as file:
        file.seek(-len(target) if header.start < 0 else header.start, 2 if header.start < 0 else 0)
        if header.packing:
            _unpack(header, file, target)
        elif file.readinto(target) != len(target):
            _refuse(header, f"expected {len(target)} bytes of voxels, found less: the file is truncated")
    if not header.kind.isnative:
        voxels.byteswap(inplace=True)


def _unpack(header: Header, file: BinaryIO, target: memoryview) -> None:
    """Unpacks exactly as many bytes as there have to be, to the end of the stream, where the checksum is."""
    expected = header.skip + len(target)
    found, slack = 0, _slack(header)
    try:
        for part in _parts(file, header.packed_bytes, header.packing == "gzip"):
            start = max(0, header.skip - found)
            piece = part[start : start + max(0, expected - max(found, header.skip))]
            at = max(0, found - header.skip)
            target[at : at + len(piece)] = piece
            _check_rest(header, part[start + len(piece) :])
            found += len(part)
            if found - expected >= slack:
                _refuse(header, f"expected {expected} bytes after unpacking, found more")
    except (EOFError, zlib.error) as error:
        _refuse(header, f"expected {expected} bytes after unpacking, found damage after {found}: {error}")
    if found < expected:
        _refuse(header, f"expected {expected} bytes after unpacking, found {found}")


def _parts(file: BinaryIO, length: int | None, members: bool) -> Iterator[bytes]:
    """What a deflate stream, or a gzip file of one or several members, unpacks to, a piece at a time."""
    stream = zlib.decompressobj(31 if members else 47)
    data, left = b"", length
    while True:
        if not data:
            data = file.read(_CHUNK if left is None else min(_CHUNK, left))
            left = None if left is None else left - len(data)
        part = stream.decompress(data, _CHUNK)
        if not data and not part and not stream.eof:
            raise EOFError("the stream breaks off")
        yield part
        data = stream.unconsumed_tail
        if stream.eof:
            data = stream.unused_data
            data += file.read(2) if len(data) < 2 else b""
            if not (members and data.startswith(GZIP)):
                return
            stream = zlib.decompressobj(31)
