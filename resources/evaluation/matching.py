"""Which prediction finds which lesion: the matching rules, on plain arrays of one scan.

All coordinates of one scan are in one frame of mm. n predictions, m lesions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from model.boxes import distances, iobb_of_corner_boxes, iou_of_corner_boxes

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HIT, FALSE, DUPLICATE, IGNORED = "hit", "false positive", "duplicate", "ignored"
"""What becomes of a prediction: it finds a lesion; it finds nothing; it is a further one on a lesion that is
found already (a false positive too); it lies on an excluded finding, so it counts neither way."""


@dataclass(frozen=True)
class Candidates:
    """Predictions of one scan.

    points_mm (n, 3), probability (n,), boxes_mm (n, 6) lower then upper or None.
    """

    points_mm: Floats
    probability: Floats
    boxes_mm: Floats | None


@dataclass(frozen=True)
class Targets:
    """Annotated lesions of one scan.

    centres_mm (m, 3); radii_mm (m,) half the long diameter; boxes_mm (m, 6); key_boxes_mm (m, 4): x and y
    of lower, then upper corner on the key slice; key_z_mm (m, 2): the slab that the key slice fills;
    key_pad_mm (m, 2): by how much both boxes are widened on it; inside (n, m): whether a prediction's point
    lies in the lesion; sized (m,): False where the annotation has no extent; excluded (m,).
    """

    centres_mm: Floats
    radii_mm: Floats
    boxes_mm: Floats
    key_boxes_mm: Floats
    key_z_mm: Floats
    key_pad_mm: Floats
    inside: Bools
    sized: Bools
    excluded: Bools


@dataclass(frozen=True)
class Rule:
    """criterion: what is computed for a pair, acceptable from `threshold` up (for "distance", below 1).

    assignment "greedy": predictions choose in order of probability, each its best lesion that is still free.
    "hungarian": most pairs, then the largest sum of overlaps, whatever the probabilities.
    """

    name: str
    criterion: Literal["inside", "distance", "iou", "iobb", "key_slice_iou"]
    threshold: float
    assignment: Literal["greedy", "hungarian"]
    text: str

    @property
    def needs_boxes(self) -> bool:
        return self.criterion in ("iou", "iobb", "key_slice_iou")


RULES = (
    Rule(
        "point_inside",
        "inside",
        0.0,
        "greedy",
        "The predicted point lies inside the lesion: its mask, or the ellipsoid of its box, RECIST mark or "
        "diameter. Greedy by probability, the nearest centre first.",
    ),
    Rule(
        "luna16_distance",
        "distance",
        1.0,
        "greedy",
        "The predicted point is nearer to the lesion's centre than half its long diameter (LUNA16, Setio et "
        "al. 2017). Greedy by probability, the nearest centre first.",
    ),
    Rule(
        "iou_0.1",
        "iou",
        0.1,
        "greedy",
        "Intersection over union of the 3D boxes of at least 0.1 (nnDetection, Baumgartner et al. 2021). "
        "Greedy by probability, the largest overlap first.",
    ),
    Rule(
        "iou_0.1_hungarian",
        "iou",
        0.1,
        "hungarian",
        "The same overlap, assigned as in PI-CAI (Saha et al. 2024): most pairs, then most overlap.",
    ),
    Rule(
        "iobb_0.3",
        "iobb",
        0.3,
        "greedy",
        "Intersection over the predicted box of at least 0.3 (LENS, Yan et al. 2020). Known weakness: a box "
        "of one voxel anywhere in the lesion scores 1, so read it beside IoU and point hits. Greedy.",
    ),
    Rule(
        "key_slice_iou_0.5",
        "key_slice_iou",
        0.5,
        "greedy",
        "On the lesion's key slice, intersection over union of the 2D boxes of at least 0.5 (DeepLesion, Yan "
        "et al. 2018). For RECIST marks both boxes are widened by 5 pixels on each side, as DeepLesion's "
        "are. Greedy.",
    ),
)
PRIMARY = RULES[1]
"""By which weights are chosen and studies are read: the most used rule for points."""


def key_slice_iou(candidates: Floats, targets: Targets) -> Floats:
    """(n, 6) boxes -> (n, m) IoU of their cuts with each lesion's key slice; 0 where they miss it."""
    pad = targets.key_pad_mm[None]
    lower = candidates[:, None, :2] - pad
    upper = candidates[:, None, 3:5] + pad
    true_lower = targets.key_boxes_mm[None, :, :2] - pad
    true_upper = targets.key_boxes_mm[None, :, 2:] + pad
    shared = np.clip(np.minimum(upper, true_upper) - np.maximum(lower, true_lower), 0, None).prod(2)
    union = (upper - lower).prod(2) + (true_upper - true_lower).prod(2) - shared
    cut = (candidates[:, 2:3] <= targets.key_z_mm[None, :, 1]) & (
        candidates[:, 5:6] >= targets.key_z_mm[None, :, 0]
    )
    return np.divide(shared, union, out=np.zeros_like(shared), where=cut & (union > 0))


