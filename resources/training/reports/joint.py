"""A mark and the sentence that tells of it are one lesion: what the report's other findings leave to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from resources.cases.case import Case
from resources.training.reports.location import LocationPrior
from resources.training.reports.matching import Candidate, Wanted, match, wanted_of
from resources.training.targets.states import Marked


def account(
    case: Case, marks: Sequence[Marked], places: LocationPrior, types: Sequence[str]
) -> tuple[Wanted, ...]:
    """What of the findings is still to be found: the lesions that no mark accounts for.

    Marks are assigned to findings like any candidate, but for certain: their place, their type where it is
    known and their measured size. A mark that fits no finding stays alone; one called benign explains none.
    Findings that are benign, absent, prior or resolved ask for nothing.
    """
    lesions = [mark for mark in marks if mark.annotation.status != "benign"]
    candidates = [_candidate(mark, types) for mark in lesions]
    wanted = wanted_of(case.findings)
    centers = np.array([c.center_mm for c in candidates], np.float64).reshape(-1, 3)
    likelihood = np.array([places.log_likelihood(w.finding, centers) for w in wanted])
    pairs = match(wanted, candidates, likelihood, types)
    remaining = []
    for i, one in enumerate(wanted):
        mine = [pair for pair in pairs if pair.wanted == i]
        if len(mine) < one.count:
            sized = not any(pair.largest for pair in mine)
            remaining.append(dataclasses.replace(one, count=one.count - len(mine), sized=sized))
    return tuple(remaining)


def _candidate(mark: Marked, types: Sequence[str]) -> Candidate:
    x, y, z = mark.center_mm.tolist()
    kind, long_mm = mark.annotation.type, float(mark.size_mm[0])
    likely = tuple(float(name == kind) for name in types) if kind in types else None
    return Candidate((x, y, z), None if np.isnan(long_mm) else long_mm, 1.0, likely)
