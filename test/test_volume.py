"""Reading scans: the right voxels in the right place, and a line of text for everything else."""

import gc
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from helpers import DATA, ORIGIN, SPACING, Series, image_of, phantom, write_scan
from model.volume import InputError, Volume, read_volume

SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")


def why_refused(path: Path, series: str | None = None) -> str:
    """The message, after checking that it is one line and names the file or its folder."""
    with pytest.raises(InputError) as caught:
        read_volume(path, series)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert "expected" in text
    assert "found" in text
    return text.removeprefix(str(path))


# The right voxels in the right place.


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_formats_give_the_same_volume(tmp_path: Path, suffix: str, compress: bool) -> None:
    volume = read_volume(write_scan(tmp_path / f"scan{suffix}", compress=compress))
    np.testing.assert_array_equal(volume.hu, phantom())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.origin_mm, ORIGIN)
    np.testing.assert_array_equal(volume.direction, np.eye(3))
    assert volume.warnings == ()


def test_voxels_outlive_the_image_they_were_read_into(tmp_path: Path) -> None:
    """A view into memory that was freed: it looks right until something else is put there."""
    path = write_scan(tmp_path / "a.mha", phantom((40, 200, 200)))
    corner = read_volume(path).hu[20:, 100:]
    gc.collect()
    others = [np.full((40, 200, 200), 7, np.int16) for _ in range(8)]
    np.testing.assert_array_equal(corner, phantom((40, 200, 200))[20:, 100:])
    assert len(others) == 8


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_types_of_voxels_are_kept(tmp_path: Path, kind: type) -> None:
    volume = read_volume(write_scan(tmp_path / "a.mha", phantom().astype(kind)))
    assert volume.hu.dtype == kind
    np.testing.assert_array_equal(volume.hu, phantom())


def test_big_endian_voxels(tmp_path: Path) -> None:
    for compress in (False, True):
        path = write_scan(tmp_path / "a.mha", compress=False)
        header, _, _ = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
        voxels = phantom().astype(">i2").tobytes()
        if compress:
            voxels = zlib.compress(voxels)
            size = f"CompressedData = True\nCompressedDataSize = {len(voxels)}\n".encode()
            header = header.replace(b"CompressedData = False\n", size)
        header = header.replace(b"ByteOrderMSB = False", b"ByteOrderMSB = True")
        path.write_bytes(header + b"ElementDataFile = LOCAL\n" + voxels)
        np.testing.assert_array_equal(read_volume(path).hu, phantom())


def test_a_fourth_dimension_of_one_is_none(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"scan{suffix}"
        sitk.WriteImage(sitk.JoinSeries([image_of(phantom())]), str(path), True)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.hu, phantom())
        np.testing.assert_allclose(volume.origin_mm, ORIGIN)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """Turns about x, y and z, one after the other."""
    turns = []
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turns.append(turn)
    return turns[2] @ turns[1] @ turns[0]


angle = st.floats(-3.1, 3.1)
place = st.tuples(*[st.floats(-900, 900)] * 3)


@given(
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=place,
    angles=st.tuples(angle, angle, angle),
    flips=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    index=st.tuples(*[st.floats(-50, 900)] * 3),
)
def test_index_to_world_is_that_of_itk_and_back(
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    angles: tuple[float, float, float],
    flips: tuple[int, int, int],
    index: tuple[float, float, float],
) -> None:
    direction = rotation(angles) * flips
    volume = Volume(np.zeros((2, 2, 2), np.int16), spacing, origin, direction)
    image = sitk.Image(2, 2, 2, sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction.ravel().tolist())
    world = volume.index_to_world([index])
    np.testing.assert_allclose(world[0], image.TransformContinuousIndexToPhysicalPoint(index), atol=1e-6)
    np.testing.assert_allclose(volume.world_to_index(world)[0], index, atol=1e-6)


