"""The files that process.py wrote for a folder of scans, checked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.cases.case import Case
from resources.evaluation import EvaluationError

Floats = npt.NDArray[np.float64]
POINTS, DETAILS, LIKELIHOOD = "lesion-points.json", "lesion-details.json", "metastasis-likelihood.json"


@dataclass(frozen=True)
class Prediction:
    """What a detector says about one scan; n points, in LPS mm.

    points_mm (n, 3), probability (n,), types (n), boxes_mm (n, 6) lower then upper, sizes_mm (n, 3) long,
    short and z: None where there are no details. likelihood: the scan's, None where it was not written.
    """

    points_mm: Floats
    probability: Floats
    types: tuple[str, ...]
    boxes_mm: Floats | None
    sizes_mm: Floats | None
    likelihood: float | None


@dataclass(frozen=True)
class Predictions:
    """One model's predictions, in the order of the cases.

    operating_point and scan_operating_point are those stored in the details, None without details. missing:
    ids without prediction, counted as scans in which nothing was found. beyond: ids of cases that are not
    evaluated.
    """

    name: str
    scans: tuple[Prediction, ...]
    operating_point: float | None
    scan_operating_point: float | None
    weights_version: str
    missing: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    @property
    def has_boxes(self) -> bool:
        return all(scan.boxes_mm is not None for scan in self.scans)

    @property
    def has_likelihood(self) -> bool:
        return all(scan.likelihood is not None for scan in self.scans)


def read_predictions(
    folder: Path, cases: list[Case], known: set[str], missing_as_empty: bool = False
) -> Predictions:
    """Predictions of all `cases`. Raises EvaluationError.

    known: ids of all cases of the truth file; a prediction for anything else is an error, as is a case
    without prediction unless `missing_as_empty`.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: expected a folder of predictions, found none")
    present = {path.parent.relative_to(folder).as_posix() for path in folder.rglob(POINTS)}
    if not present:
        raise EvaluationError(f"{folder}: expected a sub-folder with {POINTS} for each case, found none")
    unknown = sorted(present - known)
    if unknown:
        raise EvaluationError(
            f"{folder}: expected predictions for cases of the truth only, found {len(unknown)} for other "
            f"cases; the first: {unknown[0]}"
        )
    missing = tuple(case.id for case in cases if case.id not in present)
    if missing and not missing_as_empty:
        raise EvaluationError(
            f"{folder}: expected a prediction for each case, found none for {len(missing)} of {len(cases)}; "
            f"the first: {missing[0]} (--missing-as-empty counts them as scans in which nothing was found)"
        )
    if len(missing) == len(cases):
        raise EvaluationError(f"{folder}: expected predictions for the cases evaluated, found only others")
    read = {case.id: _read_scan(folder / case.id) for case in cases if case.id in present}
    made_by = {scan_id: made for scan_id, (_, made) in read.items()}
    first_id, made = next(iter(made_by.items()))
    for scan_id, other in made_by.items():
        if other != made:
            raise EvaluationError(
                f"{folder}: expected one model's predictions, found {_described(made)} in {first_id} but "
                f"{_described(other)} in {scan_id}"
            )
    likely = {prediction.likelihood is not None for prediction, _ in read.values()}
    if len(likely) > 1:
        raise EvaluationError(
            f"{folder}: expected {LIKELIHOOD} in all sub-folders or in none, found it in some"
        )
    nothing = Prediction(
        np.zeros((0, 3)),
        np.zeros(0),
        (),
        np.zeros((0, 6)) if made else None,
        np.zeros((0, 3)) if made else None,
        0.0 if likely == {True} else None,
    )
    scans = tuple(read[case.id][0] if case.id in read else nothing for case in cases)
    beyond = tuple(sorted(present - {case.id for case in cases}))
    points, scan_points, version = made or (None, None, "")
    return Predictions(folder.name, scans, points, scan_points, version, missing, beyond)


