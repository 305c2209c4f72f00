"""Intervals and tests: by hand, by published examples, and how often they are right (simulated)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.evaluation.statistics import (
    bootstrap_weights,
    delong,
    estimates,
    holm,
    interval,
    sign_swap_p,
    wilson,
)

# Albumin, total protein, K-G score and outcome of 43 patients with ovarian cancer (DeLong et al. 1988), as
# printed in SAS/STAT's user's guide, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves".
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def test_delong_reproduces_the_published_example() -> None:
    albumin, protein, score, outcome = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    kg = 10 - score
    three = delong(outcome == 1, np.stack([albumin, kg, protein]))
    assert three.areas.round(4).tolist() == [0.7366, 0.7258, 0.6478]
    assert np.sqrt(np.diag(three.covariance)).round(4).tolist() == [0.0927, 0.1028, 0.1000]
    against_kg = [delong(outcome == 1, np.stack([other, kg])) for other in (albumin, protein)]
    assert [round(row.difference or 0, 4) for row in against_kg] == [0.0108, -0.0780]
    assert [round((row.z or 0) ** 2, 4) for row in against_kg] == [0.0127, 0.5554]
    assert [round(row.p or 0, 4) for row in against_kg] == [0.9102, 0.4561]


def test_delong_of_equal_scores_and_of_too_few() -> None:
    truth, score = np.array([1, 1, 1, 0, 0, 0]), np.array([3, 2, 4, 1, 2, 0])
    assert delong(truth, np.stack([score, score])).p == 1.0
    with pytest.raises(ValueError, match="at least 2 positives and 2 negatives, found 1 and 5"):
        delong([1, 0, 0, 0, 0, 0], score)


def test_holm_by_hand() -> None:
    # .01 x 3, then .02 x 2, then .03 but not below what came before
    assert holm([0.03, 0.01, 0.02]).tolist() == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_wilson_by_published_figures() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, score method without continuity correction
    for successes, total, lower, upper in [
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)
    ]:  # fmt: skip
        assert wilson(successes, total) == pytest.approx((lower, upper), abs=5e-5)
    with pytest.raises(ValueError, match="found 3 of 2"):
        wilson(3, 2)


def test_resampling_draws_whole_patients_within_strata() -> None:
    patients, strata = [0, 0, 1, 2, 3, 3, 3], [0, 0, 1, 1]
    weights = bootstrap_weights(patients, strata, 400, seed=1)
    assert weights.shape == (400, 7)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 4] == weights[:, 6]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()  # two draws of the two patients of stratum 0
    assert (weights[:, 3] + weights[:, 4] == 2).all()
    assert set(weights[:, 0].tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(weights, bootstrap_weights(patients, strata, 400, seed=1))
    assert (weights != bootstrap_weights(patients, strata, 400, seed=2)).any()


def test_interval_of_the_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    weights = bootstrap_weights(np.arange(400), np.zeros(400), 4000, seed=3)
    found = estimates(lambda w: {"mean": w @ values / w.sum(1)}, weights)["mean"]
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.lower == pytest.approx(values.mean() - half, abs=0.02)
    assert found.upper == pytest.approx(values.mean() + half, abs=0.02)


def test_values_without_interval_say_so() -> None:
    weights = bootstrap_weights(np.arange(4), np.zeros(4), 1000, seed=0)
    one = np.ones(4)
    found = estimates(lambda w: {"all": w @ one / w.sum(1), "none": w[:, 0] * np.nan}, weights, {"all": 4})
    assert (found["all"].lower, found["all"].upper) == pytest.approx((0.5101, 1.0), abs=1e-4)  # 4 of 4
    assert (found["none"].value, found["none"].note) == (None, "undefined in this sample")
    assert interval(0.5, np.full(100, 0.5)).note.startswith("the same in all resamples")
    assert interval(0.5, np.array([np.nan] * 6 + [0.5] * 94)).note.startswith("undefined in too many")


def mean_difference(first: np.ndarray, second: np.ndarray):
    both, cases = np.concatenate([first, second]), len(first)
    return lambda w: {"mean": w @ both - np.concatenate([w[:, cases:], w[:, :cases]], 1) @ both}


def test_permutation_counts_all_exchanges_of_three_patients() -> None:
    # differences 1, 2, 3: of the 8 sign patterns two are as extreme as 6: p is 1/4
    p = sign_swap_p(mean_difference(np.array([1, 2, 3]), np.zeros(3)), [0, 1, 2], 20000, seed=0)
    assert p["mean"] == pytest.approx(1 / 4, abs=0.01)
    # scans of one patient are exchanged together: 2 patients, differences 3 and 3: p is 1/2
    p = sign_swap_p(mean_difference(np.array([1, 2, 3]), np.zeros(3)), [0, 0, 1], 20000, seed=0)
    assert p["mean"] == pytest.approx(1 / 2, abs=0.015)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_same_model_twice_is_no_difference(values: list[float]) -> None:
    array = np.array(values)
    assert sign_swap_p(mean_difference(array, array), np.arange(len(values)), 50, seed=0)["mean"] == 1
