"""A mark and the sentence that tells of it are one lesion."""

import dataclasses

import numpy as np

from model.config import LESION_TYPES
from model.geometry import along_world
from resources.cases.cache import ORGANS, CachedScan
from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource
from resources.training.reports.joint import account
from resources.training.reports.location import location_prior
from resources.training.reports.matching import wanted_of
from resources.training.targets.states import locate

VALUES = {"liver": (1,), "spleen": (2,), "left kidney": (3,), "right kidney": (4,)}


def scan_of(shape: tuple[int, int, int] = (24, 40, 80)) -> CachedScan:
    """2 mm voxels from the world's origin; four organs side by side along x, 40 mm each."""
    array = np.zeros((3, *shape), np.int16)
    array[ORGANS] = 1 + np.arange(shape[2]) * 4 // shape[2]
    place = along_world((0, 0, 0), shape, 2.0)
    return CachedScan(array, (0, 0, 0), 2.0, place, {}, "")


def mark(x: int, long_mm: float, kind: str | None = None, **changes: object) -> Annotation:
    """A RECIST mark in the middle of the slice of z = 24 mm, around voxel x."""
    reach = long_mm / 4
    ends = ((x - reach, 20.0, 12.0), (x + reach, 20.0, 12.0))
    return Annotation("recist", kind, long=ends, **changes)  # type: ignore[arg-type]


def accounted(
    marks: tuple[Annotation, ...], findings: tuple[Finding, ...], mapped: bool = True
) -> tuple[dict[int, int], list[tuple[int, int, bool]]]:
    known = Completeness(organ_labels="o.nii", organ_values=VALUES) if mapped else Completeness()
    case = Case("a", "p", "s", "train", ImageSource("a.mha"), marks, known, findings)
    scan = scan_of()
    rest = account(case, locate(case, scan), location_prior(case, scan), LESION_TYPES)
    left = {one.number: one.count for one in rest}
    marked = {one.number: one.count - left.get(one.number, 0) for one in wanted_of(findings)}
    found = {number: count for number, count in marked.items() if count}
    return found, [(one.number, one.count, one.sized) for one in rest]


LIVER = Finding("liver", "liver", sizes_mm=(12.0,))
SPLEEN = Finding("abdomen", "spleen", sizes_mm=(12.0,))


def test_the_mark_is_the_finding_of_its_place() -> None:
    assert accounted((mark(10, 12.0),), (SPLEEN, LIVER)) == ({1: 1}, [(0, 1, True)])
    assert accounted((mark(30, 12.0),), (SPLEEN, LIVER)) == ({0: 1}, [(1, 1, True)])
    assert accounted((mark(10, 12.0), mark(30, 12.0)), (SPLEEN, LIVER)) == ({0: 1, 1: 1}, [])


def test_without_a_place_its_type_and_size_tell() -> None:
    large = Finding("liver", "liver", sizes_mm=(30.0,))
    assert accounted((mark(10, 12.0, "liver"),), (SPLEEN, LIVER), mapped=False)[0] == {1: 1}
    assert accounted((mark(10, 29.0),), (LIVER, large), mapped=False)[0] == {1: 1}
    assert accounted((mark(10, 13.0),), (large, LIVER), mapped=False)[0] == {1: 1}


def test_a_mark_that_no_sentence_tells_of_explains_nothing() -> None:
    kidney = Finding("kidney", "kidney", side="left", sizes_mm=(12.0,))
    assert accounted((mark(10, 12.0),), (kidney,)) == ({}, [(0, 1, True)])
    assert accounted((mark(10, 12.0, "liver"),), (SPLEEN,), mapped=False)[0] == {}
    assert accounted((), (LIVER,)) == ({}, [(0, 1, True)])
    assert accounted((mark(10, 12.0, status="benign"),), (LIVER,)) == ({}, [(0, 1, True)])


def test_a_doubtful_mark_is_what_an_uncertain_sentence_means() -> None:
    doubtful = dataclasses.replace(LIVER, presence="uncertain")
    assert accounted((mark(10, 12.0, status="doubtful"),), (doubtful,)) == ({0: 1}, [])


def test_counts_are_used_up() -> None:
    three = dataclasses.replace(LIVER, count=3)
    assert accounted((mark(6, 12.0), mark(14, 7.0)), (three,)) == ({0: 2}, [(0, 1, False)])
    assert accounted((mark(14, 5.0),), (three,)) == ({0: 1}, [(0, 2, True)])  # the largest is still to find
    several = dataclasses.replace(LIVER, count="several")
    assert accounted((mark(6, 12.0), mark(14, 7.0)), (several,)) == ({0: 2}, [])


def test_what_is_not_in_this_scan_is_neither() -> None:
    findings = (
        Finding("liver", "liver", time="resolved"),
        Finding("liver", "liver", time="prior"),
        Finding("liver", "liver", character="benign"),
        Finding("liver", "liver", count=None, presence="absent"),
    )
    assert accounted((mark(10, 12.0),), findings) == ({}, [])
