"""The weights that a run begins with."""

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers import ROOT, SMALL, lively
from model.config import WeightsError
from model.detector import load_network, save_weights
from resources.training.config import Network, Optimisation, Source, TrainingConfig, read_config
from resources.training.learner import first_network


def config_of(start: Path, **network: object) -> TrainingConfig:
    settings = Network(3.0, SMALL.windows_hu, SMALL.widths, SMALL.blocks)
    settings = dataclasses.replace(settings, **network)  # type: ignore[arg-type]
    source = Source("a", "a.jsonl", "cache")
    return TrainingConfig("run", (source,), Optimisation(1), network=settings, start=str(start))


def test_weights_of_another_spacing_without_an_organ_head_are_a_start(tmp_path: Path) -> None:
    given = lively()
    save_weights(tmp_path / "a.safetensors", given, SMALL)
    network = first_network(config_of(tmp_path / "a.safetensors", organs=True))
    assert network.config.spacing_mm == 3.0 != SMALL.spacing_mm
    assert network.organ is not None
    found = network.state_dict()
    for name, value in given.state_dict().items():
        assert torch.equal(found[name], value), name
    assert set(found) - set(given.state_dict()) == {"organ.weight", "organ.bias"}


def test_weights_of_another_architecture_or_other_organs_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", lively(), SMALL)
    with pytest.raises(WeightsError, match="widths: expected"):
        first_network(config_of(tmp_path / "a.safetensors", widths=(4, 6, 10)))
    other = dataclasses.replace(SMALL, organs=("background", "tail"))
    save_weights(tmp_path / "b.safetensors", lively(other), other)
    for organs in (True, False):
        with pytest.raises(WeightsError, match="organs: expected"):
            first_network(config_of(tmp_path / "b.safetensors", organs=organs))


def test_the_weights_that_ship_fit_the_settings_to_go_on_with() -> None:
    given = load_network(ROOT / "model" / "weights" / "centernet3d.safetensors").config
    wanted = read_config(ROOT / "resources" / "start" / "run-2mm-pieces.toml").network.detector
    for name in ("spacing_mm", "windows_hu", "widths", "blocks", "types", "organs"):
        assert getattr(given, name) == getattr(wanted, name), name
