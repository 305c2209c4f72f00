"""What is known at each cell, counted by hand on small grids, and the property on synthetic scans."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.volume import Volume
from resources.cases.cache import HU, LESIONS, ORGANS, CachedScan
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource
from resources.synthetic.anatomy import Draw
from resources.synthetic.cases import ORGAN_VALUES, ellipsoid_of, findings_of, recist_of
from resources.synthetic.lesions import Truth
from resources.training.states import IGNORED, NEGATIVE, POSITIVE, REPORT_WEIGHT, states_of

ORGANS_OF = {"liver": (1,), "spleen": (2,), "left kidney": (3,), "right kidney": (4,)}


def scan_of(shape: tuple[int, int, int] = (24, 40, 80), centers: dict | None = None) -> CachedScan:
    """2 mm voxels from the world's origin; four organs side by side along x, 20 voxels each."""
    array = np.zeros((3, *shape), np.int16)
    array[ORGANS] = 1 + np.arange(shape[2]) * 4 // shape[2]
    place = Volume(np.broadcast_to(np.int16(0), shape), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    return CachedScan(array, (0, 0, 0), 2.0, place, centers or {}, "")


def case_of(
    annotations: tuple[Annotation, ...] = (), findings: tuple[Finding, ...] = (), **completeness: object
) -> Case:
    known = Completeness(organ_labels="o.nii", organ_values=ORGANS_OF, **completeness)  # type: ignore[arg-type]
    return Case("a", "p", "s", "train", ImageSource("a.mha"), annotations, known, findings)


def absent(organ: str | None, **changes: object) -> Finding:
    return Finding(None, organ, count=None, presence="absent", **changes)  # type: ignore[arg-type]


RECIST = Annotation("recist", "liver", long=((5, 20, 12), (15, 20, 12)), short=((10, 16, 12), (10, 24, 12)))


def organ_states(case: Case) -> list[set[int]]:
    """The states within each of the four organs."""
    state = states_of(case, scan_of()).state
    return [set(np.unique(state[:, :, low : low + 10]).tolist()) for low in range(0, 40, 10)]


def test_nothing_said_is_nothing_known() -> None:
    states = states_of(case_of(), scan_of())
    assert states.state.shape == (12, 20, 40)
    assert (states.state == IGNORED).all()
    assert (states.weight == 0).all()


def test_complete_parts_are_negative() -> None:
    assert (states_of(case_of(kind="all"), scan_of()).state == NEGATIVE).all()
    state = states_of(case_of(kind="slices", slices=(4, 7)), scan_of()).state
    assert (state[2:4] == NEGATIVE).all()  # slices of 2 mm 4 to 7 are cells 2 and 3
    assert (np.delete(state, [2, 3], 0) == IGNORED).all()
    state = states_of(case_of(kind="organs", organs=("spleen",)), scan_of()).state
    assert (state[:, :, 10:20] == NEGATIVE).all()
    assert (state == NEGATIVE).sum() == 12 * 20 * 10
    state = states_of(case_of(kind="region", region=((9.5, 9.5, 9.5), (13.5, 13.5, 13.5))), scan_of()).state
    assert np.argwhere(state == NEGATIVE).tolist() == [
        [z, y, x] for z in (5, 6) for y in (5, 6) for x in (5, 6)
    ]


def test_a_mask_is_positive_its_edge_ignored_and_the_rest_negative() -> None:
    scan = scan_of(centers={0: (25.0, 41.0, 25.0)})
    scan.array[LESIONS, 12:14, 20:22, 12:15] = 1  # the last column is half a cell
    mask = Annotation("mask", "liver", mask="m.nii", label=1)
    state = states_of(case_of((mask,), kind="all"), scan).state
    assert np.argwhere(state == POSITIVE).tolist() == [[6, 10, 6]]
    assert np.argwhere(state == IGNORED).tolist() == [[6, 10, 7]]


def test_a_weak_mark_is_sure_inside_and_silent_around() -> None:
    states = states_of(case_of((RECIST,), kind="all"), scan_of())
    positive, ignored = (np.argwhere(states.state == value) for value in (POSITIVE, IGNORED))
    assert (states.state[6, 10, 5], states.weight[6, 10, 5]) == (POSITIVE, 1)
    assert np.ptp(positive[:, 2]) * 4 < 20 < np.ptp(ignored[:, 2]) * 4  # the long axis is 20 mm
    assert np.ptp(positive[:, 0]) * 4 < 17 < np.ptp(ignored[:, 0]) * 4  # its median extent 17 mm
    assert states.state[6, 10, 12] == NEGATIVE


def test_benign_is_negative_and_doubtful_is_ignored() -> None:
    benign, doubtful = (dataclasses.replace(RECIST, status=status) for status in ("benign", "doubtful"))
    assert states_of(case_of((benign,)), scan_of()).state[6, 10, 5] == NEGATIVE
    assert states_of(case_of((doubtful,), kind="all"), scan_of()).state[6, 10, 5] == IGNORED


def test_a_report_clears_organs_with_a_lower_weight() -> None:
    states = states_of(case_of(findings=(absent("spleen"),)), scan_of())
    assert (states.state[:, :, 10:20] == NEGATIVE).all()
    assert (states.weight[:, :, 10:20] == REPORT_WEIGHT).all()
    assert organ_states(case_of(findings=(absent("kidney"),)))[2:] == [{NEGATIVE}] * 2
    assert organ_states(case_of(findings=(absent("kidney", side="left"),)))[2:] == [{NEGATIVE}, {IGNORED}]
    assert organ_states(case_of(findings=(absent(None),))) == [{NEGATIVE}] * 4
    assert organ_states(case_of(findings=(absent("liver", time="prior"),)))[0] == {IGNORED}


def test_a_reported_lesion_that_is_not_marked_keeps_its_organ_and_its_surroundings_open() -> None:
    liver = Finding("liver", "liver", sizes_mm=(10.0,))
    states = organ_states(case_of(findings=(liver, absent("spleen"), absent("kidney"))))
    assert states == [{IGNORED}, {IGNORED, NEGATIVE}, {NEGATIVE}, {NEGATIVE}]
    assert organ_states(case_of(findings=(Finding(None, None), absent("spleen")))) == [{IGNORED}] * 4
    benign = dataclasses.replace(liver, character="benign")
    assert organ_states(case_of(findings=(benign, absent("spleen"))))[1] == {NEGATIVE}
    prior = dataclasses.replace(liver, time="resolved")
    assert organ_states(case_of(findings=(prior, absent(None)))) == [{NEGATIVE}] * 4


def test_an_organ_with_as_many_marks_as_reported_lesions_is_known() -> None:
    one = Finding("liver", "liver", sizes_mm=(20.0, 16.0))
    for findings, expected in (
        ((one,), {POSITIVE, NEGATIVE, IGNORED}),
        ((one, one), {POSITIVE, IGNORED}),
        ((dataclasses.replace(one, count="several"),), {POSITIVE, IGNORED}),
        ((dataclasses.replace(one, count=2),), {POSITIVE, IGNORED}),
    ):
        assert organ_states(case_of((RECIST,), findings))[0] == expected


@st.composite
def lesions(draw: st.DrawFn) -> Truth:
    """A lesion as resources.synthetic draws them, its centre in one of two organs."""
    long_mm = draw(st.floats(5, 60))
    short_mm = long_mm * draw(st.floats(0.45, 1))
    extent_mm = (long_mm * short_mm) ** 0.5 * draw(st.floats(0.5, 1.6))
    organ = draw(st.sampled_from(["liver", "spleen"]))
    x = draw(st.floats(20, 90)) if organ == "liver" else draw(st.floats(110, 180))
    center = (x, draw(st.floats(20, 130)), draw(st.floats(20, 90)))
    return Truth(center, long_mm, short_mm, extent_mm, "liver", draw(st.floats(0, 3.1)), organ)


@settings(max_examples=25, deadline=None)
@given(
    truths=st.lists(lesions(), max_size=4),
    marked=st.lists(st.booleans(), min_size=4, max_size=4),
    seed=st.integers(0, 10**6),
    slice_mm=st.sampled_from([1.5, 3.0, 5.0]),
)
def test_no_voxel_of_a_lesion_is_negative_if_the_report_omits_none(
    truths: list[Truth], marked: list[bool], seed: int, slice_mm: float
) -> None:
    """Whatever share of the lesions is marked; and what is positive is lesion, but for 5 %."""
    shape = (56, 76, 100)
    place = Volume(
        np.zeros((int(112 / slice_mm), 152, 200), np.int16), (1.0, 1.0, slice_mm), (0, 0, 0), np.eye(3)
    )
    array = np.zeros((3, *shape), np.int16)
    array[HU] = 40
    array[ORGANS] = ORGAN_VALUES["liver"][0]
    array[ORGANS, :, :, 50:] = ORGAN_VALUES["spleen"][0]
    array[ORGANS, :, 70:] = ORGAN_VALUES["kidney"][0]
    scan = CachedScan(array, (0, 0, 0), 2.0, place, {}, "")
    draw = Draw(seed)
    marks = tuple(recist_of(t, place, draw) for t, use in zip(truths, marked, strict=False) if use)
    known = Completeness(organ_labels="o.nii", organ_values=ORGAN_VALUES)
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), marks, known, findings_of(truths))
    state = states_of(case, scan, stride=1).state
    points = np.stack(np.meshgrid(*(np.arange(n) * 2.0 for n in shape), indexing="ij")[::-1], -1)
    lesion = np.zeros(shape, bool)
    for truth in truths:
        lesion |= ellipsoid_of(truth).surely(points)
    assert not (lesion & (state == NEGATIVE)).any()
    cells = states_of(case, scan).state.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert not (lesion & (cells == NEGATIVE)).any()
    SHARES.append(((state == POSITIVE) & ~lesion).sum() + 1j * (state == POSITIVE).sum())


SHARES: list[complex] = []


def test_of_the_positive_voxels_at_most_a_twentieth_is_no_lesion(tmp_path: Path) -> None:
    if not SHARES:
        pytest.skip("the property test above did not run")
    total = sum(SHARES)
    print(
        f"{total.real:.0f} of {total.imag:.0f} positive voxels are no lesion: {total.real / total.imag:.2%}"
    )
    assert total.real <= 0.05 * total.imag
