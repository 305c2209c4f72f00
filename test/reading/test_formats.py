"""The demo scan in every format that is read: the same points, by the weights that ship."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from reading.formats import voxels_of, write_enhanced, write_nifti2

import process
from helpers import ROOT, Series, read_here

DEMO = ROOT / "test" / "input" / "images" / "ct" / "demo.mha"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo scan once in each format, and as it is."""
    folder = tmp_path_factory.mktemp("formats")
    image = sitk.ReadImage(str(DEMO))
    (folder / "original.mha").write_bytes(DEMO.read_bytes())
    for name in ("plain.mha", "plain.nrrd", "plain.nii", "header.mhd"):
        sitk.WriteImage(image, str(folder / name), False)
    for name in ("packed.nrrd", "packed.nii.gz", "packed.mhd"):
        sitk.WriteImage(image, str(folder / name), True)
    write_nifti2(folder / "second.nii", image)
    places = [image.TransformIndexToPhysicalPoint((0, 0, z)) for z in range(image.GetDepth())]
    rounded = [tuple(float(f"{mm:.10g}") for mm in place) for place in places]
    Series(hu=voxels_of(image), places=rounded, spacing=image.GetSpacing()).write(folder / "series")
    (folder / "enhanced").mkdir()
    write_enhanced(folder / "enhanced" / "all.dcm", image)
    return folder


FILES = (
    "plain.mha", "plain.nrrd", "plain.nii", "header.mhd", "packed.nrrd", "packed.nii.gz", "packed.mhd",
    "second.nii", "series", "enhanced",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_voxels_and_place(copies: Path, name: str) -> None:
    expected, found = read_here(DEMO), read_here(copies / name)
    np.testing.assert_array_equal(found.hu, expected.hu)
    far = [[163, 111, 82]]
    np.testing.assert_allclose(found.index_to_world(far), expected.index_to_world(far), atol=1e-3)


@pytest.mark.slow
def test_points(copies: Path, tmp_path: Path) -> None:
    """All in one run of process.py: within 0.1 mm and 0.01 of the scan as it is."""
    assert process.main(["--device", "cpu", "--input", str(copies), "--output", str(tmp_path)]) == 0
    results = {path.parent.name: points_of(path) for path in tmp_path.rglob("lesion-points.json")}
    assert len(results) == 1 + len(FILES)
    expected = results.pop("original")
    assert len(expected) > 10
    for name, points in results.items():
        assert len(points) == len(expected), name
        for one, other in zip(expected, points, strict=True):
            assert math.dist(one["point"], other["point"]) <= 0.1, name
            assert abs(one["probability"] - other["probability"]) <= 0.01, name
            assert one["name"] == other["name"], name


def points_of(path: Path) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["points"]
    return points
