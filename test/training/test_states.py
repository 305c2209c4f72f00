"""What is known at each cell, counted by hand on small grids, and the property on ellipsoids."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from training.ellipsoids import ORGAN_VALUES, Truth, ellipsoid_of, findings_of, recist_of

from model.geometry import along_world
from model.volume import Volume
from resources.cases.cache import LESIONS, ORGANS, CachedScan
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource
from resources.training.data.batch import FULL, REPORT_NEGATIVE, UNMARKED, WEAK
from resources.training.targets.states import IGNORED, NEGATIVE, POSITIVE, REPORT_WEIGHT, states_of

ORGANS_OF = {"liver": (1,), "spleen": (2,), "left kidney": (3,), "right kidney": (4,)}


def scan_of(shape: tuple[int, int, int] = (24, 40, 80), centers: dict | None = None) -> CachedScan:
    """2 mm voxels from the world's origin; four organs side by side along x, 20 voxels each."""
    array = np.zeros((3, *shape), np.int16)
    array[ORGANS] = 1 + np.arange(shape[2]) * 4 // shape[2]
    place = along_world((0, 0, 0), shape, 2.0)
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
    assert (states.said_by == UNMARKED).all()
    assert (states.weight == 1).all()  # the loss decides what that is worth


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
    states = states_of(case_of((mask,), kind="all"), scan)
    assert np.argwhere(states.state == POSITIVE).tolist() == [[6, 10, 6]]
    assert np.argwhere(states.state == IGNORED).tolist() == [[6, 10, 7]]
    assert np.argwhere(states.weight == 0).tolist() == [[6, 10, 7]]
    assert np.argwhere(states.said_by != FULL).tolist() == [[6, 10, 7]]
    alone = states_of(case_of((mask,)), scan)
    assert np.argwhere(alone.said_by == FULL).tolist() == [[6, 10, 6]]
    assert np.argwhere(alone.weight == 0).tolist() == [[6, 10, 7]]


def test_a_weak_mark_is_sure_inside_and_silent_around() -> None:
    states = states_of(case_of((RECIST,), kind="all"), scan_of())
    positive, ignored = (np.argwhere(states.state == value) for value in (POSITIVE, IGNORED))
    assert (states.state[6, 10, 5], states.weight[6, 10, 5]) == (POSITIVE, 1)
    assert ((states.said_by == WEAK) == (states.state == POSITIVE)).all()
    assert ((states.weight == 0) == (states.state == IGNORED)).all()
    assert (states.said_by[states.state == NEGATIVE] == FULL).all()
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
    assert (states.said_by[:, :, 10:20] == REPORT_NEGATIVE).all()
    assert (states.said_by[:, :, 20:] == UNMARKED).all()
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


def test_no_lesions_at_all_clears_only_what_no_finding_speaks_of() -> None:
    everywhere = absent(None)
    liver = Finding("liver", "liver", sizes_mm=(10.0,))
    states = organ_states(case_of(findings=(liver, everywhere)))
    assert states == [{IGNORED}, {IGNORED, NEGATIVE}, {NEGATIVE}, {NEGATIVE}]
    uncertain = dataclasses.replace(liver, presence="uncertain")
    assert organ_states(case_of(findings=(uncertain, everywhere))) == states
    # an organ that the map does not have: the abdomen may be the spleen, but is neither liver nor kidney
    abdomen = Finding("abdomen", "abdomen", sizes_mm=(2.0,))
    states = organ_states(case_of(findings=(abdomen, everywhere)))
    assert states == [{NEGATIVE}, {IGNORED}, {NEGATIVE}, {NEGATIVE}]
    assert organ_states(case_of(findings=(abdomen, everywhere, absent("spleen"))))[1] == {NEGATIVE}
    unknown = Finding(None, "flank")
    assert organ_states(case_of(findings=(unknown, everywhere))) == [{IGNORED}] * 4


