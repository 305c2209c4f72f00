"""The pseudo-labels of a scan: proposals, marks and findings by hand."""

import dataclasses
import random

import numpy as np
import pytest

from model.config import LESION_TYPES
from model.geometry import along_world
from resources.cases.cache import HU, ORGANS, CachedScan
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource
from resources.cases.lesions import SHORT_RATIO, Z_RATIO
from resources.training.config import Supervision, Teacher
from resources.training.reports.clearing import cleared_types
from resources.training.reports.guidance import UNCERTAIN, in_scan, resolve, size_of
from resources.training.reports.location import LocationPrior, Lungs
from resources.training.reports.matching import MISSED
from resources.training.reports.pseudo_labels import Proposal, PseudoLesion

VALUES = {"liver": (1,), "spleen": (2,), "left kidney": (3,), "right kidney": (4,)}
ALL = Supervision(teacher=1, report_positive=1, report_negative=1)
LIVER = Finding("liver", "liver", sizes_mm=(12.0,))
MARK = Annotation("recist", "liver", long=((7, 20, 24), (13, 20, 24)))


def scan_of() -> CachedScan:
    """2 mm voxels from the world's origin; four organs side by side along x, 80 mm each."""
    shape = (48, 40, 160)
    array = np.zeros((3, *shape), np.int16)
    array[HU] = 40
    array[ORGANS] = 1 + np.arange(160) // 40
    place = along_world((0, 0, 0), shape, 2.0)
    return CachedScan(array, (0, 0, 0), 2.0, place, {}, "")


def seen(
    kind: str = "liver", p: float = 0.5, x: float = 40.0, size: float = 12.0, rounds: int = 1, z: float = 48.0
) -> Proposal:
    """A proposal at y = 40 mm; other types have a hundredth of its probability."""
    types = tuple(p if name == kind else p / 100 for name in LESION_TYPES)
    return Proposal((x, 40.0, z), (size, 0.8 * size, size), types, rounds)


def resolved(
    proposals: tuple[Proposal, ...] = (),
    findings: tuple[Finding, ...] = (),
    marks: tuple[Annotation, ...] = (),
    supervision: Supervision | None = None,
    untaught: frozenset[str] = frozenset(),
    **completeness: object,
) -> tuple[PseudoLesion, ...]:
    given = {"organ_labels": "o.nii", "organ_values": VALUES} | completeness
    case = Case(
        "a", "p", "s", "train", ImageSource("a.mha"), marks, Completeness(**given), findings  # type: ignore[arg-type]
    )  # fmt: skip
    weights = ALL if supervision is None else supervision
    return resolve(case, scan_of(), proposals, LESION_TYPES, weights, Teacher(), untaught)


def absent(organ: str | None, kind: str | None = None, **changes: object) -> Finding:
    return Finding(kind, organ, count=None, presence="absent", **changes)  # type: ignore[arg-type]


def test_a_finding_and_a_proposal_that_fit_are_a_lesion_of_the_reports_size() -> None:
    one = seen(p=0.3, size=14.0)
    (lesion,) = resolved((one,), (LIVER,))
    assert (lesion.source, lesion.verdict, lesion.finding, lesion.type) == ("report", "positive", 0, "liver")
    assert lesion.center_mm == one.center_mm
    short = SHORT_RATIO * 12
    assert lesion.size_mm == pytest.approx((12, short, Z_RATIO[0.50] * (12 * short) ** 0.5))
    assert 0.9 < lesion.weight < 1  # 0.02 of 0.3 is left for a lesion that the teacher has not seen
    assert (lesion.probability, lesion.rounds) == (0.3, 1)


def test_sizes_by_the_report_and_the_shape_law() -> None:
    assert size_of(Finding(None, None, sizes_mm=(9.0, 16.0))) == pytest.approx((16, 9, Z_RATIO[0.50] * 12))
    (lesion,) = resolved((seen(size=14.0),), (dataclasses.replace(LIVER, sizes_mm=()),))
    assert lesion.size_mm == (14.0, 0.8 * 14.0, 14.0)  # nothing told: what the teacher sees


def test_an_uncertain_finding_weighs_less() -> None:
    sure, unsure = (
        resolved((seen(),), (dataclasses.replace(LIVER, presence=presence),))[0]
        for presence in ("present", "uncertain")
    )
    assert unsure.weight == pytest.approx(UNCERTAIN * sure.weight)


def test_a_finding_that_no_proposal_fits_is_given_none() -> None:
    """What the lung's map shows in the liver is no liver lesion; the left kidney begins 120 mm further on."""
    kidney = Finding("kidney", "kidney", side="left", count="several")
    assert resolved((), (LIVER, kidney)) == ()
    assert resolved((seen("lung", 0.1),), (LIVER, kidney)) == ()
    (lesion,) = resolved((seen("kidney", 0.3),), (LIVER, kidney))
    assert (lesion.source, lesion.verdict, lesion.finding) == ("teacher", "doubtful", None)


