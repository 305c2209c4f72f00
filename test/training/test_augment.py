"""Changes of the HU, by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from model.preprocess import AIR_HU, TOP_HU
from resources.training.config import Augmentation
from resources.training.data.augment import augment, blur, thicken
from resources.training.data.batch import Batch

NOTHING = Augmentation(gain=0, shift_hu=0, phase_hu=0, noise_hu=0, blur_mm=0, slice_mm=0)


def batch(hu: torch.Tensor) -> Batch:
    cell = torch.zeros(1)
    return Batch(hu, *[cell] * 11, ("a",) * len(hu))


def of(settings: Augmentation, hu: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return augment(batch(hu), settings, torch.Generator().manual_seed(seed)).hu


def noise(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 12, 16, 16, generator=torch.Generator().manual_seed(seed)) * 100


def test_nothing_changes_nothing() -> None:
    assert torch.equal(of(NOTHING, noise()), noise())


def test_the_same_seed_gives_the_same_and_each_patch_has_its_own() -> None:
    same = noise(1).expand(2, -1, -1, -1, -1)
    first = of(Augmentation(), same)
    assert torch.equal(first, of(Augmentation(), same))
    assert not torch.equal(first, of(Augmentation(), same, seed=1))
    assert not torch.equal(first[0], first[1])
    for name in ("gain", "shift_hu", "phase_hu", "noise_hu", "blur_mm"):
        own = of(dataclasses.replace(NOTHING, **{name: getattr(Augmentation(), name)}), same)
        assert not torch.allclose(own[0], own[1]), name


def test_hu_stay_within_those_of_preprocessing() -> None:
    wild = dataclasses.replace(Augmentation(), shift_hu=5000)
    found = of(wild, noise(8))
    assert found.min() == AIR_HU
    assert found.max() == TOP_HU


def test_gain_and_shift_are_the_same_in_a_patch() -> None:
    found = of(dataclasses.replace(NOTHING, gain=0.1, shift_hu=20), noise(4))
    for changed, hu in zip(found, noise(4), strict=True):
        gain = (changed.max() - changed.min()) / (hu.max() - hu.min())
        assert 0.9 <= gain <= 1.1
        shift = changed - hu * gain
        assert shift.max() - shift.min() < 1e-2
        assert shift.abs().max() <= 20.01


def test_contrast_changes_soft_tissue_alone() -> None:
    hu = torch.tensor([-900.0, -100, 60, 150, 600]).repeat(1, 1, 5, 5, 1)
    change = of(dataclasses.replace(NOTHING, phase_hu=25), hu) - hu
    assert change[..., [0, 1, 4]].abs().max() < 0.01
    assert 0 < change[..., [2, 3]].abs().max() <= 25
    # smooth in space: it never changes by more than the coarse field between its places
    assert change[0, 0, :, :, 2].diff(dim=0).abs().max() <= 25 / 2


def test_noise_has_its_standard_deviation_whatever_its_grain() -> None:
    flat = torch.zeros(64, 1, 16, 16, 16)
    sd = of(dataclasses.replace(NOTHING, noise_hu=10), flat).flatten(1).std(1)
    assert sd.max() <= 10.5
    assert sd.mean() == pytest.approx(5, rel=0.2)
    beside = of(dataclasses.replace(NOTHING, noise_hu=10), flat).flatten(0, 1)
    shared = (beside[..., 1:] * beside[..., :-1]).mean((1, 2, 3)) / beside.square().mean((1, 2, 3))
    assert shared.min() < 0.1
    assert shared.max() > 0.5  # of weights 1, 2, 1 it is 4 / 6


def test_blur_by_hand() -> None:
    hu = torch.zeros(2, 1, 3, 7, 7)
    hu[:, :, 1, 3, 3] = 1
    found = blur(hu, torch.tensor([0.5, 0.0]).reshape(2, 1, 1, 1, 1))
    assert torch.equal(found[1], hu[1])
    side = torch.tensor(-2.0).exp() / (1 + 2 * (-torch.tensor(2.0)).exp() + 2 * (-torch.tensor(8.0)).exp())
    middle = 1 / (1 + 2 * (-torch.tensor(2.0)).exp() + 2 * (-torch.tensor(8.0)).exp())
    torch.testing.assert_close(found[0, 0, 1, 3, 3], middle**2)
    torch.testing.assert_close(found[0, 0, 1, 3, 4], middle * side)
    assert found[0, 0, [0, 2]].max() == 0  # in the plane only
    assert found[0].sum() == pytest.approx(1)
    ones = torch.ones(1, 1, 3, 7, 7)
    torch.testing.assert_close(blur(ones, torch.full((1, 1, 1, 1, 1), 0.8)), ones)


def test_slices_of_two_voxels_by_hand() -> None:
    """Averages of (0, 1), (2, 3), (4, 5), half way between at the voxels; the ends keep the last average."""
    hu = torch.tensor([0.0, 4, 8, 0, 0, 8]).reshape(1, 1, 6, 1, 1).expand(2, 1, 6, 2, 2)
    thick = torch.tensor([2.0, 1.0]).reshape(2, 1, 1, 1, 1)
    found = thicken(hu, thick, torch.zeros(2, 1, 1, 1, 1))
    # the slices' middles lie at 0.5, 2.5, 4.5; their means are 2, 4, 4
    torch.testing.assert_close(found[0, 0, :, 0, 0], torch.tensor([2, 2.5, 3.5, 4, 4, 4]))
    torch.testing.assert_close(found[1], hu[1])


@pytest.mark.parametrize("thick", [1.3, 2.5, 4.0])
@pytest.mark.parametrize("begin", [0.0, 0.4, 0.99])
def test_thick_slices_keep_what_is_even(thick: float, begin: float) -> None:
    ones = torch.full((1, 1, 9, 2, 2), 7.0)
    found = thicken(ones, torch.full((1, 1, 1, 1, 1), thick), torch.full((1, 1, 1, 1, 1), begin))
    torch.testing.assert_close(found, ones)
