"""Small files that were once read wrongly, or refused without need: each gives what its note says is right.

They are not part of the project; the kinds they stand for have tests of their own beside this file.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import process
from helpers import DATA, last_line, read_here
from resources.cases.__main__ import main as cases_command

FAULTS = DATA / "faults"
SOUND = "gz_named_nii/in/a.nii"
"""The phantom that all of them hold."""

pytestmark = pytest.mark.skipif(
    not FAULTS.is_dir(), reason="made-up faults (../shared/data/faults) are not here"
)


@dataclasses.dataclass(frozen=True)
class Right:
    """Read with this spacing z, origin and direction of z; told: a part of the warnings or of stdout."""

    z_mm: float = 3.0
    origin: tuple[float, float, float] = (-118.0, -118.0, 100.0)
    down: bool = False
    told: str = ""


READ = {
    "beside_pdf": Right(told="passed over 1 x DOC (pdf.dcm)"),
    "beside_rtstruct": Right(told="passed over 1 x RTSTRUCT (rtstruct.dcm)"),
    "beside_sr": Right(told="passed over 1 x SR (sr.dcm)"),
    "copies": Right(told="3 copies of slices passed over"),
    "enhanced_folder": Right(),
    "enhanced_head_first": Right(origin=(-118.0, -118.0, 145.0), down=True),
    "enhanced_rescale_per_frame": Right(),
    "enhanced_shuffled": Right(),
    "gz_named_nii": Right(),
    "localizer_beside": Right(told="passed over 1 x CT image without a parallel one (loc0000.dcm)"),
    "nifti2": Right(),
    "no_preamble": Right(),
    "nrrd_without_place": Right(origin=(0, 0, 0), told="no position in the NRRD header"),
    "padding_63536": Right(),
    "positions_rounded": Right(z_mm=1.25),
    "sform_shear_5e-4": Right(),
    "spacing_between_slices_0": Right(),
}
REFUSED = {
    "enhanced_tilted": "a tilted gantry",
    "mhd_without_raw": "a.mhd: expected the voxels in ",
    "multiframe_without_position": "expected a position of each frame",
    "multiframe_without_spacing": "expected a position of each frame",
    "nrrd_cm": "expected space units of mm",
    "sform_other_scale": "6.87 mm apart",
    "spacing_in_metres": "expected a spacing of at least 0.05 mm, found (0.004, 0.004, 0.003)",
    "tiff": "found: TIFF, which says nothing of spacing and place",
    "vox_offset_0": "expected voxels from byte 352 on (vox_offset), found 0",
}
COMMANDS = {"two_series", "macos_files", "label_truncated_nii_gz"}

Run = Callable[[Path, Path], tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], weights: Path) -> Run:
    def call(scan: Path, out: Path) -> tuple[int, str, str]:
        options = ("--device", "cpu", "--weights", weights, "--input", scan, "--output", out)
        code = process.main([str(option) for option in options])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def given(name: str) -> Path:
    """The file of a fault that is one, or its folder of slices."""
    folder = FAULTS / name / "in"
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 and name != "enhanced_folder" else folder


def test_every_fault_is_here() -> None:
    assert {path.name for path in FAULTS.iterdir() if path.is_dir()} == {*READ, *REFUSED, *COMMANDS}


@pytest.mark.parametrize("name", READ)
def test_read_as_it_is(name: str, run: Run, tmp_path: Path) -> None:
    right, phantom = READ[name], read_here(FAULTS / SOUND)
    code, shown, error = run(given(name), tmp_path)
    assert (code, error) == (0, "")
    details = json.loads((tmp_path / "lesion-details.json").read_text(encoding="utf-8"))
    assert right.told in shown + " ".join(details["warnings"])
    volume = read_here(given(name))
    np.testing.assert_allclose(volume.spacing_mm, (4, 4, right.z_mm), atol=2e-3)
    np.testing.assert_allclose(volume.origin_mm, right.origin, atol=0.05)
    step = -1 if right.down else 1
    np.testing.assert_allclose(volume.direction @ [0, 0, 1], [0, 0, step], atol=1e-3)
    expected = phantom.hu[::step]
    if name == "padding_63536":
        outside = volume.hu <= -1000
        expected = np.where(outside, volume.hu, expected)
        assert 0.2 < outside.mean() < 0.8
    np.testing.assert_array_equal(volume.hu, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_line(name: str, run: Run, tmp_path: Path) -> None:
    code, _, error = run(given(name), tmp_path / "out")
    assert code == 1
    assert error == last_line(error) + "\n"
    assert error.startswith(f"error: {FAULTS / name / 'in'}")
    assert REFUSED[name] in error
    assert not (tmp_path / "out").exists()


def test_two_series_where_one_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(FAULTS / "two_series", tmp_path / "two")
    out = tmp_path / "cases.jsonl"
    options = ["--table", str(tmp_path / "two" / "two.csv"), "--source", "x", "--out", str(out)]
    assert cases_command(["inhouse", *options]) != 0
    error = capsys.readouterr().err
    assert "found 1.2.826.30 and 1.2.826.31" in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "code"), [("macos_files", 0), ("label_truncated_nii_gz", 2)], ids=["hidden", "truncated"]
)
def test_labels(name: str, code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = FAULTS / name / "in"
    options = [
        "--images",
        folder / "imagesTr",
        "--labels",
        folder / "labelsTr",
        "--out",
        tmp_path / "cases.jsonl",
    ]
    more = ["--source", "x", "--lesion", "1", "--lesion", "2", "--processes", "1"]
    assert cases_command(["masks", *map(str, options), *more]) == code
    assert ("labelsTr/c.nii.gz" in capfd.readouterr().err) == bool(code)
