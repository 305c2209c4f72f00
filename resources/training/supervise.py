"""From the network's output and a batch to the loss of each kind of supervision.

Every supervision is the same focal loss over the cells that its source speaks of. All are divided by one
number, the weight of the lesions' cells of all sources that are switched on, so a supervision's weight
says how much a cell of it counts beside a cell of another.

Several processes: the numbers that sums are divided by are summed over the ranks first. DDP averages
gradients, that is, it divides their sum by the number of ranks; so each rank's loss is its own sum, times
the number of ranks, divided by the joint number. The averaged gradient is then that of one process which
sees the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from resources.training.bags import bag_losses
from resources.training.batch import (
    FULL,
    REPORT_NEGATIVE,
    REPORT_POSITIVE,
    REPORT_SILENCE,
    TEACHER,
    UNMARKED,
    WEAK,
    Batch,
)
from resources.training.config import Supervision
from resources.training.losses import CHANNELS, any_type, focal_cells, geometry_cells, positive_weight

SOURCES = {
    "full": FULL,
    "weak": WEAK,
    "unmarked": UNMARKED,
    "teacher": TEACHER,
    "report_positive": REPORT_POSITIVE,
    "report_negative": REPORT_NEGATIVE,
    "report_silence": REPORT_SILENCE,
}
"""Who speaks in each supervision of heat maps."""


def losses(
    output: torch.Tensor,
    batch: Batch,
    supervision: Supervision,
    total: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """The loss of each supervision that is switched on, times its weight; their sum is to be minimised.

    output: (b, t + 6, Z, Y, X) of the network on the batch. total: the sum over all ranks of a tensor, itself
    where there is one process; called once, with four numbers, whatever the batch holds. Names are those of
    Supervision. On several ranks the mean over the ranks is the loss of the joint batch.
    """
    types = batch.heat.shape[1]
    logits, predicted = output[:, :types], output[:, types:]
    weights = [getattr(supervision, name) for name in SOURCES]
    heat = focal_cells(logits, batch.heat) * batch.weight
    any_heat = focal_cells(any_type(logits), batch.any_heat) * batch.any_weight
    sums: dict[str, torch.Tensor] = {}
    positive = output.new_zeros(())
    for (name, who), weight in zip(SOURCES.items(), weights, strict=True):
        if weight > 0:
            own, any_own = batch.said_by == who, batch.any_said_by == who
            sums[name] = weight * ((heat * own).sum() + (any_heat * any_own).sum())
            positive = positive + positive_weight(batch.heat, batch.weight * own)
            positive = positive + positive_weight(batch.any_heat, batch.any_weight * any_own)
    measured = output.new_zeros(())
    if supervision.geometry > 0:
        source = output.new_tensor(weights)[batch.geometry_said_by.long()]
        cells = geometry_cells(predicted, batch.geometry, batch.geometry_weight)
        sums["geometry"] = supervision.geometry * (cells * source).sum()
        measured = (batch.geometry_weight.sum(1) * (source > 0)).sum() / CHANNELS
    wanted = output.new_zeros(())
    if supervision.bag > 0:
        bags, wanted = bag_losses(output, batch, supervision.geometry)
        sums["bag"] = supervision.bag * bags
    joint = total(torch.stack([positive, measured, wanted, torch.ones_like(positive)]).detach())
    positive, measured, wanted = (number.clamp(min=1) for number in joint[:3])
    divisors = dict.fromkeys(SOURCES, positive) | {"geometry": measured, "bag": wanted}
    return {name: joint[3] * value / divisors[name] for name, value in sums.items()}
