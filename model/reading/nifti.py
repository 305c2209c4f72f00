"""NIfTI-1 and NIfTI-2 headers (https://nifti.nimh.nih.gov), each part checked."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.geometry import TOLERANCE_MM, Geometry, numbers
from model.reading.header import GZIP, Header, beginning, check_size, geometry_of, refuse

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COLOURS = {
    32: "complex numbers",
    128: "3 (colours, vectors)",
    1792: "complex numbers",
    2304: "4 (colours, vectors)",
}
_LENGTH = {1: 352, 2: 544}
_FIELDS = {
    1: {"dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
        "offset": (108, "f"), "scale": (112, "2f"), "units": (123, "B"), "codes": (252, "2h"),
        "quatern": (256, "6f"), "sform": (280, "12f"), "magic": (344, "4s")},
    2: {"magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"),
        "pixdim": (104, "8d"), "offset": (168, "q"), "scale": (176, "2d"), "codes": (344, "2i"),
        "quatern": (352, "6d"), "sform": (400, "12d"), "units": (500, "i")},
}  # fmt: skip
_MAGIC = {1: b"n+1\0", 2: b"n+2\0\r\n\x1a\n"}
_NAMES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI 152", 5: "template"}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])

Array = npt.NDArray[np.float64]


def read_nifti(path: Path) -> Header:
    """The header of a .nii or .nii.gz file. Raises InputError where a part of it is not understood."""
    head = beginning(path, _LENGTH[2])
    version, fields = _fields(path, head)
    count, *dims = fields["dim"]
    if not 1 <= count <= 7:
        refuse(path, "3 dimensions", f"{count}")
    if fields["datatype"][0] in _COLOURS:
        refuse(path, "one value per voxel", _COLOURS[fields["datatype"][0]])
    if count == 5 and dims[3] == 1 and dims[4] > 1:
        refuse(path, "one value per voxel", f"{dims[4]} (colours, vectors)")
    size = check_size(path, list(dims[:count]))
    kind = _TYPES.get(fields["datatype"][0])
    if kind is None or fields["bitpix"][0] != 8 * int(kind[1]):
        found = f"datatype {fields['datatype'][0]} of {fields['bitpix'][0]} bits"
        refuse(path, "a datatype of whole or floating-point numbers and its bits", found)
    (offset,) = fields["offset"]
    if not (math.isfinite(offset) and offset == int(offset) and offset >= _LENGTH[version]):
        refuse(path, f"voxels from byte {_LENGTH[version]} on (vox_offset)", f"{offset:g}")
    _check_extension(path, head[_LENGTH[version] - 4 :], fields["order"], int(offset) - _LENGTH[version])
    if fields["units"][0] & 7 not in (0, 2):
        unit = {1: "metres", 3: "micrometres"}.get(fields["units"][0] & 7, f"code {fields['units'][0] & 7}")
        refuse(path, "units of mm", unit)
    geometry, warnings = _place(path, size, fields)
    scale, doubt = _scale(path, fields)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return Header(
        path,
        geometry,
        np.dtype(fields["order"] + kind),
        path,
        0 if packed else int(offset),
        "gzip" if packed else "",
        skip=int(offset) if packed else 0,
        scale=scale,
        warnings=(*warnings, *doubt),
    )


def _fields(path: Path, head: bytes) -> tuple[int, dict[str, Any]]:
    """Version 1 or 2, and its fields; `order` is that of the bytes."""
    for version, order in itertools.product((1, 2), "<>"):
        if head[:4] == struct.pack(f"{order}i", 348 if version == 1 else 540):
            break
    else:
        refuse(path, "a NIfTI header of 348 or 540 bytes", head[:4].hex(" ") or "none")
    if len(head) < _LENGTH[version]:
        refuse(
            path,
            f"a NIfTI-{version} header of {_LENGTH[version]} bytes",
            f"{len(head)}: the file is truncated",
        )
    fields: dict[str, Any] = {
        name: struct.unpack_from(order + layout, head, at) for name, (at, layout) in _FIELDS[version].items()
    }
    if fields["magic"][0] != _MAGIC[version]:
        refuse(path, f"NIfTI-{version} in one file (magic {_MAGIC[version]!r})", repr(fields["magic"][0]))
    return version, fields | {"order": order}


def _check_extension(path: Path, rest: bytes, order: str, room: int) -> None:
    """Raises InputError where the header has an extension for which its vox_offset leaves no room.

    rest: the file from the four bytes on that say whether there is one.
    """
    if len(rest) < 12 or not rest[0]:
        return
    size, code = struct.unpack_from(f"{order}2i", rest, 4)
    if size > room and 0 < size < 1 << 24 and size % 16 == 0 and code % 2 == 0 and 0 <= code < 100:
        refuse(path, "voxels behind the header's extension", f"one of {size} bytes, and room for {room}")


def _scale(path: Path, fields: dict[str, Any]) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Slope and intercept; None where the voxels stay as they are, as by the standard with a slope of 0."""
    slope, intercept = fields["scale"]
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        if math.isnan(slope) and math.isnan(intercept):
            return None, ()  # as nibabel writes where there is no scale
        refuse(path, "a finite scl_slope and scl_inter", f"{slope:g} and {intercept:g}")
    if slope == 0:
        text = f"scl_slope is 0: the voxels are taken as they are, without the scl_inter of {intercept:g}"
        return None, ((text,) if intercept else ())
    return (None if (slope, intercept) == (1, 0) else (slope, intercept)), ()


