"""The pixels of DICOM files as HU: bits, padding, rescale, transfer syntax (DICOM PS3.3 C.7.6.3, C.11.1)."""

from __future__ import annotations

import io
import math
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from model.errors import InputError
from model.reading.dicom_place import Frame
from model.reading.header import refuse
from model.reading.hounsfield import MOST_HU

PADDING_HU = -2000
"""What pixels outside the field of view become: below all that counts as HU."""
_AIR_HU, _DENSEST_HU = -1000, 3071
_NUMERIC = (
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip

_USUAL_BYTES = 1 << 16
_MOST_UNPACKED = 1 << 26
_MOST_RATIO = 5000
"""Of compressed pixels: half a megabyte of one value, a slice of 512 x 512, takes a few hundred bytes."""

Raw = npt.NDArray[np.uint16]


class _Bounded(io.BufferedReader):
    """A file of which no more is asked than it holds: room for a damaged length of 4 GB would be made."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _USUAL_BYTES:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


@contextmanager
def damage(file: Path) -> Iterator[None]:
    """Whatever pydicom raises, as an InputError that names the file."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises anything
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:100]
        raise InputError(f"{file}: expected a DICOM file, found a damaged one ({text})") from None


def read_dataset(file: Path, tags: list[str] | None = None) -> Dataset:
    """A DICOM file; with tags, only those, and no pixels. Raises InputError, and whatever pydicom raises."""
    if tags is not None:
        _check_deflated(file)
    with _Bounded(io.FileIO(file)) as opened:
        only = None if tags is None else list(tags)
        found = pydicom.dcmread(opened, stop_before_pixels=tags is not None, specific_tags=only, force=True)
    for _ in found if tags is not None else ():  # whatever is wrong with a value is raised here
        pass
    return found


def _check_deflated(file: Path) -> None:
    """Raises InputError where a deflated data set, which is unpacked as a whole, is far too long for a CT."""
    with file.open("rb") as opened:
        if DeflatedExplicitVRLittleEndian.encode() not in opened.read(1024):
            return
        opened.seek(144 + read_file_meta_info(file).FileMetaInformationGroupLength)
        most = _MOST_UNPACKED + 100 * file.stat().st_size
        stream, count = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while data := opened.read(_USUAL_BYTES):
            while data:
                count += len(stream.decompress(data, 1 << 20))
                data = stream.unconsumed_tail
                if count > most:
                    refuse(file, f"at most {most} bytes after unpacking", "more")


def kind_of(images: list[tuple[Path, Dataset]], frames: list[Frame]) -> np.dtype[Any]:
    """The type of all frames' HU: int16, or float32. Raises InputError where pixels are not understood."""
    for file, attributes in images:
        with damage(file):
            _check_pixels(file, attributes)
    whole = all(value == int(value) for frame in frames for value in (frame.slope, frame.intercept))
    return np.dtype(np.int16 if whole else np.float32)


def check_bytes(images: list[tuple[Path, Dataset]], frames: list[Frame]) -> None:
    """Raises InputError where a file is too short for its pixels: before room is made for them."""
    counts = Counter(frame.path for frame in frames)
    for file, attributes in images:
        size = file.stat().st_size
        expected = 2 * counts[file] * int(attributes.Columns) * int(attributes.Rows)
        syntax = _syntax(attributes)
        packed = not syntax.is_transfer_syntax or syntax.is_encapsulated or syntax.is_deflated
        if expected > size * (_MOST_RATIO if packed else 1):
            found = f"a damaged one ({size} bytes, which cannot hold {expected} of pixels)"
            raise InputError(f"{file}: expected a DICOM file, found {found}")


def _syntax(data: Dataset) -> UID:
    meta = getattr(data, "file_meta", None)
    return UID(str((meta.get("TransferSyntaxUID") if meta else None) or ImplicitVRLittleEndian))


