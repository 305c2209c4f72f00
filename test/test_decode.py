import numpy as np
import pytest
import torch

from model.config import MOST_POINTS, DetectorConfig
from model.decode import decode
from model.heads import calibrated, channels_of


def empty_maps(cells: int = 10, types: int = 2) -> torch.Tensor:
    maps = torch.zeros(channels_of(types), cells, cells, cells)
    maps[types + 3 :] = torch.tensor([8.0, 6.0, 7.0])[:, None, None, None]
    return maps


def test_one_peak_with_offset_and_size() -> None:
    maps = empty_maps()
    maps[1, 3, 4, 5] = 0.8
    maps[0, 3, 4, 5] = 0.2
    maps[1, 3, 4, 6] = 0.5  # the peak's flank
    maps[2:5, 3, 4, 5] = torch.tensor([0.25, -0.5, 0.0])
    found = decode(maps, 2.0)
    # cell 3 covers voxels 6 and 7, centre 6.5; offset 0.25 cells are 0.5 voxels
    np.testing.assert_allclose(found.voxel, [[7.0, 7.5, 10.5]])
    np.testing.assert_allclose(found.probability, [0.8])
    np.testing.assert_allclose(found.types, [[0.2, 0.8]])
    np.testing.assert_allclose(found.size_mm, [[8, 6, 7]])


def test_two_peaks_of_one_lesion_are_reported_once_and_two_lesions_twice() -> None:
    maps = empty_maps(cells=20)
    maps[0, 10, 10, 4], maps[1, 10, 10, 7] = 0.9, 0.7  # 3 cells = 12 mm apart
    assert len(decode(maps, 2.0).voxel) == 2
    maps[5:] = 30.0  # 30 mm lesions reach 15 mm
    found = decode(maps, 2.0)
    np.testing.assert_allclose(found.probability, [0.9])


def test_a_plateau_gives_one_candidate() -> None:
    maps = empty_maps()
    maps[0, 4:6, 4:6, 4:6] = 0.5
    assert len(decode(maps, 2.0).voxel) == 1


def test_sorted_from_one_percent_up_and_at_most_a_hundred() -> None:
    maps = empty_maps(cells=30)
    places = torch.arange(2, 30, 5)
    for z in places:
        for y in places:
            for x in places:
                maps[0, z, y, x] = 0.02 + 0.9 * float(torch.rand(()))
    assert len(decode(maps, 2.0).voxel) == MOST_POINTS
    maps = empty_maps()
    maps[0, 1, 1, 1], maps[0, 5, 5, 5], maps[0, 8, 8, 8] = 0.0099, 0.02, 0.6
    np.testing.assert_allclose(decode(maps, 2.0).probability, [0.6, 0.02])


def test_nothing_found() -> None:
    found = decode(empty_maps(), 2.0)
    assert (found.voxel.shape, found.types.shape, found.size_mm.shape) == ((0, 3), (0, 2), (0, 3))


def test_short_diameter_is_never_the_longer() -> None:
    maps = empty_maps()
    maps[0, 5, 5, 5] = 0.5
    maps[5, 5, 5, 5], maps[6, 5, 5, 5] = 4.0, 9.0
    assert decode(maps, 2.0).size_mm[0].tolist() == [9, 4, 7]


def test_calibration_and_sizes_by_hand() -> None:
    config = DetectorConfig(types=("a",), calibration=(2.0, -1.0))
    heads = torch.zeros(7, 1, 1, 1)
    heads[0], heads[4:] = 0.5, float(np.log(1.5))
    maps = calibrated(heads, config)
    assert maps[0].item() == pytest.approx(0.5)  # 2 * 0.5 - 1 = 0
    assert maps[4:].flatten().tolist() == pytest.approx([15.0] * 3)  # 1.5 times 10 mm
