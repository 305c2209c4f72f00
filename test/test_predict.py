"""Predictions of a case list: those of the detector, one folder a case, done once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers import ROOT
from model.config import DetectorConfig
from model.detector import Detector, save_weights
from model.network import CenterNet3D
from model.volume import read_volume
from resources.cases.case import Case, ImageSource, write_cases
from resources.predict import main


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Weights of a tiny network, three scans of which the last is none, and the command line."""
    config = DetectorConfig(widths=(4, 8, 8), blocks=(1, 1, 1))
    torch.manual_seed(0)
    (tmp_path / "weights").mkdir()
    save_weights(tmp_path / "weights" / "tiny.safetensors", CenterNet3D(config), config)
    cases = []
    for number in range(3):
        hu = np.random.default_rng(number).integers(-200, 200, (16, 40, 40)).astype(np.int16)
        path = tmp_path / f"{number}.nii.gz"
        image = sitk.GetImageFromArray(hu)
        image.SetSpacing((2.0, 2.0, 3.0))
        sitk.WriteImage(image, str(path))
        cases.append(Case(f"site/{number}", f"p{number}", "s", "test", ImageSource(str(path))))
    (tmp_path / "2.nii.gz").write_bytes(b"none")
    write_cases(tmp_path / "cases.jsonl", cases)
    paths = {"--cases": "cases.jsonl", "--out": "out", "--weights": "weights"}
    return [v for name, path in paths.items() for v in (name, str(tmp_path / path))] + ["--processes", "1"]


def test_predictions_are_the_detectors_and_are_made_once(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 1  # the third scan cannot be read
    assert "2 scans done" in (told := capsys.readouterr().out)
    assert "failed: site/2: " in told
    found = json.loads((tmp_path / "out" / "site" / "0" / "lesion-points.json").read_text(encoding="utf-8"))[
        "points"
    ]
    expected = Detector.from_weights(tmp_path / "weights").predict(read_volume(tmp_path / "0.nii.gz")).lesions
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(
        [p["point"] for p in found], [lesion.point_mm for lesion in expected], atol=1e-3
    )
    before = (tmp_path / "out" / "site" / "1" / "lesion-details.json").stat().st_mtime_ns
    assert main(given) == 1
    assert "2 were there already; 1 failed" in capsys.readouterr().out
    assert (tmp_path / "out" / "site" / "1" / "lesion-details.json").stat().st_mtime_ns == before
    config = DetectorConfig(widths=(4, 8, 8), blocks=(1, 1, 1), operating_point=0.25)
    save_weights(tmp_path / "weights" / "tiny.safetensors", CenterNet3D(config), config)
    assert main(given) == 1
    assert "2 scans done" in capsys.readouterr().out  # other weights


def test_a_split_without_scans_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*given, "--split", "validation"]) == 2
    assert "cases.jsonl: expected cases of the split validation, found none" in capsys.readouterr().err


def test_without_weights_nothing_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(tmp_path / "cases.jsonl", [])
    given = [
        "--cases",
        str(tmp_path / "cases.jsonl"),
        "--out",
        str(tmp_path / "o"),
        "--weights",
        str(tmp_path),
    ]
    assert main(given) == 2
    assert "expected at least one .safetensors file, found none" in capsys.readouterr().err


def test_ray_is_loaded_only_where_it_is_asked_for() -> None:
    code = "import sys, resources.predict; print(sorted({'ray', 'monai'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_command_by_ray_gives_what_it_gives_without(given: list[str], tmp_path: Path) -> None:
    found = []
    for name, more in (("plain", []), ("ray", ["--ray", "local"])):
        given[given.index("--out") + 1] = str(tmp_path / name)
        assert main([*given, *more]) == 1  # the third scan cannot be read
        files = sorted((tmp_path / name / "site").rglob("lesion-points.json"))
        found.append([file.read_bytes() for file in files])
    assert len(found[0]) == 2
    assert found[0] == found[1]
