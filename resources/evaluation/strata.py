"""The same measures in parts of the data: by size and type of lesion, by scan, patient and origin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.evaluation.curves import cpm, ratio, roc_area
from resources.evaluation.measures import Units, lesion_ranking, operating_measures
from resources.evaluation.outcomes import Table, Truth
from resources.evaluation.statistics import Estimate, Floats, estimates

FEWEST = 10
"""Below this many lesions, or patients of a stratum of scans, no figure is given."""
TOO_FEW = Estimate(None, note=f"fewer than {FEWEST}: no figure")
SIZES_MM = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, math.inf))
SLICES_MM = ((0.0, 1.5), (1.5, 3.0), (3.0, 5.0), (5.0, math.inf))
CASE_FIGURES = ("cpm", "operating_sensitivity", "operating_false_positives_per_scan", "roc_area")
UNKNOWN = "unknown"


def _bin(value: float, bins: tuple[tuple[float, float], ...], upper_included: bool) -> str:
    """Name of the interval of mm that holds the value."""
    for lower, upper in bins:
        if lower < value <= upper if upper_included else lower <= value < upper:
            if lower == 0:
                return f"{'up to' if upper_included else 'below'} {upper:g} mm"
            if math.isinf(upper):
                return f"{'above' if upper_included else 'from'} {lower:g} mm"
            return f"{lower:g} to {upper:g} mm"
    return UNKNOWN


def lesion_strata(table: Table, truths: list[Truth]) -> dict[str, list[str]]:
    """By name of the division, the stratum of each lesion of the table."""
    rows = [truths[i].lesions[k] for i, k in zip(table.lesion_case, table.lesion_number, strict=True)]
    return {
        "size": [_bin(float(lesion.measured[0]), SIZES_MM, False) for lesion in rows],
        "type": [lesion.annotation.type or UNKNOWN for lesion in rows],
    }


def case_strata(truths: list[Truth]) -> dict[str, list[str]]:
    """By name of the division, the stratum of each case."""

    def attribute(truth: Truth, *names: str) -> str:
        values = [truth.case.attributes[name] for name in names if name in truth.case.attributes]
        return str(values[0]) if values else UNKNOWN

    def thickness(truth: Truth) -> str:
        stated = truth.case.attributes.get("slice_thickness_mm")
        spacing = float(truth.frame.spacing_mm[2]) if truth.has_image else math.nan
        stated_mm = isinstance(stated, int | float) and not isinstance(stated, bool)
        return _bin(float(stated) if stated_mm and stated is not None else spacing, SLICES_MM, True)

    return {
        "slice thickness": [thickness(truth) for truth in truths],
        "site": [attribute(truth, "site") for truth in truths],
        "source": [truth.case.source for truth in truths],
        "sex": [attribute(truth, "sex") for truth in truths],
    }


def lesion_stratum_rows(
    table: Table,
    truths: list[Truth],
    operating_point: float | None,
    weights: npt.NDArray,
    patients: npt.NDArray[np.intp],
) -> list[dict[str, Any]]:
    """Sensitivity of parts of the lesions, at the false positives of the whole."""
    rows = []
    for division, names in lesion_strata(table, truths).items():
        for name in in_order(names):
            part = table.only(np.array(names) == name)
            row: dict[str, Any] = {
                "division": division,
                "stratum": name,
                "lesions": len(part.lesion_case),
                "patients": len(set(patients[part.lesion_case].tolist())),
            }
            row["too_small"] = row["lesions"] < FEWEST
            rows.append(row | _lesion_figures(part, operating_point, weights, patients, row["too_small"]))
    return rows


def _lesion_figures(
    part: Table, operating_point: float | None, weights: npt.NDArray, patients: npt.NDArray, too_small: bool
) -> dict[str, Estimate]:
    names = ["cpm"] + ([] if operating_point is None else ["operating_sensitivity"])
    if too_small:
        return dict.fromkeys(names, TOO_FEW)
    ranking = lesion_ranking(part)
    hits = np.bincount(part.lesion_case, part.lesion_score >= (operating_point or 0), part.cases)

    def measure(drawn: npt.NDArray) -> dict[str, Floats]:
        measures = {"cpm": cpm(ranking, drawn, part.lesions, part.judged)}
        measures["operating_sensitivity"] = ratio(drawn @ hits, drawn @ part.lesions)
        return {name: measures[name] for name in names}

    behind = len(set(patients[part.lesion_case].tolist()))
    return estimates(measure, weights, dict.fromkeys(names, behind))


def case_stratum_rows(
    table: Table,
    truths: list[Truth],
    units: Units | None,
    operating_point: float | None,
    weights: npt.NDArray,
    patients: npt.NDArray[np.intp],
) -> list[dict[str, Any]]:
    """All measures within parts of the cases. units: the scans, None where they have no score."""
    rows = []
    for division, names in case_strata(truths).items():
        for name in in_order(names):
            keep = np.array(names) == name
            part = table.of_cases(keep)
            row: dict[str, Any] = {
                "division": division,
                "stratum": name,
                "patients": len(set(patients[keep].tolist())),
                "scans": int(keep.sum()),
                "lesions": len(part.lesion_case),
            }
            row["too_small"] = row["patients"] < FEWEST
            figures = {} if row["too_small"] else _case_figures(part, keep, units, operating_point, weights)
            rows.append(row | {key: figures.get(key, TOO_FEW) for key in CASE_FIGURES})
    return rows


def _case_figures(
    part: Table,
    keep: npt.NDArray[np.bool_],
    units: Units | None,
    operating_point: float | None,
    weights: npt.NDArray,
) -> dict[str, Estimate]:
    undefined = Estimate(None, note="not known")
    measures = {"operating_sensitivity": undefined, "operating_false_positives_per_scan": undefined}
    if len(part.lesion_case) < FEWEST:
        measures["cpm"] = TOO_FEW
    else:
        ranking = lesion_ranking(part)
        measures |= estimates(lambda drawn: {"cpm": cpm(ranking, drawn, part.lesions, part.judged)}, weights)
    if operating_point is not None:
        at_point = estimates(operating_measures(part, operating_point), weights)
        measures |= {name: at_point[name] for name in measures if name in at_point}
        if len(part.lesion_case) < FEWEST:
            measures["operating_sensitivity"] = TOO_FEW
    measures["roc_area"] = undefined
    if units is not None:
        inside = keep[units.case]
        some = Units(units.score[inside], units.positive[inside], units.case[inside]).ranking()
        measures |= estimates(lambda drawn: {"roc_area": roc_area(some, drawn)}, weights)
    return measures


def in_order(names: list[str]) -> list[str]:
    """Each name once: intervals of mm as they follow each other, the unknown last."""
    intervals = [
        _bin(lower + 0.01, bins, up)
        for bins, up in ((SIZES_MM, False), (SLICES_MM, True))
        for lower, _ in bins
    ]

    def place(name: str) -> tuple[bool, int, str]:
        return name == UNKNOWN, intervals.index(name) if name in intervals else 0, name

    return sorted(set(names), key=place)
