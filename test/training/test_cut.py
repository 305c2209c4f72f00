"""Patches: where things come to lie, counted by hand and in round trips."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import along_world
from model.preprocess import AIR_HU
from resources.cases.cache import HU, LESIONS, ORGANS, CachedScan
from resources.cases.case import Annotation, Case, CaseError, Completeness, Finding, ImageSource
from resources.training.config import Augmentation, Optimisation, Source, Supervision, TrainingConfig
from resources.training.data.batch import FULL, REPORT_NEGATIVE, UNMARKED, WEAK, collate
from resources.training.data.cut import Placement, cells_of, cut, place, sample_hu
from resources.training.reports.pseudo_labels import PseudoLabels
from resources.training.targets.draw import lesions_of
from resources.training.targets.known import KnownScan, known_of, pack, unpack
from resources.training.targets.states import NEGATIVE, States, locate, states_of

SHAPE = (16, 16, 16)
CONFIG = TrainingConfig(
    "w", (Source("a", "c", "d"),), Optimisation(1), supervision=Supervision(report_negative=1.0)
)
TYPES = CONFIG.network.detector.types
STILL = Augmentation(0, 0, 0)


def scan_of(
    shape: tuple[int, int, int] = (24, 32, 40), lower: tuple[int, int, int] = (4, 6, 8)
) -> CachedScan:
    """2 mm voxels; HU differ everywhere."""
    array = np.zeros((3, *shape), np.int16)
    array[HU] = np.arange(math.prod(shape)).reshape(shape) % 1009
    place = along_world((0, 0, 0), (80, 100, 120), 1.0)
    return CachedScan(array, lower, 2.0, place, {}, "")


def known_in(case: Case, scan: CachedScan) -> KnownScan:
    code = torch.from_numpy(pack(states_of(case, scan)))
    classes = torch.full(code.shape, -1, dtype=torch.int8)
    return KnownScan(code, classes, lesions_of(locate(case, scan), scan, TYPES))


def case_of(annotations: tuple[Annotation, ...] = (), kind: str = "all", **changes: object) -> Case:
    return Case("a", "p", "s", "train", ImageSource("a.mha"), annotations, Completeness(kind), **changes)  # type: ignore[arg-type]


def still(middle: tuple[float, float, float], shape: tuple[int, int, int] = SHAPE) -> Placement:
    return place(np.array(middle), shape, STILL, np.random.default_rng(0))


def test_an_unturned_patch_is_a_piece_of_the_scan() -> None:
    scan = scan_of()
    hu = sample_hu(scan, still((11.5, 17.5, 13.5)))
    np.testing.assert_allclose(hu, scan.array[HU, 4:20, 10:26, 6:22], atol=0.02)
    edge = sample_hu(scan, still((1.5, 17.5, 13.5)))
    np.testing.assert_allclose(edge[6:], scan.array[HU, :10, 10:26, 6:22], atol=0.02)
    assert (edge[:6] == AIR_HU).all()
    assert (sample_hu(scan, still((-60, 0, 0))) == AIR_HU).all()


def test_a_mirrored_patch_runs_from_left_to_right() -> None:
    scan = scan_of()
    mirrored = place(
        np.array((11.5, 17.5, 13.5)), SHAPE, dataclasses.replace(STILL, flip=1), np.random.default_rng(0)
    )
    np.testing.assert_allclose(sample_hu(scan, mirrored), scan.array[HU, 4:20, 10:26, 21:5:-1], atol=0.02)
    assert mirrored.to_patch(torch.tensor([4.0, 10.0, 6.0])).tolist() == [0, 0, 15]


def test_a_quarter_turn_around_z() -> None:
    scan = scan_of()
    turn = torch.tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    placement = Placement(torch.tensor([11.5, 17.5, 13.5], dtype=torch.float64), turn, SHAPE)
    expected = scan.array[HU, 4:20, 10:26, 6:22].transpose(0, 2, 1)[:, :, ::-1]
    np.testing.assert_allclose(sample_hu(scan, placement), expected, atol=0.02)


seeds = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_to_the_scan_and_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    placement = place(random.uniform(0, 50, 3), SHAPE, Augmentation(), random)
    voxels = torch.from_numpy(random.uniform(-9, 30, (5, 3)))
    torch.testing.assert_close(placement.to_patch(placement.to_scan(voxels)), voxels)
    apart, turned = (torch.linalg.norm(v[1:] - v[0], dim=1) for v in (voxels, placement.to_scan(voxels)))
    torch.testing.assert_close(apart, turned * placement.scale)
    assert 1 / 1.15 - 1e-9 <= placement.scale <= 1.15 + 1e-9
    tilt = math.degrees(math.acos(min(1, float(placement.matrix[0, 0]) * placement.scale)))
    assert tilt <= 2 * 12 / 4


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_lesions_move_with_the_image(seed: int) -> None:
    """A bright ball is where the target says, to a third of a voxel, and as large."""
    random = np.random.default_rng(seed)
    scan = scan_of((48, 48, 48))
    center = random.uniform(18, 30, 3)
    grid = np.stack(np.meshgrid(*(np.arange(48),) * 3, indexing="ij"), -1)
    scan.array[HU] = np.where(np.linalg.norm(grid - center, axis=-1) < 5, 500, 0)
    point = ((center + scan.lower) * 2.0)[::-1]
    case = case_of((Annotation("point", "liver", "mm", point=tuple(point.tolist()), long_mm=20.0),))  # type: ignore[arg-type]
    placement = place(center + random.uniform(-4, 4, 3), (32, 32, 32), Augmentation(), random)
    patch = cut(case, scan, known_in(case, scan), placement, CONFIG)
    bright = (patch.hu[0, 0] > 250).nonzero().double()
    found = (patch.heat[0, 3] * (patch.any_said_by[0] == WEAK)).flatten().argmax()
    cell = torch.tensor(np.unravel_index(int(found), patch.heat.shape[2:]))
    offset = patch.geometry[0, :3, *cell.tolist()]
    np.testing.assert_allclose((cell + offset) * 2 + 0.5, bright.mean(0), atol=0.35)
    long_mm = 10 * math.exp(float(patch.geometry[0, 3, *cell.tolist()]))
    assert long_mm == pytest.approx(20 * placement.scale)
    assert 2 * 2 * (3 * len(bright) / 4 / math.pi) ** (1 / 3) == pytest.approx(long_mm, rel=0.05)


def test_cells_of_a_patch_by_hand() -> None:
    """An unturned patch whose first voxel is the scan's voxel (4, 10, -2): its cells begin at (2, 5, -1)."""
    scan = scan_of()
    flat, inside = cells_of(scan, still((11.5, 17.5, 5.5)))
    assert not inside[..., 0].any()
    assert inside[..., 1:].all()
    assert int(flat[0, 0, 1]) == (2 * 16 + 5) * 20
    assert int(flat[7, 7, 7]) == (9 * 16 + 12) * 20 + 6


