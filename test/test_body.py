"""What lies outside the patient is masked and nothing of the patient is: bodies of cylinders in air."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers import DATA
from model.body import cell_means, outside
from model.preprocess import AIR_HU, preprocess
from model.volume import Volume, read_volume

AIR, FAT, LUNG, PLATE = -1000, -100, -850, 200
MM = 2.0
NODULES = sorted((DATA / "real" / "lidc" / "images").glob("*.mha"))[::59]


def trunk(air: int = AIR, front: int = 12) -> np.ndarray:
    """(60, 120, 150) at 2 mm: an elliptic cylinder of fat, 200 mm wide and 140 mm deep, with two lungs.

    front: voxels of chest wall before the lungs; behind them there are 12.
    """
    y, x = np.ogrid[:120, :150]
    hu = np.full((60, 120, 150), air, np.int16)
    hu[:, ((y - 50) / 35) ** 2 + ((x - 75) / 50) ** 2 <= 1] = FAT
    for wall, half in ((front, y < 50), (12, y >= 50)):
        within = ((y - 50) / (35 - wall)) ** 2 + ((x - 75) / (50 - wall)) ** 2 <= 1
        hu[:, within & half & (abs(x - 75) >= 7)] = LUNG
    return hu


def masked(hu: np.ndarray, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """HU after preprocessing at the volume's own spacing, on the volume's own voxels."""
    grid = preprocess(Volume(hu, (MM,) * 3, origin, np.eye(3)), MM, 8)
    out = np.full(hu.shape, AIR_HU, np.int16)
    first = [low - round(mm / MM) for low, mm in zip(grid.lower, origin[::-1], strict=True)]
    target, source = [], []
    for low, size, count in zip(first, grid.hu.shape, hu.shape, strict=True):
        target.append(slice(max(low, 0), min(low + size, count)))
        source.append(slice(max(-low, 0), min(count - low, size)))
    out[tuple(target)] = grid.hu.numpy()[tuple(source)]
    return out


@pytest.mark.parametrize("air", [AIR, AIR_HU])
def test_the_plate_goes_and_the_trunk_stays(air: int) -> None:
    """The plate is 4 mm thick and 14 mm below the back, beyond the margin; a wire lies in front."""
    patient = trunk(air=air)
    hu = patient.copy()
    hu[:, 92:94, 10:140] = PLATE
    hu[:, 5:7, 60:62] = PLATE
    found = masked(hu, (-150.0, 78.0, 400.0))
    inside = patient > air
    np.testing.assert_array_equal(found[inside], patient[inside])
    assert (found[~inside] <= AIR).all()


def test_a_plate_that_bears_the_back_goes_but_for_the_margin() -> None:
    patient = trunk()
    hu = patient.copy()
    hu[:, 86:88, 5:145] = PLATE
    found = masked(hu)
    inside = patient > AIR
    np.testing.assert_array_equal(found[inside], patient[inside])
    assert (found[:, 86:88, :30] == AIR_HU).all()
    assert (found[:, 86:88, 120:] == AIR_HU).all()


def test_a_hollow_table_is_no_cavity_of_the_body() -> None:
    patient = trunk()
    hu = patient.copy()
    hu[:, 92:112, 10:140] = -940
    for side in (slice(92, 94), slice(110, 112)):
        hu[:, side, 10:140] = PLATE
    for side in (slice(10, 12), slice(138, 140)):
        hu[:, 92:112, side] = PLATE
    found = masked(hu)
    assert (found[:, 92:112] == AIR_HU).all()
    np.testing.assert_array_equal(found[patient > AIR], patient[patient > AIR])


def test_a_thin_chest_wall_holds() -> None:
    """6 mm of tissue before the lungs and at their sides: no cube of cells fits."""
    patient = trunk(front=3)
    assert (patient == LUNG).sum() > 60 * 2000
    np.testing.assert_array_equal(masked(patient)[patient > AIR], patient[patient > AIR])


@pytest.mark.parametrize(
    "cut",
    [
        np.s_[:, :, 30:90],
        np.s_[:, :, 45:62],
        np.s_[:, 35:65, :],
        np.s_[:, 40:70, 40:110],
        np.s_[:, 45:58, 45:58],
        np.s_[30:31],
        np.s_[30:33],
        np.s_[:, 50:, 75:],
    ],
    ids=["sides", "narrow", "front and back", "all", "within a lung", "a slice", "three slices", "a quarter"],
)
def test_cut_scans_keep_all_of_the_patient(cut: tuple[slice, ...]) -> None:
    patient = trunk()[cut]
    np.testing.assert_array_equal(masked(patient)[patient > AIR], patient[patient > AIR])


def test_lung_at_the_edge_of_a_round_field_of_view_stays() -> None:
    """80 mm around the middle; what lies beyond was not reconstructed and has a value below air."""
    patient = trunk()
    y, x = np.ogrid[: patient.shape[1], : patient.shape[2]]
    seen = np.broadcast_to((y - 50) ** 2 + (x - 75) ** 2 <= 27**2, patient.shape)
    assert (patient[seen] == LUNG).sum() > 10000
    hu = np.where(seen, patient, -2000).astype(np.int16)
    np.testing.assert_array_equal(masked(hu)[seen], patient[seen])


def test_limbs_fingers_and_a_motion_ghost_stay() -> None:
    hu = np.full((60, 120, 150), AIR, np.int16)
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    hu[:, (y - 40) ** 2 + (x - 40) ** 2 <= 15**2] = 40
    hu[:, (y - 40) ** 2 + (x - 100) ** 2 <= 18**2] = 40
    hu[10:50, 36:44, 10:26] = 40  # 16 mm thick, 32 mm long
    hu[:, 60:64, 80:120][:, :, 15:25] = -550
    patient = hu > AIR
    table = hu.copy()
    table[:, 100:102] = PLATE
    found = masked(table)
    np.testing.assert_array_equal(found[patient], hu[patient])
    assert (found[:, 100:102] == AIR_HU).all()


def test_a_bridge_of_foam_without_air_is_kept() -> None:
    """Below a body that the borders cut, foam might be lung: it stays."""
    hu = np.full((20, 60, 60), -880, np.int16)
    hu[:, :35] = 30
    hu[:, 50:52] = PLATE
    np.testing.assert_array_equal(masked(hu), hu)


def test_no_body_no_mask() -> None:
    assert not outside(np.full((4, 5, 6), -1000, np.float32), AIR_HU).any()


def test_cells_begin_at_multiples_of_their_edge() -> None:
    hu = torch.tensor([[[1.0, 2, 3, 4, 5, 6, 7]]])
    np.testing.assert_array_equal(cell_means(hu, [0, 0, -1], 3), [[[1, 3, 6]]])
    np.testing.assert_array_equal(cell_means(hu, [4, 2, 0], 3), [[[2, 5, 7]]])


@pytest.mark.parametrize("path", NODULES or [None], ids=lambda path: path.stem if path else "none")
def test_nothing_of_the_lung_around_real_nodules_is_masked(path: Path | None) -> None:
    if path is None:
        pytest.skip(f"{DATA} is not here")
    image = sitk.ReadImage(str(path))  # some of these crops are too small to be proven HU
    direction = np.array(image.GetDirection()).reshape(3, 3)
    volume = Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetOrigin(), direction)
    grid = preprocess(volume, MM, 8)
    point = np.array([[(n - 1) / 2 for n in reversed(volume.hu.shape)]])
    z, y, x = grid.from_world(volume.index_to_world(point))[0].round().astype(int)
    assert (grid.hu[z, y - 12 : y + 13, x - 12 : x + 13] > AIR_HU).float().mean() > 0.95


def test_the_table_of_a_real_scan_goes() -> None:
    path = DATA / "ct" / "abdomen" / "example_ct.nii.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    image = sitk.ReadImage(str(path))
    grid = preprocess(read_volume(path), MM, 8)
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS"))
    assert (array[:, -6:] > -500).sum() > 5000
    assert (grid.hu[:, -4:] > -500).sum() < 500
