"""Pieces of scans in air: a lesion may be anywhere in them, and nothing is learnt around them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_cases import make_config

from model.preprocess import AIR_HU
from resources.cases.case import CaseError
from resources.training.config import Source
from resources.training.data.batch import Batch
from resources.training.data.cut import in_air, piece_of
from resources.training.data.stream import open_scans, stream

SHAPE = (48, 80, 80)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), spacing_mm=st.sampled_from([1.0, 2.0, 3.0]))
def test_a_piece_lies_in_the_patch_on_whole_cells(seed: int, spacing_mm: float) -> None:
    size, corner = piece_of(SHAPE, spacing_mm, 1.0, np.random.default_rng(seed))
    for n, of, first in zip(size, SHAPE, corner, strict=True):
        assert n % 2 == 0
        assert first % 2 == 0
        assert n >= 2
        assert 0 <= first <= of - n
    assert 10 / spacing_mm - 1 <= size[0] <= 48 / spacing_mm + 1


def test_as_often_as_asked_and_the_same_numbers_drawn_whatever_is_on() -> None:
    random, other = np.random.default_rng(0), np.random.default_rng(0)
    found = [piece_of(SHAPE, 2.0, 0.25, random)[0] for _ in range(400)]
    assert all(piece_of(SHAPE, 2.0, 0.0, other) == (SHAPE, (0, 0, 0)) for _ in range(400))
    assert 70 <= sum(size != SHAPE for size in found) <= 130
    assert random.uniform() == other.uniform()


def test_a_patch_in_a_larger_one_of_air() -> None:
    """A patch of 4x4x4 voxels at (2, 0, 4) of one of 8x4x8: its 8 cells are at (1:3, 0:2, 2:4)."""
    ones = {
        name: torch.ones(1, 2, 2, 2, dtype=torch.int8)
        for name in ("any_said_by", "geometry_said_by", "organs")
    }
    patch = Batch(
        hu=torch.full((1, 1, 4, 4, 4), 50.0),
        heat=torch.ones(1, 8, 2, 2, 2), weight=torch.ones(1, 8, 2, 2, 2),
        said_by=torch.zeros(1, 8, 2, 2, 2, dtype=torch.int8), any_heat=torch.ones(1, 2, 2, 2),
        any_weight=torch.ones(1, 2, 2, 2), geometry=torch.ones(1, 6, 2, 2, 2),
        geometry_weight=torch.ones(1, 6, 2, 2, 2), trust=torch.ones(1, 7), names=("a",), **ones,
    )  # fmt: skip
    found = in_air(patch, (8, 4, 8), (2, 0, 4))
    assert found.hu.shape == (1, 1, 8, 4, 8)
    assert (found.hu[0, 0, 2:6, :, 4:] == 50).all()
    assert int((found.hu == AIR_HU).sum()) == 8 * 4 * 8 - 64
    for name in ("heat", "weight", "any_heat", "any_weight", "geometry_weight"):
        values = getattr(found, name)
        assert values.shape[-3:] == (4, 2, 4)
        assert (values[..., 1:3, 0:2, 2:4] == 1).all()
        assert values.sum() == getattr(patch, name).sum()
    assert (found.organs == 1).sum() == 8
    assert (found.organs == -1).sum() == 4 * 2 * 4 - 8
    assert found.names == ("a",)


def test_a_lesion_is_anywhere_in_a_piece(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the lesion is in what the patch shows, 0 to 1 along y: spread, not in the middle."""
    config = make_config(tmp_path_factory.mktemp("pieces"))
    config = dataclasses.replace(
        config,
        sources=(dataclasses.replace(config.sources[0], pieces=1.0),),
        patches=dataclasses.replace(config.patches, shape=(24, 64, 64), lesion=1.0, hard=0.0),
    )
    places = []
    for batch, _ in stream(open_scans(config), config, 0, 60, 0, 1):
        assert batch.hu.shape[2:] == (24, 64, 64)
        for hu, heat in zip(batch.hu[:, 0], batch.any_heat, strict=True):
            lesion = (heat == 1).any(0).any(1).nonzero().flatten().double()
            shown = (hu > AIR_HU + 50).any(0).any(1).nonzero().flatten()
            if len(lesion):
                places.append(
                    (float(lesion.mean()) * 2 + 0.5 - int(shown[0])) / max(1, int(shown[-1] - shown[0]))
                )
    assert len(places) > 60
    assert np.mean(np.abs(np.array(places) - 0.5) < 0.1) < 0.5
    assert min(places) < 0.3
    assert max(places) > 0.7


def test_a_share_is_from_zero_to_one() -> None:
    with pytest.raises(CaseError, match="pieces: expected"):
        Source("a", "b", "c", pieces=1.5)
