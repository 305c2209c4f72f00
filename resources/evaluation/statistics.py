"""Bootstrap over patients, paired permutation, DeLong, Holm, Wilson.

All draws come from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Measure = Callable[[npt.NDArray], dict[str, Floats]]
"""Case weights (b, cases) -> (b,) values by name; nan where one is undefined."""

CHUNK = 50
MOST_UNDEFINED = 0.05
"""If more of the resamples than this have no value, there is no interval."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; None where there is none, and why."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    note: str = ""


def bootstrap_weights(patients: npt.ArrayLike, strata: npt.ArrayLike, count: int, seed: int) -> Ints:
    """(count, cases): how often each case is drawn when patients are drawn with replacement within strata.

    patients: (cases,) 0-based patient of each case. strata: (patients,) stratum of each patient. All cases
    of a patient are drawn together. (Davison & Hinkley 1997, sections 3.2 and 3.8.)
    """
    rng = np.random.default_rng(seed)
    case_patient, patient_stratum = np.asarray(patients, np.intp), np.asarray(strata)
    drawn = np.zeros((count, len(patient_stratum)), np.int64)
    for stratum in np.unique(patient_stratum):
        members = np.flatnonzero(patient_stratum == stratum)
        drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), count)
    return drawn[:, case_patient]


def in_chunks(measure: Measure, weights: npt.NDArray) -> dict[str, Floats]:
    """The measures of all rows of weights, a few at a time so that memory stays small."""
    parts = [measure(weights[start : start + CHUNK]) for start in range(0, len(weights), CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def estimates(
    measure: Measure, weights: npt.NDArray, proportion_of: dict[str, int] | None = None
) -> dict[str, Estimate]:
    """Each measure of the sample with the percentile interval of its resamples (Efron 1981).

    proportion_of: for proportions, by how many independent patients they are; where all or none succeed,
    resamples do not vary and Wilson's interval takes their place.
    """
    sample = measure(np.ones((1, weights.shape[1]), np.int64))
    resampled = in_chunks(measure, weights)
    estimated = {}
    for name, values in sample.items():
        value, total = float(values[0]), (proportion_of or {}).get(name, 0)
        if not np.isfinite(value):
            estimated[name] = Estimate(None, note="undefined in this sample")
        elif value in (0.0, 1.0) and total > 0:
            estimated[name] = Estimate(value, *wilson(round(value * total), total), note="Wilson's interval")
        else:
            estimated[name] = interval(value, resampled[name])
    return estimated


def interval(value: float, resampled: Floats) -> Estimate:
    """Percentile interval of resampled values around that of the sample."""
    finite = resampled[np.isfinite(resampled)]
    if len(finite) < (1 - MOST_UNDEFINED) * len(resampled):
        return Estimate(value, note="undefined in too many resamples for an interval")
    lower, upper = np.quantile(finite, [0.025, 0.975])
    if lower == upper:
        return Estimate(value, note="the same in all resamples: no interval")
    return Estimate(value, float(lower), float(upper))


def wilson(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); holds at 0 and 1 too, where resamples do not vary."""
    if not 0 <= successes <= total or total == 0:
        raise ValueError(f"proportion: expected 0 <= successes <= total > 0, found {successes} of {total}")
    z = float(norm.ppf(0.975))
    p, scale = successes / total, 1 + z**2 / total
    middle = (p + z**2 / (2 * total)) / scale
    half = z / scale * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def sign_swap_p(difference: Measure, patients: npt.ArrayLike, count: int, seed: int) -> dict[str, float]:
    """Two-sided permutation p of differences of two models, under exchange of the models per patient.

    difference: (b, 2 cases) weights, the first half for the first model's outcomes, the second half for the
    second's -> (b,) first minus second; it is called with 0 and 1, where exchanging a patient swaps the
    halves. p = (1 + exceedances) / (1 + count) (Phipson & Smyth 2010), nan where a difference is undefined.
    """
    rng = np.random.default_rng(seed)
    case_patient = np.asarray(patients, np.intp)
    keep = np.ones((1, len(case_patient)), np.int64)
    observed = difference(np.concatenate([keep, 1 - keep], 1))
    kept = rng.integers(0, 2, (count, int(case_patient.max()) + 1))[:, case_patient]
    permuted = in_chunks(difference, np.concatenate([kept, 1 - kept], 1))
    p_values = {}
    for name, values in observed.items():
        exceeding = int((np.abs(permuted[name]) >= abs(values[0]) - 1e-12).sum())
        p_values[name] = (1 + exceeding) / (1 + count) if np.isfinite(values[0]) else float("nan")
    return p_values


@dataclass(frozen=True)
class DeLong:
    """Areas of k scores, their covariance (k, k), and for two scores the difference, z and two-sided p."""

    areas: Floats
    covariance: Floats
    difference: float | None = None
    z: float | None = None
    p: float | None = None


def delong(positive: npt.ArrayLike, scores: npt.ArrayLike) -> DeLong:
    """ROC areas of correlated scores (DeLong et al. 1988, by the midranks of Sun & Xu 2014).

    positive: (n,) bool, at least two of each. scores: (k, n). ValueError otherwise. The units must be
    independent: one scan a patient.
    """
    truth, values = np.asarray(positive, bool), np.atleast_2d(np.asarray(scores, np.float64))
    ill, well = int(truth.sum()), int((~truth).sum())
    if min(ill, well) < 2:
        raise ValueError(f"DeLong: expected at least 2 positives and 2 negatives, found {ill} and {well}")
    within_ill, within_well, together = (
        rankdata(part, axis=1) for part in (values[:, truth], values[:, ~truth], values)
    )
    of_ill = (together[:, truth] - within_ill) / well
    of_well = 1 - (together[:, ~truth] - within_well) / ill
    areas = of_ill.mean(1)
    covariance = np.atleast_2d(np.cov(of_ill) / ill + np.cov(of_well) / well)
    if len(areas) != 2:
        return DeLong(areas, covariance)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance < 1e-15:
        same = abs(difference) < 1e-12
        return DeLong(areas, covariance, difference, 0.0 if same else None, 1.0 if same else None)
    z = difference / np.sqrt(variance)
    return DeLong(areas, covariance, difference, float(z), float(2 * norm.sf(abs(z))))


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p values that keep the familywise error (Holm 1979), in the order given."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
