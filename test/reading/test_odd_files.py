"""Sound files of unusual make, which have to be read, and unsound ones that look sound."""

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless
from reading.formats import write_enhanced

from helpers import ORIGIN, Series, image_of, phantom, read_here, why_unreadable, write_scan
from model.inputs import find_inputs, fingerprint

Edit = Callable[[Dataset], None]


# Voxels looked for in the wrong place: what follows them tells.


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("offset", [352, 368])
def test_nifti_extension(tmp_path: Path, offset: int, packed: bool) -> None:
    """16 bytes between header and voxels, which vox_offset has to leave room for."""
    content = bytearray(write_scan(tmp_path / "a.nii").read_bytes())
    content[348] = 1
    content[352:352] = struct.pack("<2i8s", 16, 6, b"comment")
    struct.pack_into("<f", content, 108, offset)
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    if offset == 368:
        np.testing.assert_array_equal(read_here(path).hu, phantom())
    else:
        assert "header's extension, found one of 16 bytes, and room for 0" in why_unreadable(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".nrrd"])
def test_bytes_between_header_and_voxels(tmp_path: Path, suffix: str) -> None:
    path = write_scan(tmp_path / f"a{suffix}", compress=False)
    content = path.read_bytes()
    whole = gzip.decompress(content) if suffix == ".nii.gz" else content
    voxels = phantom().astype("<i2").tobytes()
    moved = whole[: -len(voxels)] + bytes(8) + voxels
    path.write_bytes(gzip.compress(moved) if suffix == ".nii.gz" else moved)
    assert "expected nothing but zeros behind the voxels, found others in 8 bytes" in why_unreadable(path)