def preference(rule: Rule, candidates: Candidates, targets: Targets) -> Floats:
    """(n, m): 0 where the rule refuses the pair; else above 0, the larger the better the pair fits."""
    n, m = len(candidates.probability), len(targets.excluded)
    if n == 0 or m == 0:
        return np.zeros((n, m))
    distance = distances(candidates.points_mm, targets.centres_mm)
    nearness = 1 / (1 + distance)
    within = np.where(targets.inside, nearness, 0.0)
    if rule.criterion == "inside":
        return within
    if rule.criterion == "distance":
        return np.where(distance < rule.threshold * targets.radii_mm[None], nearness, 0.0)
    if candidates.boxes_mm is None:
        raise ValueError(f"{rule.name}: expected predicted boxes, found none")
    if rule.criterion == "iou":
        overlap = iou_of_corner_boxes(candidates.boxes_mm, targets.boxes_mm)
    elif rule.criterion == "iobb":
        overlap = iobb_of_corner_boxes(candidates.boxes_mm, targets.boxes_mm)
    else:
        overlap = key_slice_iou(candidates.boxes_mm, targets)
    return np.where(targets.sized[None], np.where(overlap >= rule.threshold, overlap, 0.0), within)


def match(rule: Rule, candidates: Candidates, targets: Targets) -> tuple[npt.NDArray[np.intp], list[str]]:
    """(n,) lesion that each prediction finds, -1 for none, and what becomes of each prediction.

    One prediction finds one lesion at most, and one lesion is found by one prediction at most. A greedy
    prediction that prefers two lesions equally finds the one listed first. Lesions
    without extent are treated as excluded by the rules that compare boxes.
    """
    excluded = targets.excluded | ~targets.sized if rule.needs_boxes else targets.excluded
    values = preference(rule, candidates, targets)
    targets_of = np.full(len(candidates.probability), -1, np.intp)
    wanted = np.where(excluded[None], 0.0, values)
    if rule.assignment == "hungarian":
        rows, columns = linear_sum_assignment(np.where(wanted > 0, 1 + wanted, 0.0), maximize=True)
        real = wanted[rows, columns] > 0
        targets_of[rows[real]] = columns[real]
    elif wanted.any():
        free = wanted.copy()
        for i in np.argsort(-candidates.probability, kind="stable"):
            best = int(free[i].argmax())
            if free[i, best] > 0:
                targets_of[i] = best
                free[:, best] = 0.0
    on_excluded = (values[:, excluded] > 0).sum(1)
    on_lesion = (wanted > 0).sum(1)
    fates = [
        HIT if targets_of[i] >= 0 else IGNORED if on_excluded[i] else DUPLICATE if on_lesion[i] else FALSE
        for i in range(len(targets_of))
    ]
    return targets_of, fates
