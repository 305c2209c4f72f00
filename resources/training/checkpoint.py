"""Checkpoints of a training run: tensors as safetensors, the rest as JSON in the file's metadata.

A file is written aside, flushed to the disk and renamed, so what bears its name is whole, and the last one
stays until the next is. The same run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from model.files import whole
from resources.cases.strict import CaseError
from resources.training.config import TrainingConfig

FORMAT = "training-1"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter; a group of parameters may say what is kept of its own."""


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Another path to write to; at the end that file is flushed, made readable by all and named `path`."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink(missing_ok=True)  # of a process that was killed
    with whole(path) as part:
        yield part
        part.chmod(0o644)  # safetensors writes files that only their owner can read
        _flush(part)
    _flush(path.parent)


def _flush(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """state: JSON values."""
    text = json.dumps({"format": FORMAT, **state}, sort_keys=True, allow_nan=False)
    values = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with aside(path) as part:
        save_file(values, part, {"state": text})  # several keys would be written in any order


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Inverse of `write_checkpoint`. Raises CaseError."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise CaseError(f"{path}: expected a checkpoint, found: {reason}") from None
    if state.pop("format", None) != FORMAT:
        raise CaseError(f"{path}: expected a checkpoint of format {FORMAT}, found another file")
    return tensors, state


def pack(
    networks: Mapping[str, nn.Module], network: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The tensors of networks by name, and of the optimizer by the names of its network's parameters."""
    tensors = {f"{part}.{k}": v for part, own in networks.items() for k, v in own.state_dict().items()}
    for name, parameter in network.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{moment}.{name}"] = value
    return tensors


def take(tensors: dict[str, torch.Tensor], part: str, network: nn.Module) -> None:
    """Gives a network the tensors of one part, strictly. Raises CaseError."""
    prefix = f"{part}."
    values = {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(values)
    except RuntimeError as error:
        raise CaseError(f"checkpoint: {part}: {' '.join(str(error).split())[:300]}") from None


def unpack(
    tensors: dict[str, torch.Tensor],
    networks: Mapping[str, nn.Module],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Inverse of `pack`, in place and strict. Raises CaseError.

    Moments get the memory layout of their parameter, for sums must be taken in the order in which they would
    have been without the stop.
    """
    moments = {name: v for name, v in tensors.items() if name.startswith("optimizer.")}
    for part, own in networks.items():
        take(tensors, part, own)
    if not moments:
        return
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    kept = {id(p): group.get("moments", MOMENTS) for group in optimizer.param_groups for p in group["params"]}
    expected = {f"optimizer.{moment}.{name}" for name, p in parameters.items() for moment in kept[id(p)]}
    if set(moments) != expected:
        differing = sorted(set(moments) ^ expected)[0]
        raise CaseError(
            f"checkpoint: optimizer: expected the moments of all parameters, differing: {differing}"
        )
    for name, parameter in parameters.items():
        saved = {moment: moments[f"optimizer.{moment}.{name}"] for moment in kept[id(parameter)]}
        optimizer.state[parameter] = {
            moment: value.clone()
            if moment == "step"
            else torch.empty_like(parameter, requires_grad=False).copy_(value)
            for moment, value in saved.items()
        }


def comparable(config: TrainingConfig) -> TrainingConfig:
    """Without what may change when a run goes on, for it changes no step that was done."""
    optimisation = dataclasses.replace(config.optimisation, steps=1, checkpoint_every_s=0.0)
    held = None if config.validation is None else dataclasses.replace(config.validation, every_steps=1)
    patches = dataclasses.replace(config.patches, workers=0)
    return dataclasses.replace(config, work="", optimisation=optimisation, validation=held, patches=patches)


def check_same(before: TrainingConfig, now: TrainingConfig, file: Path) -> None:
    """Raises CaseError naming the first setting in which a checkpoint's run differs from this one."""
    old, new = _flat(dataclasses.asdict(comparable(before))), _flat(dataclasses.asdict(comparable(now)))
    check_equal(old, new, file)


def check_equal(before: dict[str, Any], now: dict[str, Any], file: Path) -> None:
    """Raises CaseError naming the first key whose value differs from that in a checkpoint."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise CaseError(f"{key}: expected {before.get(key)} as in {file}, found {now.get(key)}")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
