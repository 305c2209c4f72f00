"""Dice by hand, on maps of a few voxels."""

import numpy as np
import pytest

from resources.study.organs import dice, overlap


def test_overlap_and_dice_by_hand() -> None:
    predicted = np.array([0, 1, 1, 1, 2, 2])
    wanted = np.array([0, 0, 1, 1, 1, -1])  # nobody knows the last one
    counts = overlap(predicted, wanted, 4)
    assert counts.tolist() == [[1, 1, 2], [2, 3, 3], [0, 1, 0], [0, 0, 0]]
    assert dice(counts[None, 0])["value"] == pytest.approx(2 / 3)
    assert dice(counts[None, 1])["value"] == pytest.approx(2 / 3)
    assert dice(counts[None, 2])["value"] is None  # no map shows it


def test_dice_of_scans_together_and_its_interval() -> None:
    counts = np.array([[10, 10, 10], [0, 10, 10]])  # one scan right, one wrong
    estimate = dice(counts)
    assert estimate == {"value": 0.5, "lower": 0.0, "upper": 1.0}
