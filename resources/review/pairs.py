"""The findings of two scans of a patient paired by position: same, grown, shrunk, gone, new; RECIST's sum."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from model.exports import Detection
from model.volume import Volume
from resources.cases.strict import CaseError
from resources.review.register import Registration
from resources.training.reports.matching import assign

PLACE_SIGMA_MM = 6.0
"""How far a finding may lie from its place after a rigid registration: breath, posture, detector's error."""
SIZE_SHARE = 0.15
"""The same as a share of the long diameter, added: the middle of a large lesion is less certain."""
GROWTH_SIGMA = 0.7
"""Standard deviation of the log ratio of two long diameters of one lesion, growth included."""
OTHER_TYPE = 2.0
"""Added cost of a pair of two lesion types."""
ALONE = 3.0
"""Cost of a finding without a partner: a pair is made up to about 3.5 standard deviations."""
WEAK_MM = 10.0
"""A finding below the operating point is taken for one of the other scan up to this distance."""
TARGETS, TARGETS_PER_ORGAN = 5, 2
LEAST_MM, LEAST_NODE_MM = 10.0, 15.0
"""RECIST 1.1 (Eisenhauer et al. 2009): five targets, two an organ, from 10 mm; nodes: 15 mm short axis."""

State = Literal["both", "gone", "new", "outside the follow-up", "outside the prior"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One lesion in two scans; None where it was not found in one.

    weak: a partner below the operating point of a finding that is above it. apart_mm: after registration.
    """

    state: State
    prior: Detection | None
    follow_up: Detection | None
    weak: bool = False
    apart_mm: float | None = None

    @property
    def change_mm(self) -> float | None:
        """Of the long diameter."""
        if self.prior is None or self.follow_up is None:
            return None
        return self.follow_up.long_mm - self.prior.long_mm


def pair_findings(
    prior: Sequence[Detection],
    follow_up: Sequence[Detection],
    registration: Registration,
    volumes: tuple[Volume, Volume],
) -> list[Pair]:
    """Pairs of the findings above the operating points, then those without a partner; by the prior's numbers.

    volumes: of the prior and the follow-up scan, to tell what is gone from what was not scanned.
    """
    first = [d for d in prior if d.above_operating_point]
    second = [d for d in follow_up if d.above_operating_point]
    places = registration.forward([d.point_mm for d in first])
    pairs, free, fresh = [], set(range(len(first))), set(range(len(second)))
    if first and second:
        cost = np.array(
            [[_cost(a, place, b) for b in second] for a, place in zip(first, places, strict=True)]
        )
        for i, j in assign(cost, np.full(len(first), ALONE), np.full(len(second), ALONE)):
            apart = float(np.linalg.norm(places[i] - second[j].point_mm))
            pairs.append(Pair("both", first[i], second[j], apart_mm=apart))
            free.discard(i)
            fresh.discard(j)
    weak = [d for d in follow_up if not d.above_operating_point]
    for i in sorted(free):
        pairs.append(_alone(first[i], places[i], weak, volumes[1], later=True))
    weak = [d for d in prior if not d.above_operating_point]
    for j in sorted(fresh):
        place = registration.backward([second[j].point_mm])[0]
        pairs.append(_alone(second[j], place, weak, volumes[0], later=False))
    return sorted(pairs, key=lambda p: (p.prior is None, (p.prior or p.follow_up).number))  # type: ignore[union-attr]


def _cost(a: Detection, place: np.ndarray, b: Detection) -> float:
    """Negative log likelihood, up to a constant, of two findings being one lesion."""
    sigma = PLACE_SIGMA_MM + SIZE_SHARE * max(a.long_mm, b.long_mm)
    apart = float(np.linalg.norm(place - b.point_mm)) / sigma
    growth = math.log(b.long_mm / a.long_mm) / GROWTH_SIGMA
    return 0.5 * apart**2 + 0.5 * growth**2 + (0.0 if a.type == b.type else OTHER_TYPE)


def _alone(one: Detection, place: np.ndarray, weak: Sequence[Detection], there: Volume, later: bool) -> Pair:
    """What became of a finding without a partner above the operating point. place: where it lies there."""
    index = there.world_to_index([place])[0]
    inside = bool(((index >= -0.5) & (index <= np.array(there.hu.shape[::-1]) - 0.5)).all())
    near = [(float(np.linalg.norm(place - d.point_mm)), d) for d in weak if d.type == one.type]
    near = [(apart, d) for apart, d in near if apart <= WEAK_MM]
    if near:
        apart, other = max(near, key=lambda row: row[1].probability)
        ends = (one, other) if later else (other, one)
        return Pair("both", *ends, weak=True, apart_mm=apart)
    if later:
        return Pair("gone" if inside else "outside the follow-up", one, None)
    return Pair("new" if inside else "outside the prior", None, one)


@dataclasses.dataclass(frozen=True)
class TargetSum:
    """The sum of the targets' diameters in both scans, and what RECIST 1.1 would call the change.

    numbers: the targets, as numbered in the prior. lost: those that the follow-up does not show.
    """

    numbers: tuple[int, ...]
    prior_mm: float
    follow_up_mm: float
    lost: tuple[int, ...]
    response: str


def sum_of_targets(pairs: Sequence[Pair], chosen: Sequence[int] | None = None) -> TargetSum:
    """RECIST 1.1 with the prior scan as baseline and nadir. chosen: numbers in the prior; None: by the rule.

    A target that is gone counts as 0 mm. Raises CaseError where a chosen number is none of the prior's.
    """
    by_number = {p.prior.number: p for p in pairs if p.prior is not None}
    numbers = tuple(chosen) if chosen is not None else _targets(list(by_number.values()))
    for number in numbers:
        if number not in by_number:
            known = ", ".join(map(str, by_number)) or "none"
            raise CaseError(f"--targets: expected numbers of the prior's findings ({known}), found {number}")
    targets = [by_number[number] for number in numbers]
    lost = tuple(p.prior.number for p in targets if p.prior and p.state == "outside the follow-up")
    seen = [p for p in targets if p.state != "outside the follow-up"]
    before = sum(_measure(p.prior, p.prior) for p in seen if p.prior)
    after = sum(_measure(p.follow_up, p.prior) for p in seen if p.follow_up and p.prior)
    new = sum(p.state == "new" for p in pairs)
    return TargetSum(numbers, before, after, lost, _response(before, after, new, bool(seen)))


def _is_node(d: Detection) -> bool:
    return d.organ is not None and "node" in d.organ


def _measure(d: Detection, like: Detection) -> float:
    """The diameter that RECIST measures: the long one, of a node the short one."""
    return d.short_mm if _is_node(like) else d.long_mm


def _targets(pairs: Sequence[Pair]) -> tuple[int, ...]:
    numbers: list[int] = []
    per_organ: Counter[str] = Counter()
    priors = [p.prior for p in pairs if p.prior is not None and p.prior.above_operating_point]
    for d in sorted(priors, key=lambda d: -_measure(d, d)):
        organ = d.organ or d.type
        large = _measure(d, d) >= (LEAST_NODE_MM if _is_node(d) else LEAST_MM)
        if large and per_organ[organ] < TARGETS_PER_ORGAN and len(numbers) < TARGETS:
            numbers.append(d.number)
            per_organ[organ] += 1
    return tuple(sorted(numbers))


def _response(before: float, after: float, new: int, measured: bool) -> str:
    if new:
        return "progressive disease (new lesions)"
    if not measured or before <= 0:
        return "not evaluable"
    change = (after - before) / before
    if after == 0:
        return "complete response of the targets"
    if change <= -0.3:
        return "partial response"
    return "progressive disease" if change >= 0.2 and after - before >= 5 else "stable disease"
