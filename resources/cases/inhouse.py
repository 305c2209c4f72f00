"""A hospital's own scans: a CSV with one row for each mark, and one row for each scan without marks.

Columns (others are refused): scan (file, or folder with a DICOM series; relative to the CSV), patient, and as
needed id, split, series (DICOM UID), kind (point, box or recist; empty: no mark), unit (voxel or mm: LPS), x1
y1 z1 x2 y2 z2 x3 y3 z3 x4 y4 z4 (a point; two corners; ends of the long, then of the short axis), type,
status, long_mm, short_mm, complete (all or none), report (the text itself). Reports can also be files named
ID.txt in a folder, and organ maps files named ID.nii.gz as TotalSegmentator writes them. Where semicolons
divide the fields (Excel in most of Europe), numbers may have decimal commas.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from model.geometry import Geometry
from model.volume import InputError, read_volume
from resources.cases.case import SPLITS, Annotation, Case, Completeness, ImageSource
from resources.cases.images import check_same_grid, read_header, read_labels
from resources.cases.organs import totalsegmentator_values
from resources.cases.patients import pseudonym, split_of
from resources.cases.strict import CaseError, decode_object, refuse

COORDINATES = tuple(f"{axis}{number}" for number in range(1, 5) for axis in "xyz")
COLUMNS = (
    "scan", "patient", "id", "split", "series", "kind", "unit", *COORDINATES, "type", "status", "long_mm",
    "short_mm", "complete", "report",
)  # fmt: skip
MAP_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
NUMBERS = (*COORDINATES, "long_mm", "short_mm")
POINTS = {"point": (1,), "box": (2,), "recist": (2, 4)}
SIZE_TOLERANCE = 0.1
"""Share by which a given diameter may differ from its end points' distance (1 mm is always allowed)."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """source: name of the site. reports: folder of ID.txt. texts: where texts of the CSV are written. organs:
    folder of ID.nii.gz (or .nii, .mha, .nrrd), what TotalSegmentator's task "total" writes with --ml.
    """

    source: str
    reports: Path | None
    texts: Path
    key: bytes | None
    validation: float
    test: float
    organs: Path | None = None


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of the CSV, empty fields left out, with the key "line". Raises CaseError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            semicolons = first.count(";") > first.count(",")
            reader = csv.DictReader(file, delimiter=";" if semicolons else ",")
            names = reader.fieldnames or []
            for name in ("scan", "patient"):
                if name not in names:
                    raise CaseError(f"{path}, line 1: expected the column {name}, found {', '.join(names)}")
            unknown = [name for name in names if name not in COLUMNS]
            if unknown:
                raise CaseError(f"{path}, line 1: expected only {', '.join(COLUMNS)}, found {unknown[0]}")
            rows = []
            for fields in reader:
                if None in fields or None in fields.values():
                    raise CaseError(
                        f"{path}, line {reader.line_num}: expected {len(names)} fields, found others"
                    )
                filled = {name: text.strip() for name, text in fields.items() if text.strip()}
                if semicolons:
                    filled.update({n: filled[n].replace(",", ".") for n in NUMBERS if n in filled})
                rows.append({**filled, "line": str(reader.line_num)})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"{path}: expected a CSV in UTF-8, found: {error}") from None
    if not rows:
        raise CaseError(f"{path}: expected at least one row, found none")
    return rows


def convert(path: Path, settings: Settings) -> list[Case]:
    """The cases of a CSV. Raises CaseError naming the line; texts are written only if all is well."""
    scans: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(path):
        for name in ("scan", "patient"):
            if name not in row:
                raise CaseError(f"{path}, line {row['line']}: {name}: expected a value, found none")
        scans.setdefault(f"{row['scan']}\n{row.get('series', '')}", []).append(row)
    cases, texts = [], {}
    for number, rows in enumerate(scans.values()):
        line = rows[0]["line"]
        try:
            case, text = _case(path, rows, number, settings)
        except (CaseError, InputError) as error:
            raise CaseError(f"{path}, line {getattr(error, 'line', line)}: {error}") from None
        cases.append(case)
        if text is not None and case.report is not None:
            texts[Path(case.report)] = text
    for target, text in texts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return cases


class _LineError(CaseError):
    def __init__(self, message: str, line: str):
        super().__init__(message)
        self.line = line


def _case(path: Path, rows: list[dict[str, str]], number: int, settings: Settings) -> tuple[Case, str | None]:
    first = rows[0]
    for row in rows[1:]:
        for name in ("patient", "id", "split", "complete", "report"):
            if row.get(name, first.get(name)) != first.get(name):
                raise _LineError(
                    f"{name}: expected {first.get(name)} as before, found {row[name]}", row["line"]
                )
    image = path.parent / first["scan"]
    folder = image.is_dir()
    place = read_volume(image, first.get("series")).geometry if folder else read_header(image)
    x, y, z = place.size
    patient = first["patient"] if settings.key is None else pseudonym(first["patient"], settings.key)
    patient = f"{settings.source}-{patient}"
    own_id = first.get("id") if settings.key is None else None
    annotations = []
    for row in rows:
        try:
            annotation = _annotation(row, place)
            if annotation in annotations:
                refuse("kind", "each mark once", "the same mark again")
        except CaseError as error:
            raise _LineError(str(error), row["line"]) from None
        if annotation is not None:
            annotations.append(annotation)
    case_id = own_id or f"{patient}-{number + 1:05d}"
    text = first.get("report")
    report: Path | None = None
    if text is not None:
        report = settings.texts / f"{case_id}.txt"
    elif settings.reports is not None:
        named = settings.reports / f"{first.get('id', case_id)}.txt"
        report = named if named.exists() else None
    complete = first.get("complete", "none")
    if complete not in ("all", "none"):
        refuse("complete", "all or none", complete)
    split = first.get("split") or split_of(patient, settings.validation, settings.test)
    if split not in SPLITS:
        refuse("split", f"one of {', '.join(SPLITS)}", split)
    case = Case(
        id=case_id,
        patient=patient,
        source=settings.source,
        split=split,  # type: ignore[arg-type]
        image=ImageSource(str(image), "dicom" if folder else "itk", first.get("series"), (x, y, z)),
        annotations=tuple(annotations),
        completeness=_completeness(complete, first.get("id", case_id), place, settings.organs),
        report=None if report is None else str(report),
    )
    return case, text


def _completeness(complete: str, name: str, place: Geometry, organs: Path | None) -> Completeness:
    """With the organ map of a scan, where there is one. Raises InputError where it does not fit the scan."""
    paths = [] if organs is None else [organs / f"{name}{suffix}" for suffix in MAP_SUFFIXES]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return Completeness(complete)  # type: ignore[arg-type]
    check_same_grid(path, read_labels(path), place)
    values = totalsegmentator_values()
    return Completeness(complete, organ_labels=str(path), organ_values=values)  # type: ignore[arg-type]


def _annotation(row: dict[str, str], place: Geometry) -> Annotation | None:
    """One mark in the image's index space. Raises CaseError where it contradicts itself or the image."""
    given = [name for name in COORDINATES if name in row]
    if "kind" not in row:
        if given:
            refuse("kind", "point, box or recist with coordinates", "none")
        return None
    kind, unit = row["kind"], row.get("unit", "none")
    if kind not in POINTS:
        refuse("kind", "point, box or recist", kind)
    if unit not in ("voxel", "mm"):
        refuse("unit", "voxel or mm", unit)
    count = len(given) // 3
    if given != list(COORDINATES[: 3 * count]) or count not in POINTS[kind]:
        expected = " or ".join(f"x1 to z{n}" for n in POINTS[kind])
        refuse("coordinates", f"{expected} for a {kind}", ", ".join(given) or "none")
    raw = np.array([_number(row, name) for name in given]).reshape(-1, 3)
    points = raw if unit == "voxel" else place.world_to_index(raw)
    _check_inside(points, place, unit)
    values: dict[str, Any] = {"type": row.get("type"), "status": row.get("status", "lesion")}
    sizes: dict[str, float] = {name: _number(row, name) for name in ("long_mm", "short_mm") if name in row}
    tuples = [(float(x), float(y), float(z)) for x, y, z in points]
    if kind == "point":
        return decode_object(Annotation, {**values, **sizes, "kind": "point", "point": tuples[0]})
    if kind == "box":
        low, high = points.min(0).tolist(), points.max(0).tolist()
        return decode_object(Annotation, {**values, **sizes, "kind": "box3d", "lower": low, "upper": high})
    level = round(float(points[:, 2].mean()))
    if np.abs(points[:, 2] - level).max() > 0.5:
        refuse("z1", "end points on one slice", f"slices {', '.join(f'{z:g}' for z in points[:, 2])}")
    ends = [(x, y, float(level)) for x, y, _ in tuples]
    measured = _diameters(points, raw, place, sizes)
    axes: dict[str, Any] = {"long": (ends[0], ends[1])}
    if len(ends) == 4:
        axes["short"] = (ends[2], ends[3])
    return decode_object(Annotation, {**values, **measured, **axes, "kind": "recist"})


