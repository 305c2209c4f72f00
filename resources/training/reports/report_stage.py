"""The stage before training: the network learns to say what reports say; see reports.pretrain.

WORK/pretraining.safetensors holds the network, the head and the optimizer, so a run that was stopped goes on.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import math
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from resources.cases.strict import CaseError
from resources.interrupt import Interrupted, Signals
from resources.training.checkpoint import pack, read_checkpoint, unpack, write_checkpoint
from resources.training.config import TrainingConfig
from resources.training.data.stream import Scans
from resources.training.learner import Learner, NotFiniteError, first_network, generator_of, schedule
from resources.training.progress import Progress
from resources.training.reports.pretrain import (
    ReportHead,
    ReportTarget,
    organs_of,
    pretrain_step,
    report_target,
    scan_bag,
)

STAGE = 1
"""Sets its random numbers apart from those of the steps that follow."""

Bags = list[tuple[torch.Tensor, ReportTarget]]


class ReportStage:
    """The stage, from its checkpoint if there is one. Raises CaseError where no report says anything.

    Each step takes the whole scans of as many reports as a step of training takes patches.
    """

    def __init__(self, learner: Learner, config: TrainingConfig, scans: Scans):
        self.learner, self.config, self.scans = learner, config, scans
        own = config.pretraining
        self.settings = dataclasses.replace(config.optimisation, steps=own.steps, rate=own.rate)
        self.file = Path(config.work) / "pretraining.safetensors"
        self.targets = _targets(config, scans)
        outputs = len(next(iter(self.targets.values())).value)
        self.network = first_network(config).train()
        self.network.out.requires_grad_(False)
        self.head = ReportHead(config.network.widths[0], outputs)
        self.both = nn.ModuleDict({"network": self.network, "head": self.head}).to(learner.fabric.device)
        self.learnt = [value for value in self.both.parameters() if value.requires_grad]
        decay = self.settings.weight_decay
        adam = torch.optim.AdamW(self.learnt, self.settings.rate, weight_decay=decay)
        wrapped = learner.fabric.setup_optimizers(adam)
        assert not isinstance(wrapped, tuple)
        self.optimizer = wrapped
        self.step, self.saved_at = 0, time.monotonic()
        if self.file.exists():
            tensors, state = read_checkpoint(self.file)
            unpack(tensors, {"both": self.both}, self.both, adam)
            learner.precision.load_state_dict(state["precision"])
            self.step = state["step"]

    def go(self, signals: Signals) -> None:
        """To the end, then the learner has the weights. Raises Interrupted, NotFiniteError."""
        fabric, precision = self.learner.fabric, self.learner.precision
        before = precision.state_dict()
        progress = Progress("report stage, step", self.step, self.settings.steps, not fabric.is_global_zero)
        with contextlib.closing(progress), contextlib.closing(self._batches()) as batches:
            for bags, names in batches:
                loss = self._train_on(bags, names)
                self.step += 1
                progress.step(self.step, {"reports": loss}, None)
                stopped = int(self.learner.total(torch.tensor(float(signals.number), device=fabric.device)))
                late = time.monotonic() - self.saved_at >= self.settings.checkpoint_every_s
                if stopped or late or self.step == self.settings.steps:
                    self._keep()
                if stopped:
                    raise Interrupted(signals.number or stopped)
        precision.load_state_dict(before)
        values = {name: value.cpu() for name, value in self.network.state_dict().items()}
        values = fabric.broadcast(values)  # batch statistics are of each process's own scans
        for own in (self.learner.plain, self.learner.average):
            own.load_state_dict(values)

    def _train_on(self, bags: Bags, names: list[str]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate * schedule(self.settings, self.step)
        fabric = self.learner.fabric
        with fabric.autocast():
            loss = pretrain_step(self.network, self.head, bags)
        self.optimizer.zero_grad()
        fabric.backward(loss)
        gradients = [value.grad for value in self.learnt if value.grad is not None]
        joint = self.learner.total(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = joint.div_(fabric.world_size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        fabric.clip_gradients(
            self.both, self.optimizer, max_norm=self.settings.clip, error_if_nonfinite=False
        )
        self.optimizer.step()
        mean = float(self.learner.total(loss)) / fabric.world_size
        if not math.isfinite(mean):
            raise NotFiniteError(
                f"report stage, step {self.step + 1}: expected a finite loss, found {float(loss):g}; "
                f"cases: {', '.join(names)}"
            )
        return mean

    def _batches(self) -> Generator[tuple[Bags, list[str]]]:
        """This process's scans of each step, read while the step before runs."""
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(self._read, self.step) if self.step < self.settings.steps else None
            for step in range(self.step, self.settings.steps):
                assert waiting is not None
                found = waiting.result()
                waiting = reader.submit(self._read, step + 1)
                yield found

    def _read(self, step: int) -> tuple[Bags, list[str]]:
        rank, ranks = self.learner.fabric.global_rank, self.learner.fabric.world_size
        drawn = np.random.default_rng([self.config.seed, step, STAGE])
        indices = drawn.choice(sorted(self.targets), self.settings.batch)[rank::ranks].tolist()
        generator = generator_of(self.config.seed, step, rank, STAGE, device=torch.device("cpu"))
        stride = self.network.config.stride
        bags = [(scan_bag(self.scans.open(i), generator, stride), self.targets[i]) for i in indices]
        return bags, [self.scans.cases[i][1].id for i in indices]

    def _keep(self) -> None:
        if self.learner.fabric.is_global_zero:
            tensors = pack({"both": self.both}, self.both, self.optimizer.optimizer)
            write_checkpoint(
                self.file, tensors, {"step": self.step, "precision": self.learner.precision.state_dict()}
            )
        self.saved_at = time.monotonic()


def _targets(config: TrainingConfig, scans: Scans) -> dict[int, ReportTarget]:
    """By number of the scan, of those whose report says something."""
    detector, cases = config.network.detector, [case for _, case in scans.cases]
    organs = organs_of(cases)
    told = [report_target(case, detector.types, organs, detector.size_scale_mm) for case in cases]
    found = {index: target for index, target in enumerate(told) if target.known}
    if not found:
        raise CaseError("pretraining.steps: expected scans with a report that says something, found none")
    return found
