"""From cases and predictions to everything that is published about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.cases.case import Case, check_cases
from resources.evaluation import EvaluationError
from resources.evaluation.compare import compare
from resources.evaluation.matching import PRIMARY, RULES, Rule
from resources.evaluation.measures import (
    Units,
    lesion_summary,
    patient_units,
    scan_truth,
    scan_units,
    size_errors,
    size_measures,
    unit_summary,
)
from resources.evaluation.outcomes import (
    Outcome,
    Table,
    Truth,
    count_outside,
    outcomes_of,
    table_of,
    truth_of,
)
from resources.evaluation.predictions import Predictions
from resources.evaluation.statistics import bootstrap_weights, estimates
from resources.evaluation.strata import case_stratum_rows, lesion_stratum_rows

Progress = Callable[[str], None]
FEWEST_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Settings:
    """exclude: statuses of findings that count neither way. bootstraps: also the number of permutations."""

    exclude: tuple[str, ...] = ("benign", "doubtful")
    bootstraps: int = FEWEST_BOOTSTRAPS
    seed: int = 0


@dataclass(frozen=True)
class Model:
    """One model's predictions with what became of them. rules: those that its files allow. outside: how many
    points lie outside their image."""

    predictions: Predictions
    rules: tuple[Rule, ...]
    outcomes: list[dict[str, Outcome]]
    tables: dict[str, Table]
    scans: Units | None
    patients: Units | None
    outside: int


@dataclass(frozen=True)
class Evaluation:
    """truths in the order of the cases; patients (cases,) 0-based; weights (bootstraps, cases)."""

    settings: Settings
    truths: list[Truth]
    labels: list[tuple[bool | None, str]]
    patients: npt.NDArray[np.intp]
    weights: npt.NDArray[np.int64]
    models: tuple[Model, ...]


def prepare(cases: list[Case], settings: Settings, tell: Progress) -> list[Truth]:
    """Places the truth of all cases. Raises EvaluationError, CaseError."""
    if not cases:
        raise EvaluationError("truth: expected at least one case, found none")
    check_cases(cases)
    truths = []
    for case in cases:
        truths.append(truth_of(case, settings.exclude))
        tell(case.id)
    return truths


def evaluate(
    truths: list[Truth], predictions: tuple[Predictions, ...], settings: Settings, tell: Progress
) -> Evaluation:
    """Matches the predictions of one model, or of two. Raises EvaluationError."""
    labels = [scan_truth(truth.case) for truth in truths]
    keys = [(truth.case.source, truth.case.patient) for truth in truths]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    patients = np.array([numbers[key] for key in keys], np.intp)
    strata = np.zeros(len(numbers), np.intp)
    for patient, (positive, _) in zip(patients, labels, strict=True):
        strata[patient] = max(strata[patient], {None: 0, False: 1, True: 2}[positive])
    weights = bootstrap_weights(patients, strata, settings.bootstraps, settings.seed)
    models = tuple(_model(truths, labels, patients, each, tell) for each in predictions)
    return Evaluation(settings, truths, labels, patients, weights, models)


def _model(
    truths: list[Truth],
    labels: list[tuple[bool | None, str]],
    patients: npt.NDArray[np.intp],
    predictions: Predictions,
    tell: Progress,
) -> Model:
    rules = tuple(rule for rule in RULES if predictions.has_boxes or not rule.needs_boxes)
    outcomes, outside = [], 0
    for truth, scan in zip(truths, predictions.scans, strict=True):
        outside += count_outside(truth, scan)
        outcomes.append(outcomes_of(truth, scan, rules))
        tell(truth.case.id)
    tables = {
        rule.name: table_of(rule, truths, predictions.scans, [outcome[rule.name] for outcome in outcomes])
        for rule in rules
    }
    scans = units = None
    if predictions.has_likelihood:
        score = np.array([scan.likelihood for scan in predictions.scans], np.float64)
        truth_values = [positive for positive, _ in labels]
        scans = scan_units(truth_values, score)
        units = patient_units(truth_values, score, patients)
    return Model(predictions, rules, outcomes, tables, scans, units, outside)


def counts_of(evaluation: Evaluation) -> dict[str, int]:
    """What there is, before any prediction."""
    truths = evaluation.truths
    annotations = [annotation for truth in truths for annotation in truth.case.annotations]
    lesions = [lesion for truth in truths for lesion in truth.lesions if lesion.annotation.status == "lesion"]
    left_out = [a for a in annotations if a.status not in ("lesion", *evaluation.settings.exclude)]
    by_kind = {
        f"scans_annotated_{kind}": sum(truth.case.completeness.kind == kind for truth in truths)
        for kind in ("all", "none", "slices", "organs", "region")
    }
    known = [positive for positive, _ in evaluation.labels]
    return {
        "patients": int(evaluation.patients.max()) + 1,
        "scans": len(truths),
        "scans_positive": known.count(True),
        "scans_negative": known.count(False),
        "scans_of_unknown_truth": known.count(None),
        "scans_labelled_by_report": sum(source == "report" for _, source in evaluation.labels),
        **by_kind,
        "scans_without_image": sum(not truth.has_image for truth in truths),
        "lesions": len(lesions),
        "lesions_without_extent": sum(not lesion.sized for lesion in lesions),
        "findings_excluded": sum(len(truth.lesions) for truth in truths) - len(lesions),
        "findings_counted_as_no_lesion": len(left_out),
    }


def summary_of(evaluation: Evaluation, model: Model, tell: Progress) -> dict[str, Any]:
    """All figures of one model."""
    predictions, weights, patients = model.predictions, evaluation.weights, evaluation.patients
    point, scan_point = predictions.operating_point, predictions.scan_operating_point
    rules = {}
    for rule in model.rules:
        rules[rule.name] = lesion_summary(model.tables[rule.name], point, weights, patients)
        tell(rule.name)
    table = model.tables[PRIMARY.name]
    errors = size_errors(table, evaluation.truths, predictions.scans, point)
    summary: dict[str, Any] = {
        "name": predictions.name,
        "weights_version": predictions.weights_version,
        "operating_point": point,
        "cases_without_prediction": list(predictions.missing),
        "predictions_of_cases_not_evaluated": len(predictions.beyond),
        "predictions": sum(len(scan.probability) for scan in predictions.scans),
        "predictions_outside_the_image": model.outside,
        "rules": rules,
        "sizes": {"lesions": len(errors["case"]), "measures": estimates(size_measures(errors), weights)},
        "lesion_strata": lesion_stratum_rows(table, evaluation.truths, point, weights, patients),
    }
    tell("strata")
    summary["scan_strata"] = case_stratum_rows(
        table, evaluation.truths, model.scans, point, weights, patients
    )
    for level, units in (("scans", model.scans), ("patients", model.patients)):
        if units is not None:
            summary[level] = unit_summary(units, scan_point, weights, patients)
    tell("scans")
    return summary


def comparison_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """Under the primary rule; None with one model only."""
    if len(evaluation.models) < 2:
        return None
    first, second = evaluation.models
    units = (first.patients, second.patients)
    both = (units[0], units[1]) if units[0] is not None and units[1] is not None else None
    return compare(
        (first.tables[PRIMARY.name], second.tables[PRIMARY.name]),
        both,
        evaluation.weights,
        evaluation.patients,
        evaluation.settings.seed + 1,
    )
