"""Losses of CenterNet ("Objects as Points", Zhou et al. 2019, equations 1 to 3), in three dimensions.

They are given cell by cell, not summed: resources.training.targets.supervise counts the cells of each source
of knowledge apart.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

SHARPNESS = 4.0
"""Of the maximum over the type maps."""


def focal_cells(logits: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss (alpha 2, beta 4) of each cell; all of one shape.

    heat is exactly 1 in the cells of lesions. p being the probability, a cell of a lesion costs
    -(1 - p)^2 log p, any other -(1 - heat)^4 p^2 log(1 - p).
    """
    probability = torch.sigmoid(logits)
    hit = -F.logsigmoid(logits) * (1 - probability).square()
    miss = -F.logsigmoid(-logits) * probability.square() * (1 - heat) ** 4
    return torch.where(heat == 1, hit, miss)


def positive_weight(heat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The summed weight of the cells of lesions: what focal losses are divided by."""
    return ((heat == 1) * weight).sum()


def any_type(logits: torch.Tensor) -> torch.Tensor:
    """(b, t, z, y, x) logits -> (b, z, y, x): their maximum over the types, smoothed.

    log(mean(exp(s x))) / s with s = SHARPNESS. A hard maximum would teach a lesion of unknown type to that
    one map which happens to be ahead, by however little; this shares the gradient between maps that are about
    equal and leaves it to one that leads by a logit or more. It equals the maximum where all maps agree, and
    lies at most log(t) / s below it (0.52 for eight types), never above: so a lesion that this calls sure is
    at least as sure in the maximum that inference takes.
    """
    return torch.logsumexp(SHARPNESS * logits, 1) / SHARPNESS - math.log(logits.shape[1]) / SHARPNESS


def geometry_cells(predicted: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted absolute error of each cell, (b, z, y, x), summed over the six channels.

    predicted, wanted, weight: (b, 6, z, y, x) offset and log size. `wanted` may hold anything, NaN too, where
    `weight` is 0.
    """
    known = torch.where(weight > 0, wanted, torch.zeros_like(wanted))
    return ((predicted - known).abs() * weight).sum(1)


def organ_cells(logits: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal loss of each coarse cell with the shares that classes have in it, and the share that is known.

    Cross-entropy times (1 - p)^2 for each class of probability p (Lin et al. 2017): most of a scan is muscle,
    fat and lung that is soon learnt, and would outweigh small organs. logits: (b, c, Z, Y, X). classes:
    integers (b, k Z, k Y, k X) on k times finer cells, -1 where unknown. Returns (b, Z, Y, X) twice; a cell
    of which nothing is known costs 0.
    """
    finer = classes.shape[-1] // logits.shape[-1]
    known = F.one_hot(classes.long() + 1, logits.shape[1] + 1)[..., 1:].movedim(-1, 1)
    share = F.avg_pool3d(known.to(logits.dtype), finer)
    log_p = F.log_softmax(logits, 1)
    return -(share * (1 - log_p.exp()).square() * log_p).sum(1), share.sum(1)
