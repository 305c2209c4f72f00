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

from model.heads import GEOMETRY, split
from resources.training.config import Supervision
from resources.training.data.batch import SPEAKERS, Batch
from resources.training.targets.losses import (
    any_type,
    focal_cells,
    geometry_cells,
    organ_cells,
    positive_weight,
)

ORGANS = len(SPEAKERS)
"""Column of the organs' weight in Batch.trust."""


def losses(
    output: torch.Tensor,
    organs: torch.Tensor,
    batch: Batch,
    supervision: Supervision,
    total: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """The loss of each supervision that is switched on, times its weight; their sum is to be minimised.

    output: (b, channels, Z, Y, X), organs: (b, classes, Z/2, Y/2, X/2) of the network on the batch.
    supervision: what is switched on (TrainingConfig.strongest); what it weighs in a patch stands in the
    batch. total: the sum over all ranks of a tensor, itself where there is one process; called once, with
    four numbers, whatever the batch holds. Names are those of Supervision. On several ranks the mean over
    the ranks is the loss of the joint batch.
    """
    logits, *predicted = split(output)
    heat = focal_cells(logits, batch.heat) * batch.weight
    any_heat = focal_cells(any_type(logits), batch.any_heat) * batch.any_weight
    sums: dict[str, torch.Tensor] = {}
    positive = output.new_zeros(())
    for who, name in enumerate(SPEAKERS):
        if getattr(supervision, name) > 0:
            trust = batch.trust[:, who, None, None, None]
            weights, any_weights = trust[:, None] * (batch.said_by == who), trust * (batch.any_said_by == who)
            sums[name] = (heat * weights).sum() + (any_heat * any_weights).sum()
            positive = positive + positive_weight(batch.heat, batch.weight * (weights > 0))
            positive = positive + positive_weight(batch.any_heat, batch.any_weight * (any_weights > 0))
    measured, mapped = output.new_zeros(()), output.new_zeros(())
    if supervision.geometry > 0:
        speaker = batch.geometry_said_by.flatten(1).long()
        trust = batch.trust.gather(1, speaker).view_as(batch.geometry_said_by)
        cells = geometry_cells(torch.cat(predicted, 1), batch.geometry, batch.geometry_weight)
        sums["geometry"] = supervision.geometry * (cells * trust).sum()
        measured = (batch.geometry_weight.sum(1) * (trust > 0)).sum() / GEOMETRY
    if supervision.organs > 0:
        cells, share = organ_cells(organs, batch.organs)
        trust = batch.trust[:, ORGANS, None, None, None]
        sums["organs"], mapped = (cells * trust).sum(), (share * (trust > 0)).sum()
    joint = total(torch.stack([positive, measured, mapped, torch.ones_like(positive)]).detach())
    positive, measured, mapped = (number.clamp(min=1) for number in joint[:3])
    divisors = dict.fromkeys(SPEAKERS, positive) | {"geometry": measured, "organs": mapped}
    return {name: joint[3] * value / divisors[name] for name, value in sums.items()}
