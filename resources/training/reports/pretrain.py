"""Pre-training from reports: before it finds lesions, the network learns to predict what reports say.

The network without its output layers, and a small head that is thrown away afterwards, predict from a whole
scan which lesion types and organs its report names, how many lesions, and how large the largest is. These
steps are the first of a run, numbered from -pretraining.steps to -1; the engine drives them like all others.

The whole scan, at half resolution: a report speaks of all of it, and patches at full resolution that fit in
memory hold a single lesion more seldom than not, so that most of their labels would be wrong. A typical body
scan at half resolution is as many voxels as three patches. What it costs: lesions below about 8 mm vanish.
"""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import math
import time
from collections.abc import Generator, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from torch import nn

from model.network import CenterNet3D
from model.preprocess import AIR_HU
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, CaseError, Finding
from resources.training.config import TrainingConfig
from resources.training.data.stream import Scans
from resources.training.learner import Learner, begin, descend, first_network, generator_of
from resources.training.reports.clearing import cleared_organs, cleared_types, current_findings
from resources.training.reports.guidance import certainty

MOST_VOXELS = 1_500_000
"""Of a scan that the network sees in one piece."""
BLOCK = 4
"""Cells on each axis of which the head sees the highest values."""
STAGE = 1
"""Sets the random numbers of these steps apart from those of the steps that follow."""


@dataclasses.dataclass(frozen=True)
class ReportTarget:
    """What a report says: first types, then organs, 0 or 1; then log(1 + lesions) and log(largest / scale).

    value, weight: (types + organs + 2,); weight 0 where the report says nothing.
    """

    value: torch.Tensor
    weight: torch.Tensor

    @property
    def known(self) -> bool:
        return bool(self.weight.any())


@dataclasses.dataclass(frozen=True)
class ReportBatch:
    """Whole scans, each (1, 1, z, y, x) HU, with what their reports say, and the ids of their cases."""

    scans: tuple[torch.Tensor, ...]
    targets: tuple[ReportTarget, ...]
    names: tuple[str, ...]


def organs_of(cases: Iterable[Case]) -> tuple[str, ...]:
    """The organs that the reports speak of, sorted."""
    findings = (finding for case in cases for part in current_findings(case) for finding in part)
    return tuple(sorted({finding.organ for finding in findings if finding.organ is not None}))


def report_target(
    case: Case, types: tuple[str, ...], organs: tuple[str, ...], size_scale_mm: float
) -> ReportTarget:
    """What the findings of a case say of its scan, benign, prior and resolved ones aside.

    A type or organ is present if any finding says so, absent where the report clears it (reports.clearing),
    and unknown otherwise. Uncertain findings weigh less. The count is known where every reported lesion is
    counted, or the whole scan is clear.
    """
    reported, absent = current_findings(case)
    clear_types, clear_organs = cleared_types(case), cleared_organs(case, organs)
    pairs = [_presence([f for f in reported if f.type == name], name in clear_types) for name in types]
    pairs += [_presence([f for f in reported if f.organ == name], name in clear_organs) for name in organs]
    healthy = not reported and any(f.organ is None and f.type is None for f in absent)
    pairs += [_count(reported, healthy), _largest(reported, size_scale_mm)]
    value, weight = zip(*pairs, strict=True)
    return ReportTarget(torch.tensor(value), torch.tensor(weight))


def _presence(reported: list[Finding], clear: bool) -> tuple[float, float]:
    """(value, weight)"""
    if reported:
        return 1.0, max(map(certainty, reported))
    return 0.0, float(clear)


def _count(reported: list[Finding], healthy: bool) -> tuple[float, float]:
    counts = [f.count for f in reported if isinstance(f.count, int)]
    if len(counts) < len(reported) or not reported:
        return 0.0, float(healthy)
    return math.log1p(sum(counts)), min(map(certainty, reported))


def _largest(reported: list[Finding], size_scale_mm: float) -> tuple[float, float]:
    sized = [f for f in reported if f.sizes_mm]
    if not sized:
        return 0.0, 0.0
    largest = max(sized, key=lambda f: (max(f.sizes_mm), certainty(f)))
    return math.log(max(largest.sizes_mm) / size_scale_mm), certainty(largest)


def targets_of(config: TrainingConfig, scans: Scans) -> dict[int, ReportTarget]:
    """By number of the scan, of those whose report says something. Raises CaseError where none does."""
    detector, cases = config.network.detector, [case for _, case in scans.cases]
    organs = organs_of(cases)
    targets = [report_target(case, detector.types, organs, detector.size_scale_mm) for case in cases]
    known = {index: target for index, target in enumerate(targets) if target.known}
    if not known:
        raise CaseError("pretraining.steps: expected scans with a report that says something, found none")
    return known


