"""The figures of a setting's arms, seeds averaged, and of their differences, paired by patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.evaluation.compare import halves, lesion_difference
from resources.evaluation.curves import FP_RATES, Ranking, ratio, sensitivity_at
from resources.evaluation.evaluation import Evaluation
from resources.evaluation.matching import PRIMARY
from resources.evaluation.measures import Units, lesion_ranking, unit_measures
from resources.evaluation.outcomes import Table, Truth
from resources.evaluation.statistics import Estimate, Floats, Measure, estimates, sign_swap_p
from resources.evaluation.strata import lesion_strata
from resources.study.real_figures import RATES as REAL_RATES
from resources.study.real_figures import SIZES_MM, groups_of
from resources.study.setting import Setting

RATES = (1.0, 4.0)
"""False positives a scan at which sensitivity is shown."""
SCAN_MEASURES = ("roc_area", "accuracy", "sensitivity", "specificity")
WITHOUT, WITH, ALL = "without masks", "with masks", "all"
EQUAL_AT = 4.0
CROP_RATES = (0.125, 0.25, 0.5)
"""False positives a crop, where those are counted in place of whole scans'."""
REAL_STRATA = (f"nodules of {SIZES_MM[0]:g} mm or more", "LIDC nodules")

Weights = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Model:
    """One run on the scans that are measured on. tables: by stratum. scans: None without likelihoods.

    rates: of false positives a scan, at which the mean sensitivity is the primary measure.
    """

    tables: dict[str, Table]
    scans: Units | None = None
    point: float | None = None
    rates: tuple[float, ...] = FP_RATES


def models_of(evaluation: Evaluation, setting: Setting, rates: tuple[float, ...] = REAL_RATES) -> list[Model]:
    """Of each of the evaluation's models. rates: on real scans."""
    if setting.is_real:
        return [
            Model(nodules_of(model.tables[PRIMARY.name], evaluation.truths), rates=rates)
            for model in evaluation.models
        ]
    return [
        Model(
            strata_of(model.tables[PRIMARY.name], evaluation.truths, setting.without_masks),
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


def nodules_of(table: Table, truths: list[Truth]) -> dict[str, Table]:
    """The nodules of crops, each group with all false positives of the whole scans."""
    groups = groups_of(table, truths)
    return {name: table.only(groups[name]) for name in REAL_STRATA}


def strata_names(setting: Setting) -> tuple[str, ...]:
    """The strata of a setting; the first is that of the primary measure."""
    if setting.is_real:
        return REAL_STRATA
    return (WITHOUT, WITH, ALL) if setting.without_masks else (ALL,)


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several runs' measures, such as those of an arm's seeds."""

    def measure(weights: Weights) -> dict[str, Floats]:
        found = [one(weights) for one in measures]
        return {name: np.mean([each[name] for each in found], 0) for name in found[0]}

    return measure


def run_measure(model: Model) -> Measure:
    """Mean and other sensitivities of each stratum, and the figures of scans, of one run."""
    rankings = {name: (lesion_ranking(table), table) for name, table in model.tables.items()}
    of_scans = None if model.scans is None else unit_measures(model.scans, model.point)

    def measure(weights: Weights) -> dict[str, Floats]:
        found = {}
        for name, (ranking, table) in rankings.items():
            for rate in RATES:
                at = sensitivity_at(ranking, weights, table.lesions, table.judged, (rate,))
                found[f"{name}: sensitivity at {rate:g}"] = at[:, 0]
            at = sensitivity_at(ranking, weights, table.lesions, table.judged, model.rates)
            found[f"{name}: mean"] = at.mean(1)
        if of_scans is not None:
            values = of_scans(weights)
            found |= {name: values[name] for name in SCAN_MEASURES if name in values}
        return found

    return measure


def difference(first: Sequence[Model], second: Sequence[Model]) -> Measure:
    """The first arm's measures minus the second's, both averaged over their runs; and what it saves."""
    one, other = (mean_of([run_measure(model) for model in models]) for models in (first, second))
    share = saved(first, second)

    def measure(weights: Weights) -> dict[str, Floats]:
        minus = other(weights)
        return {name: value - minus[name] for name, value in one(weights).items()} | share(weights)

    return measure


def saved(first: Sequence[Model], second: Sequence[Model]) -> Measure:
    """Share of its false positives that the first arm spares the second at equal sensitivity, mean over pairs
    of runs; weights as `lesion_difference` takes them.
    """
    names = first[0].tables
    pairs = {name: [spared(a.tables[name], b.tables[name]) for a, b in zip(first, second, strict=True)]
             for name in names}  # fmt: skip
    return lambda weights: {
        f"{name}: saved": np.mean([one(weights) for one in own], 0) for name, own in pairs.items()
    }


def spared(first: Table, second: Table) -> Callable[[Weights], Floats]:
    """Of one pair of runs, at the sensitivity that the second has at EQUAL_AT false positives a scan. A
    sensitivity that the first reaches at no threshold costs all its false positives.
    """
    both = joined(first, second)
    ranking = lesion_ranking(both)

    def measure(weights: Weights) -> Floats:
        one, other = halves(weights, first.cases)
        aim = sensitivity_at(ranking, other, both.lesions, both.judged, (EQUAL_AT,))[:, 0]
        return 1 - ratio(false_at(both, ranking, one, aim), false_at(both, ranking, other, aim))

    return measure


def joined(first: Table, second: Table) -> Table:
    """Both runs' outcomes, the second's cases counted on from the first's."""
    columns: dict[str, Any] = {}
    for name in first.__dataclass_fields__:
        if name not in ("cases", "fates"):
            shift = first.cases if name in ("lesion_case", "false_case") else None
            more = getattr(second, name) if shift is None else getattr(second, name) + shift
            columns[name] = np.concatenate([getattr(first, name), more])
    return dataclasses.replace(first, cases=2 * first.cases, **columns)


def false_at(table: Table, ranking: Ranking, weights: Weights, sensitivity: Floats) -> Floats:
    """(b,) false positives from the highest threshold on that gives the sensitivity (b,)."""
    hits, false = ranking.counts(weights, at_hits=True)
    wanted = sensitivity * (weights @ table.lesions) - 1e-6
    places = [int(np.searchsorted(row, aim)) for row, aim in zip(hits, wanted, strict=True)]
    everything = weights @ np.bincount(table.false_case, minlength=table.cases)
    rows = zip(false, places, everything, strict=True)
    return np.array([row[i] if i < len(row) else most for row, i, most in rows], np.float64)


def swapped(first: Sequence[Model], second: Sequence[Model], stratum: str) -> Measure:
    """The same of a stratum's mean sensitivity, run by run, for exchanges of the two arms (sign_swap_p)."""
    pairs = zip(first, second, strict=True)
    return mean_of([lesion_difference(a.tables[stratum], b.tables[stratum], a.rates) for a, b in pairs])


def p_value(
    first: Sequence[Model],
    second: Sequence[Model],
    stratum: str,
    patients: Weights,
    count: int,
    endpoint: str = "mean",
) -> float:
    if endpoint == "saved":
        return sign_swap_p(saved(first, second), patients, count, 1)[f"{stratum}: saved"]
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