def test_index_to_world_by_hand() -> None:
    """Index x runs to the head, y to the right (-x in LPS), z to the back."""
    direction = np.array([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]])
    volume = Volume(np.zeros((2, 2, 2), np.int16), (2.0, 3.0, 5.0), (10.0, 20.0, 30.0), direction)
    found = volume.index_to_world([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert found.tolist() == [[10, 20, 30], [10, 20, 32], [7, 20, 30], [10, 25, 30]]
    assert volume.world_to_index([[7, 25, 34]]).tolist() == [[2, 1, 1]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_oblique_flipped_scan_lies_where_it_was_put(tmp_path: Path, suffix: str) -> None:
    image = image_of(phantom())
    image.SetDirection((rotation((0.3, -0.2, 0.5)) * (1, -1, 1)).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    for index in ((0, 0, 0), (47, 3, 15), (5, 39, 2)):
        expected = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.index_to_world([index])[0], expected, atol=1e-3)


# DICOM series.


def test_dicom_series(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path)
    (tmp_path / "notes.txt").write_text("not a slice")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, series.hu)
    np.testing.assert_allclose(volume.spacing_mm, SPACING)
    assert volume.origin_mm == (-10, 20, 0)


def test_dicom_slices_are_ordered_by_place_not_by_name(tmp_path: Path) -> None:
    hu = phantom((6, 40, 48))
    Series(hu=hu, places=[(0, 0, -3.0 * number) for number in range(6)]).write(tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu[::-1])
    assert volume.origin_mm == (0, 0, -15)
    assert volume.spacing_mm[2] == pytest.approx(3)


def test_coronal_dicom_slices(tmp_path: Path) -> None:
    """Rows run down: index y is -z in LPS, index z is y."""
    places = [(1.0, 5 + 2.5 * number, 7.0) for number in range(6)]
    Series(places=places, tags={"0020|0037": "1\\0\\0\\0\\0\\-1"}).write(tmp_path)
    found = read_volume(tmp_path).index_to_world([[0, 0, 0], [0, 10, 2]])
    np.testing.assert_allclose(found, [[1, 5, 7], [1, 10, 7 - 9]])


def test_one_series_of_two_in_a_folder(tmp_path: Path) -> None:
    Series().write(tmp_path)
    Series(hu=phantom((4, 40, 48)), uid="1.2.9", stem="other").write(tmp_path)
    assert read_volume(tmp_path, "1.2.3").hu.shape == (6, 40, 48)
    assert read_volume(tmp_path, "1.2.9").hu.shape == (4, 40, 48)


@pytest.mark.parametrize("missing", [1, 3, 4])
def test_a_missing_dicom_slice(tmp_path: Path, missing: int) -> None:
    Series().write(tmp_path)[missing].unlink()
    text = why_refused(tmp_path)
    assert f"found 5.000 mm between slices {missing} and {missing + 1} but mostly 2.500 mm" in text


def test_a_dicom_slice_that_is_there_twice(tmp_path: Path) -> None:
    Series().write(tmp_path)
    Series(hu=phantom((1, 40, 48)), places=[(-10, 20, 5)], stem="copy").write(tmp_path)
    assert "there twice" in why_refused(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 300, -200, -2])
def test_a_truncated_dicom_slice_is_not_left_out(tmp_path: Path, kept: int) -> None:
    """At the end, where no gap would show."""
    last = Series().write(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:kept])
    assert "last" not in why_refused(tmp_path)
    with pytest.raises(InputError, match=re.escape(f"{last}: expected a DICOM file, found a damaged one")):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (Series(tags={"0008|0060": "MR"}), "expected the modality CT, found MR"),
        (Series(hu=phantom((1, 40, 48))), "found 48 x 40 x 1 voxels"),
        (
            Series(places=[(0, 0.5 * z, 2.5 * z) for z in range(6)]),
            "found them 0.500 mm aside (a tilted gantry)",
        ),
        (Series(places=[(0, 0, 0)] * 6), "there twice"),
    ],
    ids=["MR", "one slice", "tilted gantry", "all in one place"],
)
def test_dicom_that_is_no_straight_ct(tmp_path: Path, series: Series, message: str) -> None:
    series.write(tmp_path)
    assert message in why_refused(tmp_path)


