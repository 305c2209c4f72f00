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
from resources.training.reports.guidance import UNCERTAIN, resolve, size_of
from resources.training.reports.matching import MISSED
from resources.training.reports.pseudo_labels import Bag, Proposal, PseudoLesion

VALUES = {"liver": (1,), "spleen": (2,), "left kidney": (3,), "right kidney": (4,)}
ALL = Supervision(teacher=1, report_positive=1, bag=1, report_negative=1)
LIVER = Finding("liver", "liver", sizes_mm=(12.0,))
MARK = Annotation("recist", "liver", long=((7, 20, 24), (13, 20, 24)))


def scan_of(slices: int = 48) -> CachedScan:
    """2 mm voxels from the world's origin; four organs side by side along x, 80 mm each."""
    shape = (slices, 40, 160)
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
    height: int = 48,
    untaught: frozenset[str] = frozenset(),
    **completeness: object,
) -> tuple[tuple[PseudoLesion, ...], tuple[Bag, ...]]:
    given = {"organ_labels": "o.nii", "organ_values": VALUES} | completeness
    case = Case(
        "a", "p", "s", "train", ImageSource("a.mha"), marks, Completeness(**given), findings  # type: ignore[arg-type]
    )  # fmt: skip
    weights = ALL if supervision is None else supervision
    return resolve(case, scan_of(height), proposals, LESION_TYPES, weights, Teacher(), untaught)


def absent(organ: str | None, kind: str | None = None, **changes: object) -> Finding:
    return Finding(kind, organ, count=None, presence="absent", **changes)  # type: ignore[arg-type]


def test_a_finding_and_a_proposal_that_fit_are_a_lesion_of_the_reports_size() -> None:
    one = seen(p=0.3, size=14.0)
    lesions, bags = resolved((one,), (LIVER,))
    assert bags == ()
    (lesion,) = lesions
    assert (lesion.source, lesion.verdict, lesion.finding, lesion.type) == ("report", "positive", 0, "liver")
    assert lesion.center_mm == one.center_mm
    short = SHORT_RATIO * 12
    assert lesion.size_mm == pytest.approx((12, short, Z_RATIO[0.50] * (12 * short) ** 0.5))
    assert 0.9 < lesion.weight < 1  # 0.02 of 0.3 is left for a lesion that the teacher has not seen
    assert (lesion.probability, lesion.rounds) == (0.3, 1)


def test_sizes_by_the_report_and_the_shape_law() -> None:
    assert size_of(Finding(None, None, sizes_mm=(9.0, 16.0))) == pytest.approx((16, 9, Z_RATIO[0.50] * 12))
    lesions, _ = resolved((seen(size=14.0),), (dataclasses.replace(LIVER, sizes_mm=()),))
    assert lesions[0].size_mm == (14.0, 0.8 * 14.0, 14.0)  # nothing told: what the teacher sees


def test_an_uncertain_finding_weighs_less() -> None:
    sure, unsure = (
        resolved((seen(),), (dataclasses.replace(LIVER, presence=presence),))[0][0]
        for presence in ("present", "uncertain")
    )
    assert unsure.weight == pytest.approx(UNCERTAIN * sure.weight)
    _, (bag,) = resolved((), (dataclasses.replace(LIVER, presence="uncertain"),))
    assert bag.weight == UNCERTAIN


def test_a_finding_without_a_proposal_is_a_bag() -> None:
    kidney = Finding("kidney", "kidney", side="left", count="several")
    lesions, bags = resolved((seen("lung", 0.1),), (LIVER, kidney))
    assert lesions == ()
    assert bags == (
        Bag("liver", "liver", None, 1, 12.0, None, 1.0, 0),
        Bag("kidney", "kidney", "left", 2, None, None, 1.0, 1),
    )


def test_a_ruled_out_map_may_show_a_type_that_nobody_marked() -> None:
    """No liver lesion, says the report; what the liver's map shows in the spleen may be one of the spleen."""
    spleen = Finding("abdomen", "spleen", sizes_mm=(12.0,))
    findings, proposal = (absent("liver"), spleen), seen("liver", 0.5, x=120.0)
    assert resolved((proposal,), findings)[0] == ()
    (lesion,) = resolved((proposal,), findings, untaught=frozenset({"abdomen"}))[0]
    assert (lesion.type, lesion.finding) == ("abdomen", 1)


def test_what_a_count_lacks_is_a_bag() -> None:
    three = dataclasses.replace(LIVER, count=3)
    lesions, bags = resolved((seen(x=20.0, size=6.0), seen(x=60.0, size=12.0)), (three,))
    assert [lesion.finding for lesion in lesions] == [0, 0]
    assert [lesion.size_mm[0] for lesion in lesions] == [6.0, 12.0]
    assert [(bag.count, bag.size_mm) for bag in bags] == [(1, None)]  # the largest is found


def test_places_that_would_all_do_leave_the_finding_a_bag() -> None:
    """Five weak proposals in the liver and one finding: none is likelier than the others together."""
    proposals = tuple(seen(p=0.1, x=10.0 + 15 * i) for i in range(5))
    lesions, bags = resolved(proposals, (LIVER,))
    assert lesions == ()
    assert len(bags) == 1
    one = resolved(proposals[:1], (LIVER,))[0][0]
    assert one.weight == pytest.approx(0.1 / (0.1 + MISSED))


