"""MetaImage headers (https://itk.org/Wiki/ITK/MetaIO/Documentation), parsed against an accept-list."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np

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
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_PLACES = ("Offset", "Position", "Origin")
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_USED = (
    "ObjectType", "ObjectSubType", "NDims", "DimSize", "BinaryData", "BinaryDataByteOrderMSB",
    "ElementByteOrderMSB", "CompressedData", "CompressedDataSize", *_PLACES, *_MATRICES, "CenterOfRotation",
    "DistanceUnits", "ElementSpacing", "ElementSize", "HeaderSize", "ElementNumberOfChannels", "ElementType",
    "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset", "ElementDataFile",
)  # fmt: skip
_PASSED = (
    "AnatomicalOrientation", "CompressionLevel", "ElementMin", "ElementMax", "ElementNBits", "Modality",
    "Comment", "Name", "ID", "ParentID", "AcquisitionDate", "SequenceID", "Color", "ElementOrigin",
)  # fmt: skip


def read_metaimage(path: Path) -> Header:
    """The header of a .mha or .mhd file. Raises InputError where a part of it is not understood."""
    fields, end = _fields(path)
    size = _size(path, fields)
    count = int(fields["NDims"])
    _check_constants(path, fields)
    kind = _TYPES.get(fields.get("ElementType", ""))
    if kind is None:
        refuse(path, f"an ElementType of {', '.join(_TYPES)}", fields.get("ElementType", "none"))
    big = _flag(path, fields, "BinaryDataByteOrderMSB") or _flag(path, fields, "ElementByteOrderMSB")
    packed = _flag(path, fields, "CompressedData")
    text = fields["ElementDataFile"]
    data = path if text.upper() == "LOCAL" else beside(path, text)
    if data != path:
        _check_end(path, end)
    spacing_key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    if spacing_key not in fields:
        refuse(path, "an ElementSpacing in the header", "none")
    spacing = floats(path, spacing_key, fields[spacing_key], count)
    if min(spacing[:3]) <= 0:
        refuse(path, "a positive spacing", f"({', '.join(f'{mm:g}' for mm in spacing[:3])}) mm")
    origin, axes, warnings = _place(path, fields, count)
    geometry = geometry_of(path, size, spacing[:3], axes, origin)
    return Header(
        path,
        geometry,
        np.dtype((">" if big else "<") + kind),
        data,
        _start(path, fields, end if data == path else 0, packed),
        "zlib" if packed else "",
        _packed_bytes(path, fields) if packed else None,
        warnings=warnings,
    )


def data_file(path: Path) -> Path:
    """The file with the voxels of a .mhd header, sound or not. Raises InputError where none is named."""
    name = _fields(path)[0]["ElementDataFile"]
    return path if name.upper() == "LOCAL" else beside(path, name)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The lines `key = value` up to ElementDataFile, and where they end."""
    check_regular(path)
    with path.open("rb") as file:
        text = file.read(MOST_HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    while (end := text.find(b"\n", start)) >= 0 or start < len(text):
        end = len(text) if end < 0 else end
        line = text[start:end].decode("latin-1")
        start = min(end + 1, len(text))
        key, found, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not found or "\0" in line:
            refuse(path, "lines `key = value` in the header", repr(line[:60]))
        if key in fields and key in _USED:
            refuse(path, f"{key} once in the header", f"{fields[key]} and {value}")
        _check_key(path, key)
        fields[key] = value
        if key == "ElementDataFile":
            return fields, start
    refuse(path, f"ElementDataFile within {MOST_HEADER_BYTES} bytes of header", "none")


def _check_end(path: Path, end: int) -> None:
    """Of a header that stands alone; what came after its last line would be passed over."""
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(MOST_HEADER_BYTES).strip()
    if rest:
        refuse(path, "ElementDataFile as the last line of the header", repr(rest[:60]))


def _check_key(path: Path, key: str) -> None:
    """Keys of one's own hold what people note, as ITK allows; one that looks mistyped is refused.

    ITK notes there what another format's header held, such as NIfTI's toffset: those begin in lower case.
    """
    if key in _USED or key in _PASSED:
        return
    used = [name.lower() for name in _USED]
    near = key[:1].isupper() and difflib.get_close_matches(key.lower(), used, 1, 0.85)
    if near or key.lower() in used or key.startswith(("Element", "Compressed", "Binary")):
        refuse(path, "known MetaImage keys", key)


def _size(path: Path, fields: dict[str, str]) -> tuple[int, int, int]:
    for key in ("NDims", "DimSize"):
        if key not in fields:
            refuse(path, f"{key} in the header", "none")
    (count,) = wholes(path, "NDims", fields["NDims"], 1)
    if not 1 <= count <= 10:
        refuse(path, "3 dimensions", f"{count}")
    return check_size(path, wholes(path, "DimSize", fields["DimSize"], count))


def _check_constants(path: Path, fields: dict[str, str]) -> None:
    """What has one value that is understood, or is not there."""
    channels = fields.get("ElementNumberOfChannels", "1")
    if channels != "1":
        refuse(path, "one value per voxel", f"{channels} (colours, vectors)")
    if fields.get("ObjectType", "Image") != "Image":
        refuse(path, "the ObjectType Image", fields["ObjectType"])
    if "BinaryData" in fields and not _flag(path, fields, "BinaryData"):
        refuse(path, "binary voxels", f"BinaryData = {fields['BinaryData']}")
    if fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        refuse(path, "DistanceUnits of mm", fields["DistanceUnits"])
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in fields and floats(path, key, fields[key], 1) != [neutral]:
            refuse(path, f"{key} of {neutral:g}", fields[key])


def _flag(path: Path, fields: dict[str, str], key: str) -> bool:
    text = fields.get(key, "False").lower()
    if text not in ("true", "false", "1", "0"):
        refuse(path, f"True or False as {key}", fields[key])
    return text in ("true", "1")


def _place(
    path: Path, fields: dict[str, str], count: int
) -> tuple[list[float], np.ndarray[tuple[int, ...], np.dtype[np.float64]], tuple[str, ...]]:
    """Origin in mm, axes as columns, and what had to be assumed."""
    warnings = []
    places = {key: floats(path, key, fields[key], count) for key in _PLACES if key in fields}
    matrices = {key: floats(path, key, fields[key], count**2) for key in _MATRICES if key in fields}
    for found in (places, matrices):
        if len({tuple(values) for values in found.values()}) > 1:
            refuse(path, f"one of {', '.join(found)}, or the same value", ", ".join(fields[k] for k in found))
    if "CenterOfRotation" in fields:
        floats(path, "CenterOfRotation", fields["CenterOfRotation"], count)
    if not places:
        warnings.append("no position in the MetaImage header: taken as its origin")
    if not matrices:
        warnings.append("no orientation in the MetaImage header: taken as that of the patient's axes")
    origin = next(iter(places.values()), [0.0] * count)[:3]
    matrix = np.array(next(iter(matrices.values()), np.eye(count).ravel())).reshape(count, count)
    if count == 4 and (matrix[3, :3].any() or matrix[:3, 3].any()):
        refuse(path, "a fourth axis apart from the three of space", fields[next(iter(matrices))])
    return origin, matrix[:3, :3].T, tuple(warnings)


def _start(path: Path, fields: dict[str, str], end: int, packed: bool) -> int:
    if "HeaderSize" not in fields:
        return end
    (size,) = wholes(path, "HeaderSize", fields["HeaderSize"], 1)
    if size == -1 and not packed and not end:
        return -1
    if size < 0 or (end and size not in (0, end)):
        refuse(
            path,
            "a HeaderSize of 0 or more, or -1 for plain voxels in a file of their own",
            fields["HeaderSize"],
        )
    return size or end


def _packed_bytes(path: Path, fields: dict[str, str]) -> int | None:
    if "CompressedDataSize" not in fields:
        return None
    (size,) = wholes(path, "CompressedDataSize", fields["CompressedDataSize"], 1)
    if size <= 0:
        refuse(path, "a positive CompressedDataSize", fields["CompressedDataSize"])
    return size
