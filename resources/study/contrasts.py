"""The figures of a setting's arms, seeds averaged, and of their differences, paired by patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.evaluation.compare import lesion_difference
from resources.evaluation.curves import FP_RATES, sensitivity_at
from resources.evaluation.evaluation import Evaluation
from resources.evaluation.matching import PRIMARY
from resources.evaluation.measures import Units, lesion_ranking, unit_measures
from resources.evaluation.outcomes import Table, Truth
from resources.evaluation.statistics import Estimate, Floats, Measure, estimates, sign_swap_p
from resources.evaluation.strata import lesion_strata

RATES = (1.0, 4.0)
SCAN_MEASURES = ("roc_area", "accuracy", "sensitivity", "specificity")
WITHOUT, WITH, ALL = "without masks", "with masks", "all"

Weights = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Model:
    """One run on the scans that are measured on. tables: by stratum. scans: None without likelihoods."""

    tables: dict[str, Table]
    scans: Units | None = None
    point: float | None = None


def models_of(evaluation: Evaluation, without_masks: Sequence[str]) -> list[Model]:
    """Of each of the evaluation's models."""
    return [
        Model(
            strata_of(model.tables[PRIMARY.name], evaluation.truths, without_masks),
            model.scans,
            model.predictions.scan_operating_point,
        )
        for model in evaluation.models
    ]


def strata_of(table: Table, truths: list[Truth], without_masks: Sequence[str]) -> dict[str, Table]:
    """Lesions of the types without masks, of the others and all, each with all false positives."""
    kinds = np.array(lesion_strata(table, truths)["type"])
    absent = np.isin(kinds, list(without_masks))
    return {WITHOUT: table.only(absent), WITH: table.only(~absent), ALL: table}


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several runs' measures, such as those of an arm's seeds."""

    def measure(weights: Weights) -> dict[str, Floats]:
        found = [one(weights) for one in measures]
        return {name: np.mean([each[name] for each in found], 0) for name in found[0]}

    return measure


def run_measure(model: Model) -> Measure:
    """CPM and sensitivities of each stratum, and the figures of scans, of one run."""
    rankings = {name: (lesion_ranking(table), table) for name, table in model.tables.items()}
    of_scans = None if model.scans is None else unit_measures(model.scans, model.point)

    def measure(weights: Weights) -> dict[str, Floats]:
        found = {}
        for name, (ranking, table) in rankings.items():
            at = sensitivity_at(ranking, weights, table.lesions, table.judged, FP_RATES + RATES)
            found[f"{name}: cpm"] = at[:, : len(FP_RATES)].mean(1)
            for i, rate in enumerate(RATES):
                found[f"{name}: sensitivity at {rate:g}"] = at[:, len(FP_RATES) + i]
        if of_scans is not None:
            values = of_scans(weights)
            found |= {name: values[name] for name in SCAN_MEASURES if name in values}
        return found

    return measure


def difference(first: Sequence[Model], second: Sequence[Model]) -> Measure:
    """The first arm's measures minus the second's, both averaged over their runs."""
    one, other = (mean_of([run_measure(model) for model in models]) for models in (first, second))

    def measure(weights: Weights) -> dict[str, Floats]:
        minus = other(weights)
        return {name: value - minus[name] for name, value in one(weights).items()}

    return measure


def swapped(first: Sequence[Model], second: Sequence[Model], stratum: str) -> Measure:
    """The same of the CPM of a stratum, run by run, for exchanges of the two arms (sign_swap_p)."""
    pairs = zip(first, second, strict=True)
    return mean_of([lesion_difference(a.tables[stratum], b.tables[stratum]) for a, b in pairs])


def p_value(
    first: Sequence[Model], second: Sequence[Model], stratum: str, patients: Weights, count: int
) -> float:
    return sign_swap_p(swapped(first, second, stratum), patients, count, 1)["cpm"]


def stored(values: dict[str, Estimate]) -> dict[str, list[float | None]]:
    """Value, lower and upper limit, to four digits."""
    return {
        name: [None if v is None else round(v, 4) for v in (one.value, one.lower, one.upper)]
        for name, one in values.items()
    }


def figures_of(
    measure: Callable[[Weights], dict[str, Floats]], weights: Weights
) -> dict[str, list[float | None]]:
    return stored(estimates(measure, weights))