def test_the_teacher_alone() -> None:
    """Sure and seen twice: positive; sure but new, or neither sure nor empty: doubtful; else nothing."""
    proposals = (
        seen(p=0.8, rounds=2),
        seen(p=0.8, x=60.0),
        seen(p=0.2, x=80.0, rounds=9),
        seen(p=0.1, x=10.0),
    )
    lesions, bags = resolved(proposals)
    assert bags == ()
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
    lesions, bags = resolved(proposals, findings, supervision=off)
    assert [b.source for b in lesions] == ["teacher", "teacher"]
    assert [bag.finding for bag in bags] == [0]
    lesions, _ = resolved(proposals, findings, supervision=dataclasses.replace(ALL, teacher=0.0))
    assert [b.source for b in lesions] == ["report"]
    spleen = Finding("abdomen", "spleen")
    assert resolved((), (spleen,), supervision=dataclasses.replace(ALL, bag=0.0)) == ((), ())


def test_a_marked_lesion_is_no_news_and_its_sentence_is_accounted_for() -> None:
    at_mark, elsewhere = seen(x=22.0, p=0.9), seen(x=60.0, p=0.6)
    second = dataclasses.replace(LIVER, sizes_mm=(20.0,))
    assert resolved((at_mark,), (LIVER,), (MARK,)) == ((), ())
    lesions, bags = resolved((at_mark, elsewhere), (LIVER, second), (MARK,))
    assert [(b.center_mm[0], b.finding) for b in lesions] == [(60.0, 1)]
    assert bags == ()
    edge = seen(x=28.5, p=0.9, rounds=2)  # beyond the mark's sure part, within what it may cover
    assert resolved((edge,), (), (MARK,)) == ((), ())
    assert len(resolved((seen(x=36.0, p=0.9, rounds=2),), (), (MARK,))[0]) == 1
    assert [bag.finding for bag in resolved((), (LIVER,))[1]] == [0]  # without the mark it is sought


def test_complete_places_are_known() -> None:
    assert resolved((seen(p=0.9, rounds=2),), (LIVER,), kind="all") == ((), ())
    proposals = (seen(p=0.9, rounds=2), seen("kidney", 0.9, 200.0, rounds=2))
    lesions, bags = resolved(proposals, (LIVER,), kind="organs", organs=("liver",))
    assert [b.type for b in lesions] == ["kidney"]
    assert bags == ()
    lesions, _ = resolved(proposals, kind="slices", slices=(10, 30))
    assert lesions == ()
    assert len(resolved(proposals, kind="slices", slices=(40, 47))[0]) == 2


def test_what_the_report_clears_or_rules_out_is_no_positive() -> None:
    liver, kidney = seen(p=0.9, rounds=2), seen("kidney", 0.9, 200.0, rounds=2)
    assert [b.type for b in resolved((liver, kidney), (absent("liver"),))[0]] == ["kidney"]
    bones = seen("bone", 0.9, 200.0, rounds=2)
    assert resolved((bones,), (absent("bone", "bone"),)) == ((), ())
    assert len(resolved((bones,), (absent("spine", "bone"),))[0]) == 1
    assert len(resolved((liver,), (absent("liver", time="prior"),))[0]) == 1


def test_no_metastases_never_denies_what_the_report_tells_of() -> None:
    """With and without a label map."""
    liver, kidney = seen(p=0.9, rounds=2), seen("kidney", 0.9, 280.0, rounds=2)
    for mapped in ({}, {"organ_labels": None, "organ_values": {}}):
        lesions, bags = resolved((liver, kidney), (absent(None), LIVER), **mapped)
        assert [(b.type, b.source, b.finding) for b in lesions] == [("liver", "report", 1)]
        assert bags == ()
        assert resolved((liver, kidney), (absent(None),), **mapped) == ((), ())
    _, bags = resolved((), (absent(None), LIVER))
    assert [bag.finding for bag in bags] == [1]


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
    for time in ("resolved", "prior"):
        gone = dataclasses.replace(LIVER, time=time)
        assert resolved((seen(p=0.3),), (gone,))[0][0].verdict == "doubtful"
        assert resolved((), (gone,)) == ((), ())
    benign = dataclasses.replace(LIVER, character="benign")
    assert resolved((), (benign,)) == ((), ())


def test_a_finding_without_a_place_in_a_piece_of_a_scan_may_lie_outside_it() -> None:
    bone = Finding("bone", "rib")
    assert resolved((), (bone,))[1] == ()  # 96 mm
    (bag,) = resolved((), (bone,), height=80)[1]
    assert (bag.z_mm, bag.count) == (None, 1)
    adrenal = Finding("abdomen", "adrenal gland")
    gone = {**VALUES, "adrenal gland": (9,)}
    assert (
        resolved((), (adrenal,), organ_values=gone, height=80)[1] == ()
    )  # the map knows it, the scan ends before


def test_the_order_of_findings_and_proposals_changes_nothing() -> None:
    findings = [
        LIVER, dataclasses.replace(LIVER, sizes_mm=(30.0,)), Finding("kidney", "kidney", count="several"),
        Finding("abdomen", "spleen", presence="uncertain"), absent(None),
    ]  # fmt: skip
    proposals = [
        seen(p=0.5), seen(p=0.4, x=20.0, size=28.0), seen("kidney", 0.3, 200.0), seen("kidney", 0.6, 280.0),
        seen("abdomen", 0.9, 120.0, rounds=3), seen("lung", 0.9, 130.0, rounds=3),
    ]  # fmt: skip

    def outcome() -> tuple[list[str], list[str]]:
        lesions, bags = resolved(tuple(proposals), tuple(findings))
        named = [
            (dataclasses.replace(b, finding=None), b.finding is not None and findings[b.finding])
            for b in lesions
        ]
        kept = [(dataclasses.replace(bag, finding=0), findings[bag.finding]) for bag in bags]
        return sorted(map(repr, named)), sorted(map(repr, kept))

    expected = outcome()
    assert len(expected[0]) >= 4
    draw = random.Random(0)
    for _ in range(5):
        draw.shuffle(findings)
        draw.shuffle(proposals)
        assert outcome() == expected
