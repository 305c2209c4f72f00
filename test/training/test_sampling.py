"""What patches are near."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import numpy as np
import pytest

from resources.cases.case import CaseError
from resources.training.config import Patches
from resources.training.data.sampling import Choice, choose, generator_of, pool_of, read_hard

POOL = pool_of(
    [0, 1, 2],
    [
        (0, (1, 1, 1), 5.0),
        (0, (2, 2, 2), 5.0),
        (0, (3, 3, 3), 9.0),
        (1, (4, 4, 4), 12.0),
        (1, (5, 5, 5), 40.0),
    ],
    [(2, (6, 6, 6))],
)
EMPTY = pool_of([7], [], [])


def drawn(
    patches: Patches, count: int = 2000, pools: tuple = (POOL,), shares: tuple = (1.0,)
) -> list[Choice]:
    return [choose(pools, shares, patches, generator_of(0, step, 0)) for step in range(count)]


def test_lesions_in_three_equal_parts_by_size() -> None:
    counted = collections.Counter(choice.voxel for choice in drawn(Patches(lesion=1, hard=0)))
    small = sum(counted[(v, v, v)] for v in (1.0, 2.0, 3.0))
    assert counted[4.0, 4.0, 4.0] == pytest.approx(2000 / 3, rel=0.1)
    assert counted[5.0, 5.0, 5.0] == pytest.approx(2000 / 3, rel=0.1)
    assert small == pytest.approx(2000 / 3, rel=0.1)


def test_kinds_by_their_shares() -> None:
    kinds = collections.Counter(
        "any" if c.voxel is None else "hard" if c.case == 2 else "lesion"
        for c in drawn(Patches(lesion=0.5, hard=0.2))
    )
    for kind, share in (("lesion", 0.5), ("hard", 0.2), ("any", 0.3)):
        assert kinds[kind] / 2000 == pytest.approx(share, abs=0.03)


def test_sources_by_their_shares_and_what_there_is_none_of_is_anywhere() -> None:
    found = drawn(Patches(lesion=1, hard=0), pools=(POOL, EMPTY), shares=(1.0, 3.0))
    others = [choice for choice in found if choice.case == 7]
    assert len(others) / 2000 == pytest.approx(0.75, abs=0.03)
    assert all(choice.voxel is None for choice in others)


def test_a_lesion_of_unknown_size_is_a_middling_one() -> None:
    pool = pool_of([0], [(0, (1, 1, 1), np.nan)], [])
    assert [len(part.case) for part in pool.lesions] == [0, 1, 0]


def test_the_generator_depends_on_seed_step_and_number() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({generator_of(*key).random() for key in keys}) == 4
    assert generator_of(1, 2, 3).random() == generator_of(1, 2, 3).random()


def test_hard_places(tmp_path: Path) -> None:
    path = tmp_path / "hard.json"
    rows = [{"case": "a", "voxel": [1, 2, 3], "probability": 0.9}, {"case": "other", "voxel": [1, 2, 3]}]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert read_hard(path, {"a": 5}) == [(5, (1.0, 2.0, 3.0))]
    for text in ("[", '[{"case": "a"}]', '[{"case": "a", "voxel": [1, 2]}]', '[{"case": "a", "voxel": "x"}]'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(CaseError, match=f"{path}: expected"):
            read_hard(path, {"a": 5})
