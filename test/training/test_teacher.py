"""The teacher sees what the detector sees, in a mirror too; what persists is counted by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import SMALL, lively, loud
from model.config import NotFiniteError
from model.detector import Detector
from model.heads import mirrored
from model.preprocess import preprocess
from model.volume import Volume
from resources.cases.cache import HU, CachedScan
from resources.training.config import Teacher
from resources.training.reports.pseudo_labels import Proposal
from resources.training.reports.teacher import VIEWS, link, propose

ALL = Teacher(views=1, doubtful_above=0.011, empty_below=0.01)
MEMORY = 10**9


def noise_of(shape: tuple[int, int, int] = (48, 48, 48)) -> Volume:
    hu = np.random.default_rng(0).normal(40, 300, shape).astype(np.int16)
    return Volume(hu, (2.0, 2.0, 2.0), (-32.0, 16.0, 64.0), np.eye(3))


def scan_of(volume: Volume) -> CachedScan:
    grid = preprocess(volume, SMALL.spacing_mm, SMALL.stride)
    array = np.zeros((3, *grid.hu.shape), np.int16)
    array[HU] = grid.hu.numpy()
    return CachedScan(array, grid.lower, grid.spacing_mm, volume.geometry, {}, "")


def test_one_view_is_the_detectors_own_output() -> None:
    volume = noise_of((33, 41, 46))
    proposals, _ = propose(loud(), scan_of(volume), ALL, MEMORY)
    lesions = [x for x in Detector([loud()], "own", "cpu").predict(volume).lesions if x.probability >= 0.011]
    assert len(lesions) > 20
    for proposal, lesion in zip(proposals, lesions, strict=True):
        np.testing.assert_allclose(proposal.center_mm, lesion.point_mm, atol=1e-3)
        np.testing.assert_allclose(
            proposal.size_mm, (lesion.long_mm, lesion.short_mm, lesion.z_extent_mm), 1e-3
        )
        np.testing.assert_allclose(proposal.types, list(lesion.type_probabilities.values()), atol=1e-4)


def test_tiles_change_nothing() -> None:
    scan = scan_of(noise_of((96, 40, 48)))
    teacher = dataclasses.replace(ALL, empty_below=0.05, doubtful_above=0.15)
    whole, empty = propose(loud(), scan, teacher, MEMORY)
    tiled, other = propose(loud(), scan, teacher, 64 * 40 * 48 * 120)
    assert (empty == other).mean() > 0.999
    np.testing.assert_allclose([p.center_mm for p in whole], [p.center_mm for p in tiled], atol=1e-3)


@pytest.mark.parametrize(("axis", "views"), [(2, 2), (1, 4), (0, 8)])
def test_a_mirrored_scan_gives_mirrored_proposals(axis: int, views: int) -> None:
    """The views are closed under the mirror, so this is exact however the network feels about mirrors."""
    scan = scan_of(noise_of())
    assert scan.shape == (48, 48, 48)
    other = dataclasses.replace(scan, array=np.flip(scan.array, axis + 1))
    teacher = dataclasses.replace(ALL, views=views, empty_below=0.05, doubtful_above=0.15)
    network = loud()
    proposals, empty = propose(network, scan, teacher, MEMORY)
    turned, emptier = propose(network, other, teacher, MEMORY)
    np.testing.assert_array_equal(np.flip(empty, axis), emptier)
    assert 0.5 < empty.mean() < 0.9
    assert 20 < len(proposals) == len(turned)
    ends_mm = [(-32.0, 62.0), (16.0, 110.0), (64.0, 158.0)][2 - axis]  # of the outermost voxels' centres
    for p, q in zip(proposals, turned, strict=True):
        back = np.array(q.center_mm)
        back[2 - axis] = sum(ends_mm) - back[2 - axis]
        np.testing.assert_allclose(p.center_mm, back, atol=1e-3)
        np.testing.assert_allclose(p.types, q.types, atol=1e-6)
        np.testing.assert_allclose(p.size_mm, q.size_mm, atol=1e-3)


def test_eight_views_are_all_mirrors_and_the_first_is_none() -> None:
    assert VIEWS == ((), (2,), (1,), (2, 1), (0,), (2, 0), (1, 0), (2, 1, 0))


def test_offsets_turn_round_in_the_mirror() -> None:
    heads = torch.arange(7 * 2).reshape(7, 1, 1, 2).float()  # one type; then offset z, y, x; then sizes
    assert mirrored(heads.clone(), (2,)).flatten(1).tolist() == [
        [1, 0], [3, 2], [5, 4], [-7, -6], [9, 8], [11, 10], [13, 12]
    ]  # fmt: skip
    assert (mirrored(mirrored(heads.clone(), (2, 0)), (2, 0)) == heads).all()
    assert mirrored(heads, ()) is heads


def test_empty_is_below_in_every_view_and_away_from_proposals() -> None:
    network = lively()
    for parameter in network.parameters():
        parameter.data.zero_()
    network.out.bias.data[:8] = -5.0  # a probability of 0.0067 everywhere
    scan = scan_of(noise_of())
    teacher = Teacher(views=2, doubtful_above=0.2, empty_below=0.007)
    proposals, empty = propose(network, scan, teacher, MEMORY)
    assert proposals == ()
    assert empty.shape == (24, 24, 24)
    assert empty.all()
    assert not propose(network, scan, dataclasses.replace(teacher, empty_below=0.006), MEMORY)[1].any()


def test_no_cell_near_a_proposal_is_empty() -> None:
    """One cell is lifted; the proposal there is 2 mm wide, so the ball is 11 mm, 2.75 cells."""
    network = lively()
    for parameter in network.parameters():
        parameter.data.zero_()
    network.out.bias.data[:8] = -5.0
    network.out.bias.data[11:] = np.log(0.2)  # sizes of 2 mm

    def lift(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        output[0, 8, 10, 12, 3] = 2.0
        return output

    network.out.register_forward_hook(lift)
    scan = scan_of(noise_of())
    proposals, empty = propose(network, scan, Teacher(views=1, empty_below=0.01), MEMORY)
    (found,) = proposals
    assert found.types.index(found.probability) == 3
    # Cell (z 8, y 10, x 12) has its centre at voxel (16.5, 20.5, 24.5): mm = voxel * 2 + origin.
    np.testing.assert_allclose(found.center_mm, (-32 + 49, 16 + 41, 64 + 33), atol=1e-5)
    np.testing.assert_allclose(found.size_mm, (2, 2, 2), rtol=1e-5)
    z, y, x = np.ogrid[:24, :24, :24]
    ball = (z - 8) ** 2 + (y - 10) ** 2 + (x - 12) ** 2 <= 2.75**2
    np.testing.assert_array_equal(empty, ~ball)


def test_a_network_that_trains_or_breaks_is_refused() -> None:
    scan = scan_of(noise_of())
    with pytest.raises(ValueError, match="evaluation mode"):
        propose(lively().train(), scan, ALL, MEMORY)
    broken = lively()
    broken.out.bias.data[0] = torch.nan
    with pytest.raises(NotFiniteError, match="finite"):
        propose(broken, scan, ALL, MEMORY)


def proposal(x: float, long_mm: float = 6.0, rounds: int = 1) -> Proposal:
    return Proposal((x, 0.0, 0.0), (long_mm, 5.0, 5.0), (0.5,), rounds)


def test_what_persists_is_counted() -> None:
    before = (proposal(0, rounds=3), proposal(50), proposal(100, rounds=2))
    now = (proposal(3.9), proposal(54.1), proposal(90, long_mm=21), proposal(200))
    assert [p.rounds for p in link(now, before)] == [4, 1, 3, 1]
    assert [p.center_mm for p in link(now, before)] == [p.center_mm for p in now]
    assert [p.rounds for p in link(before, ())] == [1, 1, 1]
    assert link((), before) == ()


def test_links_are_one_to_one_and_as_many_as_can_be() -> None:
    before = (proposal(0, rounds=5), proposal(3, rounds=2))
    assert [p.rounds for p in link((proposal(1), proposal(1.5)), before)] == [6, 3]
    # The middle one is nearest to both, but each of two takes one.
    assert [p.rounds for p in link((proposal(2), proposal(6)), before)] == [6, 3]
    assert [p.rounds for p in link((proposal(2), proposal(1)), before[:1])] == [1, 6]


places = st.lists(st.floats(0, 40), max_size=6)


@settings(deadline=None, max_examples=50)
@given(places, places)
def test_a_proposal_is_continued_at_most_once(first: list[float], second: list[float]) -> None:
    before = tuple(proposal(x, rounds=n + 1) for n, x in enumerate(first))
    rounds = [p.rounds for p in link(tuple(map(proposal, second)), before)]
    continued = [n for n in rounds if n > 1]
    assert len(continued) == len(set(continued)) <= len(first)
    for x, n in zip(second, rounds, strict=True):
        assert n == 1 or abs(first[n - 2] - x) < 4
