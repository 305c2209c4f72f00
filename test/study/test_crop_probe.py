"""What the probe does to a crop, on volumes of a few voxels."""

import numpy as np

from model.volume import Volume
from resources.study.crop_probe import cut_beside, erased


def crop() -> Volume:
    """Voxels of 1x1x2 mm; each column's HU is its x, so that places can be told."""
    hu = np.broadcast_to(np.arange(60, dtype=np.int16), (3, 50, 60)).copy()
    return Volume(hu, (1.0, 1.0, 2.0), (10.0, -20.0, 30.0), np.diag([-1.0, -1.0, 1.0]))


def test_a_crop_is_cut_beside_its_nodule_and_nothing_moves() -> None:
    """A nodule of 8 mm at x 30, y 25: 4 + 12 mm are left beside it, so the crop begins at x 14, y 9."""
    volume = crop()
    cut = cut_beside(volume, np.array([30.0, 25.0, 1.0]), 4.0)
    assert cut.hu.shape == (3, 41, 46)
    assert (cut.hu[:, :, 0] == 14).all()
    np.testing.assert_allclose(cut.index_to_world([(16, 16, 1)]), volume.index_to_world([(30, 25, 1)]))


def test_a_nodule_near_the_edge_stays() -> None:
    assert cut_beside(crop(), np.array([5.0, 3.0, 1.0]), 4.0).hu.shape == (3, 50, 60)


def test_a_nodule_is_replaced_by_what_is_around_it() -> None:
    """300 HU in a lung of -800: nothing of it is left, nor of its rim of -200; the rest is as it was."""
    hu = np.full((3, 21, 21), -800, np.int16)
    mask = np.zeros(hu.shape, bool)
    mask[1, 9:12, 9:12] = True
    hu[1, 8:13, 8:13] = -200
    hu[mask] = 300
    hu[0, 0, 0] = 50
    found = erased(Volume(hu, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)), mask).hu
    assert found[0, 0, 0] == 50
    assert (found[1] == -800).all()
    assert hu[1, 10, 10] == 300
