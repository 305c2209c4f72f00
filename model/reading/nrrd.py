"""NRRD headers (https://teem.sourceforge.net/nrrd/format.html), parsed against an accept-list."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.reading.header import (
    MOST_HEADER_BYTES,
    Header,
    beside,
    check_regular,
    check_size,
    floats,
    geometry_of,
    refuse,
    wholes,
)

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong", "long long", "long long int", "signed long long", "signed long long int", "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
"""What turns each into LPS."""
_SAME = {
    "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "centerings": "centers",
    "oldmin": "old min", "oldmax": "old max", "axismins": "axis mins", "axismaxs": "axis maxs",
    "sampleunits": "sample units", "blocksize": "block size",
}  # fmt: skip
_USED = {
    "dimension", "type", "encoding", "endian", "line skip", "byte skip", "space", "space dimension",
    "space units", "space origin", "sizes", "spacings", "kinds", "units", "space directions", "data file",
}  # fmt: skip
_PASSED = {
    "content", "min", "max", "old min", "old max", "number", "sample units", "measurement frame",
    "thicknesses", "centers", "labels", "axis mins", "axis maxs",
}  # fmt: skip


def read_nrrd(path: Path) -> Header:
    """The header of a .nrrd file. Raises InputError where a part of it is not understood."""
    fields, end = _fields(path)
    for key in ("dimension", "type", "encoding", "sizes"):
        if key not in fields:
            refuse(path, f"{key} in the NRRD header", "none")
    (count,) = wholes(path, "dimension", fields["dimension"], 1)
    if not 1 <= count <= 16:
        refuse(path, "3 dimensions", f"{count}")
    sizes = wholes(path, "sizes", fields["sizes"], count)
    kinds = fields.get("kinds", "").split()
    if len(kinds) == count and count == 4 and kinds[0] not in ("domain", "space", "none", "???"):
        refuse(path, "one value per voxel", f"{sizes[0]} ({kinds[0]})")
    if any(kind not in ("domain", "space", "list", "time", "none", "???") for kind in kinds):
        refuse(path, "axes of the kind domain or space", fields["kinds"])
    for key in ("old min", "old max"):
        if fields.get(key, "nan").lower() != "nan":
            refuse(path, "values as they are, not quantised", f"{key}: {fields[key]}")
    size = check_size(path, sizes)
    kind = next((kind for kind, names in _TYPES.items() if fields["type"].lower() in names), None)
    if kind is None:
        refuse(path, "a type of whole numbers, float or double", fields["type"])
    order = fields.get("endian", "none" if kind[1] == "1" else "missing").lower()
    if order not in ("little", "big", "none") or (order == "none" and kind[1] != "1"):
        refuse(path, "endian of little or big", order)
    spacing, axes, origin, warnings = _place(path, fields, count)
    geometry = geometry_of(path, size, spacing, axes, origin)
    data = path if "data file" not in fields else beside(path, fields["data file"])
    header = Header(
        path,
        geometry,
        np.dtype((">" if order == "big" else "<") + kind),
        data,
        end if data == path else 0,
        _packing(path, fields),
        warnings=warnings,
    )
    return _skipped(path, fields, header)


def data_file(path: Path) -> Path:
    """The file with the voxels of a .nhdr header, sound or not. Raises InputError where none is named."""
    name = _fields(path)[0].get("data file")
    return path if name is None else beside(path, name)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The lines `field: value` up to the empty one, and where the header ends. `key:=value` is for people."""
    check_regular(path)
    with path.open("rb") as file:
        text = file.read(MOST_HEADER_BYTES)
    fields: dict[str, str] = {}
    first, _, _ = text.partition(b"\n")
    if not re.fullmatch(rb"NRRD000[1-5]\r?", first):
        refuse(path, "NRRD0001 to NRRD0005", first[:20].decode("latin-1"))
    start = len(first) + 1
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end].decode("latin-1").rstrip("\r")
        start = end + 1
        if not line:
            return fields, start
        if line.startswith("#") or re.match(r"[^:]*:=", line):
            continue
        key, found, value = line.partition(": ")
        key = _SAME.get(key.strip().lower(), key.strip().lower())
        if not found or "\0" in line or key not in _USED | _PASSED:
            refuse(path, "known NRRD fields, `field: value`", repr(line[:60]))
        if key in fields:
            refuse(path, f"{key} once in the header", f"{fields[key]} and {value}")
        fields[key] = value.strip()
    if "data file" in fields and start >= len(text) and len(text) < MOST_HEADER_BYTES:
        return fields, len(text)
    refuse(path, "an empty line that ends the header", "none")


def _packing(path: Path, fields: dict[str, str]) -> str:
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        refuse(path, "the encoding raw or gzip", fields["encoding"])
    return "" if encoding == "raw" else "gzip"


