"""Curves on a handful of events, and against scikit-learn, picai_eval and MONAI."""

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data, compute_froc_score
from picai_eval.metrics import Metrics
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from resources.evaluation.curves import (
    FP_RATES,
    Ranking,
    average_precision,
    brier,
    cpm,
    expected_calibration_error,
    roc_area,
    sensitivity_at,
)

# Two scans. Probabilities: hits .9 and .6 in scan 0, .3 in scan 1; one lesion of scan 1 missed.
# False positives .8 in scan 0; .6 and .2 in scan 1.
HAND = Ranking.of([0, 0, 1, 1], [0.9, 0.6, 0.3, -np.inf], [0, 1, 1], [0.8, 0.6, 0.2])
LESIONS, SCANS = [2, 2], [True, True]
ONCE = np.ones((1, 2), np.int64)


def test_counts_by_hand() -> None:
    hits, false = HAND.counts(ONCE)
    assert HAND.scores.tolist() == [
        0.9,
        0.8,
        0.6,
        0.3,
        0.2,
    ]  # .6 is one threshold for a hit and a false alarm
    assert hits.tolist() == [[0, 1, 1, 2, 3, 3]]
    assert false.tolist() == [[0, 0, 1, 2, 2, 3]]


def test_froc_by_hand() -> None:
    # false positives per scan at the thresholds: 0, 1/2, 1, 1, 3/2
    found = sensitivity_at(HAND, ONCE, LESIONS, SCANS)[0]
    expected = {1 / 8: 1 / 4, 1 / 4: 1 / 4, 1 / 2: 1 / 4, 1: 3 / 4, 2: 3 / 4, 4: 3 / 4, 8: 3 / 4}
    assert dict(zip(FP_RATES, found, strict=True)) == expected
    assert cpm(HAND, ONCE, LESIONS, SCANS)[0] == pytest.approx((3 * 0.25 + 4 * 0.75) / 7)


def test_weights_are_copies_of_scans() -> None:
    # scan 0 once, scan 1 twice: 6 lesions, 3 scans; at 1 a scan .9, .6, twice .3 are hits, .8, twice .6 false
    hits, false = HAND.counts(np.array([[1, 2]]))
    assert (hits[0, -1], false[0, -1]) == (4, 5)
    assert sensitivity_at(HAND, np.array([[1, 2]]), LESIONS, SCANS, [1])[0, 0] == pytest.approx(4 / 6)


def test_a_scan_that_is_not_judged_only_adds_lesions() -> None:
    only_first = Ranking.of([0, 0, 1, 1], [0.9, 0.6, 0.3, -np.inf], [0], [0.8])
    # one scan counts: 1 false positive a scan is 1 false positive
    assert sensitivity_at(only_first, ONCE, LESIONS, [True, False], [0.5, 1])[0].tolist() == [1 / 4, 3 / 4]
    assert np.isnan(sensitivity_at(only_first, ONCE, LESIONS, [False, False])).all()


def test_nothing_predicted_and_nothing_to_find() -> None:
    empty = Ranking.of([0], [-np.inf], [], [])
    assert cpm(empty, ONCE, [1, 0], SCANS)[0] == 0
    assert average_precision(empty, ONCE, [1, 0])[0] == 0
    assert np.isnan(cpm(empty, ONCE, [0, 0], SCANS)[0])
    assert np.isnan(average_precision(empty, ONCE, [0, 0])[0])
    assert np.isnan(roc_area(empty, ONCE)[0])


def test_average_precision_by_hand() -> None:
    # recall grows by 1/4 at .9 (precision 1), .6 (2 of 4), .3 (3 of 5)
    assert average_precision(HAND, ONCE, LESIONS)[0] == pytest.approx((1 + 1 / 2 + 3 / 5) / 4)


def drawn_scores(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    positive[:2] = [True, False]
    return positive, np.round(np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1), 1), rng


def unit_ranking(positive: np.ndarray, score: np.ndarray) -> Ranking:
    place = np.arange(len(score))
    return Ranking.of(place[positive], score[positive], place[~positive], score[~positive])


