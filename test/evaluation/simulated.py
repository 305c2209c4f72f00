"""How often the intervals hold the truth and the tests cry wolf, on simulated test sets.

Each run draws a test set from a population whose CPM and ROC area are known from a sample of 100,000
patients, and computes its intervals as an evaluation does. A second model of the same quality gives the
permutation test and DeLong's test a true null hypothesis.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resources.evaluation.compare import lesion_difference
from resources.evaluation.curves import Ranking, cpm, roc_area
from resources.evaluation.measures import lesion_ranking
from resources.evaluation.outcomes import Table
from resources.evaluation.statistics import bootstrap_weights, delong, estimates, sign_swap_p

POPULATION = 100_000


@dataclass(frozen=True)
class Sample:
    """Patients with one scan each, and what two equally good models find in them."""

    positive: npt.NDArray[np.bool_]
    tables: tuple[Table, Table]
    scores: npt.NDArray[np.float64]


def draw(patients: int, rng: np.random.Generator) -> Sample:
    """Half hold 1 to 6 lesions; some patients are harder than others, for both models alike."""
    positive = rng.random(patients) < 0.5
    lesions = np.where(positive, 1 + np.minimum(rng.poisson(1.2, patients), 5), 0)
    ease, clutter = rng.normal(0, 0.7, patients), rng.gamma(2, 1.5, patients)
    lesion_case = np.repeat(np.arange(patients), lesions)
    visible = rng.normal(0.8, 0.8, len(lesion_case))
    tables, scores = [], []
    for _ in range(2):
        hit = rng.normal(visible + ease[lesion_case], 0.8)
        hit[rng.random(len(hit)) < 0.12] = -np.inf
        false_case = np.repeat(np.arange(patients), rng.poisson(clutter))
        false = rng.normal(-1.2 + 0.4 * ease[false_case], 1)
        tables.append(_table(patients, lesion_case, hit, false_case, false))
        top = np.full(patients, -6.0)
        np.maximum.at(top, lesion_case, hit)
        np.maximum.at(top, false_case, false)
        scores.append(top)
    return Sample(positive, (tables[0], tables[1]), np.stack(scores))


def _table(
    patients: int,
    lesion_case: npt.NDArray[np.intp],
    hit: npt.NDArray[np.float64],
    false_case: npt.NDArray[np.intp],
    false: npt.NDArray[np.float64],
) -> Table:
    nowhere, numbers = np.full(len(hit), -1), np.arange(len(false))
    every, complete = np.full(patients, True), np.full(len(hit), True)
    fresh = np.full(len(false), False)
    return Table(
        patients, every, lesion_case, nowhere, nowhere, hit, complete, false_case, numbers, false, fresh, {}
    )


def measures(sample: Sample, weights: npt.NDArray) -> dict[str, npt.NDArray[np.float64]]:
    """CPM and ROC area of the first model."""
    table, place = sample.tables[0], np.arange(len(sample.positive))
    ill = sample.positive
    scans = Ranking.of(place[ill], sample.scores[0, ill], place[~ill], sample.scores[0, ~ill])
    return {
        "cpm": cpm(lesion_ranking(table), weights, table.lesions, table.judged),
        "roc_area": roc_area(scans, weights),
    }


def simulate(runs: int, patients: int, resamples: int, seed: int) -> dict[str, int]:
    """How often of `runs` each interval held the truth, and each test was below 0.05 without a difference."""
    rng = np.random.default_rng(seed)
    whole = draw(POPULATION, rng)
    truth = {name: values[0] for name, values in measures(whole, np.ones((1, POPULATION), np.int64)).items()}
    counts = dict.fromkeys(["cpm", "roc_area", "permutation", "delong"], 0)
    place = np.arange(patients)
    for run in range(runs):
        sample = draw(patients, rng)
        weights = bootstrap_weights(place, sample.positive, resamples, seed + run)
        for name, found in estimates(functools.partial(measures, sample), weights).items():
            counts[name] += (found.lower or 0) <= truth[name] <= (found.upper or 1)
        p = sign_swap_p(lesion_difference(*sample.tables), place, resamples, seed + run)
        counts["permutation"] += p["cpm"] <= 0.05
        counts["delong"] += (delong(sample.positive, sample.scores).p or 1) <= 0.05
    return counts
