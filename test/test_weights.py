"""Weights files: what was saved is what is loaded, or one line says why not; a mounted folder is meant."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from helpers import ROOT, SMALL, lively
from model.config import DetectorConfig, WeightsError, find_weights
from model.detector import Detector, load_weights, save_weights


def why_not(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_tensors_that_are_not_those_that_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, lively(), SMALL)
    tensors, metadata = content(path)
    assert load_weights(path)[1] == metadata["digest"]
    tensors["out.bias"][0] += 1e-3
    save_file(tensors, path, metadata)
    text = f"{path}: expected the tensors that were saved, found others (digest "
    assert why_not(path).startswith(text)
    tensors["out.bias"][0] = float("nan")
    save_file(tensors, path, {name: text for name, text in metadata.items() if name != "digest"})
    assert why_not(path) == f"{path}: expected finite weights, found NaN or infinity"


def test_the_digest_is_of_the_tensors_and_the_settings(tmp_path: Path) -> None:
    found = set()
    for number, (seed, operating_point) in enumerate([(0, 0.5), (1, 0.5), (0, 0.6)]):
        path = tmp_path / str(number) / "same.safetensors"
        path.parent.mkdir()
        save_weights(path, lively(seed=seed), dataclasses.replace(SMALL, operating_point=operating_point))
        found.add(Detector.from_weights(path.parent, "cpu").weights_digest)
    assert len(found) == 3
    assert all(len(digest) == 64 for digest in found)


def test_the_weights_of_the_program_have_a_digest() -> None:
    paths = list((ROOT / "model" / "weights").glob("*.safetensors"))
    assert paths
    for path in paths:
        assert content(path)[1]["digest"] == load_weights(path)[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spacing_mm", "2"),
        ("spacing_mm", True),
        ("spacing_mm", -1),
        ("windows_hu", [[400, -160]]),
        ("windows_hu", "wide"),
        ("widths", [4, 6, 10**9]),
        ("widths", 3),
        ("blocks", [1, 1, None]),
        ("types", "lung"),
        ("types", [1, 2]),
        ("calibration", [1.0]),
        ("scan_calibration", ["a", "b"]),
        ("operating_point", 1.5),
        ("operating_point", None),
        ("provenance", {"a": 1}),
        ("provenance", []),
        ("organs", {"liver": 1}),
        ("size_scale_mm", 0),
    ],
)
def test_settings_of_the_wrong_type_or_size(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, lively(), SMALL)
    tensors, metadata = content(path)
    config = json.loads(metadata["config"]) | {name: value}
    save_file(tensors, path, {"format": metadata["format"], "config": json.dumps(config)})
    expected = f"detector config: expected {name} of the right type and size, found {json.dumps(value)}"
    assert why_not(path) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"spacing_mm": NaN}', "[" * 100_000])
def test_settings_that_are_none(text: str) -> None:
    with pytest.raises(WeightsError, match="detector config: expected"):
        DetectorConfig.from_json(text)


def test_a_mounted_folder_is_meant(tmp_path: Path) -> None:
    """The program's weights are taken where nothing is mounted, never in place of what cannot be used."""
    mounted, own = tmp_path / "mounted", tmp_path / "own"
    assert find_weights(mounted, own) == own
    mounted.mkdir()
    assert find_weights(mounted, own) == own
    (mounted / "._a.safetensors").write_bytes(b"of a Mac")
    assert find_weights(mounted, own) == own
    (mounted / "model.pt").write_bytes(b"a pickle")
    with pytest.raises(WeightsError, match=r"mounted: expected \.safetensors files, found model\.pt"):
        find_weights(mounted, own)
    (mounted / "a.safetensors").write_bytes(b"")
    assert find_weights(mounted, own) == mounted
    with pytest.raises(WeightsError, match=r"expected a folder that can be read, found: Not a directory"):
        find_weights(mounted / "model.pt", own)
