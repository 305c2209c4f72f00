"""A run begins with the weights of another, from its checkpoint or from the file that ships."""

from pathlib import Path

import torch

from helpers import SMALL, lively
from model.detector import save_weights
from resources.training.__main__ import load_average, train
from resources.training.data import Scan
from resources.training.targets import Lesions

WEIGHTS = next((Path(__file__).parents[2] / "model" / "weights").glob("*.safetensors"))


def scan() -> Scan:
    noise = torch.randint(-100, 100, (72, 88, 88), generator=torch.Generator().manual_seed(0))
    center = torch.tensor([[36.0, 44.0, 44.0]])
    return Scan(noise.to(torch.int16), Lesions(center, torch.full((1, 3), 12.0), torch.tensor([3])))


def test_a_finished_run_is_left_alone_and_begins_another(tmp_path: Path) -> None:
    train(lively(), [scan()], tmp_path, 2, 1, 1e-3, 0, "here")
    first = (tmp_path / "checkpoint.safetensors").read_bytes()
    train(lively(seed=1), [scan()], tmp_path, 2, 1, 1e-3, 0, "again")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == first
    network, origin = load_average(tmp_path / "checkpoint.safetensors", SMALL)
    assert origin == "here"
    assert not torch.equal(network.state_dict()["out.bias"], lively().state_dict()["out.bias"])


def test_from_a_weights_file(tmp_path: Path) -> None:
    network, origin = load_average(WEIGHTS, SMALL)
    assert "seeds from 100000" in origin
    save_weights(tmp_path / "a.safetensors", network, network.config)
    again, _ = load_average(tmp_path / "a.safetensors", SMALL)
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