def test_a_ruled_out_map_may_show_a_type_that_nobody_marked() -> None:
    """No liver lesion, says the report; what the liver's map shows in the spleen may be one of the spleen."""
    spleen = Finding("abdomen", "spleen", sizes_mm=(12.0,))
    findings, proposal = (absent("liver"), spleen), seen("liver", 0.5, x=120.0)
    assert resolved((proposal,), findings) == ()
    (lesion,) = resolved((proposal,), findings, untaught=frozenset({"abdomen"}))
    assert (lesion.type, lesion.finding) == ("abdomen", 1)


def test_a_count_asks_for_as_many_proposals() -> None:
    """The size that the report gives is that of the largest; there may be fewer proposals than lesions."""
    three = dataclasses.replace(LIVER, count=3)
    lesions = resolved((seen(x=20.0, size=6.0), seen(x=60.0, size=12.0)), (three,))
    assert [lesion.finding for lesion in lesions] == [0, 0]
    assert lesions[0].size_mm == (6.0, 0.8 * 6.0, 6.0)
    assert lesions[1].size_mm == size_of(three)


def test_a_finding_is_given_none_of_places_that_would_all_do() -> None:
    """Five weak proposals in the liver and one finding: none is likelier than the others together."""
    proposals = tuple(seen(p=0.1, x=10.0 + 15 * i) for i in range(5))
    assert resolved(proposals, (LIVER,)) == ()
    (one,) = resolved(proposals[:1], (LIVER,))
    assert one.weight == pytest.approx(0.1 / (0.1 + MISSED))


def test_the_teacher_alone() -> None:
    """Sure and seen twice: positive; sure but new, or neither sure nor empty: doubtful; else nothing."""
    proposals = (
        seen(p=0.8, rounds=2),
        seen(p=0.8, x=60.0),
        seen(p=0.2, x=80.0, rounds=9),
        seen(p=0.1, x=10.0),
    )
    lesions = resolved(proposals)
    assert [(b.center_mm[0], b.verdict, b.source) for b in lesions] == [
        (40.0, "positive", "teacher"),
        (60.0, "doubtful", "teacher"),
        (80.0, "doubtful", "teacher"),
    ]
    assert (lesions[0].weight, lesions[0].type, lesions[0].finding) == (0.8, "liver", None)
    assert lesions[0].size_mm == proposals[0].size_mm


def test_each_kind_can_be_switched_off() -> None:
    proposals, findings = (seen(p=0.9, rounds=2), seen("kidney", 0.9, 200.0, rounds=2)), (LIVER,)
    off = dataclasses.replace(ALL, report_positive=0.0)
    assert [b.source for b in resolved(proposals, findings, supervision=off)] == ["teacher", "teacher"]
    lesions = resolved(proposals, findings, supervision=dataclasses.replace(ALL, teacher=0.0))
    assert [b.source for b in lesions] == ["report"]


def test_a_marked_lesion_is_no_news_and_its_sentence_is_accounted_for() -> None:
    at_mark, elsewhere = seen(x=22.0, p=0.9), seen(x=60.0, p=0.6)
    second = dataclasses.replace(LIVER, sizes_mm=(20.0,))
    assert resolved((at_mark,), (LIVER,), (MARK,)) == ()
    lesions = resolved((at_mark, elsewhere), (LIVER, second), (MARK,))
    assert [(b.center_mm[0], b.finding) for b in lesions] == [(60.0, 1)]
    assert resolved((elsewhere,), (LIVER,), (MARK,)) == ()  # as many are marked as are told: the rest is free
    assert [b.finding for b in resolved((elsewhere,), (LIVER,))] == [0]  # without the mark it is sought
    edge = seen(x=28.5, p=0.9, rounds=2)  # beyond the mark's sure part, within what it may cover
    assert resolved((edge,), (), (MARK,)) == ()
    assert len(resolved((seen(x=36.0, p=0.9, rounds=2),), (), (MARK,))) == 1


def test_complete_places_are_known() -> None:
    assert resolved((seen(p=0.9, rounds=2),), (LIVER,), kind="all") == ()
    proposals = (seen(p=0.9, rounds=2), seen("kidney", 0.9, 200.0, rounds=2))
    lesions = resolved(proposals, (LIVER,), kind="organs", organs=("liver",))
    assert [(b.type, b.source) for b in lesions] == [("kidney", "teacher")]
    assert resolved(proposals, kind="slices", slices=(10, 30)) == ()
    assert len(resolved(proposals, kind="slices", slices=(40, 47))) == 2


def test_what_the_report_clears_or_rules_out_is_no_positive() -> None:
    liver, kidney = seen(p=0.9, rounds=2), seen("kidney", 0.9, 200.0, rounds=2)
    assert [b.type for b in resolved((liver, kidney), (absent("liver"),))] == ["kidney"]
    bones = seen("bone", 0.9, 200.0, rounds=2)
    assert resolved((bones,), (absent("bone", "bone"),)) == ()
    assert len(resolved((bones,), (absent("spine", "bone"),))) == 1
    assert len(resolved((liver,), (absent("liver", time="prior"),))) == 1


