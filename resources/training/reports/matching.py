"""Which lesion is which finding: the optimal assignment of what a report tells to places in the scan.

A finding of n lesions asks for n places, "several" for two. Costs are negative log likelihoods, and leaving a
finding or a place alone has a cost too, so neither is forced on the other. The sum is minimised over all
assignments at once (Kuhn 1955; scipy's linear_sum_assignment), so that a surer finding does not take the only
place that another could have.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resources.cases.case import Finding, Point

Array = npt.NDArray[np.float64]

READER_SIGMA = 0.12
"""Standard deviation of the log ratio of two readers' long diameters of one lesion: the pooled 95 % limits of
agreement are -22.1 % and 25.4 % (Yoon et al., Eur J Cancer 2016;53:5-15, twelve studies)."""
PLANE_SIGMA = 0.19
"""Root mean square of log(max(L, Z) / L) over 3,600 lesion masks of ULS23 (L long axial diameter, Z extent
along z): reports give the largest diameter in any plane, candidates have the axial one."""
SIZE_SIGMA = math.hypot(READER_SIGMA, PLANE_SIGMA)
SPREAD = 0.59
"""Standard deviation of the log long diameter of lesions (ULS23): what is known of one of unknown size."""
GROSS_ERROR = 0.05
"""Share of sizes that are of another lesion, misread or mistyped; so no size alone forbids a match."""
TYPE_ERROR = 0.005
"""Share of lesions whose type the report and the network see differently beyond what its maps say."""
UNTAUGHT = 0.3
"""The same of a type of which the training data mark no lesion: such a lesion is seen before it is named."""
OMITTED = 0.3
"""Share of lesions that a report does not tell of."""
MISSED = 0.02
"""A finding is left alone rather than given to a place of lower likelihood."""
SEVERAL = 2


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A finding and how many of its lesions are still to be found.

    number: in the case's findings. sized: whether the largest, whose size the report gives, is among them.
    """

    number: int
    finding: Finding
    count: int
    sized: bool = True

    @property
    def size_mm(self) -> float | None:
        """The largest diameter that the report gives."""
        return max(self.finding.sizes_mm) if self.finding.sizes_mm and self.sized else None


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A place that may be a lesion's. center_mm: LPS. long_mm: axial long diameter, None if unknown.

    probability: that there is a lesion. types: that there is one of each type; None if nobody knows.
    """

    center_mm: Point
    long_mm: float | None
    probability: float
    types: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Pair:
    """wanted, candidate: their numbers. largest: whether it is the lesion whose size the report tells.

    share: how much of the likelihood of all places that no other finding was given falls to this one, times
    the finding's count; at most 1. Low where other places would do as well.
    """

    wanted: int
    candidate: int
    largest: bool
    share: float


def wanted_of(findings: Sequence[Finding]) -> tuple[Wanted, ...]:
    """What a report tells to be in this scan: current, not benign, not absent."""
    return tuple(
        Wanted(number, f, SEVERAL if f.count == "several" else int(f.count or 1))
        for number, f in enumerate(findings)
        if f.time == "current" and f.character != "benign" and f.presence != "absent"
    )


def assign(cost: Array, row_alone: Array, column_alone: Array) -> list[tuple[int, int]]:
    """Pairs (row, column) of the cheapest partial assignment, sorted.

    cost: (n, m), finite. row_alone: (n,), column_alone: (m,) cost of what stays unpaired. Each row gets a
    column of its own that stands for "none", and each column such a row.
    """
    from scipy.optimize import linear_sum_assignment

    n, m = cost.shape
    never = 1.0 + float(np.abs(cost).sum() + np.abs(row_alone).sum() + np.abs(column_alone).sum())
    square = np.full((n + m, n + m), never)
    square[:n, :m] = cost
    square[n:, m:] = 0.0
    square[np.arange(n), m + np.arange(n)] = row_alone
    square[n + np.arange(m), np.arange(m)] = column_alone
    rows, columns = linear_sum_assignment(square)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if r < n and c < m]


def match(
    wanted: Sequence[Wanted],
    candidates: Sequence[Candidate],
    places: Array,
    types: Sequence[str],
    untaught: frozenset[str] = frozenset(),
) -> tuple[Pair, ...]:
    """The assignment of findings to candidates, by type, size, place and probability.

    places: (findings, candidates) log likelihood of each candidate's place, 0 where it is certain to fit.
    types: names of the candidates' types; untaught: those that the training data mark no lesion of. Findings
    and candidates are put in an order of their own first, so the result does not depend on that in which they
    come, ties included. Sorted by finding and candidate.
    """
    if not wanted or not candidates:
        return ()
    first = sorted(range(len(wanted)), key=lambda i: _finding_key(wanted[i]))
    second = sorted(range(len(candidates)), key=lambda j: _candidate_key(candidates[j]))
    slots = [(i, number == 0) for i in first for number in range(wanted[i].count)]
    likelihood = np.array(
        [
            [
                _likelihood(wanted[i], largest, candidates[j], types, untaught) * math.exp(places[i, j])
                for j in second
            ]
            for i, largest in slots
        ]
    )
    sure = np.array([candidates[j].probability for j in second])
    cost = -np.log(np.maximum(likelihood, 1e-12))
    alone = -np.log(np.maximum(1 - sure + OMITTED * sure, 1e-12))
    pairs = assign(cost, np.full(len(slots), -math.log(MISSED)), alone)
    given = {column: slots[row][0] for row, column in pairs}
    assigned = []
    for row, column in pairs:
        i, largest = slots[row]
        free = [c for c in range(len(second)) if given.get(c, i) == i]
        whole = float(likelihood[row, free].sum()) + MISSED
        share = min(1.0, wanted[i].count * float(likelihood[row, column]) / whole)
        assigned.append(Pair(i, second[column], largest, share))
    return tuple(sorted(assigned, key=lambda pair: (pair.wanted, pair.candidate)))


def _finding_key(one: Wanted) -> tuple[str, int, bool]:
    return repr(one.finding), one.count, one.sized


def _candidate_key(one: Candidate) -> tuple[Point, float, str]:
    return one.center_mm, one.probability, repr((one.long_mm, one.types))


def _likelihood(
    one: Wanted, largest: bool, candidate: Candidate, types: Sequence[str], untaught: frozenset[str]
) -> float:
    """Of a candidate being a lesion of the finding's type and size: the largest of them, or another.

    The largest is of the reported size within SIZE_SIGMA. Another may be of any that is not larger; that it
    is of this one is less likely, as SIZE_SIGMA is to SPREAD, so what fits the reported size is the largest.
    """
    value, kind = candidate.probability, one.finding.type
    if candidate.types is not None and kind is not None and kind in types:
        error = UNTAUGHT if kind in untaught else TYPE_ERROR
        value = max(candidate.types[list(types).index(kind)], error * value)
    reported_mm = max(one.finding.sizes_mm, default=None)
    if reported_mm is None or candidate.long_mm is None:
        return value
    larger = math.log(candidate.long_mm / reported_mm) / SIZE_SIGMA
    if largest and one.sized:
        return value * ((1 - GROSS_ERROR) * math.exp(-0.5 * larger**2) + GROSS_ERROR)
    fit = (1 - GROSS_ERROR) * math.exp(-0.5 * max(0.0, larger) ** 2) + GROSS_ERROR
    return value * fit * SIZE_SIGMA / SPREAD