@pytest.mark.parametrize("seed", range(20))
def test_area_and_precision_agree_with_scikit_learn(seed: int) -> None:
    positive, score, rng = drawn_scores(seed)
    weights = np.concatenate([np.ones((1, 60), np.int64), rng.multinomial(60, np.full(60, 1 / 60), 5)])
    ranking = unit_ranking(positive, score)
    areas = roc_area(ranking, weights)
    precisions = average_precision(ranking, weights, positive.astype(int))
    briers = brier(score, positive, weights)
    for row, area, precision, distance in zip(weights, areas, precisions, briers, strict=True):
        assert area == pytest.approx(roc_auc_score(positive, score, sample_weight=row))
        assert precision == pytest.approx(average_precision_score(positive, score, sample_weight=row))
        assert distance == pytest.approx(brier_score_loss(positive, score, sample_weight=row))


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_agrees_with_scikit_learns_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(200)  # no ties with the edges of bins, where definitions differ
    positive = rng.random(200) < score**2
    share, mean = calibration_curve(positive, score, n_bins=10)
    filled = np.histogram(score, np.linspace(0, 1, 11))[0]
    expected = (np.abs(share - mean) * filled[filled > 0]).sum() / 200
    assert expected_calibration_error(score, positive, np.ones((1, 200)))[0] == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    score, positive = np.array([0.1, 0.15, 1.0, 0.95]), np.array([False, True, True, True])
    # bin 1: mean .125 against 1/2; bin 9: mean .975 against 1
    expected = (2 * 0.375 + 2 * 0.025) / 4
    assert expected_calibration_error(score, positive, np.ones((1, 4)))[0] == pytest.approx(expected)


def random_events(seed: int) -> tuple[np.ndarray, ...]:
    """25 scans: case and score of hits and false positives (no score twice), lesions of each case."""
    rng = np.random.default_rng(seed)
    lesions = rng.integers(0, 4, 25)
    hit_case = np.repeat(np.arange(25), rng.binomial(lesions, 0.7))
    false_case = np.repeat(np.arange(25), rng.poisson(3, 25))
    scores = rng.permutation(len(hit_case) + len(false_case)) / 200 + 0.01
    return hit_case, scores[: len(hit_case)], false_case, scores[len(hit_case) :], lesions


@pytest.mark.parametrize("seed", range(20))
def test_froc_and_detection_precision_agree_with_picai(seed: int) -> None:
    """The average precision, and the FROC up to the last threshold, which picai_eval replaces by infinity."""
    hit_case, hit_score, false_case, false_score, lesions = random_events(seed)
    results = {
        number: [(1, s, 0.5) for s in hit_score[hit_case == number]]
        + [(1, 0.0, 0.0)] * int(lesions[number] - (hit_case == number).sum())
        + [(0, s, 0.0) for s in false_score[false_case == number]]
        for number in range(25)
    }
    theirs = Metrics(
        lesion_results=results,
        case_target=dict.fromkeys(range(25), 1),
        case_pred=dict.fromkeys(range(25), 0.5),
    )
    ranking, once = Ranking.of(hit_case, hit_score, false_case, false_score), np.ones((1, 25), np.int64)
    assert average_precision(ranking, once, lesions)[0] == pytest.approx(theirs.AP)
    hits, false = ranking.counts(once)
    known = np.isfinite(theirs.lesion_FPR)
    np.testing.assert_allclose(false[0, 1 : known.sum() + 1] / 25, theirs.lesion_FPR[known])
    np.testing.assert_allclose(hits[0, 1 : known.sum() + 1] / lesions.sum(), theirs.lesion_TPR[known])
    for rate in FP_RATES:
        if rate < theirs.lesion_FPR[known].max():
            assert sensitivity_at(ranking, once, lesions, np.ones(25), [rate])[0, 0] == pytest.approx(
                theirs.lesion_TPR_at_FPR(rate)
            )


@pytest.mark.parametrize("seed", range(20))
def test_froc_agrees_with_monai(seed: int) -> None:
    """MONAI's curve has the same points.

    Its score interpolates between them and ours does not, so that ours is lower, by at most the step of one
    lesion where no score is there twice.
    """
    hit_case, hit_score, false_case, false_score, lesions = random_events(seed)
    missed = np.zeros(lesions.sum() - len(hit_score))  # as compute_fp_tp_probs_nd returns them
    rate, sensitivity = compute_froc_curve_data(
        false_score, np.concatenate([hit_score, missed]), int(lesions.sum()), 25
    )
    ranking, once = Ranking.of(hit_case, hit_score, false_case, false_score), np.ones((1, 25), np.int64)
    hits, false = ranking.counts(once)
    ours = set(zip((false[0] / 25).round(9), (hits[0] / lesions.sum()).round(9), strict=True))
    theirs = set(zip(rate.round(9), sensitivity.round(9), strict=True))
    assert theirs <= ours
    assert len(theirs) >= len(ours) - 1  # without missed lesions MONAI leaves the lowest threshold out
    difference = compute_froc_score(rate, sensitivity, FP_RATES) - cpm(ranking, once, lesions, np.ones(25))[0]
    assert abs(difference) <= 1 / lesions.sum() + 1e-9