def _check_pixels(file: Path, attributes: Dataset) -> None:
    """One value per pixel, of 16 bits, the low ones used."""
    values = {name: attributes.get(name) for name in _NUMERIC}
    for name, value in values.items():
        if not isinstance(value, int):
            refuse(file, f"a whole number as {name}", "none" if value is None else value)
    if attributes.get("PhotometricInterpretation") != "MONOCHROME2" or values["SamplesPerPixel"] != 1:
        refuse(file, "one value per pixel (MONOCHROME2)", attributes.get("PhotometricInterpretation"))
    if values["BitsAllocated"] != 16:
        refuse(file, "pixels of 16 bits", f"{values['BitsAllocated']}")
    bits = int(attributes.BitsStored)
    if not (8 < bits <= 16) or attributes.HighBit != bits - 1 or attributes.PixelRepresentation not in (0, 1):
        found = f"{bits} bits stored, high bit {attributes.HighBit}, sign {attributes.PixelRepresentation}"
        refuse(file, "9 to 16 bits stored, the low ones", found)


def fill(
    voxels: npt.NDArray[Any],
    images: list[tuple[Path, Dataset]],
    slots: dict[Path, list[tuple[int, Frame]]],
) -> list[str]:
    """Writes HU into (z, y, x), file by file; what had to be assumed. Raises InputError."""
    warnings = []
    for file, attributes in images:
        with damage(file):
            warnings += _fill_from(file, attributes, slots[file], voxels)
        if not slots[file][0][1].scaled:
            warnings.append("no RescaleSlope: the stored values are taken as HU")
    return warnings


def _fill_from(
    file: Path, attributes: Dataset, slots: list[tuple[int, Frame]], voxels: npt.NDArray[Any]
) -> list[str]:
    warnings = []
    pixels = _stored(file, attributes, len(slots))
    for z, frame in slots:
        values, outside, doubt = _values(file, attributes, pixels[frame.index], frame)
        warnings += doubt
        hu = values * np.float32(frame.slope) + np.float32(frame.intercept)
        if outside is not None:
            hu[outside] = PADDING_HU
        if np.abs(hu).max() > MOST_HU:
            refuse(file, f"HU of {MOST_HU} at most", f"{hu.min():g} to {hu.max():g} after rescale")
        np.copyto(voxels[z], hu, casting="unsafe")
    return warnings


def _stored(file: Path, attributes: Dataset, count: int) -> Raw:
    """(frames, rows, columns) as they are in the file. Raises InputError where there are less, or more."""
    whole = read_dataset(file)
    syntax = _syntax(whole)
    data = whole.get("PixelData")
    if not isinstance(data, bytes):
        refuse(file, "a DICOM file, found a damaged one or one without pixels: PixelData", "none")
    shape = (count, int(attributes.Rows), int(attributes.Columns))
    if not syntax.is_transfer_syntax or syntax.is_private:
        refuse(file, "a transfer syntax of the standard", syntax)
    if syntax.is_encapsulated:
        return _decoded(file, whole, syntax, shape)
    expected = 2 * math.prod(shape)
    if not expected <= len(data) < expected + 2 * shape[2]:  # some pad; a row more is one that would be lost
        found = f"a damaged one ({len(data)} bytes of pixels, not {expected})"
        raise InputError(f"{file}: expected a DICOM file, found {found}")
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    return np.frombuffer(data, order, math.prod(shape)).reshape(shape)


