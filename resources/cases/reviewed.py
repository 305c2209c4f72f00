"""Reviews that the page of `resources.review` has saved, as annotated cases.

An accepted finding is a box with its measured diameters and the reader's type; a lesion that was missed is a
point, with its long diameter where the reader gave it; a rejected finding is a benign mark, a negative
for training. Where the reader has ticked that the whole scan was read, the case is completely annotated.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.geometry import Geometry
from model.volume import read_volume
from resources.cases.case import Annotation, Case, Completeness, Point
from resources.cases.images import read_header
from resources.cases.patients import split_of
from resources.cases.strict import CaseError, decode, decode_object, refuse

TYPE, MAJOR = "lesion review", 1
SAME_MM = 0.01
"""By how much the place of a scan may differ from the one that was reviewed."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the reviewed scan lies: voxels (x, y, z), mm, and its direction, row-major."""

    size: tuple[int, int, int]
    spacing_mm: Point
    origin_mm: Point
    direction: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A finding of the detector and the reader's verdict; mm are LPS."""

    number: int
    point_mm: Point
    lower_mm: Point
    upper_mm: Point
    long_mm: float
    short_mm: float
    z_extent_mm: float
    type: str
    probability: float
    verdict: Literal["accepted", "rejected"] | None
    comment: str


@dataclasses.dataclass(frozen=True)
class Missed:
    """A lesion that the reader has added."""

    point_mm: Point
    type: str | None
    long_mm: float | None
    comment: str


@dataclasses.dataclass(frozen=True)
class Review:
    """One file that the page saves. case: the case's id; complete: whether the whole scan was read."""

    type: str
    version: dict[str, int]
    case: str
    scan: Place
    made_by: dict[str, str]
    reviewer: str
    reviewed: str
    complete: bool
    findings: tuple[Judged, ...]
    missed: tuple[Missed, ...]

    def __post_init__(self) -> None:
        if self.type != TYPE or self.version.get("major") != MAJOR:
            refuse("type", f"{TYPE}, version {MAJOR}", f"{self.type}, version {self.version}")


def review_files(sources: Sequence[Path]) -> list[Path]:
    """The files given, and all *.review.json below the folders given. Raises CaseError."""
    paths: list[Path] = []
    for source in sources:
        files = sorted(source.rglob("*.review.json")) if source.is_dir() else [source]
        if not files:
            raise CaseError(f"{source}: expected reviews (*.review.json), found none in the folder")
        paths += files
    return paths


def read_review(path: Path) -> Review:
    """Raises CaseError naming the file, the field, what was expected and found."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: expected a review, found: {' '.join(str(error).split())}") from None
    try:
        return decode_object(Review, value)
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None


def reviewed_case(review: Review, case: Case, shares: tuple[float, float] = (0.1, 0.1)) -> Case:
    """The case with what the reader said in place of its annotations. Raises CaseError, InputError.

    shares: of the patients that go to validation and test, where the case has no split of its own. What the
    reader left undecided is not in the result, so it is unknown unless the whole scan was read.
    """
    _check_place(review, case)
    about: dict[str, Any] = {"reviewer": review.reviewer} if review.reviewer else {}
    annotations = []
    for f in review.findings:
        if f.verdict is None:
            continue
        note = {"comment": f.comment} if f.comment else {}
        annotations.append(
            Annotation(
                "box3d",
                type=decode(str, f.type, "type"),
                frame="mm",
                lower=f.lower_mm,
                upper=f.upper_mm,
                long_mm=f.long_mm,
                short_mm=min(f.short_mm, f.long_mm),
                z_extent_mm=f.z_extent_mm,
                status="lesion" if f.verdict == "accepted" else "benign",
                attributes={"review": f.verdict, **about, **note},
            )
        )
    for m in review.missed:
        note = {"comment": m.comment} if m.comment else {}
        annotations.append(
            Annotation(
                "point",
                type=m.type,
                frame="mm",
                point=m.point_mm,
                long_mm=m.long_mm,
                attributes={"review": "missed", **about, **note},
            )
        )
    return dataclasses.replace(
        case,
        split=case.split or split_of(case.patient, *shares),
        annotations=tuple(annotations),
        completeness=dataclasses.replace(case.completeness, kind="all", slices=None, organs=(), region=None)
        if review.complete
        else Completeness(
            organ_labels=case.completeness.organ_labels, organ_values=case.completeness.organ_values
        ),
        attributes={**case.attributes, "reviewed": review.reviewed},
    )


def _check_place(review: Review, case: Case) -> None:
    """Raises CaseError where the case's scan is not the one that was reviewed, or a mark lies outside it."""
    path = Path(case.image.path)
    place = review.scan
    scan = read_volume(path, case.image.series).geometry if path.is_dir() else read_header(path)
    here = (*scan.spacing_mm, *scan.origin_mm, *scan.direction.ravel().tolist())
    there = (*place.spacing_mm, *place.origin_mm, *place.direction)
    size = scan.size
    if size != place.size or len(here) != len(there) or np.abs(np.subtract(here, there)).max() > SAME_MM:
        raise CaseError(
            f"review of {review.case}: expected the scan that was reviewed "
            f"({_times(place.size)} voxels at {place.origin_mm} mm), found {path} "
            f"({_times(size)} voxels at {scan.origin_mm} mm)"
        )
    _check_marks(review, scan)


def _check_marks(review: Review, scan: Geometry) -> None:
    points = [m.point_mm for m in review.missed]
    points += [f.point_mm for f in review.findings if f.verdict == "accepted"]
    for point in points:
        index = scan.world_to_index([point])[0]
        if ((index < -1) | (index > np.array(scan.size))).any():
            raise CaseError(
                f"review of {review.case}: expected marks inside the scan, found one at {point} mm"
            )


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def convert(sources: Sequence[Path], cases: Sequence[Case], shares: tuple[float, float]) -> list[Case]:
    """The reviewed cases, in the order of the files. Raises CaseError, InputError.

    cases: where the scans lie, as `resources.review` has written it (OUT/cases.jsonl).
    """
    known = {case.id: case for case in cases}
    reviewed: dict[str, Case] = {}
    for path in review_files(sources):
        review = read_review(path)
        if review.case not in known:
            raise CaseError(f"{path}: expected a review of a case of the list, found {review.case}")
        if review.case in reviewed:
            raise CaseError(f"{path}: expected one review of each case, found a second of {review.case}")
        reviewed[review.case] = reviewed_case(review, known[review.case], shares)
    return list(reviewed.values())
