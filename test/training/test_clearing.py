"""Types of which a report says that the whole scan has none."""

from __future__ import annotations

import dataclasses

import pytest

from model.config import LESION_TYPES
from resources.cases.case import Annotation, Case, Finding, ImageSource
from resources.cases.organs import type_of
from resources.training.reports.clearing import cleared_types

ALL = set(LESION_TYPES)
NONE = Finding(None, None, count=None, presence="absent")


def no(organ: str, **changes: object) -> Finding:
    return dataclasses.replace(NONE, organ=organ, **changes)  # type: ignore[arg-type]


LIVER = Finding("liver", "liver")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ((), set()),
        ((no("liver"),), {"liver"}),
        ((no("kidney", side="left"),), set()),
        ((no("kidney", side="left"), no("kidney", side="right")), {"kidney"}),
        ((no("lung", side="both"), no("bone")), {"lung", "bone"}),
        ((no("spine"), no("spleen"), no("mediastinum")), set()),  # parts of their types' territories
        ((no("liver", time="prior"),), set()),
        ((no("liver", character="benign"),), set()),  # "no cysts"
        ((NONE,), ALL),
        ((dataclasses.replace(NONE, type="bone"),), {"bone"}),
        ((NONE, LIVER), ALL - {"liver"}),
        ((NONE, dataclasses.replace(LIVER, presence="uncertain")), ALL - {"liver"}),
        ((NONE, dataclasses.replace(LIVER, time="resolved")), ALL),
        ((NONE, dataclasses.replace(LIVER, character="benign")), ALL),
        ((NONE, Finding(None, "kidney")), ALL - {"kidney"}),
        ((NONE, Finding(None, "flank")), set()),  # an organ that may be of any type
        ((NONE, Finding(None, None)), set()),
        ((no("liver"), LIVER), set()),
    ],
)
def test_by_report(findings: tuple[Finding, ...], expected: set[str]) -> None:
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), findings=findings)
    assert cleared_types(case) == expected


def test_a_mark_speaks_against_it() -> None:
    mark = Annotation("point", "liver", point=(0, 0, 0))
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), (mark,), findings=(NONE,))
    assert cleared_types(case) == ALL - {"liver"}


def test_types_of_organs() -> None:
    names = ("left rib", "vertebra", "right kidney", "spleen", "liver")
    assert [type_of(name) for name in names] == ["bone", "bone", "kidney", "abdomen", "liver"]