def test_a_lesion_of_a_part_keeps_the_whole_organ_open() -> None:
    """The map has bone (in place of the liver), the report speaks of the spine."""
    case = case_of(findings=(Finding("bone", "spine", sizes_mm=(2.0,)), absent("bone"), absent("kidney")))
    values = {"bone": (1,), "spleen": (2,), "kidney": (3, 4)}
    case = dataclasses.replace(case, completeness=Completeness(organ_labels="o.nii", organ_values=values))
    assert organ_states(case) == [{IGNORED}, {IGNORED}, {NEGATIVE}, {NEGATIVE}]
    spine = dataclasses.replace(case.completeness, organ_values={**values, "spine": (1,), "bone": (2,)})
    cleared = dataclasses.replace(case, findings=(absent("bone"),), completeness=spine)
    assert organ_states(cleared)[:2] == [{NEGATIVE}, {NEGATIVE}]


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
    """A lesion with its centre in one of two organs."""
    long_mm = draw(st.floats(5, 60))
    short_mm = long_mm * draw(st.floats(0.45, 1))
    extent_mm = (long_mm * short_mm) ** 0.5 * draw(st.floats(0.5, 1.6))
    organ = draw(st.sampled_from(["liver", "spleen"]))
    x = draw(st.floats(20, 90)) if organ == "liver" else draw(st.floats(110, 180))
    center = (x, draw(st.floats(20, 130)), draw(st.floats(20, 90)))
    return Truth(center, long_mm, short_mm, extent_mm, "liver", draw(st.floats(0, 3.1)), organ)


def weak_view(
    truths: list[Truth], marked: list[bool], seed: int, slice_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(z, y, x) per voxel: the true lesions, the states on voxels and those on the network's cells.

    The report omits no lesion; the image is empty, for states do not look at it.
    """
    shape = (56, 76, 100)
    size = (int(112 / slice_mm), 152, 200)
    volume = Volume(np.zeros(size, np.int16), (1.0, 1.0, slice_mm), (0.0, 0.0, 0.0), np.eye(3))
    array = np.zeros((3, *shape), np.int16)
    array[ORGANS] = ORGAN_VALUES["liver"][0]
    array[ORGANS, :, :, 50:] = ORGAN_VALUES["spleen"][0]
    array[ORGANS, :, 70:] = ORGAN_VALUES["kidney"][0]
    scan = CachedScan(array, (0, 0, 0), 2.0, volume.geometry, {}, "")
    draw = np.random.default_rng(seed)
    marks = tuple(recist_of(t, volume, draw) for t, use in zip(truths, marked, strict=True) if use)
    known = Completeness(organ_labels="o.nii", organ_values=ORGAN_VALUES)
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), marks, known, findings_of(truths))
    points = np.stack(np.meshgrid(*(np.arange(n) * 2.0 for n in shape), indexing="ij")[::-1], -1)
    lesion = np.zeros(shape, bool)
    for truth in truths:
        lesion |= ellipsoid_of(truth).surely(points)
    cells = states_of(case, scan).state.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return lesion, states_of(case, scan, stride=1).state, cells


@settings(max_examples=25, deadline=None)
@given(
    truths=st.lists(st.tuples(lesions(), st.booleans()), max_size=4),
    seed=st.integers(0, 10**6),
    slice_mm=st.sampled_from([1.5, 3.0, 5.0]),
)
def test_no_voxel_of_a_lesion_is_negative_if_the_report_omits_none(
    truths: list[tuple[Truth, bool]], seed: int, slice_mm: float
) -> None:
    """Whatever share of the lesions is marked."""
    lesion, *views = weak_view([t for t, _ in truths], [m for _, m in truths], seed, slice_mm)
    for state in views:
        assert not (lesion & (state == NEGATIVE)).any()


def test_of_the_positive_voxels_at_most_a_twentieth_is_no_lesion() -> None:
    """Of sixty lesions with sizes as DeepLesion has them."""
    generator = np.random.default_rng(0)
    outside = positive = covered = total = 0
    for seed in range(60):
        long_mm = float(np.clip(np.exp(generator.normal(np.log(16), 0.5)), 5, 60))
        short_mm = long_mm * float(np.clip(generator.normal(0.74, 0.13), 0.45, 1))
        ratio = float(np.clip(np.exp(generator.normal(-0.03, 0.3)), 0.5, 1.6))
        center = tuple(generator.uniform((35, 35, 35), (70, 100, 75)).tolist())
        extent_mm = ratio * (long_mm * short_mm) ** 0.5
        truth = Truth(center, long_mm, short_mm, extent_mm, "liver", generator.uniform(0, 3), "liver")
        lesion, state, _ = weak_view([truth], [True], seed, float(generator.choice([1.5, 3.0, 5.0])))
        found = state == POSITIVE
        outside += int((found & ~lesion).sum())
        positive += int(found.sum())
        covered += int((found & lesion).sum())
        total += int(lesion.sum())
    print(f"{outside} of {positive} positive voxels are no lesion ({outside / positive:.2%}); ", end="")
    print(f"{covered / total:.0%} of the lesions is positive")
    assert positive > 0
    assert outside <= 0.05 * positive