def test_what_lies_outside_the_scan_is_not_learnt() -> None:
    scan, case = scan_of(), case_of()
    patch = cut(case, scan, known_in(case, scan), still((1.5, 17.5, 13.5)), CONFIG)
    assert patch.hu.shape == (1, 1, 16, 16, 16)
    assert patch.heat.shape == (1, 8, 8, 8, 8)
    assert (patch.weight[:, :, :3] == 0).all()
    assert (patch.weight[:, :, 3:] == 1).all()
    assert (patch.said_by[:, :, 3:] == FULL).all()
    assert patch.names == ("a",)


def test_the_report_counts_only_if_it_is_learnt() -> None:
    scan = scan_of()
    case = case_of(kind="none", findings=(Finding(None, "liver", count=None, presence="absent"),))
    placement = still((11.5, 17.5, 13.5))
    patch = cut(case, scan, known_in(case, scan), placement, CONFIG)
    liver = TYPES.index("liver")
    assert (patch.said_by[0, liver] == REPORT_NEGATIVE).all()
    assert (patch.weight[0, liver] == 0.5).all()
    assert (patch.said_by[0, 0] == UNMARKED).all()
    silent = dataclasses.replace(CONFIG, supervision=Supervision(unmarked=1.0))
    patch = cut(case, scan, known_in(case, scan), placement, silent)
    assert (patch.said_by == UNMARKED).all()
    assert (patch.weight == 1).all()


def test_what_only_a_report_clears_in_an_organ() -> None:
    scan = scan_of()
    scan.array[ORGANS, :, :, :20] = 7
    case = case_of(kind="none", findings=(Finding(None, "spleen", count=None, presence="absent"),))
    known = Completeness(organ_labels="o.nii", organ_values={"spleen": (7,)})
    case = dataclasses.replace(case, completeness=known)
    patch = cut(case, scan, known_in(case, scan), still((11.5, 17.5, 19.5)), CONFIG)
    assert (patch.said_by[..., :4] == REPORT_NEGATIVE).all()
    assert (patch.said_by[..., 4:] == UNMARKED).all()
    silent = dataclasses.replace(CONFIG, supervision=Supervision())
    patch = cut(case, scan, known_in(case, scan), still((11.5, 17.5, 19.5)), silent)
    assert (patch.said_by == UNMARKED).all()
    assert (patch.weight == 1).all()