def test_bytes_before_compressed_voxels(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha", compress=False)
    header, line, voxels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    packed = zlib.compress(bytes(8) + voxels)
    keys = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n".encode()
    path.write_bytes(header.replace(b"CompressedData = False\n", keys) + line + packed)
    assert "expected nothing but zeros behind the voxels" in why_unreadable(path)


def test_a_raw_file_with_a_header_of_its_own(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mhd", compress=False)
    raw = tmp_path / "a.raw"
    raw.write_bytes(bytes(512) + raw.read_bytes())
    assert "61440 bytes of voxels, found 61952: more than the header says (in a.raw)" in why_unreadable(path)
    for size in ("512", "-1"):
        line = f"HeaderSize = {size}\nElementDataFile".encode()
        path.write_bytes(path.read_bytes().replace(b"ElementDataFile", line, 1))
        np.testing.assert_array_equal(read_here(path).hu, phantom())
        path.write_bytes(path.read_bytes().replace(line, b"ElementDataFile"))


def test_voxels_that_end_a_file_with_a_header_in_it(tmp_path: Path) -> None:
    """Of a truncated file, they would begin in the header's text."""
    path = write_scan(tmp_path / "a.mha", compress=False)
    path.write_bytes(path.read_bytes().replace(b"ElementType", b"HeaderSize = -1\nElementType", 1)[:-20])
    assert "-1 for plain voxels in a file of their own, found -1" in why_unreadable(path)
    path = write_scan(tmp_path / "a.nrrd", compress=False)
    path.write_bytes(path.read_bytes().replace(b"encoding", b"byte skip: -1\nencoding", 1)[:-20])
    assert "a byte skip before plain voxels only, found 0 and -1" in why_unreadable(path)


def test_lines_after_the_last_one_of_a_header(tmp_path: Path) -> None:
    """They would be passed over, be they place or size."""
    path = write_scan(tmp_path / "a.mhd", compress=False)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\r\n \n")
    np.testing.assert_array_equal(read_here(path).hu, phantom())
    path.write_bytes(whole + b"Offset = 1 2 3\n")
    assert "ElementDataFile as the last line of the header, found b'Offset = 1 2 3'" in why_unreadable(path)


# Values and places that cannot be.


@pytest.mark.parametrize(("kind", "value"), [(np.int32, 62512), (np.float32, 3e38), (np.float64, 1e300)])
def test_values_above_all_hu(tmp_path: Path, kind: type, value: float) -> None:
    """62512: padding of -2000 that was stored without its sign."""
    hu = phantom().astype(kind)
    hu[:, :2, :3] = value
    text = why_unreadable(write_scan(tmp_path / "a.mha", hu))
    assert text.endswith(f"found {hu.max():g}, and more than 32767 in 96 voxels")


def test_values_below_all_hu_are_padding(tmp_path: Path) -> None:
    for kind, value in ((np.int32, -(2**31)), (np.float32, -3.4e38), (np.float64, -1e300)):
        hu = phantom().astype(kind)
        hu[:, :2, :3] = value
        np.testing.assert_array_equal(read_here(write_scan(tmp_path / "a.mha", hu)).hu, hu)


def test_quantised_values(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.nrrd", compress=False)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"encoding", b"old min: -1024\nold max: 3071\nencoding", 1))
    assert "expected values as they are, not quantised, found old min: -1024" in why_unreadable(path)
    path.write_bytes(whole.replace(b"encoding", b"old min: nan\nencoding", 1))
    np.testing.assert_array_equal(read_here(path).hu, phantom())


def test_a_place_out_of_this_world(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha", compress=False)
    path.write_bytes(path.read_bytes().replace(b"\nOffset = -10 ", b"\nOffset = 1e30 ", 1))
    assert "expected an origin within 100000 mm, found (1e+30, 20, 30.5) mm" in why_unreadable(path)


# Names, and files that are none.


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_data_file_with_an_accent(tmp_path: Path, suffix: str) -> None:
    path = write_scan(tmp_path / f"Patiënt{suffix}", compress=False)
    np.testing.assert_array_equal(read_here(path).hu, phantom())
    scan = find_inputs(tmp_path).scans[0]
    before = fingerprint(scan)
    assert before["files"] == 2
    assert before["bytes"] > 61440


def test_pipes_never_hold_up_the_search_for_scans(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mhd")
    os.mkfifo(tmp_path / "b.nhdr")
    scans = find_inputs(tmp_path).scans
    assert [scan.case_id for scan in scans] == ["a", "b"]
    assert [fingerprint(scan)["bytes"] for scan in scans] == [0, 0]
    os.mkfifo(tmp_path / "inputs.json")
    with pytest.raises(ValueError, match=r"inputs\.json: expected a regular file, found a pipe or device"):
        find_inputs(tmp_path)


# DICOM.

HU = phantom((6, 40, 48))


def written(folder: Path, edit: Edit, **writing: bool) -> Path:
    """A series, each slice changed."""
    for path in Series(hu=HU).write(folder):
        data = pydicom.dcmread(path)
        edit(data)
        pydicom.dcmwrite(path, data, **(writing or {"enforce_file_format": True}))
    return folder


def same_voxels(folder: Path) -> None:
    np.testing.assert_array_equal(read_here(folder).hu, HU)


def deflated(data: Dataset) -> None:
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def trailing_padding(data: Dataset) -> None:
    data.add_new(0xFFFCFFFC, "OB", bytes(100))


def signed_jpeg_ls(data: Dataset) -> None:
    stored: npt.NDArray[np.int16] = data.pixel_array.astype(np.int16) - 1024
    data.PixelRepresentation, data.RescaleIntercept = 1, "0"
    data.PixelData = stored.tobytes()
    data.compress(JPEGLSLossless)


@pytest.mark.parametrize("edit", [deflated, trailing_padding, signed_jpeg_ls])
def test_dicom_of_unusual_make(tmp_path: Path, edit: Edit) -> None:
    same_voxels(written(tmp_path, edit))


def test_big_endian_dicom(tmp_path: Path) -> None:
    def edit(data: Dataset) -> None:
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        data["PixelData"].VR = "OW"

    same_voxels(written(tmp_path, edit, implicit_vr=False, little_endian=False, force_encoding=True))


def test_zeros_up_to_a_whole_block_of_the_disk(tmp_path: Path) -> None:
    for path in Series(hu=HU).write(tmp_path):
        path.write_bytes(path.read_bytes() + bytes(-path.stat().st_size % 2048))
    same_voxels(tmp_path)


def test_an_enhanced_ct_in_two_files(tmp_path: Path) -> None:
    """A concatenation: frames 0 to 7, and 8 to 15."""
    write_enhanced(tmp_path / "a.dcm", image_of(phantom()))
    for number in (0, 1):
        data = pydicom.dcmread(tmp_path / "a.dcm")
        part, count = slice(8 * number, 8 * number + 8), len(data.PixelData) // 2
        data.PerFrameFunctionalGroupsSequence = data.PerFrameFunctionalGroupsSequence[part]
        data.NumberOfFrames, data.PixelData = 8, data.PixelData[number * count : (number + 1) * count]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{5 + number}")
        data.save_as(tmp_path / f"{'ba'[number]}{number}.dcm")
    (tmp_path / "a.dcm").unlink()
    volume = read_here(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom())
    np.testing.assert_allclose(volume.origin_mm, ORIGIN)


def test_rows_that_would_be_lost(tmp_path: Path) -> None:
    def edit(data: Dataset) -> None:
        data.Rows = 30

    assert "(3840 bytes of pixels, not 2880)" in why_unreadable(written(tmp_path, edit))


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: bytes(140) + content[140:], lambda content: bytes(len(content))],
    ids=["empty", "preamble lost", "zeros"],
)
def test_a_damaged_last_slice_without_a_suffix(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Its name alone says that it belongs to the others; a text beside them does no harm."""
    for path in Series(hu=HU).write(tmp_path):
        path.rename(tmp_path / f"IM{path.stem[-3:]}")
    (tmp_path / "README").write_text("six slices", encoding="utf-8")
    same_voxels(tmp_path)
    last = tmp_path / "IM005"
    last.write_bytes(damage(last.read_bytes()))
    assert "IM005: expected a DICOM file, as its name says, found a damaged one" in why_unreadable(tmp_path)


def test_a_compressed_file_among_slices(tmp_path: Path) -> None:
    last = Series(hu=HU).write(tmp_path)[-1]
    last.with_suffix(".dcm.gz").write_bytes(gzip.compress(last.read_bytes()))
    last.unlink()
    assert "DICOM file that is not compressed as a whole, found a gzip file" in why_unreadable(tmp_path)


def test_a_slice_without_its_rescale(tmp_path: Path) -> None:
    """It would be 1024 HU off."""
    path = Series(hu=HU).write(tmp_path)[2]
    data = pydicom.dcmread(path)
    del data.RescaleIntercept
    data.save_as(path)
    assert "slice002.dcm: expected RescaleSlope and RescaleIntercept, or neither" in why_unreadable(tmp_path)
    del data.RescaleSlope
    data.save_as(path)
    assert "expected a RescaleSlope of each DICOM slice or of none, found some" in why_unreadable(tmp_path)
