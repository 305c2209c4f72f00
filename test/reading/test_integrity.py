"""Damaged files, and headers that do not say where the voxels lie: what ITK often takes in silence."""

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import ORIGIN, phantom, read_here, why_unreadable, write_scan

SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"hello\n" * 300, bytes(range(256)) * 30], ids=["empty", "text", "bytes"]
)
def test_a_file_that_is_no_image(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert "found: no image format that is known" in why_unreadable(path)


def test_a_picture_and_nothing(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image(20, 30, sitk.sitkUInt8), str(tmp_path / "a.png"))
    (tmp_path / "a.png").rename(tmp_path / "a.mha")
    assert "found: PNG, which says nothing of spacing and place" in why_unreadable(tmp_path / "a.mha")
    assert "expected a CT image, found No such file or directory" in why_unreadable(tmp_path / "nothing.mha")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file(tmp_path: Path, suffix: str, compress: bool, share: float) -> None:
    path = write_scan(tmp_path / f"a{suffix}", compress=compress)
    data = next((found for found in tmp_path.glob("a.*raw")), path)
    whole = data.read_bytes()
    data.write_bytes(whole[: int(len(whole) * share)])
    text = why_unreadable(path)
    if share > 0.1:
        assert re.search("truncated|damage|Error reading", text), text


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_compressed_voxels_that_were_changed(tmp_path: Path, suffix: str) -> None:
    """ITK gives voxels even so. Noise, so that the stream is long enough to be read in several parts."""
    path = write_scan(tmp_path / f"a{suffix}", phantom((60, 80, 96)))
    content = bytearray(path.read_bytes())
    middle = len(content) * 2 // 3
    for number in range(middle, middle + 20):
        content[number] ^= 0x5A
    path.write_bytes(content)
    assert re.search("damage|Error reading", why_unreadable(path))


def test_compressed_voxels_that_unpack_to_others(tmp_path: Path) -> None:
    """A stream of level 0 holds the voxels as they are: only the checksum tells that one was changed."""
    path = write_scan(tmp_path / "a.mha", compress=False)
    header, line, voxels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    packed = bytearray(zlib.compress(voxels, 0))
    keys = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    changed = header.replace(b"CompressedData = False\n", keys.encode()) + line
    path.write_bytes(changed + packed)
    np.testing.assert_array_equal(read_here(path).hu, phantom())
    packed[1000] ^= 1
    path.write_bytes(changed + packed)
    assert "damage after 0: Error -3 while decompressing data: incorrect data check" in why_unreadable(path)


def test_a_nifti_file_that_was_truncated_before_it_was_compressed(tmp_path: Path) -> None:
    whole = write_scan(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(whole[:-10]))
    expected, found = len(whole), len(whole) - 10
    assert f"expected {expected} bytes after unpacking, found {found}" in why_unreadable(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    for suffix in (".mha", ".nii", ".nii.gz", ".nrrd"):
        path = write_scan(tmp_path / f"a{suffix}")
        path.write_bytes(path.read_bytes() + bytes(64))
        np.testing.assert_array_equal(read_here(path).hu, phantom())


def test_mhd_without_its_voxels(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mhd")
    (tmp_path / "a.zraw").unlink()
    assert f"expected the voxels in {tmp_path / 'a.zraw'}, found no such file" in why_unreadable(path)


def test_scaled_nifti_is_as_long_as_its_own_type(tmp_path: Path) -> None:
    """int16 in the file, float for ITK."""
    path = write_scan(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 1.0, -0.25)
    path.write_bytes(content)
    np.testing.assert_allclose(read_here(path).hu, phantom() - 0.25)
    path.write_bytes(content[:-1])
    assert "truncated" in why_unreadable(path)


def with_header(path: Path, key: str, value: str | None) -> Path:
    """A MetaImage or NRRD file with another value of one key, or without it."""
    write_scan(path, compress=False)
    separator = b" = " if path.suffix == ".mha" else b": "
    line = b"" if value is None else key.encode() + separator + value.encode() + b"\n"
    changed, count = re.subn(key.encode() + separator + b".*\n", line, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(changed)
    return path


def with_bytes(path: Path, offset: int, layout: str, *values: float) -> Path:
    """A NIfTI file with other values at a byte of its header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("a.mha", "ElementSpacing", "0.8 0 2.5", "expected a positive spacing, found (0.8, 0, 2.5) mm"),
        ("a.mha", "ElementSpacing", "0.8 0.9 -2.5", "expected a positive spacing, found (0.8, 0.9, -2.5) mm"),
        (
            "a.mha",
            "ElementSpacing",
            "0.8 nan 2.5",
            "expected 3 finite numbers as ElementSpacing, found 0.8 nan",
        ),
        (
            "a.mha",
            "ElementSpacing",
            "0.8 inf 2.5",
            "expected 3 finite numbers as ElementSpacing, found 0.8 inf",
        ),
        ("a.mha", "ElementSpacing", "0.8 x 2.5", "expected 3 finite numbers as ElementSpacing, found 0.8 x"),
        ("a.mha", "ElementSpacing", None, "expected an ElementSpacing in the header, found none"),
        (
            "a.mha",
            "ElementSpacing",
            "800 9 2.5",
            "expected at most 4000 mm in length, found (38400, 360, 40)",
        ),
        ("a.mha", "Offset", "0 nan 0", "expected 3 finite numbers as Offset, found 0 nan 0"),
        ("a.mha", "TransformMatrix", "1 0 0 0 1 0 0 1 0", "expected a direction matrix of orthogonal"),
        ("a.mha", "TransformMatrix", "0 0 0 0 0 0 0 0 0", "expected a direction matrix of orthogonal"),
        ("a.mha", "TransformMatrix", "1 0 0 0 nan 0 0 0 1", "expected 9 finite numbers as Transform"),
        ("a.mha", "TransformMatrix", "1 0 0 0 1 0 0 0.3 0.954", "expected a direction matrix of orthogonal"),
        ("a.mha", "TransformMatrix", "2 0 0 0 2 0 0 0 2", "expected a direction matrix of orthogonal"),
        (
            "a.nrrd",
            "space directions",
            "(0,0,0) (0,1,0) (0,0,1)",
            "expected a positive spacing, found (0, 1,",
        ),
        (
            "a.nrrd",
            "space directions",
            "(1,0,0) (0,1,0) (0,1,0)",
            "expected a direction matrix of orthogonal",
        ),
        (
            "a.nrrd",
            "space directions",
            "(1,0,0) (.3,1,0) (0,0,1)",
            "expected a direction matrix of orthogonal",
        ),
        ("a.nrrd", "space directions", "none (0,1,0) (0,0,1)", "expected space directions or spacings"),
    ],
)
def test_geometry_in_text_headers(
    tmp_path: Path, name: str, key: str, value: str | None, message: str
) -> None:
    assert message in why_unreadable(with_header(tmp_path / name, key, value))


def test_empty_lines_in_a_header_hide_nothing(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"Offset", b"\nOffset", 1)[:-1])
    assert "truncated" in why_unreadable(path)


AFFINE, PIXDIM, CODES = 280, 80, 252


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([(PIXDIM + 4, "<f", 0.0)], "expected a positive spacing, found (0.8, 0, 2.5) mm"),
        ([(PIXDIM + 4, "<f", -0.9)], "expected a positive spacing, found (0.8, -0.9, 2.5) mm"),
        ([(PIXDIM + 8, "<f", np.nan)], "expected a positive spacing, found (0.8, 0.9, nan) mm"),
        (
            [(AFFINE + 8, "<f", 0.5), (CODES, "<2h", 0, 1)],
            "expected a sform with the header's spacing, (0.8, 0.9, 2.5) mm, found (0.8, 0.9, 2.54951) mm",
        ),
        (
            [(AFFINE + 8, "<f", 0.5)],
            "expected sform (scanner) and qform (scanner) that agree, found a corner at (-17.5, 20, 68) and "
            "(-10, 20, 68) mm, 7.50 mm apart",
        ),
        (
            [(AFFINE, "<f", -1.6)],
            "expected sform (scanner) and qform (scanner) that agree, found a corner at (65.2, 20, 30.5) and "
            "(27.6, 20, 30.5) mm, 37.60 mm apart",
        ),
        (
            [(AFFINE, "<12f", *[0] * 12), (CODES, "<2h", 0, 1)],
            "expected a sform with the header's spacing and right angles",
        ),
        ([(AFFINE, "<f", np.nan), (CODES, "<2h", 0, 1)], "expected a sform of finite numbers, found (nan,"),
    ],
    ids=[
        "zero",
        "negative",
        "nan",
        "shear",
        "shear beside a qform",
        "other scale",
        "singular",
        "nan in sform",
    ],
)
@pytest.mark.parametrize("suffix", [".nii"])
def test_geometry_in_nifti_headers(
    tmp_path: Path, suffix: str, edits: list[tuple[int, str, float]], message: str
) -> None:
    path = write_scan(tmp_path / f"a{suffix}")
    for offset, layout, *values in edits:
        with_bytes(path, offset, layout, *values)
    assert message in why_unreadable(path)


def test_nifti_without_a_position_is_told(tmp_path: Path) -> None:
    path = with_bytes(write_scan(tmp_path / "a.nii"), CODES, "<2h", 0, 0)
    volume = read_here(path)
    assert volume.origin_mm == (0, 0, 0)
    assert volume.warnings == ("no position in the NIfTI header: taken as its origin",)


def test_either_form_of_a_nifti_header_will_do(tmp_path: Path) -> None:
    for codes in ((1, 0), (0, 1), (1, 1), (1, 4), (2, 2)):
        path = with_bytes(write_scan(tmp_path / "a.nii"), CODES, "<2h", *codes)
        np.testing.assert_allclose(read_here(path).origin_mm, ORIGIN)