def test_pseudo_labels_of_another_grid_are_refused() -> None:
    scan, case = scan_of(), case_of()
    pseudo_labels = PseudoLabels((), (), np.zeros((2, 2, 2), bool))
    with pytest.raises(
        CaseError, match=r"pseudo-labels of a: expected \(12, 16, 20\) cells, found \(2, 2, 2\)"
    ):
        cut(case, scan, known_in(case, scan), still((8, 8, 8)), CONFIG, pseudo_labels)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_no_cell_in_a_lesion_denies_it(seed: int) -> None:
    """Complete annotation by masks: a cell of a patch whose middle is in a lesion is never taught as free of
    lesions, unless that lesion's centre is taught too.
    """
    random = np.random.default_rng(seed)
    scan = scan_of((40, 40, 40), (0, 0, 0))
    grid = np.stack(np.meshgrid(*(np.arange(40),) * 3, indexing="ij"), -1)
    center, radius = random.uniform(8, 32, 3), random.uniform(2, 12)
    inside = np.linalg.norm((grid - center) / (1, 1, random.uniform(0.6, 1)), axis=-1) < radius
    scan.array[LESIONS] = inside
    mask = Annotation(
        "mask", "bone", mask="m.nii", label=1, long_mm=4 * radius, short_mm=3 * radius, z_extent_mm=4 * radius
    )
    scan.mask_centers_mm[0] = tuple((center * 2.0)[::-1].tolist())
    case = case_of((mask,))
    placement = place(random.uniform(4, 36, 3), SHAPE, Augmentation(), random)
    patch = cut(case, scan, known_in(case, scan), placement, CONFIG)
    middle = torch.stack(torch.meshgrid(*(torch.arange(8) * 2 + 0.5,) * 3, indexing="ij"), -1)
    voxel = placement.to_scan(middle).round().long().clamp(0, 39).numpy()
    in_lesion = torch.from_numpy(inside[tuple(np.moveaxis(voxel, -1, 0))])
    denied = (patch.any_weight[0] > 0) & (patch.any_heat[0] < 1) & in_lesion
    assert not denied.any() or bool((patch.heat[0, 0] == 1).any())


def test_states_are_packed_and_back() -> None:
    rows = [
        (-1, 1.0, UNMARKED),
        (-1, 0.0, UNMARKED),
        (0, 1.0, FULL),
        (0, 0.5, REPORT_NEGATIVE),
        (1, 1.0, WEAK),
    ]
    state, weight, said_by = (np.array(column).reshape(1, 1, 5) for column in zip(*rows, strict=True))
    states = States(state.astype(np.int8), weight.astype(np.float32), said_by.astype(np.int8))
    again = unpack(torch.from_numpy(pack(states)))
    for part, expected in zip(again, (states.state, states.weight, states.said_by), strict=True):
        np.testing.assert_array_equal(part, expected)
        assert part.numpy().dtype == expected.dtype


def test_states_are_kept_until_the_scan_changes(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    scan, case = dataclasses.replace(scan_of(), digest="one"), case_of()
    first = known_of(case, scan, folder, TYPES)
    (file,) = (folder / ".states").iterdir()
    assert file.name == "a.b2nd"
    other = case_of(kind="none")
    assert torch.equal(
        known_of(other, scan, folder, TYPES).code, first.code
    )  # read, for the digest is the same
    changed = known_of(other, dataclasses.replace(scan, digest="two"), folder, TYPES)
    assert (unpack(changed.code)[2] == UNMARKED).all()
    assert (unpack(first.code)[0] == NEGATIVE).all()
    file.write_bytes(b"broken")
    assert torch.equal(known_of(case, scan, folder, TYPES).code, first.code)
    sealed = folder / "file"
    sealed.write_bytes(b"")
    assert torch.equal(known_of(case, scan, sealed, TYPES).code, first.code)  # nowhere to keep it


def test_patches_are_collated() -> None:
    scan, case = scan_of(), case_of()
    one = cut(case, scan, known_in(case, scan), still((8, 8, 8)), CONFIG)
    two = collate([one, dataclasses.replace(one, names=("b",))])
    assert two.hu.shape == (2, 1, 16, 16, 16)
    assert two.names == ("a", "b")
    with pytest.raises(ValueError, match="at least one patch, found none"):
        collate([])
