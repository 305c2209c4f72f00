"""Sensitivity on real CT by group of lesions, with intervals by bootstrap over patients: as JSON, as text."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.cases.case import Completeness
from resources.evaluation.curves import sensitivity_at
from resources.evaluation.evaluation import FEWEST_BOOTSTRAPS, Evaluation
from resources.evaluation.matching import RULES, Bools, Rule
from resources.evaluation.measures import lesion_ranking, operating_measures
from resources.evaluation.outcomes import Table, Truth, outcomes_of, table_of
from resources.evaluation.statistics import Estimate, Floats, Measure, bootstrap_weights, estimates
from resources.study.real_data import CROPS, WHOLE

RATES = (1.0, 4.0, 8.0)
"""False positives per whole scan at which sensitivity is read."""
PROBABILITIES = (0.1, 0.5)
"""Probabilities from which on detections count, beside the operating point."""
SIZES_MM = (6.0, 10.0)
"""Long axial diameters between the groups of nodules; both belong to the middle group."""
FALSE = {
    "false positives a scan": "false_positives_per_whole_scan",
    "beside nodules, a crop": "false_positives_per_crop",
}
"""Row of the printed table -> key of the figures."""
UPPER_BOUND = (
    "False positives are an upper bound: these are cancer patients, and not all of their lesions are "
    "annotated. Detections beside the nodule of a crop count apart."
)


def groups_of(table: Table, truths: list[Truth]) -> dict[str, Bools]:
    """Which of the table's lesions belong to each group, by title."""
    rows = list(zip(table.lesion_case, table.lesion_number, strict=True))
    source = np.array([truths[case].case.source for case, _ in rows], object)
    long_mm = np.array([truths[case].lesions[number].measured[0] for case, number in rows], np.float64)
    crops, (low, high) = source == CROPS, SIZES_MM
    return {
        "whole-scan lesions": source == WHOLE,
        "LIDC nodules": crops,
        f"nodules below {low:g} mm": crops & (long_mm < low),
        f"nodules {low:g} to {high:g} mm": crops & (long_mm >= low) & (long_mm <= high),
        f"nodules above {high:g} mm": crops & (long_mm > high),
        f"nodules of {low:g} mm or more": crops & (long_mm >= low),
    }


def patients_of(truths: list[Truth]) -> npt.NDArray[np.intp]:
    """(cases,) number of each case's patient, who may have whole scans and crops."""
    names = [truth.case.patient for truth in truths]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.intp)


def weights_of(truths: list[Truth]) -> npt.NDArray[np.int64]:
    """(bootstraps, cases); patients with whole scans, on which thresholds rest, are drawn by themselves."""
    patients = patients_of(truths)
    strata = np.zeros(int(patients.max()) + 1, np.intp)
    for patient, truth in zip(patients, truths, strict=True):
        strata[patient] |= truth.judged
    return bootstrap_weights(patients, strata, FEWEST_BOOTSTRAPS, seed=0)


def column_of(rate: float | None = None, probability: float | None = None) -> str:
    return f"at {rate:g} FP" if rate is not None else f"p >= {probability:.3g}"


def group_measure(table: Table, probabilities: tuple[float, ...]) -> Measure:
    """Sensitivity at each of RATES and from each probability on.

    The thresholds of RATES come from all false positives of the whole scans, drawn anew in each resample.
    """
    ranking = lesion_ranking(table)
    from_on = {p: operating_measures(table, p) for p in probabilities}

    def measure(weights: npt.NDArray) -> dict[str, Floats]:
        at_rates = sensitivity_at(ranking, weights, table.lesions, table.judged, RATES)
        measures = {column_of(rate): at_rates[:, i] for i, rate in enumerate(RATES)}
        return measures | {
            column_of(None, p): at(weights)["operating_sensitivity"] for p, at in from_on.items()
        }

    return measure


def false_measure(table: Table, probabilities: tuple[float, ...]) -> Measure:
    """False positives per scan of those where they count, from each probability on."""
    from_on = {p: operating_measures(table, p) for p in probabilities}

    def measure(weights: npt.NDArray) -> dict[str, Floats]:
        return {
            column_of(None, p): at(weights)["operating_false_positives_per_scan"] for p, at in from_on.items()
        }

    return measure