MadeBy = tuple[float, float, str] | None
"""Operating point, that of the scan, version of the weights; None without details."""


def _described(made: MadeBy) -> str:
    if made is None:
        return "no details"
    return f"weights {made[2]} with the operating points {made[0]:g} and {made[1]:g}"


def _read_scan(folder: Path) -> tuple[Prediction, MadeBy]:
    points_mm, probability, types = _points(folder / POINTS)
    boxes = sizes = made = None
    if (folder / DETAILS).exists():
        boxes, sizes, made = _details(folder / DETAILS, len(probability))
    likelihood = None
    if (folder / LIKELIHOOD).exists():
        likelihood = _fraction(_json(folder / LIKELIHOOD), str(folder / LIKELIHOOD))
    return Prediction(points_mm, probability, types, boxes, sizes, likelihood), made


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: expected JSON, found: {error}") from None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fraction(value: Any, where: str) -> float:
    if not _finite(value) or not 0 <= value <= 1:
        raise EvaluationError(f"{where}: expected a number from 0 to 1, found {_short(value)}")
    return float(value)


def _triple(value: Any, where: str) -> list[float]:
    if not isinstance(value, list) or len(value) != 3 or not all(map(_finite, value)):
        raise EvaluationError(f"{where}: expected three finite numbers (x, y, z), found {_short(value)}")
    return value


def _short(value: Any) -> str:
    return json.dumps(value)[:80]


def _part(value: Any, key: str, where: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise EvaluationError(f"{where}: expected an object with {key!r}, found {_short(value)}")
    return value[key]


def _points(path: Path) -> tuple[Floats, Floats, tuple[str, ...]]:
    content = _json(path)
    rows = _part(content, "points", str(path))
    if content.get("type") != "Multiple points" or not isinstance(rows, list):
        raise EvaluationError(f'{path}: expected "Multiple points" with a list, found {_short(content)}')
    points, probability, types = [], [], []
    for number, row in enumerate(rows):
        where = f"{path}, points[{number}]"
        points.append(_triple(_part(row, "point", where), f"{where}.point"))
        probability.append(_fraction(_part(row, "probability", where), f"{where}.probability"))
        name = row.get("name", "")
        if not isinstance(name, str):
            raise EvaluationError(f"{where}.name: expected a text, found {_short(name)}")
        types.append(name)
    return np.array(points, np.float64).reshape(-1, 3), np.array(probability, np.float64), tuple(types)


def _details(path: Path, count: int) -> tuple[Floats, Floats, MadeBy]:
    content = _json(path)
    rows = _part(content, "points", str(path))
    if not isinstance(rows, list) or len(rows) != count:
        found = len(rows) if isinstance(rows, list) else _short(rows)
        raise EvaluationError(f"{path}: expected details of the {count} points of {POINTS}, found {found}")
    boxes, sizes = [], []
    for number, row in enumerate(rows):
        where = f"{path}, points[{number}]"
        box = _part(row, "box_mm", where)
        lower, upper = (
            _triple(_part(box, key, where), f"{where}.box_mm.{key}") for key in ("lower", "upper")
        )
        if any(a > b for a, b in zip(lower, upper, strict=True)):
            raise EvaluationError(f"{where}.box_mm: expected lower <= upper, found {lower}, {upper}")
        boxes.append([*lower, *upper])
        size = [_part(row, key, where) for key in ("long_mm", "short_mm", "z_extent_mm")]
        sizes.append(_triple(size, f"{where}.long_mm, short_mm, z_extent_mm"))
    made_by = (
        _fraction(_part(content, "operating_point", str(path)), f"{path}, operating_point"),
        _fraction(_part(content, "scan_operating_point", str(path)), f"{path}, scan_operating_point"),
        str(content.get("weights_version", "")),
    )
    return np.array(boxes).reshape(-1, 6), np.array(sizes).reshape(-1, 3), made_by
