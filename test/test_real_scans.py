"""The weights that ship on real CTs: results that the platform accepts, the same from every file format.

There is no truth for these scans, so what is found is not judged here.
"""

import math
from pathlib import Path

import pytest
import SimpleITK as sitk

import process
from helpers import DATA, read_results

SCANS = {
    "abdomen": DATA / "ct" / "abdomen" / "example_ct.nii.gz",
    "dicom": DATA / "ct" / "abdomen" / "dicom",
    "chest": DATA / "ct" / "chest" / "chest_crop.nii.gz",
}


def load(path: Path) -> sitk.Image:
    if path.is_file():
        return sitk.ReadImage(str(path))
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))


@pytest.mark.parametrize("name", SCANS)
def test_real_scan_and_its_copy_as_mha(name: str, tmp_path: Path) -> None:
    if not SCANS[name].exists():
        pytest.skip(f"{SCANS[name]} is not here")
    sitk.WriteImage(load(SCANS[name]), str(tmp_path / "copy.mha"), useCompression=True)
    results = []
    for number, scan in enumerate((SCANS[name], tmp_path / "copy.mha")):
        out = tmp_path / str(number)
        assert process.main(["--device", "cpu", "--input", str(scan), "--output", str(out)]) == 0
        results.append(read_results(out))
    (points, details, likelihood), (copy_points, _, copy_likelihood) = results
    assert len(details["points"]) == len(points["points"]) > 0
    assert likelihood == pytest.approx(copy_likelihood, abs=1e-3)
    for point, copy in zip(points["points"], copy_points["points"], strict=True):
        assert math.dist(point["point"], copy["point"]) < 0.1
        assert point["probability"] == pytest.approx(copy["probability"], abs=1e-3)
