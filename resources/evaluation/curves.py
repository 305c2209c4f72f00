"""FROC, ROC, precision-recall and calibration, for many weightings of the cases at once.

Weights are (b, cases): one row of ones is the sample itself, a row of counts is a bootstrap resample. Each
function returns one value or row per row of weights, nan where it is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray
FP_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
FP_NAMES = ("1/8", "1/4", "1/2", "1", "2", "4", "8")
"""False positives per scan at which sensitivity is read (LUNA16; Setio et al. 2017), and their names."""


@dataclass(frozen=True)
class Ranking:
    """Events (hits and false alarms) sorted by falling score.

    case: (events,) row of weights. hit: (events,) bool. last: positions of the last event of each score, the
    only places where a threshold can lie. scores: (thresholds,).
    """

    case: npt.NDArray[np.intp]
    hit: npt.NDArray[np.bool_]
    last: npt.NDArray[np.intp]
    scores: Floats

    @classmethod
    def of(
        cls,
        hit_case: npt.ArrayLike,
        hit_score: npt.ArrayLike,
        false_case: npt.ArrayLike,
        false_score: npt.ArrayLike,
    ) -> Ranking:
        """From case and score of each hit and of each false alarm; -inf as score: missed, left out."""
        hit_score = np.asarray(hit_score, np.float64)
        score = np.concatenate([hit_score, np.asarray(false_score, np.float64)])
        case = np.concatenate([np.asarray(hit_case, np.intp), np.asarray(false_case, np.intp)])
        hit = np.arange(len(score)) < len(hit_score)
        keep = np.isfinite(score)
        score, case, hit = score[keep], case[keep], hit[keep]
        order = np.argsort(-score, kind="stable")
        score, case, hit = score[order], case[order], hit[order]
        last = (
            np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.zeros(0, np.intp)
        )
        return cls(case, hit, last, score[last])

    def counts(self, weights: Weights, at_hits: bool = False) -> tuple[Floats, Floats]:
        """(b, thresholds + 1) weighted hits and false alarms from each threshold up; the first: none at all.

        at_hits: only thresholds at which a hit is added, all that FROC and average precision depend on.
        """
        hits_up_to = np.cumsum(self.hit)[self.last]
        false_up_to = self.last + 1 - hits_up_to
        if at_hits:
            gains = np.diff(hits_up_to, prepend=0) > 0
            hits_up_to, false_up_to = hits_up_to[gains], false_up_to[gains]
        narrow = weights.astype(np.int32)
        return (
            _summed(narrow, self.case[self.hit], np.append(0, hits_up_to)),
            _summed(narrow, self.case[~self.hit], np.append(0, false_up_to)),
        )


def _summed(weights: Weights, cases: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> Floats:
    """(b, len(ends)) weights of the first `ends` of the cases in this order."""
    total = np.zeros((len(weights), len(cases) + 1), np.int32)
    np.take(weights, cases, axis=1, out=total[:, 1:], mode="clip")
    np.cumsum(total, axis=1, out=total)
    return total[:, ends].astype(np.float64)


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Floats:
    """Quotient, nan where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def sensitivity_at(
    ranking: Ranking,
    weights: Weights,
    lesions: npt.ArrayLike,
    scans: npt.ArrayLike,
    rates: npt.ArrayLike = FP_RATES,
) -> Floats:
    """(b, rates): share of lesions found with at most that many false positives per scan.

    The empirical (non-parametric) FROC as a step function, no interpolation: the sensitivity of a threshold
    that exists. lesions, scans: (cases,) how many lesions each case has, and whether its false positives
    count.
    """
    hits, false = ranking.counts(weights, at_hits=True)
    limits = (weights @ np.asarray(scans, np.float64))[:, None] * np.asarray(rates, np.float64)[None]
    total = weights @ np.asarray(lesions, np.float64)
    places = np.stack(
        [np.searchsorted(row, limit, "right") - 1 for row, limit in zip(false, limits, strict=True)]
    )
    sensitivity = ratio(np.take_along_axis(hits, places, 1), total[:, None])
    sensitivity[limits[:, -1] <= 0] = np.nan
    return sensitivity


def cpm(
    ranking: Ranking,
    weights: Weights,
    lesions: npt.ArrayLike,
    scans: npt.ArrayLike,
    rates: npt.ArrayLike = FP_RATES,
) -> Floats:
    """(b,) competition performance metric: mean sensitivity at these false positives a scan."""
    return sensitivity_at(ranking, weights, lesions, scans, rates).mean(1)


def average_precision(ranking: Ranking, weights: Weights, positives: npt.ArrayLike) -> Floats:
    """(b,) sum of precision times step in recall, as scikit-learn has it; what is missed has no threshold.

    positives: (cases,) how many there are to be found in each case.
    """
    hits, false = ranking.counts(weights, at_hits=True)
    precision = ratio(hits[:, 1:], hits[:, 1:] + false[:, 1:])
    gain = np.diff(hits, axis=1)
    area = np.where(gain > 0, gain * precision, 0.0).sum(1)
    return ratio(area, weights @ np.asarray(positives, np.float64))


def roc_area(ranking: Ranking, weights: Weights) -> Floats:
    """(b,) probability that a positive scores above a negative, ties half (Mann-Whitney)."""
    hits, false = ranking.counts(weights)
    area = (np.diff(false, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(1)
    return ratio(area, hits[:, -1] * false[:, -1])


def expected_calibration_error(score: Floats, positive: npt.NDArray[np.bool_], weights: Weights) -> Floats:
    """(b,) mean distance of mean score and share of positives in ten bins of equal width (Guo et al. 2017).

    weights here are per unit, (b, n), as score and positive are (n,).
    """
    place = bin_of(score)
    gaps = np.zeros(len(weights))
    for number in range(BINS):
        inside = place == number
        gaps += np.abs(weights[:, inside] @ (score[inside] - positive[inside]))
    return ratio(gaps, weights.sum(1))


BINS = 10


def bin_of(score: Floats) -> npt.NDArray[np.intp]:
    """(n,) number of the bin, 0 to 9; 1.0 belongs to the last one."""
    return np.minimum((score * BINS).astype(np.intp), BINS - 1)


def brier(score: Floats, positive: npt.NDArray[np.bool_], weights: Weights) -> Floats:
    """(b,) mean squared distance of score and truth (Brier 1950)."""
    return ratio(weights @ (score - positive) ** 2, weights.sum(1))
