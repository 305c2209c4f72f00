"""A training run: steps, rounds of the teacher, validations and checkpoints, all under one folder, WORK.

Everything is a function of configuration, data, seed and step, so a run that was stopped ends where it would
have ended: WORK/checkpoint.safetensors holds all that a step depends on. WORK/best.safetensors are the
averaged weights of the best validation; WORK/pseudo_labels, WORK/validation and WORK/board what their names
say.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.config import NotFiniteError
from model.detector import save_weights
from resources.cases.strict import CaseError, decode_object, encode
from resources.interrupt import Interrupted, Signals
from resources.training import validation
from resources.training.board import Board
from resources.training.checkpoint import (
    aside,
    check_same,
    comparable,
    pack,
    read_checkpoint,
    unpack,
    write_checkpoint,
)
from resources.training.config import TrainingConfig
from resources.training.data.augment import augment
from resources.training.data.batch import Batch
from resources.training.data.stream import open_scans, stream
from resources.training.learner import advance, begin, check_depth, generator_of, make_fabric
from resources.training.progress import LINE_EVERY, Progress
from resources.training.reports import rounds

SCALARS_EVERY, PICTURE_EVERY = 10, 500
"""Steps between points of the curves, and between pictures."""
OWN = ("pseudo_labels", "validation", "board")


@dataclasses.dataclass
class Clock:
    """Seconds spent on steps, and of these waiting for data; validations and rounds are left out."""

    spent_s: float = 0.0
    waited_s: float = 0.0
    steps: int = 0

    def add(self, spent_s: float, waited_s: float) -> None:
        self.spent_s += spent_s
        self.waited_s += waited_s
        self.steps += 1

    @property
    def share(self) -> float:
        return self.waited_s / self.spent_s if self.spent_s > 0 else 0.0

    def rate(self, batch: int) -> float:
        """Patches per second."""
        return self.steps * batch / self.spent_s if self.spent_s > 0 else 0.0


class Run:
    """A run that is open. step: steps done.

    Raises CaseError, EvaluationError and WeightsError at the start.
    name: of the configuration. resume: go on from the checkpoint in WORK.
    """

    def __init__(self, config: TrainingConfig, name: str, resume: bool):
        self.config, self.work = config, Path(config.work)
        self.file = self.work / "checkpoint.safetensors"
        _check_work(self.work, self.file, resume)
        goes_on = self.file.exists()
        fabric, precision = make_fabric(config.optimisation.precision)
        self.fabric, self.precision = fabric, precision
        check_depth(config, fabric.device.type)
        if config.optimisation.batch % fabric.world_size:
            found = f"{config.optimisation.batch} in {fabric.world_size}"
            raise CaseError(f"optimisation.batch: expected as many patches in every process, found {found}")
        self.scans = open_scans(config)
        self.held = validation.open_held(config, [case for _, case in self.scans.cases])
        self.step, self.best = 0, {"cpm": -1.0, "step": 0}
        sources = dict(collections.Counter(source.name for source, _ in self.scans.cases))
        self.origin = {"name": name, "data": self.scans.digest, "sources": sources}
        tensors = self._read_checkpoint() if goes_on else None
        self.learner = begin(fabric, precision, config)
        if tensors is not None:
            unpack(tensors, self._networks(), self.learner.plain, self.learner.optimizer)
        self.saved_at, self.saved_step = time.monotonic(), self.step if goes_on else -1
        self.board = Board(None, 0)
        self.keep()  # before there is anything else in WORK, which would be of an unknown run
        first = fabric.is_global_zero
        self.board = Board(self.work / "board" if first else None, self.step)
        self.progress = Progress("step", self.step, config.optimisation.steps, quiet=not first)
        self.signals, self.all, self.lately = Signals(), Clock(), Clock()
        self.tick = time.perf_counter()

    def go(self) -> None:
        """To the end. Raises Interrupted after a signal, and NotFiniteError; the last checkpoint is good."""
        fabric = self.fabric
        with self.signals, contextlib.closing(self.progress), contextlib.closing(self.board):
            rank, ranks = fabric.global_rank, fabric.world_size
            if self._validation_due():
                self.validate()
            for first, last in segments(self.config, self.step):
                pseudo_labels, hard = self.renew(first)
                self.train_over(
                    stream(self.scans, self.config, first, last, rank, ranks, pseudo_labels, hard)
                )
            self.keep()
            fabric.barrier()
            count = self.config.optimisation.batch
            if self.all.steps:
                self.progress.say(
                    f"{self.all.steps} steps of {count} patches in {self.all.spent_s:.0f} s: "
                    f"{self.all.rate(count):.2f} patches per second, {self.all.share:.1%} of the time "
                    "waiting for data"
                )

    def train_over(self, batches: Generator[tuple[Batch, float]]) -> None:
        """A step on each of the batches, and the validations that fall due."""
        self.tick = time.perf_counter()
        with contextlib.closing(batches):
            for batch, waited_s in batches:
                self.train_on(batch, waited_s)
                if self._validation_due():
                    self.validate()

    def train_on(self, batch: Batch, waited_s: float) -> dict[str, float]:
        """One step, what is shown of it, and the checkpoint if it is due; the losses."""
        config, step = self.config, self.step
        losses, norm = self._advance(batch)
        values, gradient, waited_s, number = self._settle(losses, norm, waited_s, batch.names)
        self.step += 1
        now = time.perf_counter()
        for clock in (self.all, self.lately):
            clock.add(now - self.tick, waited_s)
        self.tick = now
        self.progress.step(self.step, values, self.lately.share)
        if step % SCALARS_EVERY == 0:
            scalars = {f"loss/{name}": value for name, value in values.items()}
            scalars |= {"rate": self.learner.optimizer.param_groups[0]["lr"]}
            scalars |= {"gradient norm": gradient, "waiting for data": self.lately.share}
            self.board.scalars(scalars | {"patches per s": self.lately.rate(config.optimisation.batch)}, step)
        if self.step % LINE_EVERY == 0:
            self.lately = Clock()
        if number or time.monotonic() - self.saved_at >= config.optimisation.checkpoint_every_s:
            self.keep()
        if number:
            self.fabric.barrier()
            raise Interrupted(number)
        return values

    def _advance(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The network's part of a step: the losses, and the norm of the gradient."""
        config, fabric, step = self.config, self.fabric, self.step
        generator = generator_of(config.seed, step, fabric.global_rank, device=fabric.device)
        batch = augment(batch.to(fabric.device), config.augmentation, generator, config.network.spacing_mm)
        output, losses, norm = advance(self.learner, batch, config, step)
        if step % PICTURE_EVERY == 0:
            self.board.picture(batch, output, step)
        return losses, norm

    def _settle(
        self, losses: dict[str, torch.Tensor], norm: torch.Tensor, waited_s: float, names: tuple[str, ...]
    ) -> tuple[dict[str, float], float, float, int]:
        """What all processes make of the step: losses by name, the gradient's norm, seconds waited in the
        mean, and the number of a signal that came, 0 for none. One exchange, after all that needs none.
        """
        local = torch.stack([*losses.values(), norm]).detach().float()
        rest = local.new_tensor([waited_s, self.signals.number])
        both = (self.learner.total(torch.cat([local, rest])) / self.fabric.world_size).tolist()
        values = dict(zip(losses, both[:-3], strict=True))
        gradient, waited_s, number = both[-3:]
        scaled = self.config.optimisation.precision == "16-mixed"  # whose scaler passes over such a gradient
        if all(map(math.isfinite, values.values())) and (scaled or math.isfinite(gradient)):
            return values, gradient, waited_s, self.signals.number or (15 if number else 0)
        text = ", ".join(f"{name} {value:g}" for name, value in zip(losses, local.tolist(), strict=False))
        raise NotFiniteError(
            f"step {self.step + 1}: expected finite losses and gradient, found {text}, gradient norm "
            f"{gradient:g}; cases: {', '.join(names)}"
        )

    def keep(self) -> None:
        """Writes the checkpoint, if there is anything new; the first process does."""
        if self.saved_step == self.step:
            return
        if self.fabric.is_global_zero:
            tensors = pack(self._networks(), self.learner.plain, self.learner.optimizer)
            state: dict[str, Any] = {"step": self.step, "best": self.best, "origin": self.origin}
            state["config"] = encode(comparable(self.config))
            write_checkpoint(self.file, tensors, state | {"precision": self.precision.state_dict()})
            self.board.flush()
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def _networks(self) -> dict[str, nn.Module]:
        return {"network": self.learner.plain, "average": self.learner.average}

    def _read_checkpoint(self) -> dict[str, torch.Tensor]:
        """The tensors of the checkpoint, all else of it being in place. Raises CaseError."""
        tensors, state = read_checkpoint(self.file)
        check_same(decode_object(TrainingConfig, state["config"]), self.config, self.file)
        if state["origin"]["data"] != self.origin["data"]:
            raise CaseError(f"{self.file}: expected the data it was trained on, found other cases or scans")
        if state["step"] > self.config.optimisation.steps:
            raise CaseError(
                f"optimisation.steps: expected at least the {state['step']} steps of {self.file}, found "
                f"{self.config.optimisation.steps}"
            )
        self.precision.load_state_dict(state["precision"])
        self.step, self.best = state["step"], state["best"]
        return tensors

    def renew(self, step: int) -> tuple[Path | None, Path | None]:
        """Pseudo-labels and hard places from a step on; a round that begins there is done first."""
        number = round_of(self.config, step)
        if number is None:
            return None, None
        folder = self.work / "pseudo_labels" / f"{number:04d}"
        if not folder.exists():
            self.keep()
            self.progress.say(
                f"step {step}: round {number}, the averaged network predicts the training scans"
            )
            with self.signals.at_once(), self.progress.pause(), self.fabric.autocast():
                self.learner.agree()
                rank, ranks = self.fabric.global_rank, self.fabric.world_size
                rounds.renew(
                    self.learner.average, self.scans, self.config, number, rank, ranks, self.fabric.barrier
                )
        hard = folder / "hard.json"
        return folder if self.config.strongest.uses_proposals else None, hard if hard.exists() else None

    def _validation_due(self) -> bool:
        if self.held is None or self.config.validation is None or self.step <= 0:
            return False
        return (
            self.step % self.config.validation.every_steps == 0 or self.step == self.config.optimisation.steps
        )

    def validate(self) -> None:
        """The averaged network on whole scans; the best by CPM, the earliest of equals, is kept."""
        assert self.held is not None
        self.keep()
        folder = self.work / "validation" / f"{self.step:07d}"
        with self.signals.at_once(), self.progress.pause():
            self.learner.agree()
            rank, ranks = self.fabric.global_rank, self.fabric.world_size
            validation.predict_scans(self.learner.average, self.held, folder, rank, ranks)
            self.fabric.barrier()
        if self.fabric.is_global_zero:
            scores = validation.score(self.held, folder)
            if scores["cpm"] > self.best["cpm"]:
                self.best = {"cpm": scores["cpm"], "step": self.step}
                origin = {"step": str(self.step), "cpm": f"{scores['cpm']:.4f}"}
                with aside(self.work / "best.safetensors") as part:
                    settings = dataclasses.replace(self.learner.average.config, provenance=origin)
                    save_weights(part, self.learner.average, settings)
            self.board.scalars({f"validation/{name}": value for name, value in scores.items()}, self.step)
            text = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())
            self.progress.say(
                f"step {self.step}: {text}; best CPM {self.best['cpm']:.3f} at {self.best['step']}"
            )
        self.tick = time.perf_counter()


