"""One network that learns: on which devices, in which precision, and what a step does to it.

Several processes come from torchrun, by which Lightning Fabric finds its way; each has its share of a batch.
The loss of a step is that of the whole batch, see resources.training.targets.supervise.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from torch import nn

from model.config import WeightsError
from model.detector import load_network
from model.network import OUTPUT_STRIDE, CenterNet3D
from resources.cases.strict import refuse
from resources.training.config import Optimisation, TrainingConfig
from resources.training.data.batch import Batch
from resources.training.muon import Muon
from resources.training.targets import supervise

LEAST_RATE = 0.01
"""Share of the highest rate at the end."""


class _Mixed(MixedPrecision):
    def convert_input(self, data: Any) -> Any:
        """As they are: HU lose their last digits in half precision, and the network windows them first."""
        return data


def make_fabric(precision: str) -> tuple[Fabric, Precision]:
    """One process, on a GPU if there is one; under torchrun as many as it started. Convolutions are
    deterministic.
    """
    device, local, nodes = "cuda" if torch.cuda.is_available() else "cpu", 1, 1
    if torch.distributed.is_torchelastic_launched():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // local
    plugin = Precision() if precision == "32-true" else _Mixed(precision, device)  # type: ignore[arg-type]
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    fabric = Fabric(accelerator=device, devices=local, num_nodes=nodes, plugins=[plugin])
    fabric.launch()
    return fabric, plugin


def check_depth(config: TrainingConfig, device: str) -> None:
    """Refuses patches from which bfloat16 on a CPU learns nonsense. Raises CaseError.

    Where the maps of a level have two slices, the gradient of a 3x3x3 kernel is wrong, at times infinite: a
    fault of oneDNN, seen with torch 2.13.
    """
    depth = config.patches.shape[0]
    strides = [OUTPUT_STRIDE * 2**level for level in range(len(config.network.widths))]
    thin = depth in [2 * stride for stride in strides]
    if thin and device == "cpu" and config.optimisation.precision == "bf16-mixed":
        expected = (
            f"in bf16-mixed on a CPU maps of other than two slices at every level, as {3 * strides[-1]} has"
        )
        refuse("patches.shape[0]", expected, depth)


@dataclasses.dataclass(frozen=True)
class Learner:
    """network: as Fabric wraps it; plain: the same without. average: of its weights and batch statistics, in
    float32 and evaluation mode.
    """

    fabric: Fabric
    precision: Precision
    network: nn.Module
    plain: nn.Module
    average: CenterNet3D
    optimizer: torch.optim.Optimizer

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, without gradient."""
        summed = self.fabric.all_reduce(value.detach().clone(), reduce_op="sum")
        assert isinstance(summed, torch.Tensor)
        return summed

    def agree(self) -> None:
        """The average of the first process for all: on CPUs batch statistics are of each process's own
        patches.
        """
        if self.fabric.world_size > 1:
            state = {name: value.cpu() for name, value in self.average.state_dict().items()}
            self.average.load_state_dict(self.fabric.broadcast(state))


def begin(fabric: Fabric, precision: Precision, config: TrainingConfig) -> Learner:
    """A network with its first weights. Raises WeightsError where those to start with do not fit.

    On several GPUs batch norm takes its statistics over all of them (SyncBatchNorm); on several CPUs each
    process takes those of its own patches, for torch has no other there. An organ head that nothing teaches
    is frozen: it gets no gradient, and several processes and checkpoints expect one of all that is trained.
    """
    plain = first_network(config)
    average = copy.deepcopy(plain).eval().requires_grad_(False)
    plain.train()
    if plain.organ is not None and config.strongest.organs == 0:
        plain.organ.requires_grad_(False)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        plain = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
    for one in (plain, average):
        one.to(fabric.device)
    settings = config.optimisation
    optimizer = optimizer_of(plain, settings)
    network, wrapped = fabric.setup(plain, optimizer)
    return Learner(fabric, precision, network, plain, average, wrapped)


def optimizer_of(network: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    if settings.kernel_rate > 0:
        return Muon(network, settings.rate, settings.weight_decay, settings.kernel_rate)
    return torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)


def first_network(config: TrainingConfig) -> CenterNet3D:
    """With the weights that the run starts from. Raises WeightsError where they do not fit."""
    torch.manual_seed(config.seed)
    network, wanted = CenterNet3D(config.network.detector), config.network.detector
    if config.start is not None:
        given = load_network(Path(config.start))
        for name in ("windows_hu", "widths", "blocks", "types"):  # another spacing is a start too
            found, expected = getattr(given.config, name), getattr(wanted, name)
            if found != expected:
                raise WeightsError(f"{config.start}: {name}: expected {expected}, found {found}")
        state = given.state_dict()
        if wanted.organs and not given.config.organs:  # the organ head begins anew
            state |= {
                name: value for name, value in network.state_dict().items() if name.startswith("organ.")
            }
        elif given.config.organs != wanted.organs:
            raise WeightsError(
                f"{config.start}: organs: expected {wanted.organs}, found {given.config.organs}"
            )
        network.load_state_dict(state)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def generator_of(*numbers: int, device: torch.device) -> torch.Generator:
    """Random numbers that depend on these: seed, step, rank."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0] >> np.uint64(1)))


def advance(
    learner: Learner, batch: Batch, config: TrainingConfig, step: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
    """One step. Heads, losses whose mean over the processes is that of the batch, and the norm of the
    gradient before clipping.
    """
    settings = config.optimisation
    output, organs = learner.network(batch.hu)
    losses = supervise.losses(output, organs, batch, config.strongest, learner.total)
    for group in learner.optimizer.param_groups:
        group["lr"] = group.get("highest", settings.rate) * schedule(settings, step)
    learner.optimizer.zero_grad()
    learner.fabric.backward(torch.stack(list(losses.values())).sum())
    norm = learner.fabric.clip_gradients(
        learner.network, learner.optimizer, max_norm=settings.clip, error_if_nonfinite=False
    )
    assert norm is not None
    learner.optimizer.step()
    follow(learner.average, learner.plain, min(settings.average, (step + 1) / (step + 10)))
    return output, losses, norm


def schedule(settings: Optimisation, step: int) -> float:
    """Share of the highest rate: linear over the warm-up, then half a cosine to LEAST_RATE (Loshchilov and
    Hutter 2017).
    """
    warm = min(1.0, (step + 1) / max(1, settings.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return warm * (LEAST_RATE + (1 - LEAST_RATE) * cosine)


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of batch statistics; early on of what there is."""
    theirs = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])
