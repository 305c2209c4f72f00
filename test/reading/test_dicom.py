"""DICOM series: slices in their places, none missing, none damaged."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from helpers import SPACING, Series, phantom, read_here, why_unreadable
from model.volume import InputError


def test_dicom_series(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path)
    (tmp_path / "notes.txt").write_text("not a slice", encoding="utf-8")
    volume = read_here(tmp_path)
    np.testing.assert_array_equal(volume.hu, series.hu)
    np.testing.assert_allclose(volume.spacing_mm, SPACING)
    assert volume.origin_mm == (-10, 20, 0)


def test_dicom_slices_are_ordered_by_place_not_by_name(tmp_path: Path) -> None:
    hu = phantom((6, 40, 48))
    Series(hu=hu, places=[(0, 0, -3.0 * number) for number in range(6)]).write(tmp_path)
    volume = read_here(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu[::-1])
    assert volume.origin_mm == (0, 0, -15)
    assert volume.spacing_mm[2] == pytest.approx(3)


def test_coronal_dicom_slices(tmp_path: Path) -> None:
    """Rows run down: index y is -z in LPS, index z is y."""
    places = [(1.0, 5 + 2.5 * number, 7.0) for number in range(6)]
    Series(places=places, tags={"0020|0037": "1\\0\\0\\0\\0\\-1"}).write(tmp_path)
    found = read_here(tmp_path).index_to_world([[0, 0, 0], [0, 10, 2]])
    np.testing.assert_allclose(found, [[1, 5, 7], [1, 10, 7 - 9]])


def test_one_series_of_two_in_a_folder(tmp_path: Path) -> None:
    Series().write(tmp_path)
    Series(hu=phantom((4, 40, 48)), uid="1.2.9", stem="other").write(tmp_path)
    assert read_here(tmp_path, "1.2.3").hu.shape == (6, 40, 48)
    assert read_here(tmp_path, "1.2.9").hu.shape == (4, 40, 48)


@pytest.mark.parametrize("missing", [1, 3, 4])
def test_a_missing_dicom_slice(tmp_path: Path, missing: int) -> None:
    Series().write(tmp_path)[missing].unlink()
    text = why_unreadable(tmp_path)
    assert f"found 5.000 mm between slices {missing} and {missing + 1} but mostly 2.500 mm" in text


def test_a_dicom_slice_that_is_there_twice(tmp_path: Path) -> None:
    Series().write(tmp_path)
    twice = Series(hu=phantom((1, 40, 48)), places=[(-10, 20, 5)], stem="copy")
    twice.write(tmp_path)
    assert "expected each SOP instance UID once, found 1.2.3.1 in copy000.dcm too" in why_unreadable(tmp_path)
    twice.tags = {"0008|0018": "1.2.3.99"}
    twice.write(tmp_path)
    assert "there twice" in why_unreadable(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 300, -200, -2])
def test_a_truncated_dicom_slice_is_not_left_out(tmp_path: Path, kept: int) -> None:
    """At the end, where no gap would show."""
    last = Series().write(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:kept])
    assert "last" not in why_unreadable(tmp_path)
    with pytest.raises(InputError, match=re.escape(f"{last}: expected a DICOM file, found a damaged one")):
        read_here(tmp_path)


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
    assert message in why_unreadable(tmp_path)


def test_dicom_slices_that_differ(tmp_path: Path) -> None:
    Series().write(tmp_path / "size")
    uid = {"0008|0018": "1.2.3.99"}
    Series(hu=phantom((1, 30, 48)), places=[(-10, 20, 15)], stem="x", tags=uid).write(tmp_path / "size")
    assert "slices of different sizes" in why_unreadable(tmp_path / "size")
    turned = Series(hu=phantom((1, 40, 48)), places=[(-10, 20, 15)], stem="x")
    turned.tags = uid | {"0020|0037": "0.8\\0.6\\0\\-0.6\\0.8\\0"}
    Series().write(tmp_path / "turn")
    turned.write(tmp_path / "turn")
    assert "one orientation" in why_unreadable(tmp_path / "turn")


def test_folders_without_a_slice(tmp_path: Path) -> None:
    assert "found no readable slice" in why_unreadable(tmp_path)
    (tmp_path / "a.dcm").write_text("no DICOM", encoding="utf-8")
    assert "found a damaged one" in why_unreadable(tmp_path)


def test_compressed_slices_are_decoded_as_stored(tmp_path: Path) -> None:
    """By GDCM, which is given the pixels only: place and rescale are the file's own."""
    series = Series()
    for path in series.write(tmp_path):
        attributes = pydicom.dcmread(path)
        attributes.compress(RLELossless)
        attributes.save_as(path)
    volume = read_here(tmp_path)
    np.testing.assert_array_equal(volume.hu, series.hu)
    assert volume.origin_mm == (-10, 20, 0)