def _place(
    path: Path, size: tuple[int, int, int], fields: dict[str, Any]
) -> tuple[Geometry, tuple[str, ...]]:
    """From the forms whose code is positive, which have to agree; else from the voxels' size alone."""
    qcode, scode = fields["codes"]
    spacing = np.array(fields["pixdim"][1:4], np.float64)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        refuse(path, "a positive spacing", f"{numbers(spacing)} mm")
    if not (0 <= qcode <= 5 and 0 <= scode <= 5):
        refuse(path, "a qform code and a sform code of 0 to 5", f"{qcode} and {scode}")
    forms: dict[str, tuple[Array, Array, Array]] = {}
    if scode > 0:
        affine = np.array(fields["sform"], np.float64).reshape(3, 4)
        if not np.isfinite(affine).all():
            refuse(path, "a sform of finite numbers", numbers(affine.ravel()))
        lengths = np.linalg.norm(affine[:, :3], axis=0)
        if not (lengths > 0).all():
            refuse(path, "a sform with the header's spacing and right angles", numbers(affine.ravel()))
        axes = _RAS_TO_LPS @ affine[:, :3] / lengths
        forms[f"sform ({_NAMES[scode]})"] = (lengths, axes, _RAS_TO_LPS @ affine[:, 3])
    if qcode > 0:
        forms[f"qform ({_NAMES[qcode]})"] = (spacing, *_qform(path, fields))
    if not forms:
        flipped = fields["pixdim"][0]
        if flipped not in (-1, 0, 1):
            refuse(path, "pixdim[0] of -1, 0 or 1", f"{flipped:g}")
        forms["no form"] = (spacing, _RAS_TO_LPS, np.zeros(3))
    corners = np.array(list(itertools.product(*((0, n - 1) for n in size))))
    _check_agreement(path, forms, corners, spacing)
    geometry = geometry_of(path, size, *next(iter(forms.values())))
    told = () if qcode > 0 or scode > 0 else ("no position in the NIfTI header: taken as its origin",)
    return geometry, told


def _qform(path: Path, fields: dict[str, Any]) -> tuple[Array, Array]:
    """Unit vectors as columns, and origin, both in LPS, of the quaternion form (method 2 of the standard)."""
    b, c, d, *origin = fields["quatern"]
    sign = fields["pixdim"][0]
    squares = b * b + c * c + d * d
    if not (np.isfinite([b, c, d, *origin]).all() and squares <= 1 + 1e-4 and sign in (-1, 0, 1)):
        refuse(path, "a qform of a unit quaternion", f"({b:g}, {c:g}, {d:g}) and pixdim[0] of {sign:g}")
    a = math.sqrt(max(0.0, 1 - squares))
    b, c, d = np.array([b, c, d]) / max(1.0, math.sqrt(squares))
    axes = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return _RAS_TO_LPS @ axes @ np.diag([1, 1, -1 if sign == -1 else 1]), _RAS_TO_LPS @ np.array(origin)


def _check_agreement(
    path: Path, forms: dict[str, tuple[Array, Array, Array]], corners: Array, spacing: Array
) -> None:
    """Two forms put each corner into one place; a form that is alone has the header's spacing."""
    placed = {name: corners * lengths @ axes.T + origin for name, (lengths, axes, origin) in forms.items()}
    if len(placed) == 2:
        (one, there), (other, elsewhere) = placed.items()
        apart = np.linalg.norm(there - elsewhere, axis=1).max()
        if apart > TOLERANCE_MM:
            worst = np.linalg.norm(there - elsewhere, axis=1).argmax()
            refuse(
                path,
                f"{one} and {other} that agree",
                f"a corner at {numbers(there[worst].round(2))} and {numbers(elsewhere[worst].round(2))} mm, "
                f"{apart:.2f} mm apart",
            )
    lengths = next(iter(forms.values()))[0]
    apart = float(np.abs((lengths - spacing) * corners.max(0)).max())
    if apart > TOLERANCE_MM:
        refuse(path, f"a sform with the header's spacing, {numbers(spacing)} mm", f"{numbers(lengths)} mm")
