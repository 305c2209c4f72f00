"""Losses of CenterNet ("Objects as Points", Zhou et al. 2019, equations 1 to 3), in three dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def focal_loss(logits: torch.Tensor, heat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced pixel-wise focal loss (alpha 2, beta 4), summed and divided by the lesions.

    All arguments have one shape; `heat` is exactly 1 at centres; cells of weight 0 have no gradient.
    """
    probability = torch.sigmoid(logits)
    center = heat == 1
    hit = -F.logsigmoid(logits) * (1 - probability).square()
    miss = -F.logsigmoid(-logits) * probability.square() * (1 - heat) ** 4
    loss = (torch.where(center, hit, miss) * weight).sum()
    return loss / (center * weight).sum().clamp(min=1)


def geometry_loss(predicted: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of (batch, 6, z, y, x) offset and log size over cells of weight > 0.

    weight: (batch, z, y, x).
    """
    error = (predicted - wanted).abs().sum(1)
    return (error * weight).sum() / weight.sum().clamp(min=1)