def test_dicom_slices_that_differ(tmp_path: Path) -> None:
    Series().write(tmp_path / "size")
    Series(hu=phantom((1, 30, 48)), places=[(-10, 20, 15)], stem="x").write(tmp_path / "size")
    assert "slices of different sizes" in why_refused(tmp_path / "size")
    turned = Series(hu=phantom((1, 40, 48)), places=[(-10, 20, 15)], stem="x")
    turned.tags = {"0020|0037": "0.8\\0.6\\0\\-0.6\\0.8\\0"}
    Series().write(tmp_path / "turn")
    turned.write(tmp_path / "turn")
    assert "one orientation" in why_refused(tmp_path / "turn")


def test_folders_without_a_slice(tmp_path: Path) -> None:
    assert "found no readable slice" in why_refused(tmp_path)
    (tmp_path / "a.dcm").write_text("no DICOM")
    assert "found a damaged one" in why_refused(tmp_path)


# Files that are no image, or only a part of one.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"hello\n" * 300, bytes(range(256)) * 30], ids=["empty", "text", "bytes"]
)
def test_a_file_that_is_no_image(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert "found: no image format that is known" in why_refused(path)


def test_a_picture_and_nothing(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image(20, 30, sitk.sitkUInt8), str(tmp_path / "a.png"))
    (tmp_path / "a.png").rename(tmp_path / "a.mha")
    assert "expected 3 dimensions, found 2 (20 x 30 voxels)" in why_refused(tmp_path / "a.mha")
    assert "does not exist" in why_refused(tmp_path / "nothing.mha")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file(tmp_path: Path, suffix: str, compress: bool, share: float) -> None:
    path = write_scan(tmp_path / f"a{suffix}", compress=compress)
    data = next((found for found in tmp_path.glob("a.*raw")), path)
    whole = data.read_bytes()
    data.write_bytes(whole[: int(len(whole) * share)])
    text = why_refused(path)
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
    assert re.search("damage|Error reading", why_refused(path))


def test_compressed_voxels_that_unpack_to_others(tmp_path: Path) -> None:
    """A stream of level 0 holds the voxels as they are: only the checksum tells that one was changed."""
    path = write_scan(tmp_path / "a.mha", compress=False)
    header, line, voxels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    packed = bytearray(zlib.compress(voxels, 0))
    keys = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    changed = header.replace(b"CompressedData = False\n", keys.encode()) + line
    path.write_bytes(changed + packed)
    np.testing.assert_array_equal(read_volume(path).hu, phantom())
    packed[1000] ^= 1
    path.write_bytes(changed + packed)
    assert "expected the voxels that the checksum in the file tells" in why_refused(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    for suffix in (".mha", ".nii", ".nii.gz", ".nrrd"):
        path = write_scan(tmp_path / f"a{suffix}")
        path.write_bytes(path.read_bytes() + bytes(64))
        np.testing.assert_array_equal(read_volume(path).hu, phantom())


def test_mhd_without_its_voxels(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mhd")
    (tmp_path / "a.zraw").unlink()
    assert f"expected the voxels in {tmp_path / 'a.zraw'}, found no such file" in why_refused(path)


def test_scaled_nifti_is_as_long_as_its_own_type(tmp_path: Path) -> None:
    """int16 in the file, float for ITK."""
    path = write_scan(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 1.0, -0.25)
    path.write_bytes(content)
    np.testing.assert_allclose(read_volume(path).hu, phantom() - 0.25)
    path.write_bytes(content[:-1])
    assert "truncated" in why_refused(path)


# Shapes, types and values.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_dimensions_and_components(tmp_path: Path, suffix: str) -> None:
    path, scan = tmp_path / f"a{suffix}", image_of(phantom((8, 40, 48)))

    def why(image: sitk.Image) -> str:
        sitk.WriteImage(image, str(path), True)
        return why_refused(path)

    assert "expected 3 dimensions, found 2 (48 x 40 voxels)" in why(scan[:, :, 0])
    assert "expected 3 dimensions, found 4 (48 x 40 x 8 x 3 voxels)" in why(sitk.JoinSeries([scan] * 3))
    assert "expected one value per voxel, found 3" in why(sitk.Compose([scan] * 3))
    byte = sitk.Cast(scan, sitk.sitkUInt8)
    assert "expected one value per voxel, found 3" in why(sitk.Compose([byte] * 3))
    assert "found 48 x 40 x 1 voxels" in why(scan[:, :, :1])
    assert "found 1 x 40 x 8 voxels" in why(scan[:1])
    assert "found voxels of type uint8, which cannot hold them" in why(byte)
    assert "found voxels of type int8" in why(sitk.Cast(scan, sitk.sitkInt8))


@pytest.mark.parametrize(("bad", "count"), [(np.nan, 1), (np.inf, 3), (-np.inf, 70_000)])
def test_nan_and_infinity(tmp_path: Path, bad: float, count: int) -> None:
    hu = phantom((60, 60, 60)).astype(np.float32)
    hu.ravel()[:count] = bad
    text = why_refused(write_scan(tmp_path / "a.mha", hu))
    assert text.endswith(f"found NaN or infinity in {count} voxels")


def test_padding_is_kept_and_does_not_count(tmp_path: Path) -> None:
    for padding in (-1025, -2000, -3024, -32768):
        hu = phantom()
        hu[:, :8] = hu[:, -8:] = padding
        np.testing.assert_array_equal(read_volume(write_scan(tmp_path / "a.mha", hu)).hu, hu)
    hu[:] = -2000
    assert "padding only" in why_refused(write_scan(tmp_path / "a.mha", hu))


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_unsigned_voxels_are_taken_as_an_offset_of_1024_with_a_warning(tmp_path: Path, kind: type) -> None:
    hu = phantom((30, 80, 96))
    volume = read_volume(write_scan(tmp_path / "a.mha", (hu.astype(np.int32) + 1024).astype(kind)))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.hu.dtype == np.dtype(kind).str.replace("u", "i")
    assert volume.warnings == (
        "unsigned values: 1024 subtracted, as peaks of air, fat and soft tissue prove it",
    )


def test_unsigned_voxels_of_another_offset(tmp_path: Path) -> None:
    hu = phantom((30, 80, 96)).astype(np.int32)
    for offset in (1000, 1100, 2048, 32768):
        path = write_scan(tmp_path / "a.mha", np.clip(hu + offset, 0, None).astype(np.uint16))
        if offset != 1000:  # 24 HU from 1024: no one can tell these two
            assert "unsigned values" in why_refused(path)


# Geometry.


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
            "expected finite numbers as ElementSpacing, found 0.8 nan",
        ),
        (
            "a.mha",
            "ElementSpacing",
            "0.8 inf 2.5",
            "expected finite numbers as ElementSpacing, found 0.8 inf",
        ),
        ("a.mha", "ElementSpacing", "0.8 x 2.5", "expected finite numbers as ElementSpacing, found 0.8 x"),
        ("a.mha", "ElementSpacing", None, "expected an ElementSpacing in the header, found none"),
        (
            "a.mha",
            "ElementSpacing",
            "800 9 2.5",
            "expected at most 4000 mm in length, found (38400, 360, 40)",
        ),
        ("a.mha", "Offset", "0 nan 0", "expected finite numbers as Offset, found 0 nan 0"),
        ("a.mha", "TransformMatrix", "1 0 0 0 1 0 0 1 0", "found: a singular direction matrix"),
        ("a.mha", "TransformMatrix", "0 0 0 0 0 0 0 0 0", "found: a singular direction matrix"),
        ("a.mha", "TransformMatrix", "1 0 0 0 nan 0 0 0 1", "expected finite numbers as Transform"),
        ("a.mha", "TransformMatrix", "1 0 0 0 1 0 0 0.3 0.954", "expected a direction matrix of orthogonal"),
        ("a.mha", "TransformMatrix", "2 0 0 0 2 0 0 0 2", "expected a direction matrix of orthogonal"),
        (
            "a.nrrd",
            "space directions",
            "(0,0,0) (0,1,0) (0,0,1)",
            "expected a positive spacing, found (0, 1,",
        ),
        ("a.nrrd", "space directions", "(1,0,0) (0,1,0) (0,1,0)", "found: a singular direction matrix"),
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
    assert message in why_refused(with_header(tmp_path / name, key, value))


def test_empty_lines_in_a_header_hide_nothing(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"Offset", b"\nOffset", 1)[:-1])
    assert "truncated" in why_refused(path)


AFFINE, PIXDIM, CODES = 280, 80, 252


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([(PIXDIM + 4, "<f", 0.0)], "expected a positive spacing, found (0.8, 0, 2.5) mm"),
        ([(PIXDIM + 4, "<f", -0.9)], "expected a positive spacing, found (0.8, -0.9, 2.5) mm"),
        ([(PIXDIM + 8, "<f", np.nan)], "expected a positive spacing, found (0.8, 0.9, nan) mm"),
        ([(AFFINE + 8, "<f", 0.5), (CODES, "<2h", 0, 1)], "found: a NIfTI orientation without right angles"),
        ([(AFFINE + 8, "<f", 0.5)], "expected a sform with the header's spacing and right angles"),
        ([(AFFINE, "<f", -1.6)], "expected a sform with the header's spacing and right angles"),
        ([(AFFINE, "<12f", *[0] * 12), (CODES, "<2h", 0, 1)], "found: a NIfTI orientation without"),
        ([(AFFINE, "<f", np.nan), (CODES, "<2h", 0, 1)], "found: a NIfTI orientation without right angles"),
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
    assert message in why_refused(path)


def test_nifti_without_a_position_is_told(tmp_path: Path) -> None:
    path = with_bytes(write_scan(tmp_path / "a.nii"), CODES, "<2h", 0, 0)
    volume = read_volume(path)
    assert volume.origin_mm == (0, 0, 0)
    assert volume.warnings == ("no position in the NIfTI header: taken as its origin",)


def test_either_form_of_a_nifti_header_will_do(tmp_path: Path) -> None:
    for codes in ((1, 0), (0, 1), (1, 1), (1, 4), (2, 2)):
        path = with_bytes(write_scan(tmp_path / "a.nii"), CODES, "<2h", *codes)
        np.testing.assert_allclose(read_volume(path).origin_mm, ORIGIN)


# Real scans.

needs_data = pytest.mark.skipif(
    not (DATA / "ct").is_dir(), reason="real scans (../shared/data/ct) are not here"
)


def real_scans() -> list[Path]:
    files = sorted(path for path in (DATA / "ct").rglob("*.nii.gz") if not re.search("mask|seg", path.name))
    return [*files, DATA / "ct" / "abdomen" / "dicom"]


@needs_data
def test_real_scans_are_read_where_itk_sees_them() -> None:
    paths = real_scans()
    assert len(paths) > 20
    for path in paths:
        volume = read_volume(path)
        assert volume.warnings == ()
        if path.is_dir():
            assert volume.hu.shape == (20, 512, 512)
            continue
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(image))
        size = image.GetSize()
        expected = image.TransformIndexToPhysicalPoint(size)
        np.testing.assert_allclose(volume.index_to_world([size])[0], expected, atol=1e-6)


@needs_data
def test_real_scans_stored_unsigned_are_read_the_same_or_refused(tmp_path: Path) -> None:
    """Refused where there is too little air or fat for a proof: in a crop of the chest, say."""
    refused = []
    for path in real_scans():
        hu = np.clip(read_volume(path).hu, -1024, 3071).astype(np.int32)
        stored = write_scan(tmp_path / "a.mha", (hu + 1024).astype(np.uint16), compress=False)
        try:
            volume = read_volume(stored)
        except InputError as error:
            refused.append(f"{path.name}: {error}")
            continue
        np.testing.assert_array_equal(volume.hu, hu)
        assert len(volume.warnings) == 1
    assert len(refused) <= 4, refused


@needs_data
def test_real_scans_with_the_offset_kept_in_signed_voxels_are_refused(tmp_path: Path) -> None:
    for path in real_scans()[:6]:
        hu = np.clip(read_volume(path).hu, -1024, 3071) + 1024
        assert "expected CT values in HU" in why_refused(
            write_scan(tmp_path / "a.mha", hu.astype(np.int16), False)
        )
