"""Lots for what is merely possible."""

import dataclasses

import numpy as np

from resources.training.beliefs import Beliefs, Believed, decided

SEEN = Believed((1.0, 2.0, 3.0), (9.0, 7.0, 8.0), "liver", "possible", 0.3, "report", 0.4, 1, 2)


def test_what_is_possible_is_a_lesion_as_often_as_it_is_likely() -> None:
    others = tuple(dataclasses.replace(SEEN, verdict=v) for v in ("positive", "negative", "doubtful"))
    beliefs = Beliefs((), (SEEN, *others), (), np.zeros((1, 1, 1), bool))
    random = np.random.default_rng(0)
    drawn = [decided(beliefs, random).lesions for _ in range(2000)]
    assert all(lesions[1:] == others for lesions in drawn)
    lots = [lesions[0] for lesions in drawn]
    lesion = dataclasses.replace(SEEN, verdict="positive", weight=1.0)
    none = dataclasses.replace(SEEN, verdict="negative", weight=1.0, type=None)
    assert set(lots) == {lesion, none}
    assert 0.27 < lots.count(lesion) / 2000 < 0.33  # three standard deviations


def test_without_anything_possible_no_number_is_drawn() -> None:
    beliefs = Beliefs((), (dataclasses.replace(SEEN, verdict="positive"),), (), np.zeros((1, 1, 1), bool))
    random, untouched = np.random.default_rng(0), np.random.default_rng(0)
    assert decided(beliefs, random).lesions == beliefs.lesions
    assert random.uniform() == untouched.uniform()
