"""Reading scans: the right voxels in the right place, and a line of text for everything else."""

import gc
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DATA, ORIGIN, SPACING, Series, image_of, phantom, read_here, why_unreadable, write_scan
from model.volume import InputError, Volume

SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_formats_give_the_same_volume(tmp_path: Path, suffix: str, compress: bool) -> None:
    volume = read_here(write_scan(tmp_path / f"scan{suffix}", compress=compress))
    np.testing.assert_array_equal(volume.hu, phantom())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.origin_mm, ORIGIN)
    np.testing.assert_array_equal(volume.direction, np.eye(3))
    assert volume.warnings == ()


@pytest.mark.parametrize("first", [".nii.gz", ".nrrd", ".dcm"])
@pytest.mark.parametrize("second", [".mha", ".nrrd", ".nii.gz"])
def test_a_copy_in_another_format_is_the_same(tmp_path: Path, first: str, second: str) -> None:
    """ITK takes along what the first header held, under names of that format."""
    if first == ".dcm":
        paths = Series(hu=phantom(), places=[(-10, 20, 30.5 + 2.5 * z) for z in range(16)]).write(tmp_path)
        image = sitk.ReadImage([str(path) for path in paths])
        one = sitk.ReadImage(str(paths[0]))
        for key in one.GetMetaDataKeys():
            image.SetMetaData(key, one.GetMetaData(key))
    else:
        image = sitk.ReadImage(str(write_scan(tmp_path / f"a{first}")))
    assert image.GetMetaDataKeys()
    sitk.WriteImage(image, str(tmp_path / f"b{second}"), True)
    volume = read_here(tmp_path / f"b{second}")
    np.testing.assert_array_equal(volume.hu, phantom())
    np.testing.assert_allclose(volume.origin_mm, ORIGIN, atol=1e-5)


def test_mistyped_keys_are_not_passed_over(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.mha", compress=False)
    whole = path.read_bytes()
    for key in ("Ofset", "offset", "TransformMatrx", "DistanceUnit", "Headersize", "ElementColour"):
        path.write_bytes(whole.replace(b"\nElementType", f"\n{key} = 1\nElementType".encode()))
        assert f"expected known MetaImage keys, found {key}" in why_unreadable(path)


def test_voxels_outlive_the_image_they_were_read_into(tmp_path: Path) -> None:
    """A view into memory that was freed: it looks right until something else is put there."""
    path = write_scan(tmp_path / "a.mha", phantom((40, 200, 200)))
    corner = read_here(path).hu[20:, 100:]
    gc.collect()
    others = [np.full((40, 200, 200), 7, np.int16) for _ in range(8)]
    np.testing.assert_array_equal(corner, phantom((40, 200, 200))[20:, 100:])
    assert len(others) == 8


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_types_of_voxels_are_kept(tmp_path: Path, kind: type) -> None:
    volume = read_here(write_scan(tmp_path / "a.mha", phantom().astype(kind)))
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
        np.testing.assert_array_equal(read_here(path).hu, phantom())


def test_a_fourth_dimension_of_one_is_none(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"scan{suffix}"
        sitk.WriteImage(sitk.JoinSeries([image_of(phantom())]), str(path), True)
        volume = read_here(path)
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


@settings(deadline=None)
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
    volume = read_here(tmp_path / f"a{suffix}")
    for index in ((0, 0, 0), (47, 3, 15), (5, 39, 2)):
        expected = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.index_to_world([index])[0], expected, atol=1e-3)


# Shapes, types and values.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_dimensions_and_components(tmp_path: Path, suffix: str) -> None:
    path, scan = tmp_path / f"a{suffix}", image_of(phantom((8, 40, 48)))

    def why(image: sitk.Image) -> str:
        sitk.WriteImage(image, str(path), True)
        return why_unreadable(path)

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
    text = why_unreadable(write_scan(tmp_path / "a.mha", hu))
    assert text.endswith(f"found NaN or infinity in {count} voxels")


def test_padding_is_kept_and_does_not_count(tmp_path: Path) -> None:
    for padding in (-1025, -2000, -3024, -32768):
        hu = phantom()
        hu[:, :8] = hu[:, -8:] = padding
        np.testing.assert_array_equal(read_here(write_scan(tmp_path / "a.mha", hu)).hu, hu)
    hu[:] = -2000
    assert "padding only" in why_unreadable(write_scan(tmp_path / "a.mha", hu))


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_unsigned_voxels_are_taken_as_an_offset_of_1024_with_a_warning(tmp_path: Path, kind: type) -> None:
    hu = phantom((30, 80, 96))
    volume = read_here(write_scan(tmp_path / "a.mha", (hu.astype(np.int32) + 1024).astype(kind)))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.hu.dtype == np.dtype(kind).str.replace("u", "i")
    assert volume.warnings == (
        "unsigned values: 1024 subtracted, as peaks of air, fat and soft tissue prove it",
    )


def test_unsigned_voxels_of_another_offset(tmp_path: Path) -> None:
    hu = phantom((30, 80, 96)).astype(np.int32)
    for offset in (1000, 1100, 2048, 32768):
        path = write_scan(tmp_path / "a.mha", np.clip(hu + offset, 0, None).astype(np.uint16))
        assert "unsigned values" in why_unreadable(path)


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
        volume = read_here(path)
        assert volume.warnings == ()
        if path.is_dir():
            assert volume.hu.shape == (20, 512, 512)
            continue
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(image))
        size = image.GetSize()
        expected = image.TransformIndexToPhysicalPoint(size)
        np.testing.assert_allclose(volume.index_to_world([size])[0], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "real").is_dir(), reason="public crops (../shared/data/real) are not here")
def test_all_public_scans_and_crops_are_read() -> None:
    """Lungs without fat or soft tissue, and kernels that make noise of 250 HU, are among them."""
    paths = sorted((DATA / "real").glob("*/images/*.mha"))
    assert len(paths) > 700
    for path in paths:
        assert read_here(path).hu.size


@needs_data
def test_real_scans_stored_unsigned_are_read_the_same_or_refused(tmp_path: Path) -> None:
    """Refused where there is too little air or fat for a proof: in a crop of the chest, say."""
    refused = []
    for path in real_scans():
        hu = np.clip(read_here(path).hu, -1024, 3071).astype(np.int32)
        stored = write_scan(tmp_path / "a.mha", (hu + 1024).astype(np.uint16), compress=False)
        try:
            volume = read_here(stored)
        except InputError as error:
            refused.append(f"{path.name}: {error}")
            continue
        np.testing.assert_array_equal(volume.hu, hu)
        assert len(volume.warnings) == 1
    assert len(refused) <= 4, refused


@needs_data
def test_real_scans_with_the_offset_kept_in_signed_voxels_are_refused(tmp_path: Path) -> None:
    for path in real_scans()[:6]:
        hu = np.clip(read_here(path).hu, -1024, 3071) + 1024
        stored = write_scan(tmp_path / "a.mha", hu.astype(np.int16), compress=False)
        assert "expected CT values in HU" in why_unreadable(stored)
