"""Trains the detector on synthetic scans: `python -m resources.training --work DIR --out FILE`.

Killed at any time it goes on from its last checkpoint when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import rich.progress
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from model.config import DetectorConfig
from model.network import CenterNet3D
from resources.training.data import Scan, cut_patch, load_scans
from resources.training.losses import focal_loss, geometry_loss
from resources.training.targets import Target, make_target

SEEDS = {"train": 100_000, "dense": 150_000, "validation": 200_000, "test": 300_000}
"""First seed of the scans of each split; a scan's seed is all it is made from."""
PATCH = (64, 80, 80)
LEARNING_RATE = 2e-3
EMA_DECAY = 0.998


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m resources.training", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of cached scans and the checkpoint")
    parser.add_argument("--scans", type=int, default=170, help="training scans as they are tested")
    parser.add_argument("--dense", type=int, default=0, help="training scans full of lesions, besides")
    parser.add_argument(
        "--start", type=Path, help="checkpoint of another run, whose averaged weights to begin with"
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = DetectorConfig()
    seeds = range(SEEDS["train"], SEEDS["train"] + options.scans)
    cache = options.work.parent / "scans"
    scans = load_scans(seeds, cache, config)
    scans += load_scans(range(SEEDS["dense"], SEEDS["dense"] + options.dense), cache, config, dense=True)
    torch.manual_seed(options.seed)
    network, before = CenterNet3D(config), ""
    if options.start:
        network, before = load_average(options.start, config)
    origin = f"{options.steps} steps of {options.batch} patches from {options.scans} scans "
    origin += f"(seeds from {SEEDS['train']})"
    if options.dense:
        origin += f" and {options.dense} full of lesions (seeds from {SEEDS['dense']})"
    origin = "; then ".join(filter(None, [before, f"{origin}, seed {options.seed}"]))
    train(network, scans, options.work, options.steps, options.batch, options.seed, origin)


def load_average(path: Path, config: DetectorConfig) -> tuple[CenterNet3D, str]:
    """The averaged network of a checkpoint, loaded strictly, and how it was trained."""
    network = CenterNet3D(config)
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("average.")]  # noqa: SIM118
        network.load_state_dict({name.removeprefix("average."): file.get_tensor(name) for name in names})
        return network, file.metadata()["origin"]


def train(
    network: CenterNet3D, scans: list[Scan], work: Path, steps: int, batch: int, seed: int, origin: str
) -> None:
    """Runs to `steps` from the checkpoint in `work` if there is one; the averaged weights end in it."""
    config = network.config
    work.mkdir(parents=True, exist_ok=True)
    network.train()
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    done = _restore(work / "checkpoint.safetensors", network, average, optimizer)
    saved, running = time.monotonic(), [0.0, 0.0]
    with rich.progress.Progress(*rich.progress.Progress.get_default_columns()) as progress:
        task = progress.add_task("Training", total=steps, completed=done)
        for step in range(done, steps):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * _schedule(step, steps)
            patches, target = _batch(scans, config, batch, torch.Generator().manual_seed(seed * 10**9 + step))
            output = network(patches)
            types = len(config.types)
            heat = focal_loss(output[:, :types], target.heat, target.weight)
            geometry = geometry_loss(output[:, types:], target.geometry, target.geometry_weight)
            loss = heat + 0.3 * geometry
            if not math.isfinite(loss.item()):
                raise SystemExit(f"error: the loss is {loss.item()} at step {step}")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            _follow(average, network, min(EMA_DECAY, (step + 1) / (step + 10)))
            for i, value in enumerate((heat.item(), geometry.item())):
                running[i] = value if step == done else 0.98 * running[i] + 0.02 * value
            progress.update(task, advance=1)
            if step % 50 == 49:
                print(f"step {step + 1}: heat {running[0]:.3f}, geometry {running[1]:.3f}", flush=True)
            if time.monotonic() - saved > 60 or step + 1 == steps:
                _save(work / "checkpoint.safetensors", network, average, optimizer, origin)
                saved = time.monotonic()


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps, then a half cosine to 1 % of the rate."""
    warm = min(1.0, (step + 1) / 100)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _batch(
    scans: list[Scan], config: DetectorConfig, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, Target]:
    patches, targets = [], []
    for _ in range(count):
        scan = scans[int(torch.randint(len(scans), (), generator=generator))]
        patch, lesions = cut_patch(scan, PATCH, generator)
        patches.append(patch)
        targets.append(
            make_target(lesions, PATCH, config.spacing_mm, len(config.types), config.size_scale_mm)
        )
    stacked = (torch.stack([getattr(t, name) for t in targets]) for name in Target.__dataclass_fields__)
    return torch.stack(patches), Target(*stacked)


def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of batch-norm statistics."""
    ours, theirs = average.state_dict(), network.state_dict()
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


def _save(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, origin: str
) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items()}
    part = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, part, {"origin": origin})
    part.replace(path)


def _restore(path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads a checkpoint strictly; returns the steps done, 0 without one."""
    if not path.exists():
        return 0
    tensors = load_file(path)
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = value
    network.load_state_dict(parts["network"])
    average.load_state_dict(parts["average"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in parts["optimizer"].items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(next(iter(state.values()))["step"]) if state else 0


if __name__ == "__main__":
    main()