def thresholds_of(table: Table) -> dict[str, float | None]:
    """By rate of RATES the probability above which detections make no more false positives; None: any."""
    scores = np.sort(table.false_score)[::-1]
    allowed = [int(np.floor(rate * table.judged.sum())) for rate in RATES]
    return {
        column_of(rate): float(scores[most]) if most < len(scores) else None
        for rate, most in zip(RATES, allowed, strict=True)
    }


def judged_in_crops(truth: Truth) -> Truth:
    """False positives count in a crop and nowhere else."""
    complete = Completeness("all" if truth.case.source == CROPS else "none")
    return dataclasses.replace(truth, case=dataclasses.replace(truth.case, completeness=complete))


def beside_nodules(evaluation: Evaluation, rule: Rule) -> Table:
    """Outcomes of the first model, false positives being those in crops that were predicted."""
    predictions = evaluation.models[0].predictions
    truths = [
        truth if truth.case.id in predictions.missing else judged_in_crops(truth)
        for truth in evaluation.truths
    ]
    pairs = zip(truths, predictions.scans, strict=True)
    outcomes = [outcomes_of(truth, scan, [rule])[rule.name] for truth, scan in pairs]
    return table_of(rule, truths, predictions.scans, outcomes)


def figures_of(evaluation: Evaluation, rule: str) -> dict[str, Any]:
    """All figures of the first model under one rule: plain values, for JSON."""
    beside = beside_nodules(evaluation, next(each for each in RULES if each.name == rule))
    table, truths = evaluation.models[0].tables[rule], evaluation.truths
    point = evaluation.models[0].predictions.operating_point
    probabilities = tuple(sorted({*PROBABILITIES, *([] if point is None else [point])}))
    weights, patients = weights_of(truths), patients_of(truths)
    groups = {}
    for title, keep in groups_of(table, truths).items():
        group = table.only(keep)
        people = len(set(patients[group.lesion_case].tolist()))
        columns = [column_of(rate) for rate in RATES] + [column_of(None, p) for p in probabilities]
        measures = estimates(group_measure(group, probabilities), weights, dict.fromkeys(columns, people))
        counts = {"lesions": int(keep.sum()), "patients": people}
        groups[title] = {**counts, "sensitivity": _plain(measures)}
    return {
        "rule": next(each.text for each in RULES if each.name == rule),
        "operating_point": point,
        "probability_above_which": thresholds_of(table),
        "false_positives_per_whole_scan": _plain(estimates(false_measure(table, probabilities), weights)),
        "false_positives_per_crop": _plain(estimates(false_measure(beside, probabilities), weights)),
        "groups": groups,
    }


def _plain(found: dict[str, Estimate]) -> dict[str, Any]:
    return {name: dataclasses.asdict(estimate) for name, estimate in found.items()}


def text_of(figures: dict[str, Any], rule: str, heading: str) -> str:
    """The table that is printed. heading: what was measured, a line."""
    columns = list(figures["groups"]["LIDC nodules"]["sensitivity"])
    point = column_of(None, figures["operating_point"])
    limits = figures["probability_above_which"]
    names = [f"{name}, op. point" if name == point else name for name in columns]
    rows = {
        f"{title} ({group['lesions']})": [_shown(group["sensitivity"][column]) for column in columns]
        for title, group in figures["groups"].items()
    }
    for title, key in FALSE.items():
        rows[title] = [_shown(figures[key][name]) if name in figures[key] else "" for name in columns]
    rows["probability above"] = [
        "" if name not in limits else "any" if limits[name] is None else f"{limits[name]:.3f}"
        for name in columns
    ]
    lines = [heading, f"Sensitivity by the rule {rule}: {figures['rule']}", UPPER_BOUND, ""]
    lines.append(" " * 30 + "".join(f"{name:>22}" for name in names))
    lines += [f"{title:<30}" + "".join(f"{cell:>22}" for cell in cells) for title, cells in rows.items()]
    return "\n".join(lines)


def _shown(estimate: dict[str, Any]) -> str:
    value, low, high = (
        "?" if estimate[key] is None else f"{estimate[key]:.2f}" for key in ("value", "lower", "upper")
    )
    return value if low == high == "?" else f"{value} ({low}-{high})"
