"""A checkpoint gives back what went in, and nothing else is taken for one."""

from pathlib import Path

import pytest
import torch
from training.tiny import HELD, settings, write_run

from helpers import SMALL, lively
from model.network import CenterNet3D
from resources.cases.strict import CaseError
from resources.training.checkpoint import (
    aside,
    check_same,
    comparable,
    pack,
    read_checkpoint,
    unpack,
    write_checkpoint,
)
from resources.training.config import TrainingConfig, read_config


def learner(seed: int, steps: int = 0) -> tuple[CenterNet3D, torch.optim.Optimizer]:
    network = lively(seed=seed).train()
    network.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(steps):
        network(torch.randn(2, 1, 16, 16, 16) * 100)[0].square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, optimizer


def test_all_comes_back_and_goes_on_alike(tmp_path: Path) -> None:
    network, optimizer = learner(0, steps=2)
    tensors = pack({"network": network}, network, optimizer)
    write_checkpoint(tmp_path / "a", tensors, {"step": 2, "best": {"cpm": 0.25}})
    write_checkpoint(tmp_path / "b", tensors, {"best": {"cpm": 0.25}, "step": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    read, state = read_checkpoint(tmp_path / "a")
    assert state == {"step": 2, "best": {"cpm": 0.25}}
    other, second = learner(1)
    unpack(read, {"network": other}, other, second)
    patch = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) * 100
    for own, its in ((network, optimizer), (other, second)):
        own(patch)[0].square().mean().backward()
        its.step()
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
        assert torch.equal(value, other.state_dict()[name])
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert optimizer.state[mine]["exp_avg"].stride() == second.state[theirs]["exp_avg"].stride()


def test_before_the_first_step(tmp_path: Path) -> None:
    network, optimizer = learner(0)
    write_checkpoint(tmp_path / "a", pack({"network": network}, network, optimizer), {})
    other, second = learner(1)
    unpack(read_checkpoint(tmp_path / "a")[0], {"network": other}, other, second)
    assert not second.state
    assert torch.equal(network.out.weight, other.out.weight)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    network, optimizer = learner(0, steps=1)
    tensors = pack({"network": network}, network, optimizer)
    less = {name: value for name, value in tensors.items() if name != "optimizer.exp_avg.out.bias"}
    with pytest.raises(CaseError, match="moments of all parameters, differing: optimizer.exp_avg.out.bias"):
        unpack(less, {"network": network}, network, optimizer)
    wider = CenterNet3D(SMALL).requires_grad_(False)
    wider.out = torch.nn.Linear(5, 14)
    with pytest.raises(CaseError, match="network: .*size mismatch for out.weight"):
        unpack(tensors, {"network": wider}, wider, optimizer)
    (tmp_path / "text").write_text("no tensors", encoding="utf-8")
    with pytest.raises(CaseError, match="expected a checkpoint, found"):
        read_checkpoint(tmp_path / "text")
    weights = next((Path(__file__).parents[2] / "model" / "weights").glob("*.safetensors"))
    with pytest.raises(CaseError, match="of format training-1, found another file"):
        read_checkpoint(weights)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before", encoding="utf-8")

    def fails() -> None:
        with aside(tmp_path / "a") as part:
            part.write_text("half", encoding="utf-8")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fails()
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [("a", "before")]


def config(folder: Path, text: str) -> TrainingConfig:
    return read_config(write_run(folder, text))


def test_what_may_change_between_two_starts(tmp_path: Path) -> None:
    first = config(tmp_path, settings(10, more=HELD.format(every=5)))
    text = settings(20, optimisation="checkpoint_every_s = 5.0", more=HELD.format(every=2))
    second = config(tmp_path, text.replace("workers = 0", "workers = 1").replace('"run"', '"other"'))
    check_same(first, second, tmp_path)
    assert comparable(first) == comparable(second)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seed = 5", "seed = 6", "seed: expected 5 as in .*, found 6"),
        ("lesion = 0.6", "lesion = 0.5", "patches.lesion: expected 0.6 as in .*, found 0.5"),
        ("train/cache", "cache", "sources.0.cache: expected .*train/cache as in .*, found .*cache"),
        ("batch = 2", "batch = 3", "optimisation.batch: expected 2 as in .*, found 3"),
        ("seed = 5", "seed = 5\nstart = 'w'", "start: expected None as in .*, found .*w"),
    ],
)
def test_what_may_not_change(tmp_path: Path, before: str, after: str, message: str) -> None:
    first = config(tmp_path, settings(10))
    second = config(tmp_path, settings(10).replace(before, after))
    with pytest.raises(CaseError, match=message):
        check_same(first, second, tmp_path)
