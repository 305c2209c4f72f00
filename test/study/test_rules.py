"""Lesions that published rules make of a report, on maps with the places written out."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from model.decode import Candidates
from model.geometry import along_world
from resources.cases.cache import ORGANS, CachedScan
from resources.cases.case import Case, Completeness, Finding, ImageSource
from resources.study.rules import center_of, complete_organs, with_balls, with_counts

TYPES = ("liver", "kidney")
VALUES: dict[str, tuple[int, ...]] = {
    "liver": (1,),
    "left kidney": (2,),
    "right kidney": (3,),
    "spleen": (4,),
}
KNOWN = Completeness(organ_labels="/organs.mha", organ_values=VALUES)
LIVER, KIDNEY = Finding("liver", "liver", sizes_mm=(20.0,)), Finding("kidney", "kidney", "left")


def case_of(*findings: Finding) -> Case:
    return Case("a", "a", "s", "train", ImageSource("/i.mha"), (), KNOWN, findings)


def scan() -> CachedScan:
    """Cells of 4 mm, the first centred at 1 mm; along x eight are liver, then four of each kidney."""
    array = np.zeros((3, 16, 16, 32), np.int16)
    array[ORGANS, :, :, :16], array[ORGANS, :, :, 16:24], array[ORGANS, :, :, 24:] = 1, 2, 3
    return CachedScan(array, (0, 0, 0), 2.0, along_world((0, 0, 0), (16, 16, 32), 2.0), {}, "")


def maps(**places: tuple[tuple[tuple[int, int, int], float], ...]) -> torch.Tensor:
    """Of probabilities (z, y, x) of each type; everywhere 12 by 10 mm and 8 mm high."""
    heads = torch.zeros(len(TYPES) + 6, 8, 8, 16)
    heads[-3:] = torch.tensor([10.0, 12.0, 8.0])[:, None, None, None]
    for number, kind in enumerate(TYPES):
        for cell, probability in places.get(kind, ()):
            heads[(number, *cell)] = probability
    return heads


def test_a_ball_lies_at_the_highest_place_of_its_organ() -> None:
    heat = maps(liver=(((4, 4, 2), 0.3), ((4, 4, 14), 0.9)), kidney=(((1, 1, 9), 0.02), ((1, 1, 15), 0.8)))
    heat[len(TYPES) : len(TYPES) + 3, 4, 4, 2] = torch.tensor([0.5, 0.0, -1.0])  # of its cell, along z, y, x
    found = with_balls(case_of(KIDNEY, LIVER), scan(), heat, TYPES)
    liver, kidney = found.annotations
    assert (liver.type, center_of(liver).tolist()) == ("liver", [5.0, 17.0, 19.0])
    assert (kidney.type, center_of(kidney).tolist()) == ("kidney", [37.0, 5.0, 5.0])
    assert (liver.long_mm, kidney.long_mm, kidney.short_mm, kidney.z_extent_mm) == (20.0, 12.0, 10.0, 8.0)
    assert found.completeness.kind == "organs"
    assert set(found.completeness.organs) == {"liver", "left kidney"}  # nothing is said of the others
    assert found.findings == case_of(KIDNEY, LIVER).findings


def test_the_next_ball_lies_beside_the_first_and_is_no_larger() -> None:
    """The second highest place is 8 mm from the first, within the radius of 10 mm; the next is 12 mm away."""
    heat = maps(liver=(((4, 4, 1), 0.9), ((4, 4, 3), 0.8), ((4, 4, 4), 0.1)))
    two = dataclasses.replace(LIVER, count=2)
    found = with_balls(case_of(two), scan(), heat, TYPES)
    assert [center_of(a)[0] for a in found.annotations] == [5.0, 17.0]
    assert [a.long_mm for a in found.annotations] == [20.0, 12.0]
    small = dataclasses.replace(two, sizes_mm=(6.0,))  # its radius is less than a cell and a half
    found = with_balls(case_of(small), scan(), heat, TYPES)
    assert [center_of(a)[0] for a in found.annotations] == [5.0, 13.0]
    assert [(a.long_mm, a.short_mm, a.z_extent_mm) for a in found.annotations][1] == (6.0, 5.0, 4.0)


def test_a_ball_may_lie_a_little_outside_of_its_organ() -> None:
    """The liver's last cell is centred at 29 mm."""
    for x, there in ((10, True), (11, False)):
        heat = maps(liver=(((4, 4, 0), 0.1), ((4, 4, x), 0.9)))
        (lesion,) = with_balls(case_of(LIVER), scan(), heat, TYPES).annotations
        assert center_of(lesion)[0] == (1.0 + 4 * x if there else 1.0)


def test_an_organ_is_complete_where_its_lesions_are_counted() -> None:
    several = dataclasses.replace(LIVER, count="several")
    found = with_balls(case_of(several, KIDNEY), scan(), maps(), TYPES)
    assert [a.type for a in found.annotations] == ["liver", "liver", "kidney"]
    assert found.completeness.organs == ("left kidney",)
    found = with_balls(case_of(several), scan(), maps(), TYPES)
    assert found.completeness.kind == "none"
    assert found.completeness.organ_values == VALUES
    for more, names in (
        (Finding("bone", None), ("liver", "left kidney")),
        (Finding("liver", None), ("left kidney",)),  # one more, somewhere
        (Finding(None, None), ()),
        (Finding("abdomen", "abdomen"), ()),  # a place that liver and kidneys are in
    ):
        assert complete_organs(case_of(LIVER, KIDNEY, more), TYPES) == names, more
    assert complete_organs(case_of(Finding("abdomen", "abdomen")), TYPES) == ()


def candidates(*kinds: str) -> tuple[Candidates, np.ndarray]:
    """Surest first, at 10, 20, ... mm."""
    sure = np.linspace(0.9, 0.1, len(kinds))
    types = np.array([[p * (kind == name) for name in TYPES] for p, kind in zip(sure, kinds, strict=True)])
    centers = np.arange(1, len(kinds) + 1)[:, None] * [10.0, 0.0, 0.0]
    return Candidates(centers, sure, types, np.tile([12.0, 10.0, 8.0], (len(kinds), 1))), centers


def test_as_many_of_each_type_are_kept_as_the_report_counts() -> None:
    case = case_of(dataclasses.replace(LIVER, count=2), KIDNEY)
    found = with_counts(case, *candidates("liver", "liver", "liver", "kidney", "kidney"), TYPES)
    assert found is not None
    assert [(a.type, center_of(a)[0]) for a in found.annotations] == [
        ("liver", 10.0),
        ("liver", 20.0),
        ("kidney", 40.0),
    ]
    assert found.completeness.kind == "all"
    assert found.findings == ()


def test_a_scan_with_fewer_candidates_than_reported_is_left_out() -> None:
    case = case_of(dataclasses.replace(LIVER, count=2), KIDNEY)
    assert with_counts(case, *candidates("liver", "kidney", "kidney"), TYPES) is None
    several = case_of(dataclasses.replace(LIVER, count="several"))
    assert with_counts(several, *candidates("liver", "liver"), TYPES) is None
    unnamed = case_of(Finding(None, "liver"))
    assert with_counts(unnamed, *candidates("liver", "kidney"), TYPES) is None
    healthy = case_of(Finding(None, None, count=None, presence="absent"))
    found = with_counts(healthy, *candidates("liver"), TYPES)
    assert found is not None
    assert found.annotations == ()
    assert found.completeness.kind == "all"
