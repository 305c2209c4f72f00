"""Pseudo-labels of a scan: the teacher's proposals in the light of its marks and its report.

In this order: a proposal where something is known already (a mark, complete annotation, an organ that the
report clears) is no news; findings that marks account for are found; the others are assigned to
proposals, or to none; what remains of the proposals is the teacher's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from model.network import OUTPUT_STRIDE
from resources.cases.cache import LESIONS, CachedScan
from resources.cases.case import Case, Finding
from resources.cases.lesions import SHORT_RATIO, Z_RATIO
from resources.training.config import Supervision, Teacher
from resources.training.reports.clearing import cleared_types, finding_reach_mm
from resources.training.reports.joint import account
from resources.training.reports.location import LocationPrior, location_prior
from resources.training.reports.matching import Candidate, Pair, Wanted, match
from resources.training.reports.pseudo_labels import Proposal, PseudoLesion, Sizes
from resources.training.targets.states import IGNORED, Marked, locate, states_of

UNCERTAIN = 0.5
"""Weight of a lesion of which a report is not sure."""
LEAST_SHARE = 0.5
"""A finding is taken for the place it was assigned to if that is likelier than all others together."""
MARGIN_MM = 4.0
"""A proposal this far outside of what a mark may cover is still the mark's: a cell of the output grid."""


def resolve(
    case: Case,
    scan: CachedScan,
    proposals: tuple[Proposal, ...],
    types: tuple[str, ...],
    supervision: Supervision,
    teacher: Teacher,
    untaught: frozenset[str] = frozenset(),
) -> tuple[PseudoLesion, ...]:
    """Pseudo-labelled lesions, in the order of the proposals.

    types: names of the proposals' type maps; untaught: those that the training data mark no lesion of, which
    a proposal of any map may be. With `supervision.report_positive` 0 no finding is assigned; with `teacher`
    0 nothing is labelled on the teacher's word alone. The order of findings and proposals changes nothing but
    that of the results.
    """
    marks = locate(case, scan)
    left = unknown(case, scan, marks, proposals, types, untaught)
    pairs: dict[int, tuple[Wanted, Pair]] = {}
    if supervision.report_positive > 0:
        pairs = assign(case, scan, marks, left, types, untaught)
    lesions = []
    for number, proposal in enumerate(left):
        if number in pairs:
            lesions.append(_assigned(*pairs[number], proposal))
        elif supervision.teacher > 0 and proposal.probability >= teacher.doubtful_above:
            lesions.append(_of_teacher(proposal, types, teacher))
    return tuple(lesions)


def assign(
    case: Case,
    scan: CachedScan,
    marks: Sequence[Marked],
    proposals: Sequence[Proposal],
    types: tuple[str, ...],
    untaught: frozenset[str],
) -> dict[int, tuple[Wanted, Pair]]:
    """By the number of a proposal, the finding that it was given: of those that no mark accounts for."""
    places = location_prior(case, scan)
    wanted = tuple(one for one in account(case, marks, places, types) if in_scan(one.finding, places))
    candidates = [Candidate(p.center_mm, p.size_mm[0], p.probability, p.types) for p in proposals]
    centers = np.array([p.center_mm for p in proposals], np.float64).reshape(-1, 3)
    likelihood = np.array([places.log_likelihood(one.finding, centers) for one in wanted])
    pairs = match(wanted, candidates, likelihood, types, untaught)
    return {pair.candidate: (wanted[pair.wanted], pair) for pair in pairs if pair.share > LEAST_SHARE}


def unknown(
    case: Case,
    scan: CachedScan,
    marks: Sequence[Marked],
    proposals: Sequence[Proposal],
    types: tuple[str, ...],
    untaught: frozenset[str] = frozenset(),
) -> list[Proposal]:
    """The proposals at places of which nothing is known, and of types that the report does not rule out; one
    may be of any untaught type.
    """
    state, cells = states_of(case, scan).state, scan.grid.coarsened(OUTPUT_STRIDE)
    ruled_out = cleared_types(case)
    kept = []
    for proposal in proposals:
        known = state[tuple(cells.nearest_voxel(proposal.center_mm)[0])] != IGNORED
        if known or _at_mark(scan, marks, proposal):
            continue
        if not {types[int(np.argmax(proposal.types))], *untaught} <= ruled_out:
            kept.append(proposal)
    return kept


def _at_mark(scan: CachedScan, marks: Sequence[Marked], proposal: Proposal) -> bool:
    center = np.array(proposal.center_mm)
    if any(mark.shape is not None and bool(mark.shape.perhaps(center, MARGIN_MM)) for mark in marks):
        return True
    reach = math.ceil(MARGIN_MM / scan.spacing_mm)
    z, y, x = np.rint(scan.grid.world_to_voxel(center)[0]).astype(int) - reach
    around = scan.patch((z, y, x), (2 * reach + 1,) * 3)[LESIONS]
    return bool((around > 0).any())


def _assigned(one: Wanted, pair: Pair, proposal: Proposal) -> PseudoLesion:
    """A finding at a proposal, of the size that the report gives, else of that which the teacher predicts."""
    reported_mm = one.size_mm if pair.largest else None
    size: Sizes = proposal.size_mm if reported_mm is None else size_of(one.finding)
    weight = certainty(one.finding) * pair.share
    return PseudoLesion(
        proposal.center_mm, size, one.finding.type, "positive", weight, "report", proposal.probability,
        proposal.rounds, one.number,
    )  # fmt: skip


def size_of(finding: Finding) -> tuple[float, float, float]:
    """Long, short and z of the lesion of a finding: its two largest diameters, and the shape law."""
    reported_mm = sorted(finding.sizes_mm, reverse=True)
    long_mm = reported_mm[0]
    short_mm = reported_mm[1] if len(reported_mm) > 1 else SHORT_RATIO * long_mm
    return long_mm, short_mm, Z_RATIO[0.50] * math.sqrt(long_mm * short_mm)


def certainty(finding: Finding) -> float:
    """How sure the report is that the lesion is there, 0 to 1."""
    return UNCERTAIN if finding.presence == "uncertain" else 1.0


def _of_teacher(proposal: Proposal, types: tuple[str, ...], teacher: Teacher) -> PseudoLesion:
    """The teacher's verdict: positive where it is sure and has been for some rounds, else doubtful."""
    sure = proposal.probability >= teacher.positive_above and proposal.rounds >= teacher.persistence
    return PseudoLesion(
        proposal.center_mm, proposal.size_mm, types[int(np.argmax(proposal.types))],
        "positive" if sure else "doubtful", proposal.probability, "teacher", proposal.probability,
        proposal.rounds,
    )  # fmt: skip


def in_scan(finding: Finding, places: LocationPrior) -> bool:
    """Whether the scan shows the place that a finding names, as far as one can tell: by its organ map, by the
    image that the finding names where its slice is known for sure, or by where its organ or type can be.
    """
    voxels = places.organs.get((finding.organ, finding.side, finding.type))
    if voxels is not None:
        return len(voxels) > 0
    slab = places.slab_mm(finding.organ, finding.type)
    low, high, sure = places.images.get(finding.images, (0.0, 0.0, 0.0))
    if sure == 1:
        reach_mm = finding_reach_mm(finding)
        slab = (low - reach_mm, high + reach_mm)
    return slab is None or max(slab[0], places.extent_mm[0]) < min(slab[1], places.extent_mm[1])
