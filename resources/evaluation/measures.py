"""The figures of one model: lesions, sizes, scans and patients, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.cases.case import Case
from resources.evaluation.curves import (
    FP_RATES,
    Ranking,
    average_precision,
    brier,
    expected_calibration_error,
    ratio,
    roc_area,
    sensitivity_at,
)
from resources.evaluation.outcomes import Table, Truth
from resources.evaluation.predictions import Prediction
from resources.evaluation.statistics import Estimate, Floats, Measure, estimates

Bools = npt.NDArray[np.bool_]
Weights = npt.NDArray


def lesion_ranking(table: Table, duplicates: bool = True) -> Ranking:
    """Hits and false positives; duplicates=False leaves further predictions on a found lesion out."""
    keep = np.full(len(table.false_case), True) if duplicates else ~table.false_duplicate
    return Ranking.of(table.lesion_case, table.lesion_score, table.false_case[keep], table.false_score[keep])


def complete_only(table: Table) -> Table:
    """Lesions where the scan is exhaustively annotated: only there is precision known."""
    return table.only(table.lesion_complete & table.judged[table.lesion_case])


def lesion_measures(table: Table, operating_point: float | None) -> Measure:
    """CPM and its parts, average precision, and what happens at the operating point."""
    ranking, plain, complete = lesion_ranking(table), lesion_ranking(table, False), complete_only(table)
    complete_ranking = lesion_ranking(complete)
    points = None if operating_point is None else operating_measures(table, operating_point)

    def measure(weights: Weights) -> dict[str, Floats]:
        sensitivity = sensitivity_at(ranking, weights, table.lesions, table.judged)
        alone = sensitivity_at(plain, weights, table.lesions, table.judged)
        values = {f"sensitivity_at_{rate:g}": sensitivity[:, i] for i, rate in enumerate(FP_RATES)}
        values["cpm"] = sensitivity.mean(1)
        values["cpm_duplicates_ignored"] = alone.mean(1)
        values["average_precision"] = average_precision(complete_ranking, weights, complete.lesions)
        if not table.judged.any():
            values["average_precision"] = np.full(len(weights), np.nan)
        return values | (points(weights) if points else {})

    return measure


def operating_measures(table: Table, operating_point: float) -> Measure:
    """At one threshold: sensitivity, false positives a scan and precision."""

    def per_case(cases: npt.NDArray[np.intp], keep: Bools) -> npt.NDArray[np.intp]:
        return np.bincount(cases[keep], minlength=table.cases)

    hits = per_case(table.lesion_case, table.lesion_score >= operating_point)
    false = per_case(table.false_case, table.false_score >= operating_point)
    in_complete = table.lesion_complete & table.judged[table.lesion_case]
    true = per_case(table.lesion_case, in_complete & (table.lesion_score >= operating_point))

    def measure(weights: Weights) -> dict[str, Floats]:
        return {
            "operating_sensitivity": ratio(weights @ hits, weights @ table.lesions),
            "operating_false_positives_per_scan": ratio(
                weights @ false, weights @ table.judged.astype(np.intp)
            ),
            "operating_precision": ratio(weights @ true, weights @ (true + false)),
        }

    return measure


def size_errors(
    table: Table, truths: list[Truth], scans: tuple[Prediction, ...], operating_point: float | None
) -> dict[str, npt.NDArray]:
    """Of the lesions found from the operating point up: case (k,), distance_mm (k,), true and predicted (k,
    3).

    distance: of the predicted point from the lesion's centre. Sizes: long, short, z; nan where not known.
    """
    hit = np.flatnonzero(table.lesion_score >= (operating_point or 0.0))
    rows = [(table.lesion_case[i], table.lesion_number[i], table.lesion_prediction[i]) for i in hit]
    distance, true, predicted = [], [], []
    for case, lesion_number, by in rows:
        truth, scan = truths[case], scans[case]
        lesion = truth.lesions[lesion_number]
        distance.append(np.linalg.norm(truth.frame.of_world(scan.points_mm[by])[0] - lesion.centre_mm))
        true.append(lesion.measured)
        predicted.append(np.full(3, np.nan) if scan.sizes_mm is None else scan.sizes_mm[by])
    return {
        "case": table.lesion_case[hit],
        "distance_mm": np.array(distance, np.float64),
        "true_mm": np.array(true, np.float64).reshape(-1, 3),
        "predicted_mm": np.array(predicted, np.float64).reshape(-1, 3),
    }


def size_measures(errors: dict[str, npt.NDArray]) -> Measure:
    """The mean distance, and of each size the mean error (predicted - true) and absolute error, in mm."""
    difference = errors["predicted_mm"] - errors["true_mm"]

    def measure(weights: Weights) -> dict[str, Floats]:
        per_lesion = weights[:, errors["case"]]
        means = {"distance_mm": ratio(per_lesion @ errors["distance_mm"], per_lesion.sum(1))}
        for i, name in enumerate(("long", "short", "z")):
            known = np.isfinite(difference[:, i])
            drawn = per_lesion[:, known]
            means[f"{name}_error_mm"] = ratio(drawn @ difference[known, i], drawn.sum(1))
            means[f"{name}_absolute_error_mm"] = ratio(drawn @ np.abs(difference[known, i]), drawn.sum(1))
        return means

    return measure


def scan_truth(case: Case) -> tuple[bool | None, str]:
    """Whether a scan holds a lesion, None if nobody knows, and what says so.

    A lesion makes it positive. Complete annotation without one, or with benign findings only, makes it
    negative; with doubtful findings it stays open. Else the report decides: a current finding that is
    present and not benign; or that all is clear.
    """
    statuses = {annotation.status for annotation in case.annotations}
    if "lesion" in statuses:
        return True, "annotation"
    if case.completeness.kind == "all":
        return (None if "doubtful" in statuses else False), "annotation"
    current = [finding for finding in case.findings if finding.time == "current"]
    if any(finding.presence == "present" and finding.character != "benign" for finding in current):
        return True, "report"
    if any(finding.presence == "absent" and finding.organ is None for finding in current):
        return False, "report"
    return None, "nothing"


@dataclass(frozen=True)
class Units:
    """Scans, or patients, whose truth is known. score, truth: (n,). The case (n,) gives the weight."""

    score: Floats
    positive: Bools
    case: npt.NDArray[np.intp]

    def ranking(self) -> Ranking:
        """Positives as hits, negatives as false alarms."""
        ill = self.positive
        return Ranking.of(self.case[ill], self.score[ill], self.case[~ill], self.score[~ill])


def scan_units(truth: list[bool | None], score: Floats) -> Units:
    known = np.flatnonzero([value is not None for value in truth])
    return Units(score[known], np.array([bool(truth[i]) for i in known], bool), known)


def patient_units(truth: list[bool | None], score: Floats, patients: npt.NDArray[np.intp]) -> Units:
    """Patients score as the highest of their scans, and are positive if one is, negative if all are.

    Others are left out.
    """
    scores, positive, cases = [], [], []
    for patient in range(int(patients.max()) + 1):
        members = np.flatnonzero(patients == patient)
        known = [truth[i] for i in members]
        if True in known or None not in known:
            scores.append(float(score[members].max()))
            positive.append(True in known)
            cases.append(members[0])
    return Units(np.array(scores, np.float64), np.array(positive, bool), np.array(cases, np.intp))


def unit_measures(units: Units, operating_point: float | None) -> Measure:
    """ROC area, average precision, calibration; at the operating point what a 2 x 2 table holds."""
    ranking = units.ranking()
    ill, well = units.positive.astype(np.int64), (~units.positive).astype(np.int64)

    def measure(weights: Weights) -> dict[str, Floats]:
        drawn = weights[:, units.case]
        positives = np.bincount(units.case[units.positive], minlength=weights.shape[1])
        values = {
            "roc_area": roc_area(ranking, weights),
            "average_precision": average_precision(ranking, weights, positives),
            "expected_calibration_error": expected_calibration_error(units.score, units.positive, drawn),
            "brier": brier(units.score, units.positive, drawn),
        }
        if operating_point is None:
            return values
        called = (units.score >= operating_point).astype(np.int64)
        true_positive, true_negative = drawn @ (ill * called), drawn @ (well * (1 - called))
        return values | {
            "accuracy": ratio(true_positive + true_negative, drawn.sum(1)),
            "sensitivity": ratio(true_positive, drawn @ ill),
            "specificity": ratio(true_negative, drawn @ well),
            "positive_predictive_value": ratio(true_positive, drawn @ called),
            "negative_predictive_value": ratio(true_negative, drawn @ (1 - called)),
        }

    return measure


def unit_summary(
    units: Units, operating_point: float | None, weights: Weights, patients: npt.NDArray[np.intp]
) -> dict[str, Any]:
    """Measures with intervals, and the counts behind them."""

    def patients_of(keep: Bools) -> int:
        return len(set(patients[units.case[keep]].tolist()))

    called = units.score >= (2.0 if operating_point is None else operating_point)
    ill = units.positive
    behind = {
        "accuracy": patients_of(np.full(len(ill), True)),
        "sensitivity": patients_of(ill),
        "specificity": patients_of(~ill),
        "positive_predictive_value": patients_of(called),
        "negative_predictive_value": patients_of(~called),
    }
    measures: dict[str, Any] = dict(estimates(unit_measures(units, operating_point), weights, behind))
    counts = {"units": len(ill), "positive": int(ill.sum()), "negative": int((~ill).sum())}
    if operating_point is not None:
        counts |= {
            "true_positive": int((ill & called).sum()),
            "false_negative": int((ill & ~called).sum()),
            "false_positive": int((~ill & called).sum()),
            "true_negative": int((~ill & ~called).sum()),
        }
    return {"counts": counts, "operating_point": operating_point, "measures": measures}


def lesion_summary(
    table: Table, operating_point: float | None, weights: Weights, patients: Weights
) -> dict[str, Any]:
    """Measures of one rule with intervals, and the counts behind them."""
    names = [f"sensitivity_at_{rate:g}" for rate in FP_RATES] + ["operating_sensitivity"]
    behind = dict.fromkeys(names, len(set(patients[table.lesion_case].tolist())))
    measures: dict[str, Estimate] = estimates(lesion_measures(table, operating_point), weights, behind)
    counts = {
        "lesions": len(table.lesion_case),
        "lesions_found": int(np.isfinite(table.lesion_score).sum()),
        "scans_where_false_positives_count": int(table.judged.sum()),
        "false_positives": len(table.false_case),
        "of_these_duplicates": int(table.false_duplicate.sum()),
        "predictions_not_judged": table.fates["not judged"],
        "predictions_ignored_on_excluded_findings": table.fates["ignored"],
    }
    return {"counts": counts, "measures": measures}
