"""A case: one scan, what is annotated on it, where that is complete, and what its report says.

In files (JSON Lines, UTF-8, one case a line) indices are 0-based (x, y, z) with voxel centres at whole
numbers, mm are LPS, and paths are relative to the file's folder. In memory paths are absolute.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from model.config import LESION_TYPES
from model.files import whole
from resources.cases.strict import CaseError as CaseError
from resources.cases.strict import decode_object, encode, refuse

Point = tuple[float, float, float]
Segment = tuple[Point, Point]
Attributes = dict[str, str | float | bool]
SPLITS = ("train", "validation", "test")


def _check_type(name: str | None) -> None:
    if name is not None and name not in LESION_TYPES:
        refuse("type", f"one of {', '.join(LESION_TYPES)}", name)


def _check_box(field: str, lower: Point, upper: Point) -> None:
    if any(a > b for a, b in zip(lower, upper, strict=True)):
        refuse(field, "lower corner <= upper corner", f"{lower}, {upper}")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a report says about one lesion, or about several of one organ.

    type: a lesion type of model.config, None if unknown. organ: canonical lower-case English ("liver",
    "adrenal gland"), None if unknown; with presence "absent", organ None clears the whole scan.
    count: None for absent findings. sizes_mm: 0 to 3 diameters of the largest lesion, as in the text.
    series and images: the numbers that the text gives. span: offsets [start, end) in the report.
    """

    type: str | None
    organ: str | None
    side: Literal["left", "right", "both"] | None = None
    count: int | Literal["several"] | None = 1
    sizes_mm: tuple[float, ...] = ()
    series: int | None = None
    images: tuple[int, ...] = ()
    presence: Literal["present", "absent", "uncertain"] = "present"
    time: Literal["current", "prior", "resolved"] = "current"
    character: Literal["suspicious", "indeterminate", "benign"] = "indeterminate"
    span: tuple[int, int] = (0, 0)
    language: Literal["en", "nl"] = "en"

    def __post_init__(self) -> None:
        _check_type(self.type)
        if self.organ is not None and (not self.organ.strip() or self.organ != self.organ.lower()):
            refuse("organ", "a lower-case name", self.organ)
        if isinstance(self.count, int) and self.count < 1:
            refuse("count", "1 or more", self.count)
        if (self.count is None) != (self.presence == "absent"):
            refuse("count", "null exactly for absent findings", f"{self.count} with presence {self.presence}")
        if len(self.sizes_mm) > 3 or any(not mm > 0 for mm in self.sizes_mm):
            refuse("sizes_mm", "at most 3 positive diameters", self.sizes_mm)
        if not 0 <= self.span[0] <= self.span[1]:
            refuse("span", "0 <= start <= end", self.span)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One lesion, as exactly as someone drew it.

    kind "mask": `mask` is a label image on the case's grid and `label` the lesion's value in it.
    kind "box3d": `lower` and `upper` are its edges, half a voxel beyond the outermost voxel centres.
    kind "recist": `long` and, where known, `short` are the end points of the axes on the key slice.
    kind "point": `point`. frame "index": voxels (x, y, z) of the case's image; "mm": LPS; masks are
    in "index". long_mm, short_mm (axial diameters) and z_extent_mm: measured, where known. type:
    None if unknown. status: benign and doubtful lesions are no positives and may be excluded in
    evaluation.
    """

    kind: Literal["mask", "box3d", "recist", "point"]
    type: str | None = None
    frame: Literal["index", "mm"] = "index"
    mask: str | None = None
    label: int | None = None
    lower: Point | None = None
    upper: Point | None = None
    long: Segment | None = None
    short: Segment | None = None
    point: Point | None = None
    long_mm: float | None = None
    short_mm: float | None = None
    z_extent_mm: float | None = None
    status: Literal["lesion", "benign", "doubtful"] = "lesion"
    attributes: Attributes = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_type(self.type)
        needed = {
            "mask": ("mask", "label"),
            "box3d": ("lower", "upper"),
            "recist": ("long",),
            "point": ("point",),
        }
        geometry = {name for names in needed.values() for name in names} | {"short"}
        for name in needed[self.kind]:
            if getattr(self, name) is None:
                refuse(name, f"a value for kind {self.kind}", "none")
        for name in sorted(geometry - set(needed[self.kind])):
            if getattr(self, name) is not None and (self.kind, name) != ("recist", "short"):
                refuse(name, f"none for kind {self.kind}", getattr(self, name))
        if self.kind == "mask" and (self.frame != "index" or not (self.label or 0) > 0):
            refuse("label", "a value above 0 in frame index", f"{self.label} in frame {self.frame}")
        if self.lower is not None and self.upper is not None:
            _check_box("upper", self.lower, self.upper)
        if self.long is not None and self.frame == "index":
            levels = [end[2] for axis in (self.long, self.short) if axis is not None for end in axis]
            if max(levels) - min(levels) > 1e-3:
                refuse("long", "all end points on one axial slice", f"z {levels}")
        for name in ("long_mm", "short_mm", "z_extent_mm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                refuse(name, "more than 0", getattr(self, name))
        if (
            self.long_mm is not None
            and self.short_mm is not None
            and self.short_mm > self.long_mm * (1 + 1e-6)
        ):
            refuse("short_mm", "at most long_mm", f"{self.short_mm} > {self.long_mm}")


@dataclasses.dataclass(frozen=True)
class Completeness:
    """Where the scan is exhaustively annotated: there, what is not annotated is no lesion.

    slices: [first, last] index z, both included, for kind "slices". organs: names, for kind
    "organs". region: lower and upper edges of an index box (x, y, z), for kind "region".
    organ_labels: a label image on the case's grid, organ_values: each organ's values in it ("left
    kidney" may be an organ of its own); allowed with every kind, for reports speak of organs too.
    """

    kind: Literal["all", "none", "slices", "organs", "region"] = "none"
    slices: tuple[int, int] | None = None
    organs: tuple[str, ...] = ()
    region: tuple[Point, Point] | None = None
    organ_labels: str | None = None
    organ_values: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("slices", "organs", "region"):
            if bool(getattr(self, name)) != (self.kind == name):
                expected = "a value" if self.kind == name else "none"
                refuse(name, f"{expected} for kind {self.kind}", getattr(self, name) or "none")
        if self.slices is not None and not 0 <= self.slices[0] <= self.slices[1]:
            refuse("slices", "0 <= first <= last", self.slices)
        if self.region is not None:
            _check_box("region", *self.region)
        if bool(self.organ_values) != (self.organ_labels is not None):
            refuse("organ_values", "exactly with organ_labels", self.organ_values)
        missing = [organ for organ in self.organs if organ not in self.organ_values]
        if missing:
            refuse("organ_values", f"the values of {missing[0]}", sorted(self.organ_values))


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Where the voxels are and how they are read.

    path: a file for ITK, a folder with a DICOM series (series: its UID), or DeepLesion's Images_png
    folder or zip (series: patient_study_series; slices: [first, last] PNG number, the case's z 0
    being the first). size: voxels (x, y, z), where known. spacing_mm, origin_mm, direction
    (row-major): for readers whose files hold none.
    """

    path: str
    reader: Literal["itk", "dicom", "deeplesion"] = "itk"
    series: str | None = None
    size: tuple[int, int, int] | None = None
    spacing_mm: Point | None = None
    origin_mm: Point | None = None
    direction: tuple[float, ...] | None = None
    slices: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.path:
            refuse("path", "a path", "an empty text")
        if self.size is not None and min(self.size) < 1:
            refuse("size", "at least one voxel along each axis", self.size)
        if self.spacing_mm is not None and not min(self.spacing_mm) > 0:
            refuse("spacing_mm", "more than 0", self.spacing_mm)
        if self.direction is not None and len(self.direction) != 9:
            refuse("direction", "9 numbers", self.direction)
        if self.slices is not None and not 1 <= self.slices[0] <= self.slices[1]:
            refuse("slices", "1 <= first <= last", self.slices)
        if self.reader == "deeplesion":
            for name in ("series", "size", "spacing_mm", "slices"):
                if getattr(self, name) is None:
                    refuse(name, "a value for reader deeplesion", "none")


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan. id: unique, a relative path (it names files). split: None if not yet decided."""

    id: str
    patient: str
    source: str
    split: Literal["train", "validation", "test"] | None
    image: ImageSource
    annotations: tuple[Annotation, ...] = ()
    completeness: Completeness = Completeness()
    findings: tuple[Finding, ...] = ()
    report: str | None = None
    attributes: Attributes = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = self.id.split("/")
        if not self.id.isprintable() or any(part in ("", ".", "..") for part in parts) or "\\" in self.id:
            refuse("id", "a name usable as a relative path", self.id)
        for name in ("patient", "source"):
            if not getattr(self, name).strip():
                refuse(name, "a name", "an empty text")
        if self.image.size is not None:
            _check_inside(self, self.image.size)


def _check_inside(case: Case, size: tuple[int, int, int]) -> None:
    """All geometry in index space lies inside the image, edges included."""

    def check(field: str, points: Iterable[Point]) -> None:
        for point in points:
            if not all(-0.5 - 1e-6 <= v <= n - 0.5 + 1e-6 for v, n in zip(point, size, strict=True)):
                shown = ", ".join(f"{v:g}" for v in point)
                refuse(field, f"inside the image of {' x '.join(map(str, size))} voxels", f"({shown})")

    for number, a in enumerate(case.annotations):
        if a.frame == "index":
            points = [p for p in (a.lower, a.upper, a.point) if p is not None]
            check(f"annotations[{number}]", points + [p for axis in (a.long, a.short) if axis for p in axis])
    if case.completeness.region is not None:
        check("completeness.region", case.completeness.region)
    if case.completeness.slices is not None and case.completeness.slices[1] >= size[2]:
        refuse("completeness.slices", f"below {size[2]}", case.completeness.slices)


def check_cases(cases: Iterable[Case]) -> None:
    """Raises CaseError on an id there twice, a patient in two splits, or one scan under two ids.

    A patient's name is the same in all sources; converters make it so by putting the source before it.
    """
    ids: set[str] = set()
    splits: dict[str, str | None] = {}
    images: dict[ImageSource, str] = {}
    for case in cases:
        if case.id in ids:
            refuse(f"case {case.id}: id", "a unique id", "it twice")
        ids.add(case.id)
        split = splits.setdefault(case.patient, case.split)
        if split != case.split:
            refuse(
                f"case {case.id}: split", f"patient {case.patient} in one split", f"{split} and {case.split}"
            )
        other = images.setdefault(case.image, case.id)
        if other != case.id:
            refuse(f"case {case.id}: image", "one case an image", f"that of case {other}")


def _with_paths(case: Case, change: Callable[[str], str]) -> Case:
    def changed(part: Any, *names: str) -> Any:
        values = {name: change(getattr(part, name)) for name in names if getattr(part, name) is not None}
        return dataclasses.replace(part, **values) if values else part

    case = changed(case, "report")
    return dataclasses.replace(
        case,
        image=changed(case.image, "path"),
        annotations=tuple(changed(annotation, "mask") for annotation in case.annotations),
        completeness=changed(case.completeness, "organ_labels"),
    )


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Checks the cases and writes them as JSON Lines, all or nothing. Raises CaseError."""
    cases = list(cases)
    check_cases(cases)
    folder = Path(path).absolute().parent
    with whole(Path(path)) as part, part.open("w", encoding="utf-8") as file:
        for case in cases:
            stored = _with_paths(case, lambda name: os.path.relpath(Path(name).absolute(), folder))
            file.write(json.dumps(encode(stored), ensure_ascii=False, allow_nan=False) + "\n")


def read_cases(path: Path) -> list[Case]:
    """All cases of a file. Raises CaseError naming file, line, field, what was expected and found."""
    cases = list(iterate_cases(path))
    try:
        check_cases(cases)
    except CaseError as error:
        raise CaseError(f"{path}: {error}") from None
    return cases


def iterate_cases(path: Path) -> Iterator[Case]:
    """The cases of a file one after the other, each checked by itself. Raises CaseError."""
    folder = Path(path).absolute().parent
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    case = decode_object(Case, _parse(line))
                except CaseError as error:
                    raise CaseError(f"{path}, line {number}: {error}") from None
                yield _with_paths(case, lambda name: os.path.normpath(folder / name))
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: expected a UTF-8 file of cases, found: {error}") from None


def _parse(line: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            refuse("line", "each key once", [key for key, _ in pairs])
        return values

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse("line", "finite numbers", text)

    try:
        return json.loads(line, object_pairs_hook=unique, parse_constant=number, parse_float=number)
    except (json.JSONDecodeError, RecursionError):
        refuse("line", "one JSON object", line.strip() or "an empty line")