def _decoded(file: Path, whole: Dataset, syntax: UID, shape: tuple[int, int, int]) -> Raw:
    """Compressed pixels, by GDCM: it is given a file with the pixels and nothing else of the original."""
    import SimpleITK as sitk

    for stream in generate_frames(whole.PixelData, number_of_frames=shape[0]):
        size = _stream_size(stream)
        if size not in (None, shape[1:]):
            refuse(file, f"pixels that {syntax.name} decodes", f"a stream of {size}, not {shape[1:]}")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    bare = Dataset()
    for name in _NUMERIC:
        setattr(bare, name, getattr(whole, name))
    bare.PhotometricInterpretation = "MONOCHROME2"
    bare.NumberOfFrames = shape[0]
    bare.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7" + (".3" if shape[0] > 1 else ""))
    bare.SOPInstanceUID = UID("1.2.3")
    bare.PixelData = whole.PixelData
    bare["PixelData"].VR = "OB"
    bare["PixelData"].is_undefined_length = True
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with tempfile.NamedTemporaryFile(suffix=".dcm") as copy:
        bare.save_as(copy, enforce_file_format=True)
        copy.flush()
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(copy.name)
        try:
            found = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            refuse(
                file, f"pixels that {syntax.name} decodes", "a damaged stream, or a coding that is not known"
            )
    found = found.reshape(-1, *found.shape[-2:])
    if found.shape != shape or found.dtype.kind not in "iu" or found.dtype.itemsize != 2:
        refuse(file, f"{shape} pixels of 16 bits after decoding", f"{found.shape} {found.dtype}")
    return found.view(np.uint16)


def _stream_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns by a stream of JPEG, JPEG-LS or JPEG 2000, for which a codec would make room."""
    if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: image and tile size
        right, low, left, top = struct.unpack_from(">4I", data, 8)
        return low - top, right - left
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        kind, length, _, rows, columns = struct.unpack_from(">BHBHH", data, at + 1)
        if kind == 0xF7 or 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # start of frame
            return rows, columns
        at += 2 + length
    return None


def _values(
    file: Path, attributes: Dataset, raw: Raw, frame: Frame
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.bool_] | None, list[str]]:
    """Stored values as numbers; which pixels are padding, if any; what had to be assumed."""
    bits, signed = int(attributes.BitsStored), bool(attributes.PixelRepresentation)
    native = raw.astype(np.uint16)
    plain = native.view(np.int16) if signed else native
    low = native & np.uint16((1 << bits) - 1)
    values: npt.NDArray[Any] = low
    if signed:
        values = (low << np.uint16(16 - bits)).view(np.int16) >> np.int16(16 - bits)
    outside, doubt = _padding(attributes, plain, values, frame)
    beyond = (plain != values) & (native != low)
    if outside is not None:
        beyond &= ~outside
    if beyond.any():
        refuse(file, f"pixels of {bits} bits", f"{int(beyond.sum())} with others set")
    return values, outside, doubt


def _padding(
    attributes: Dataset, plain: npt.NDArray[Any], values: npt.NDArray[Any], frame: Frame
) -> tuple[npt.NDArray[np.bool_] | None, list[str]]:
    """The pixels outside the field of view (PixelPaddingValue, up to PixelPaddingRangeLimit).

    A value that would be a tissue's counts only where it fills the corners: some software writes 0 there, be
    it padding or not.
    """
    if attributes.get("PixelPaddingValue") is None:
        return None, []
    ends = [attributes.PixelPaddingValue, attributes.get("PixelPaddingRangeLimit")]
    numbers = [_as_stored(end, plain.dtype) for end in ends if end is not None]
    low, high = min(numbers), max(numbers)
    outside = (plain >= low) & (plain <= high) | (values >= low) & (values <= high)
    if not outside.any():
        return None, []
    hu = [float(number) * frame.slope + frame.intercept for number in (low, high)]
    corners = outside[[0, 0, -1, -1], [0, -1, 0, -1]]
    if max(hu) <= _AIR_HU or min(hu) > _DENSEST_HU or corners.sum() >= 3:
        return outside, []
    told = f"PixelPaddingValue of {low}, {hu[0]:g} HU, is not in the corners: those pixels are taken as HU"
    return None, [told]


def _as_stored(value: Any, kind: np.dtype[Any]) -> int:
    """A padding value in the type of the pixels, whose 16 bits are the same."""
    bits = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value) & 0xFFFF
    return int(np.array(bits, np.uint16).view(kind))