def round_of(config: TrainingConfig, step: int) -> int | None:
    """Number, from 0, of the teacher's round whose pseudo-labels hold at a step; None before the first."""
    teacher = config.teacher
    if not has_rounds(config) or step < teacher.start_step:
        return None
    return (step - teacher.start_step) // teacher.every_steps


def has_rounds(config: TrainingConfig) -> bool:
    """Whether the averaged network predicts the training scans: for pseudo-labels or hard places."""
    return config.strongest.uses_proposals or config.patches.hard > 0


def segments(config: TrainingConfig, done: int) -> list[tuple[int, int]]:
    """(first, last) steps, last not included, with the same pseudo-labels, from step `done` to the end."""
    steps, teacher = config.optimisation.steps, config.teacher
    begins = range(teacher.start_step, steps, teacher.every_steps) if has_rounds(config) else ()
    edges = [done, *(step for step in begins if step > done), steps]
    return [(first, last) for first, last in itertools.pairwise(edges) if first < last]


def _check_work(work: Path, file: Path, resume: bool) -> None:
    if file.exists() and not resume:
        raise CaseError(f"{work}: expected no checkpoint, found one (--resume goes on from it)")
    left = [name for name in OWN if (work / name).exists()]
    if left and not file.exists():
        raise CaseError(f"{work}: expected a checkpoint beside {left[0]}, found none")
    if (work / "beliefs").exists():  # their name once: a round would be made again, by another network
        raise CaseError(f"{work}: expected rounds in pseudo_labels, found beliefs; rename that folder")
