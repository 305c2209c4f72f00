"""Two models on the same cases: paired bootstrap, sign-swap permutation, DeLong, Holm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from resources.evaluation.curves import FP_RATES, average_precision, cpm, roc_area
from resources.evaluation.measures import Units, complete_only, lesion_ranking
from resources.evaluation.outcomes import Table
from resources.evaluation.statistics import (
    Estimate,
    Floats,
    Measure,
    delong,
    estimates,
    holm,
    sign_swap_p,
)

Weights = npt.NDArray


def lesion_difference(first: Table, second: Table, rates: tuple[float, ...] = FP_RATES) -> Measure:
    """First minus second in CPM and average precision. Weights (b, cases), or (b, 2 cases) for exchanges.

    rates: of false positives a scan, of which CPM is the mean.

    With 2 cases of columns, the left half weights the first model's outcomes within the first sum and the
    second model's within the second; the right half the reverse.
    """
    both = _joint(first, second)
    complete = complete_only(both)
    ranking, complete_ranking, lesions = lesion_ranking(both), lesion_ranking(complete), both.lesions

    def sums(weights: Weights) -> tuple[Floats, Floats]:
        precision = average_precision(complete_ranking, weights, complete.lesions)
        return cpm(ranking, weights, lesions, both.judged, rates), precision

    def measure(weights: Weights) -> dict[str, Floats]:
        one, other = (sums(half) for half in halves(weights, first.cases))
        return {"cpm": one[0] - other[0], "average_precision": one[1] - other[1]}

    return measure


def halves(weights: Weights, cases: int) -> tuple[Weights, Weights]:
    """Weights of both models' outcomes within the first sum, and within the second."""
    if weights.shape[1] == 2 * cases:
        return weights, np.concatenate([weights[:, cases:], weights[:, :cases]], 1)
    nothing = np.zeros_like(weights)
    return np.concatenate([weights, nothing], 1), np.concatenate([nothing, weights], 1)


def _joint(first: Table, second: Table) -> Table:
    """Both models' outcomes in one table, the second's cases counted on from the first's."""
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in Table.__dataclass_fields__
        if name not in ("cases", "fates")
    }
    for name in ("lesion_case", "false_case"):
        columns[name][len(getattr(first, name)) :] += first.cases
    return Table(cases=first.cases + second.cases, fates={}, **columns)


def area_difference(first: Units, second: Units) -> Measure:
    """First minus second in ROC area; weights (b, cases)."""
    rankings = first.ranking(), second.ranking()

    def measure(weights: Weights) -> dict[str, Floats]:
        return {"roc_area": roc_area(rankings[0], weights) - roc_area(rankings[1], weights)}

    return measure


def compare(
    tables: tuple[Table, Table],
    units: tuple[Units, Units] | None,
    weights: Weights,
    patients: npt.NDArray[np.intp],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Each endpoint's difference (first minus second) with interval, p and Holm's adjusted p.

    units: patients' scores of both models, None where scans have no score; one per patient, for DeLong's test
    needs independent units.
    """
    difference = lesion_difference(*tables)
    rows: dict[str, dict[str, Any]] = {}
    p_values = sign_swap_p(difference, patients, len(weights), seed)
    for name, value in estimates(difference, weights).items():
        rows[name] = {
            "difference": value,
            "p": p_values[name],
            "test": "sign-swap permutation over patients",
        }
    if units is not None:
        rows["roc_area"] = _compare_areas(units, weights)
    tested = [name for name, row in rows.items() if row["p"] is not None and np.isfinite(row["p"])]
    adjusted = holm([rows[name]["p"] for name in tested])
    for name, row in rows.items():
        row["p_holm"] = float(adjusted[tested.index(name)]) if name in tested else None
        row["p"] = row["p"] if name in tested else None
    return rows


def _compare_areas(units: tuple[Units, Units], weights: Weights) -> dict[str, Any]:
    difference: Estimate = estimates(area_difference(*units), weights)["roc_area"]
    row: dict[str, Any] = {"difference": difference, "p": None, "test": "DeLong over patients"}
    positive = units[0].positive
    if min(positive.sum(), (~positive).sum()) >= 2:
        result = delong(positive, np.stack([units[0].score, units[1].score]))
        row["p"], row["z"] = result.p, result.z
        row["standard_errors"] = np.sqrt(np.diag(result.covariance)).tolist()
    return row
