"""The assignment of findings to places: against brute force, by hand, and in any order."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.cases.case import Finding
from resources.training.reports.matching import (
    GROSS_ERROR,
    MISSED,
    OMITTED,
    SIZE_SIGMA,
    UNTAUGHT,
    Candidate,
    Wanted,
    assign,
    match,
    wanted_of,
)

TYPES = ("liver", "lung")


def cheapest(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """The least cost over all partial assignments, by trying them all."""
    n, m = cost.shape
    best = math.inf
    for chosen in itertools.product(range(-1, m), repeat=n):
        used = [c for c in chosen if c >= 0]
        if len(set(used)) == len(used):
            paired = sum(cost[r, c] if c >= 0 else rows[r] for r, c in enumerate(chosen))
            best = min(best, paired + sum(columns[c] for c in range(m) if c not in used))
    return best


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 4), m=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_no_assignment_is_cheaper(n: int, m: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cost, rows, columns = (
        generator.uniform(0, 5, (n, m)),
        generator.uniform(0, 4, n),
        generator.uniform(0, 2, m),
    )
    pairs = assign(cost, rows, columns)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    paired = sum(cost[r, c] for r, c in pairs)
    alone = sum(rows[r] for r in range(n) if r not in {a for a, _ in pairs})
    alone += sum(columns[c] for c in range(m) if c not in {b for _, b in pairs})
    assert paired + alone == pytest.approx(cheapest(cost, rows, columns))


def test_optimal_is_not_greedy_and_nobody_is_forced() -> None:
    cost = np.array([[1.2, 2.0], [1.5, 9.0]])
    assert assign(cost, np.full(2, 4.0), np.zeros(2)) == [(0, 1), (1, 0)]  # greedy: 1.2 + 9
    assert assign(cost, np.full(2, 1.0), np.zeros(2)) == []  # alone: 1 + 1
    assert assign(cost, np.array([1.0, 4.0]), np.zeros(2)) == [(1, 0)]  # 1 + 1.5
    assert assign(np.zeros((0, 3)), np.zeros(0), np.zeros(3)) == []


def place(long_mm: float = 20.0, liver: float = 0.5, lung: float = 0.01, x: float = 0.0) -> Candidate:
    return Candidate((x, 0.0, 0.0), long_mm, max(liver, lung), (liver, lung))


def pairs_of(
    findings: list[Finding], candidates: list[Candidate], places: np.ndarray | None = None
) -> list[tuple[int, int]]:
    wanted = wanted_of(findings)
    likelihood = np.zeros((len(wanted), len(candidates))) if places is None else places
    return [(p.wanted, p.candidate) for p in match(wanted, candidates, likelihood, TYPES)]


LIVER = Finding("liver", "liver", sizes_mm=(20.0,))


def test_what_is_wanted() -> None:
    findings = [
        LIVER,
        Finding("liver", "liver", count="several"),
        Finding("lung", "lung", count=3, presence="uncertain"),
        Finding("lung", "lung", count=None, presence="absent"),
        Finding("lung", "lung", time="resolved"),
        Finding("lung", "lung", time="prior"),
        Finding("kidney", "kidney", character="benign"),
    ]
    assert [(one.number, one.count) for one in wanted_of(findings)] == [(0, 1), (1, 2), (2, 3)]


def test_the_likelihood_of_a_match_by_hand() -> None:
    """Two equal places: the one finding has half of the likelihood of all, less what MISSED takes."""
    pairs = match(wanted_of([LIVER]), [place(x=1.0), place(x=2.0)], np.zeros((1, 2)), TYPES)
    assert [(p.wanted, p.candidate, p.largest) for p in pairs] == [(0, 0, True)]
    assert pairs[0].share == pytest.approx(0.5 / (0.5 + 0.5 + MISSED))
    larger = place(20.0 * math.exp(2 * SIZE_SIGMA))
    (pair,) = match(wanted_of([LIVER]), [larger], np.array([[-1.0]]), TYPES)
    fit = 0.5 * math.exp(-1) * ((1 - GROSS_ERROR) * math.exp(-2) + GROSS_ERROR)
    assert pair.share == pytest.approx(fit / (fit + MISSED))


def test_a_place_that_another_finding_has_is_no_rival() -> None:
    pairs = match(wanted_of([LIVER, LIVER]), [place(x=1.0), place(x=2.0)], np.zeros((2, 2)), TYPES)
    assert [p.share for p in pairs] == pytest.approx([0.5 / (0.5 + MISSED)] * 2)


def test_type_size_and_place_decide() -> None:
    assert pairs_of([LIVER], [place(liver=0.02, lung=0.9), place(liver=0.3)]) == [(0, 1)]
    assert pairs_of([LIVER], [place(50.0), place(21.0)]) == [(0, 1)]
    assert pairs_of([LIVER], [place(), place()], np.array([[-5.0, 0.0]])) == [(0, 1)]
    small, large = Finding("liver", "liver", sizes_mm=(8.0, 6.0)), Finding("liver", "liver", sizes_mm=(40.0,))
    assert pairs_of([small, large], [place(38.0, 0.4), place(9.0, 0.9)]) == [(0, 1), (1, 0)]


def test_a_lesion_of_a_type_that_nobody_marked_is_seen_before_it_is_named() -> None:
    """Any map may show it, with UNTAUGHT of its probability; the own map counts in full."""
    lung, places = wanted_of([Finding("lung", "lung")]), np.zeros((1, 1))
    seen_as_liver = place(liver=0.5, lung=0.01)
    assert match(lung, [seen_as_liver], places, TYPES) == ()
    (pair,) = match(lung, [seen_as_liver], places, TYPES, frozenset({"lung"}))
    assert pair.share == pytest.approx(0.5 * UNTAUGHT / (0.5 * UNTAUGHT + MISSED))


def test_a_finding_is_left_alone_rather_than_forced() -> None:
    assert pairs_of([LIVER], [place(liver=0.001, lung=0.9)]) == []
    assert pairs_of([LIVER], [place(liver=0.01)]) == []  # below MISSED
    assert pairs_of([LIVER], []) == []
    assert pairs_of([], [place()]) == []
    assert len(pairs_of([LIVER, LIVER], [place()])) == 1


def test_unknown_types_and_sizes_speak_neither_way() -> None:
    unknown = Candidate((0.0, 0.0, 0.0), None, 1.0, None)
    assert pairs_of([LIVER], [unknown]) == [(0, 0)]
    assert pairs_of([Finding(None, None)], [place(liver=0.01, lung=0.7)]) == [(0, 0)]


def test_a_count_asks_for_so_many_places_and_the_size_is_of_the_largest() -> None:
    three = Finding("liver", "liver", count=3, sizes_mm=(30.0,))
    candidates = [place(8.0, 0.6), place(31.0, 0.6), place(12.0, 0.6), place(90.0, 0.6)]
    pairs = match(wanted_of([three]), candidates, np.zeros((1, 4)), TYPES)
    assert [(p.candidate, p.largest) for p in pairs] == [(0, False), (1, True), (2, False)]
    assert all(p.share > 0.9 for p in pairs if not p.largest)
    several = Finding("liver", "liver", count="several")
    assert pairs_of([several], [place(8.0, 0.5), place(31.0, 0.4), place(12.0, 0.6)]) == [(0, 0), (0, 2)]


def test_when_the_largest_is_found_the_size_only_says_that_the_others_are_no_larger() -> None:
    (whole,) = wanted_of([Finding("liver", "liver", count=2, sizes_mm=(30.0,))])
    rest = Wanted(whole.number, whole.finding, 1, sized=False)
    assert (whole.size_mm, rest.size_mm) == (30.0, None)
    found = match([rest], [place(10.0), place(60.0)], np.zeros((1, 2)), TYPES)
    assert [(p.candidate, p.largest) for p in found] == [(0, True)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_the_order_of_findings_and_places_changes_nothing(seed: int, ties: bool) -> None:
    """Findings and places that differ in nothing but their number may stand for one another."""
    draw = random.Random(seed)
    sizes = (10.0, 20.0) if ties else tuple(draw.uniform(5, 50) for _ in range(6))
    findings = [
        Finding(
            draw.choice(TYPES), "liver", count=draw.choice((1, 1, 2, "several")),
            sizes_mm=draw.choice(((), (draw.choice(sizes),))),
        )
        for _ in range(draw.randint(1, 4))
    ]  # fmt: skip
    candidates = [
        place(draw.choice(sizes), draw.choice((0.3, 0.6)), 0.2, x=0.0 if ties else draw.random())
        for _ in range(draw.randint(1, 5))
    ]
    likelihood = {
        (f, c): -draw.uniform(0, 3) if not ties else 0.0 for f in set(findings) for c in set(candidates)
    }

    def outcome(fs: list[Finding], cs: list[Candidate]) -> list[str]:
        places = np.array([[likelihood[f, c] for c in cs] for f in fs])
        pairs = match(wanted_of(fs), cs, places, TYPES)
        return sorted(repr((fs[p.wanted], cs[p.candidate], p.largest, p.share)) for p in pairs)

    expected = outcome(findings, candidates)
    shuffled, mixed = findings[:], candidates[:]
    draw.shuffle(shuffled)
    draw.shuffle(mixed)
    assert outcome(shuffled, mixed) == expected


def test_a_place_of_its_own_is_cheap_to_leave_but_not_free() -> None:
    """Reports leave out lesions, so a sure place without a finding is no contradiction."""
    sure = place(liver=0.9, lung=0.001)
    alone = -math.log(0.1 + OMITTED * 0.9)
    assert 0.5 < alone < -math.log(MISSED)
    assert pairs_of([Finding("lung", "lung")], [sure]) == []
