"""How often the intervals hold the truth and the tests cry wolf, on simulated test sets."""

import numpy as np
import pytest
from evaluation.simulated import draw, measures, simulate


def test_the_population_is_neither_trivial_nor_hopeless() -> None:
    sample = draw(20_000, np.random.default_rng(0))
    truth = measures(sample, np.ones((1, 20_000), np.int64))
    assert 0.5 < truth["cpm"][0] < 0.8
    assert 0.8 < truth["roc_area"][0] < 0.95


@pytest.mark.slow
def test_coverage_and_false_alarms() -> None:
    """With 150 runs three standard errors are 5 %, so the ranges are wider than those of 1,000 runs."""
    counts = simulate(runs=150, patients=80, resamples=500, seed=7)
    assert 0.90 <= counts["cpm"] / 150 <= 0.99
    assert 0.90 <= counts["roc_area"] / 150 <= 0.99
    assert 1 <= counts["permutation"] <= 16
    assert 1 <= counts["delong"] <= 16
