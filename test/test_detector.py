"""The detector as a whole, with random weights: what it says does not depend on where the grid ends."""

import dataclasses

import numpy as np
import pytest

from helpers import SMALL, lively
from model.config import WeightsError
from model.detector import Detector
from model.network import CenterNet3D
from model.volume import Volume

TURN = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])


def noise(direction: np.ndarray, shape: tuple[int, int, int] = (21, 25, 29)) -> Volume:
    hu = np.random.default_rng(0).normal(40, 300, shape).astype(np.int16)
    return Volume(hu, (2.1, 1.9, 2.3), (-31.0, 12.0, 7.0), direction)


@pytest.mark.parametrize("direction", [np.eye(3), TURN], ids=["aligned", "tilted"])
def test_no_point_lies_outside_the_scan(direction: np.ndarray) -> None:
    volume = noise(direction)
    lesions = Detector([lively()], "random", "cpu").predict(volume).lesions
    assert len(lesions) > 20
    index = volume.world_to_index([lesion.point_mm for lesion in lesions])
    assert (index >= -0.5).all()
    assert (index <= np.array([29, 25, 21]) - 0.5).all()


def test_an_ensemble_averages_its_maps_and_its_operating_points() -> None:
    configs = [dataclasses.replace(SMALL, operating_point=point) for point in (0.2, 0.4)]

    def networks() -> list[CenterNet3D]:
        return [lively(config, seed) for seed, config in enumerate(configs)]

    volume = noise(np.eye(3))
    surest = [Detector([n], "one", "cpu").predict(volume).lesions[0].probability for n in networks()]
    both = Detector(networks(), "both", "cpu")
    assert both.operating_point == pytest.approx(0.3)
    assert 0 < both.predict(volume).lesions[0].probability <= max(surest)


def test_twice_the_same_network_is_that_network() -> None:
    volume = noise(np.eye(3))
    one = Detector([lively()], "one", "cpu").predict(volume)
    two = Detector([lively(), lively()], "two", "cpu").predict(volume)
    for a, b in zip(one.lesions, two.lesions, strict=True):
        np.testing.assert_allclose(a.point_mm, b.point_mm, atol=1e-3)
        assert a.probability == pytest.approx(b.probability, abs=1e-5)
    assert one.likelihood == pytest.approx(two.likelihood, abs=1e-5)


def test_networks_that_see_another_grid_make_no_ensemble() -> None:
    other = lively(dataclasses.replace(SMALL, spacing_mm=1.5))
    with pytest.raises(WeightsError, match="spacing_mm"):
        Detector([lively(), other], "both", "cpu")


def test_the_box_encloses_the_axial_ellipse_at_any_angle() -> None:
    lesion = Detector([lively()], "random", "cpu").predict(noise(np.eye(3))).lesions[0]
    lower, upper = np.array(lesion.box_mm)
    wide = 2 * np.sqrt((lesion.long_mm**2 + lesion.short_mm**2) / 8)
    np.testing.assert_allclose(upper - lower, [wide, wide, lesion.z_extent_mm])
    np.testing.assert_allclose((upper + lower) / 2, lesion.point_mm)