def _number(row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else refuse(name, "a number", row[name])


def _check_inside(points: np.ndarray, place: Geometry, unit: str) -> None:
    size = np.array(place.size)
    outside = (points < -0.5 - 1e-6) | (points > size - 0.5 + 1e-6)
    if outside.any():
        shown = ", ".join(f"{v:.4g}" for v in points[outside.any(1)][0])
        other = place.world_to_index(points) if unit == "voxel" else place.index_to_world(points)
        fits = ((other > -0.5) & (other < size - 0.5)).all()
        hint = (
            f" (as {'mm' if unit == 'voxel' else 'voxels'} it would lie inside: is unit right?)"
            if fits
            else ""
        )
        refuse("coordinates", f"points inside {' x '.join(map(str, size))} voxels", f"voxel ({shown}){hint}")


def _diameters(
    points: np.ndarray, raw: np.ndarray, place: Geometry, given: dict[str, float]
) -> dict[str, float]:
    """Diameters in mm from the end points; given ones have to agree."""
    measured = {}
    for name, start in (("long_mm", 0), ("short_mm", 2)):
        if start >= len(points):
            continue
        length = float(np.linalg.norm((points[start + 1] - points[start]) * place.spacing_mm))
        if not length > 0:
            refuse("coordinates", "two different end points", "one")
        if name in given and abs(given[name] - length) > max(1.0, SIZE_TOLERANCE * length):
            plain = float(np.linalg.norm(raw[start + 1] - raw[start]))
            hint = " (it fits pixels: is it in mm?)" if abs(given[name] - plain) < 0.02 * plain else ""
            refuse(name, f"{length:.4g} mm as between the end points", f"{given[name]:g}{hint}")
        measured[name] = length
    if measured.get("short_mm", 0) > measured["long_mm"]:
        refuse("coordinates", "the long axis before the short one", "a longer second axis")
    return measured