def scan_bag(
    scan: CachedScan, generator: torch.Generator, stride: int, most_voxels: int = MOST_VOXELS
) -> torch.Tensor:
    """A whole scan for the network, (1, 1, z, y, x) HU float32: means over blocks of 2 x 2 x 2 voxels, or of
    larger cubes where it takes them to stay within most_voxels; each edge a multiple of `stride`, in air.

    By the generator every second one is mirrored left to right: no target knows a side.
    """
    factor = 2
    while math.prod(-(-n // factor) for n in scan.shape) > most_voxels:
        factor += 1
    hu = torch.full([-(-n // (factor * stride)) * factor * stride for n in scan.shape], float(AIR_HU))
    z, y, x = scan.shape
    hu[:z, :y, :x] = torch.from_numpy(np.asarray(scan.array[HU]).astype(np.float32))
    coarse = F.avg_pool3d(hu[None, None], factor)
    mirror = bool(torch.rand((), generator=generator) < 0.5)
    return coarse.flip(-1) if mirror else coarse


class ReportHead(nn.Module):
    """Features of a scan -> what its report says, by attention over blocks of cells, one for each answer.

    After Ilse et al., "Attention-based deep multiple instance learning" (2018), without their gate. Input:
    (b, channels, z, y, x), not negative. Output: (b, outputs) logits, and plain numbers for the last two.
    """

    def __init__(self, channels: int, outputs: int):
        super().__init__()
        self.attend = nn.Linear(channels, outputs)
        self.say = nn.Linear(channels, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        blocks = F.max_pool3d(features.float(), BLOCK, ceil_mode=True).flatten(2).transpose(1, 2)
        share = self.attend(blocks).softmax(1)
        answer: torch.Tensor = (share * self.say(blocks)).sum(1)
        return answer


class ReportNetwork(nn.Module):
    """The detector's network with a report head in place of its output layers, which do not learn.

    Input: scans, each (1, 1, z, y, x) HU. Output: (scans, outputs), see ReportHead.
    """

    def __init__(self, network: CenterNet3D, outputs: int):
        super().__init__()
        self.network, self.head = network, ReportHead(network.config.widths[0], outputs)
        for layer in filter(None, (network.out, network.organ)):
            layer.requires_grad_(False)

    def forward(self, scans: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.cat([self.head(self.network.pyramid(hu)[0]) for hu in scans])


def report_loss(predicted: torch.Tensor, target: ReportTarget) -> torch.Tensor:
    """Of one scan's (n,) predictions: the weighted mean binary cross-entropy of types and organs, and the
    smooth absolute errors of count and size, times their weights. What has weight 0 has no gradient.
    """
    value, weight = target.value.to(predicted.device), target.weight.to(predicted.device)
    said = F.binary_cross_entropy_with_logits(predicted[:-2], value[:-2], weight[:-2], reduction="sum")
    numbers = F.smooth_l1_loss(predicted[-2:], value[-2:], reduction="none") * weight[-2:]
    return said / weight[:-2].sum().clamp(min=1) + numbers.sum()


def begin_pretraining(fabric: Fabric, precision: Precision, config: TrainingConfig, scans: Scans) -> Learner:
    """A learner of reports with its first weights; its `average` stays what the run starts from.

    Raises CaseError where no report says anything, and WeightsError as `begin` does.
    """
    outputs = len(next(iter(targets_of(config, scans).values())).value)
    network = first_network(config)
    average = copy.deepcopy(network).eval().requires_grad_(False).to(fabric.device)
    plain = ReportNetwork(network.train(), outputs).to(fabric.device)
    settings = config.optimisation
    weights = [value for value in plain.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(weights, config.pretraining.rate, weight_decay=settings.weight_decay)
    wrapped, steps = fabric.setup(plain, optimizer)
    return Learner(fabric, precision, wrapped, plain, average, steps)


def pretrain_step(
    learner: Learner, batch: ReportBatch, config: TrainingConfig, step: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """One step, numbered from -pretraining.steps; the loss, the mean over scans, and the gradient's norm."""
    predicted = learner.network(tuple(hu.to(learner.fabric.device) for hu in batch.scans))
    pairs = zip(predicted, batch.targets, strict=True)
    losses = {"reports": torch.stack([report_loss(logit, target) for logit, target in pairs]).mean()}
    stage = config.pretraining
    settings = dataclasses.replace(config.optimisation, steps=stage.steps, rate=stage.rate)
    return losses, descend(learner, losses, settings, stage.steps + step)


def end_pretraining(learner: Learner, config: TrainingConfig) -> Learner:
    """The learner of lesions that begins with the weights of a learner of reports."""
    assert isinstance(learner.plain, ReportNetwork)
    fabric = learner.fabric
    values = {name: value.cpu() for name, value in learner.plain.network.state_dict().items()}
    values = fabric.broadcast(values)  # on CPUs batch statistics are of each process's own scans
    after = begin(fabric, learner.precision, config)
    for network in (after.plain, after.average):
        network.load_state_dict(values)
    return after


def report_batches(
    config: TrainingConfig, scans: Scans, step: int, rank: int, ranks: int
) -> Generator[tuple[ReportBatch, float]]:
    """A process's scans of each step from `step` (below 0) to -1, and the seconds waited for them.

    Each step takes as many scans as one of training takes patches; they are read while the step before runs.
    """
    targets, stride = targets_of(config, scans), config.network.detector.stride

    def read(step: int) -> ReportBatch:
        number = config.pretraining.steps + step
        drawn = np.random.default_rng([config.seed, number, STAGE])
        chosen = drawn.choice(sorted(targets), config.optimisation.batch)[rank::ranks].tolist()
        generator = generator_of(config.seed, number, rank, STAGE, device=torch.device("cpu"))
        bags = tuple(scan_bag(scans.open(i), generator, stride) for i in chosen)
        return ReportBatch(
            bags, tuple(targets[i] for i in chosen), tuple(scans.cases[i][1].id for i in chosen)
        )

    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(read, step)
        for following in range(step + 1, 1):
            started = time.perf_counter()
            batch = waiting.result()
            if following < 0:
                waiting = reader.submit(read, following)
            yield batch, time.perf_counter() - started
