"""Two models on the same cases: paired bootstrap, sign-swap permutation, DeLong, Holm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from resources.evaluation.curves import FP_RATES, Ranking, average_precision, roc_area, sensitivity_at
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
    tables = (first, second)
    rankings = [_joint(lesion_ranking(first), lesion_ranking(second), first.cases)]
    rankings.append(
        _joint(lesion_ranking(complete_only(first)), lesion_ranking(complete_only(second)), first.cases)
    )
    lesions = np.concatenate([table.lesions for table in tables])
    complete = np.concatenate([complete_only(table).lesions for table in tables])
    judged = np.concatenate([table.judged for table in tables])

    def cpm(weights: Weights) -> Floats:
        return sensitivity_at(rankings[0], weights, lesions, judged, rates).mean(1)

    def measure(weights: Weights) -> dict[str, Floats]:
        one, other = halves(weights, first.cases)
        return {
            "cpm": cpm(one) - cpm(other),
            "average_precision": average_precision(rankings[1], one, complete)
            - average_precision(rankings[1], other, complete),
        }

    return measure


def halves(weights: Weights, cases: int) -> tuple[Weights, Weights]:
    """Weights of both models' outcomes within the first sum, and within the second."""
    if weights.shape[1] == 2 * cases:
        return weights, np.concatenate([weights[:, cases:], weights[:, :cases]], 1)
    nothing = np.zeros_like(weights)
    return np.concatenate([weights, nothing], 1), np.concatenate([nothing, weights], 1)


def _joint(first: Ranking, second: Ranking, cases: int) -> Ranking:
    """Both models' events in one ranking, the second's cases counted on from the first's."""
    events = []
    for ranking, shift in ((first, 0), (second, cases)):
        sizes = np.diff(np.concatenate([[-1], ranking.last]))
        score = np.repeat(ranking.scores, sizes)
        events.append((ranking.case + shift, ranking.hit, score))
    case, hit, score = (np.concatenate(parts) for parts in zip(*events, strict=True))
    return Ranking.of(case[hit], score[hit], case[~hit], score[~hit])


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