def test_no_metastases_never_denies_what_the_report_tells_of() -> None:
    """With and without a label map."""
    liver, kidney = seen(p=0.9, rounds=2), seen("kidney", 0.9, 280.0, rounds=2)
    for mapped in ({}, {"organ_labels": None, "organ_values": {}}):
        lesions = resolved((liver, kidney), (absent(None), LIVER), **mapped)
        assert [(b.type, b.source, b.finding) for b in lesions] == [("liver", "report", 1)]
        assert resolved((liver, kidney), (absent(None),), **mapped) == ()


def test_types_that_are_ruled_out() -> None:
    def of(*findings: Finding, marks: tuple[Annotation, ...] = ()) -> set[str]:
        case = Case("a", "p", "s", "train", ImageSource("a.mha"), marks, Completeness(), findings)
        return set(cleared_types(case))

    everything = set(LESION_TYPES)
    assert of() == set()
    assert of(absent(None)) == everything
    assert of(absent(None), LIVER) == everything - {"liver"}
    assert of(absent(None), dataclasses.replace(LIVER, character="benign")) == everything
    assert of(absent(None), dataclasses.replace(LIVER, time="resolved")) == everything
    assert of(absent(None), Finding(None, "lymph node")) == set()
    assert of(absent(None), marks=(MARK,)) == everything - {"liver"}
    assert of(absent("lung", "lung"), absent("kidney", side="left")) == {"lung"}
    assert of(absent("mediastinum", "mediastinum"), absent("spine", "bone")) == set()


def test_resolved_and_prior_lesions_are_no_positives() -> None:
    benign = dataclasses.replace(LIVER, character="benign")
    for gone in (*(dataclasses.replace(LIVER, time=time) for time in ("resolved", "prior")), benign):
        (lesion,) = resolved((seen(p=0.3),), (gone,))
        assert (lesion.source, lesion.verdict) == ("teacher", "doubtful")


def test_a_finding_in_an_organ_that_the_scan_does_not_show_is_given_no_proposal() -> None:
    """The map knows adrenal glands, and none is in the scan: what is seen there is something else."""
    adrenal, proposal = Finding("abdomen", "adrenal gland"), seen("abdomen", 0.5)
    assert [b.finding for b in resolved((proposal,), (adrenal,))] == [0]
    elsewhere = {**VALUES, "adrenal gland": (9,)}
    assert [b.finding for b in resolved((proposal,), (adrenal,), organ_values=elsewhere)] == [None]


def test_whether_the_scan_shows_the_place_of_a_finding() -> None:
    """It ends 150 mm below the lungs; bladders are lower than 220 mm below them. Image 7 lies 50 mm below its
    end: a lesion of 12 mm reaches 13 mm. Of image 8 it is not sure that it is of this series.
    """
    images = {(7,): (90.0, 100.0, 1.0), (8,): (90.0, 100.0, 0.7), (9,): (160.0, 162.0, 1.0)}
    places = LocationPrior(Lungs(300.0, None), None, (150.0, 400.0), {}, images)
    assert not in_scan(Finding("pelvis", "bladder"), places)
    assert in_scan(Finding("pelvis", "bladder"), dataclasses.replace(places, lungs=None))
    for numbers, shown in (((), True), ((7,), False), ((8,), True), ((9,), True)):
        assert in_scan(dataclasses.replace(LIVER, images=numbers), places) == shown, numbers
    assert in_scan(Finding("pelvis", "bladder", images=(9,)), places)  # the image says more than the organ
    larger = dataclasses.replace(LIVER, images=(7,), sizes_mm=(60.0,))
    assert in_scan(larger, places)


def test_the_order_of_findings_and_proposals_changes_nothing() -> None:
    findings = [
        LIVER, dataclasses.replace(LIVER, sizes_mm=(30.0,)), Finding("kidney", "kidney", count="several"),
        Finding("abdomen", "spleen", presence="uncertain"), absent(None),
    ]  # fmt: skip
    proposals = [
        seen(p=0.5), seen(p=0.4, x=20.0, size=28.0), seen("kidney", 0.3, 200.0), seen("kidney", 0.6, 280.0),
        seen("abdomen", 0.9, 120.0, rounds=3), seen("lung", 0.9, 130.0, rounds=3),
    ]  # fmt: skip

    def outcome() -> list[str]:
        named = [
            (dataclasses.replace(b, finding=None), b.finding is not None and findings[b.finding])
            for b in resolved(tuple(proposals), tuple(findings))
        ]
        return sorted(map(repr, named))

    expected = outcome()
    assert len(expected) >= 4
    draw = random.Random(0)
    for _ in range(5):
        draw.shuffle(findings)
        draw.shuffle(proposals)
        assert outcome() == expected