def _skipped(path: Path, fields: dict[str, str], header: Header) -> Header:
    """With what lies before plain voxels left out; -1 bytes: all that is too much."""
    import dataclasses

    (lines,) = wholes(path, "line skip", fields.get("line skip", "0"), 1)
    (count,) = wholes(path, "byte skip", fields.get("byte skip", "0"), 1)
    least = 0 if header.data == path else -1
    if lines != 0 or (header.packing and count != 0) or count < least:
        refuse(path, "no line skip, and a byte skip before plain voxels only", f"{lines} and {count}")
    start = -1 if count == -1 else header.start + count
    return dataclasses.replace(header, start=start)


Array = npt.NDArray[np.float64]


def _place(path: Path, fields: dict[str, str], count: int) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """Spacing in mm, unit vectors as columns, origin in LPS mm, and what had to be assumed."""
    _check_units(path, fields)
    warnings = []
    if "space directions" in fields and "spacings" in fields:
        refuse(path, "space directions or spacings", "both")
    if "space directions" in fields:
        flips, named = _space(path, fields)
        if not named:
            warnings.append("no named space in the NRRD header: taken as left-posterior-superior")
        columns = _vectors(path, fields["space directions"], count, len(flips)) * flips[:3, None]
        spacing = np.linalg.norm(columns, axis=0)
        if not (spacing > 0).all():
            refuse(path, "a positive spacing", "(" + ", ".join(f"{mm:g}" for mm in spacing) + ") mm")
    elif "spacings" in fields:
        flips, _ = _space(path, fields)
        spacing = np.array(floats(path, "spacings", _without_nan(fields["spacings"], count), count))[:3]
        if not (spacing > 0).all():
            refuse(path, "a positive spacing", "(" + ", ".join(f"{mm:g}" for mm in spacing) + ") mm")
        columns = np.diag(spacing) * flips[:3, None] if "space" in fields else np.diag(spacing)
        warnings.append("no orientation in the NRRD header: taken as that of the patient's axes")
    else:
        refuse(path, "space directions or spacings in finite numbers", "none")
    origin = np.zeros(3)
    if "space origin" in fields:
        origin = _vector(path, "space origin", fields["space origin"], len(flips))[:3] * flips[:3]
    else:
        warnings.append("no position in the NRRD header: taken as its origin")
    return spacing, columns / spacing, origin, tuple(warnings)


def _space(path: Path, fields: dict[str, str]) -> tuple[Array, bool]:
    """Signs that turn the file's world into LPS, one for each of its dimensions; whether it was named."""
    if "space" in fields:
        signs = _SPACES.get(fields["space"].lower())
        if signs is None:
            refuse(path, f"a space of {', '.join(name for name in _SPACES if '-' in name)}", fields["space"])
        return np.array(signs, np.float64), True
    (count,) = wholes(path, "space dimension", fields.get("space dimension", "3"), 1)
    if count not in (3, 4):
        refuse(path, "a space dimension of 3", count)
    return np.ones(count), False


def _vectors(path: Path, text: str, count: int, dimensions: int) -> Array:
    """(3, 3), its columns the first three space directions; a fourth is none or apart from the others."""
    vectors = re.findall(r"none|\([^()]*\)", text)
    if len(vectors) != count or re.sub(r"none|\([^()]*\)|\s", "", text) or "none" in vectors[:3]:
        refuse(path, f"space directions or spacings in finite numbers, {count} of them", text)
    rows = [_vector(path, "space directions", vector, dimensions) for vector in vectors[:3]]
    if dimensions == 4 and any(row[3] for row in rows):
        refuse(path, "a fourth axis apart from the three of space", text)
    return np.array(rows)[:, :3].T


def _vector(path: Path, key: str, text: str, dimensions: int) -> Array:
    inside = re.fullmatch(r"\(([^()]*)\)", text.strip())
    if inside is None:
        refuse(path, f"a vector (x, y, z) as {key}", text)
    return np.array(floats(path, key, inside[1].replace(",", " "), dimensions))


def _without_nan(text: str, count: int) -> str:
    """A fourth axis need not have a spacing."""
    parts = text.split(None, count)
    return " ".join([*parts[:3], *("1" for _ in parts[3:])])


def _check_units(path: Path, fields: dict[str, str]) -> None:
    """All of them mm, or not told."""
    for key in ("space units", "units"):
        names = re.findall(r'"([^"]*)"', fields.get(key, "")) or fields.get(key, "").split()
        for name in names[:3]:
            if name.strip().lower() not in (
                "mm",
                "millimeter",
                "millimeters",
                "millimetre",
                "millimetres",
                "",
                "???",
            ):
                refuse(path, f"{key} of mm", fields[key])
