"""Multiple-instance loss: a report says that there are lesions, not where.

A bag is a place (a set of cells) of which it is known that it holds at least n lesions; which cells they are
in is not (multiple-instance learning: Dietterich, Lathrop and Lozano-Perez 1997, who let the most positive
instance of a positive bag stand for it). Here the n most probable peaks of the type's heat map stand for the
lesions. That a reported size says which peak is the lesion, and that the largest lesion is sought first, are
ideas of R-Super's ball loss (Bassi et al. 2025); it draws masks by them, here only the size head learns.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from model.config import DetectorConfig
from model.heads import split
from resources.training.data.batch import Batch, PatchBag
from resources.training.reports.matching import SIZE_SIGMA
from resources.training.targets.losses import any_type, focal_cells

ELSEWHERE = 0.1
"""Where the wanted heat of known lesions is higher, a peak is one of theirs."""


def bag_losses(output: torch.Tensor, batch: Batch, geometry: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed loss of the batch's bags, and the summed weight of the lesions that they want.

    output: (b, channels, Z, Y, X) of the network. geometry: weight of the size beside the probability. A bag
    costs, times its weight, the focal loss of each of its `count` best peaks, as a cell of a lesion, and what
    `size_error` says. Peaks are local maxima in 3 x 3 x 3 cells of the bag's place; no two of a patch's bags
    get the same one, nor neighbours, and none lies on a known lesion. Larger lesions choose first. A bag with
    fewer peaks than lesions asks for those it has; one without a place costs nothing.
    """
    loss = output.sum() * 0  # so that a batch without bags has gradients too: zeros
    wanted = output.new_zeros(())
    taken = torch.zeros_like(batch.any_heat, dtype=torch.bool)
    for bag in sorted(batch.bags, key=_order):
        maps = output[bag.patch]
        heat, _, size = split(maps)
        logits = heat[bag.type] if bag.type >= 0 else any_type(heat[None])[0]
        lesions = torch.maximum(batch.any_heat[bag.patch], batch.heat[bag.patch].amax(0)) > ELSEWHERE
        peaks = find_peaks(logits.detach(), bag.where & ~lesions, lesions, taken[bag.patch], bag.count)
        if not peaks or bag.weight <= 0:
            continue
        z, y, x = (torch.tensor(axis, device=output.device) for axis in zip(*peaks, strict=True))
        logits_there = logits[z, y, x]
        cost = focal_cells(logits_there, torch.ones_like(logits_there)).sum()
        if not math.isnan(bag.size_mm):
            cost = cost + geometry * size_error(size[0, z, y, x], bag.size_mm)
        loss = loss + bag.weight * cost
        wanted = wanted + bag.weight * len(peaks)
    return loss, wanted


def _order(bag: PatchBag) -> tuple[int, float, int, int, float]:
    size = 0.0 if math.isnan(bag.size_mm) else bag.size_mm
    return bag.patch, -size, bag.type, bag.count, -bag.weight


def find_peaks(
    score: torch.Tensor, allowed: torch.Tensor, rivals: torch.Tensor, taken: torch.Tensor, count: int
) -> list[tuple[int, int, int]]:
    """The `count` highest local maxima of (Z, Y, X) `score` in `allowed` cells, the highest first.

    A maximum is at least as high as its 26 neighbours among the allowed cells and the `rivals`, so the
    slope of a known lesion is none. Cells of `taken` and neighbours of a peak that was chosen before are
    left out; `taken` is updated. Of equal ones the first in memory is chosen.
    """
    low = torch.finfo(score.dtype).min
    seen = torch.where(allowed | rivals, score, torch.full_like(score, low))
    highest = F.max_pool3d(seen[None, None], 3, stride=1, padding=1)[0, 0]
    open_cells = allowed & (seen == highest) & ~taken
    cells: list[tuple[int, int, int]] = []
    while len(cells) < count and bool(open_cells.any()):
        flat = int(torch.where(open_cells, score, torch.full_like(score, low)).argmax())
        z, rest = divmod(flat, score.shape[1] * score.shape[2])
        y, x = divmod(rest, score.shape[2])
        around = tuple(slice(max(0, i - 1), i + 2) for i in (z, y, x))
        taken[around] = True
        open_cells &= ~taken
        cells.append((z, y, x))
    return cells


def size_error(log_long: torch.Tensor, size_mm: float) -> torch.Tensor:
    """How far the sizes at n peaks are from what a report tells of the largest of them; 0 within tolerance.

    log_long: (n,) predicted log(long diameter / size scale). The largest must come up to the reported size,
    and none may exceed it, by more than one standard deviation of what readers and scans make of one lesion
    (SIZE_SIGMA, log-normal).
    """
    reported = math.log(size_mm / DetectorConfig.size_scale_mm)
    over = F.relu(log_long - reported - SIZE_SIGMA).sum()
    under = F.relu(reported - SIZE_SIGMA - log_long.max())
    return over + under
