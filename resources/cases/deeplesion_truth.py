"""What others added to DeepLesion: 3D boxes of all lesions of some sub-volumes, and labels mined from
reports.

LENS (Yan et al. 2020): z is the PNG number. Lesion Harvester (Cai et al. 2020): z is a 0-based offset
into the sub-volume. Both name sub-volumes PATIENT_STUDY_SERIES_FIRST-LAST and give JSON (name -> boxes
[x1, y1, z1, x2, y2, z2] in LENS, [x1, y1, x2, y2, z1, z2] in Lesion Harvester) or a CSV with the columns
volume, x1, y1, z1, x2, y2, z2. Their pickles are not read. LesaNet (Yan et al. 2019): terms by 0-based
row of DL_info.csv.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Literal

from resources.cases.case import Annotation, Case, Completeness, Point
from resources.cases.strict import CaseError, refuse

Source = Literal["lens", "harvester"]
Box = tuple[Point, Point]
BOX_COLUMNS = ("x1", "y1", "z1", "x2", "y2", "z2")


def read_boxes(path: Path, source: Source) -> dict[str, list[Box]]:
    """Boxes by sub-volume; corners (x, y, PNG number), both slices included. Raises CaseError.

    Every box has to lie inside its sub-volume's slice range.
    """
    raw = _raw_csv(path) if path.suffix.lower() == ".csv" else _raw_json(path, source)
    boxes_of: dict[str, list[Box]] = {}
    for name, boxes in raw.items():
        match = re.fullmatch(r"(\d{6}_\d{2}_\d{2})_(\d{3})-(\d{3})", name)
        if match is None:
            raise CaseError(f"{path}: expected names PATIENT_STUDY_SERIES_FIRST-LAST, found {name}")
        first, last = int(match[2]), int(match[3])
        shift = first if source == "harvester" else 0
        boxes_of[name] = []
        for number, (x1, y1, z1, x2, y2, z2) in enumerate(boxes):
            lower, upper = (x1, y1, z1 + shift), (x2, y2, z2 + shift)
            where = f"{path}: {name}, box {number}"
            if any(a > b for a, b in zip(lower, upper, strict=True)):
                refuse(where, "lower corner <= upper corner", boxes[number])
            if not first <= lower[2] <= upper[2] <= last:
                refuse(where, f"slices within {first} to {last}", f"{lower[2]:g} to {upper[2]:g}")
            boxes_of[name].append((lower, upper))
    return boxes_of


def _raw_json(path: Path, source: Source) -> dict[str, list[list[float]]]:
    content = _load(path)
    if not isinstance(content, dict):
        refuse(f"{path}", "an object of boxes by sub-volume", type(content).__name__)
    rows_of: dict[str, list[list[float]]] = {}
    for name, boxes in content.items():
        if isinstance(boxes, dict):  # Lesion Harvester's boxes on single slices, by slice
            boxes = [box for group in boxes.values() for box in group]
        rows_of[name] = []
        for box in boxes if isinstance(boxes, list) else [boxes]:
            numbers = isinstance(box, list) and all(isinstance(v, int | float) for v in box)
            if not numbers or len(box) != 6:
                refuse(f"{path}: {name}", "boxes of 6 numbers", box)
            x1, y1, third, fourth, fifth, z2 = (float(v) for v in box)
            if source == "lens":
                rows_of[name].append([x1, y1, third, fourth, fifth, z2])
            else:
                rows_of[name].append([x1, y1, fifth, third, fourth, z2])
    return rows_of


def _raw_csv(path: Path) -> dict[str, list[list[float]]]:
    rows_of: dict[str, list[list[float]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"volume", *BOX_COLUMNS} <= set(reader.fieldnames or ()):
                wanted = ", ".join(("volume", *BOX_COLUMNS))
                raise CaseError(f"{path}, line 1: expected the columns {wanted}, found {reader.fieldnames}")
            for number, fields in enumerate(reader, 2):
                try:
                    box = [float(fields[column]) for column in BOX_COLUMNS]
                except (TypeError, ValueError):
                    raise CaseError(f"{path}, line {number}: expected numbers, found {fields}") from None
                rows_of.setdefault(fields["volume"], []).append(box)
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path}: expected a CSV of boxes, found: {error}") from None
    return rows_of


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CaseError(f"{path}: expected JSON, found: {error}") from None


def with_boxes(cases: list[Case], boxes: dict[str, list[Box]], source: Source) -> tuple[list[Case], int]:
    """Cases whose sub-volume is re-annotated become complete; also how many sub-volumes have no case.

    A weak mark inside a box gives it its type and row; weak marks in no box are kept as doubtful.
    """
    missing = set(boxes)
    changed = []
    for case in cases:
        if case.id in boxes:
            missing.discard(case.id)
            case = _complete(case, boxes[case.id], source)
        changed.append(case)
    return changed, len(missing)


def _complete(case: Case, boxes: list[Box], source: Source) -> Case:
    assert case.image.slices is not None
    assert case.image.size is not None
    first, limit = case.image.slices[0], case.image.size
    half = 0.5 if source == "lens" else 0.0  # LENS's whole numbers are pixels, Lesion Harvester's are edges
    marks = list(case.annotations)
    lesions = []
    for (x1, y1, z1), (x2, y2, z2) in boxes:
        lower = (x1 - half, y1 - half, z1 - first - 0.5)
        upper = (x2 + half, y2 + half, z2 - first + 0.5)
        lower = tuple(max(v, -0.5) for v in lower)  # type: ignore[assignment]
        upper = tuple(min(v, n - 0.5) for v, n in zip(upper, limit, strict=True))  # type: ignore[assignment]
        box = Annotation("box3d", lower=lower, upper=upper, attributes={"truth": source})
        covered = [mark for mark in marks if _middle_inside(mark, lower, upper)]
        if covered:
            marks.remove(covered[0])
            attributes = {**covered[0].attributes, **box.attributes}
            box = dataclasses.replace(
                box,
                type=covered[0].type,
                long_mm=covered[0].long_mm,
                short_mm=covered[0].short_mm,
                attributes=attributes,
            )
        lesions.append(box)
    doubtful = [dataclasses.replace(mark, status="doubtful") for mark in marks]
    return dataclasses.replace(case, annotations=(*lesions, *doubtful), completeness=Completeness("all"))


def _middle_inside(mark: Annotation, lower: Point, upper: Point) -> bool:
    if mark.long is None:
        return False
    middle = [(a + b) / 2 for a, b in zip(*mark.long, strict=True)]
    return all(low <= v <= high for low, v, high in zip(lower, middle, upper, strict=True))


def read_terms(path: Path) -> dict[int, dict[str, str]]:
    """LesaNet's labels by row of DL_info.csv: attribute -> terms joined by "; ". Raises CaseError.

    Reads both published files: the labels mined from reports (relevant, uncertain and irrelevant terms)
    and the hand-labelled lesions (terms and sentence).
    """
    content = _load(path)
    attributes: dict[int, dict[str, str]] = {}
    if isinstance(content, list):
        for number, item in enumerate(content):
            if not isinstance(item, dict) or not {"lesion_idx", "expanded_terms", "text"} <= set(item):
                refuse(f"{path}: entry {number}", "lesion_idx, expanded_terms and text", item)
            attributes[int(item["lesion_idx"])] = {
                "lesanet_terms": "; ".join(item["expanded_terms"]),
                "lesanet_sentence": item["text"],
            }
        return attributes
    if not isinstance(content, dict) or "term_list" not in content:
        refuse(f"{path}", "LesaNet's labels with a term_list", type(content).__name__)
    terms = content["term_list"]
    for split in ("train", "val", "test"):
        rows = content[f"{split}_lesion_idxs"]
        for kind in ("relevant", "uncertain", "irrelevant"):
            labels = content.get(f"{split}_{kind}_labels")
            if labels is None:
                continue
            if len(labels) != len(rows):
                refuse(f"{path}: {split}_{kind}_labels", f"{len(rows)} entries", len(labels))
            for row, numbers in zip(rows, labels, strict=True):
                if numbers:
                    names = dict.fromkeys(terms[number] for number in numbers)
                    attributes.setdefault(row, {})[f"lesanet_{kind}"] = "; ".join(names)
    return attributes


def with_terms(cases: list[Case], terms: dict[int, dict[str, str]]) -> list[Case]:
    """Adds the terms of each annotation's row of DL_info.csv to its attributes."""

    def extended(annotation: Annotation) -> Annotation:
        row = annotation.attributes.get("row")
        row_terms = terms.get(int(row), {}) if isinstance(row, float) else {}
        return dataclasses.replace(annotation, attributes={**annotation.attributes, **row_terms})

    return [
        dataclasses.replace(case, annotations=tuple(extended(a) for a in case.annotations)) for case in cases
    ]
