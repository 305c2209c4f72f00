"""Self-supervision from reports: before it finds lesions, the network learns to say what reports say.

The network but its output layer, and a small head that is thrown away afterwards, tell from a whole scan
which lesion types and organs its report speaks of, how many lesions, and how large the largest is.

The whole scan, at half resolution: a report speaks of all of it, and patches at full resolution that fit in
memory hold a single lesion more seldom than not, so that most of their labels would be wrong. A typical body
scan at half resolution is as many voxels as three patches. What it costs: lesions below about 8 mm vanish.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model.network import CenterNet3D
from model.preprocess import AIR_HU
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, Finding

CERTAINTY = {"present": 1.0, "absent": 1.0, "uncertain": 0.5}
"""Weight of what a finding says."""
ONE_ORGAN = ("liver", "lung", "kidney", "bone")
"""Types that are clear where the organ of that name is; the others are regions with many organs."""
MOST_VOXELS = 1_500_000
"""Of a scan that the network sees in one piece."""
BLOCK = 4
"""Cells on each axis of which the head sees the highest values."""


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


def organs_of(cases: Iterable[Case]) -> tuple[str, ...]:
    """The organs that the reports speak of, sorted."""
    return tuple(sorted({f.organ for case in cases for f in _current(case) if f.organ is not None}))


def _current(case: Case) -> list[Finding]:
    return [f for f in case.findings if f.time == "current" and f.character != "benign"]


def report_target(
    case: Case, types: tuple[str, ...], organs: tuple[str, ...], size_scale_mm: float
) -> ReportTarget:
    """What the findings of a case say of its scan, benign, prior and resolved ones aside.

    What is not mentioned is unknown, unless the report clears the whole scan (absent, without organ and
    type). A type or organ is present if any finding says so, whatever else is said; uncertain findings weigh
    CERTAINTY. The count is known where every reported lesion is counted, or the whole scan is clear.
    """
    findings = _current(case)
    reported = [f for f in findings if f.presence != "absent"]
    absent = [f for f in findings if f.presence == "absent"]
    clear = any(f.organ is None and f.type is None for f in absent)
    whole = [f for f in absent if f.side in (None, "both")]
    told = [
        _presence([f for f in reported if f.type == name], clear or any(_clears(f, name) for f in whole))
        for name in types
    ]
    told += [
        _presence([f for f in reported if f.organ == name], clear or any(f.organ == name for f in whole))
        for name in organs
    ]
    told += [_count(reported, clear), _largest(reported, size_scale_mm)]
    value, weight = zip(*told, strict=True)
    return ReportTarget(torch.tensor(value), torch.tensor(weight))


def _clears(finding: Finding, name: str) -> bool:
    """Whether "no lesion" speaks of all that the type `name` covers."""
    if finding.organ is None:
        return finding.type == name
    return name in ONE_ORGAN and finding.organ == name


def _presence(reported: list[Finding], clear: bool) -> tuple[float, float]:
    """(value, weight)"""
    if reported:
        return 1.0, max(CERTAINTY[f.presence] for f in reported)
    return 0.0, float(clear)


def _count(reported: list[Finding], clear: bool) -> tuple[float, float]:
    counts = [f.count for f in reported if isinstance(f.count, int)]
    if len(counts) < len(reported) or not reported:
        return 0.0, float(clear and not reported)
    return math.log1p(sum(counts)), min(CERTAINTY[f.presence] for f in reported)


def _largest(reported: list[Finding], size_scale_mm: float) -> tuple[float, float]:
    sized = [f for f in reported if f.sizes_mm]
    if not sized:
        return 0.0, 0.0
    largest = max(sized, key=lambda f: (max(f.sizes_mm), CERTAINTY[f.presence]))
    return math.log(max(largest.sizes_mm) / size_scale_mm), CERTAINTY[largest.presence]


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


def report_loss(predicted: torch.Tensor, target: ReportTarget) -> torch.Tensor:
    """Of one scan's (n,) predictions: the weighted mean binary cross-entropy of types and organs, and the
    smooth absolute errors of count and size, times their weights. What has weight 0 has no gradient.
    """
    value, weight = target.value.to(predicted.device), target.weight.to(predicted.device)
    said = F.binary_cross_entropy_with_logits(predicted[:-2], value[:-2], weight[:-2], reduction="sum")
    numbers = F.smooth_l1_loss(predicted[-2:], value[-2:], reduction="none") * weight[-2:]
    return said / weight[:-2].sum().clamp(min=1) + numbers.sum()


def pretrain_step(
    network: CenterNet3D, head: ReportHead, scans: Sequence[tuple[torch.Tensor, ReportTarget]]
) -> torch.Tensor:
    """Mean loss of some scans, given as `scan_bag` and `report_target` give them; backward is the caller's.

    The network's output layer has no part in it and no gradient.
    """
    device = network.out.weight.device
    losses = [report_loss(head(network.pyramid(hu.to(device))[0])[0], target) for hu, target in scans]
    return torch.stack(losses).mean()
