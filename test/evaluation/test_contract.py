"""What process.py really writes is what the evaluation reads."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import process
from model.config import DetectorConfig
from model.detector import save_weights
from model.network import CenterNet3D
from resources.cases.case import Annotation, Case, Completeness, ImageSource, write_cases
from resources.evaluation.__main__ import main


@pytest.mark.slow
def test_from_scans_to_the_page(tmp_path: Path) -> None:
    """An untrained network, whose candidates fill the scan; one scan is flipped, one lies in a sub-folder."""
    (tmp_path / "weights").mkdir()
    config = DetectorConfig(widths=(8, 8, 8), blocks=(1, 1, 1))
    save_weights(tmp_path / "weights" / "w.safetensors", CenterNet3D(config).eval(), config)
    column = np.mgrid[:32, :48, :48][2]
    cases = []
    for name, direction in (("a", (1, 0, 0, 0, 1, 0, 0, 0, 1)), ("sub/b", (-1, 0, 0, 0, -1, 0, 0, 0, 1))):
        image = sitk.GetImageFromArray(np.where(column < 36, 40, -1000).astype(np.int16))
        image.SetSpacing((2.0, 2.0, 2.0))
        image.SetDirection(direction)
        path = tmp_path / "scans" / f"{name}.mha"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))
        lesion = Annotation("box3d", lower=(-0.5, -0.5, -0.5), upper=(47.5, 47.5, 31.5))
        source = ImageSource(str(path))
        cases.append(Case(name, name, "made", "test", source, (lesion,), Completeness("all")))
    write_cases(tmp_path / "cases.jsonl", cases)
    options = {"input": tmp_path / "scans", "output": tmp_path / "found", "weights": tmp_path / "weights"}
    assert process.main([f"--{name}={path}" for name, path in options.items()] + ["--device=cpu"]) == 0
    given = {"truth": tmp_path / "cases.jsonl", "predictions": tmp_path / "found", "out": tmp_path / "out"}
    assert main([f"--{name}={os.fspath(path)}" for name, path in given.items()]) == 0
    model = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["models"][0]
    points = [
        json.loads((tmp_path / "found" / case.id / "lesion-points.json").read_text(encoding="utf-8"))
        for case in cases
    ]
    assert model["predictions"] == sum(len(file["points"]) for file in points)
    assert model["operating_point"] == config.operating_point
    assert model["weights_version"] == "w"
    assert model["scans"]["counts"]["positive"] == 2
