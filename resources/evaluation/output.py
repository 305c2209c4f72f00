"""What an evaluation leaves behind: metrics.json, lesions.csv, figures/ and index.html."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.files import write_whole
from resources.evaluation.evaluation import Evaluation, Model, comparison_of, counts_of, summary_of
from resources.evaluation.figures import draw_figures
from resources.evaluation.gallery import failures, with_pictures
from resources.evaluation.matching import PRIMARY, RULES
from resources.evaluation.measures import Units
from resources.evaluation.page import image_of, render

SOFTWARE = "resources.evaluation 1"
COLUMNS = (
    *("model", "what", "case", "patient", "source", "type", "x_mm", "y_mm", "z_mm"),
    *("probability", "above_operating_point", "true_long_mm", "true_short_mm", "true_z_mm"),
    *("predicted_long_mm", "predicted_short_mm", "predicted_z_mm", "distance_mm"),
)


def write_all(
    out: Path,
    evaluation: Evaluation,
    truth: Path,
    split: str | None,
    gallery: int,
    tell: Callable[[str], None],
) -> str:
    """Writes everything, each file whole or not at all; returns the outcome in a line."""
    summaries = [
        summary_of(evaluation, model, lambda text: tell(f"figures: {text}")) for model in evaluation.models
    ]
    counts = counts_of(evaluation)
    metrics = {
        "not_a_medical_device": True,
        "software": SOFTWARE,
        "truth_name": truth.name,
        "truth_sha256": hashlib.sha256(truth.read_bytes()).hexdigest(),
        "split": split,
        "exclude": list(evaluation.settings.exclude),
        "bootstraps": evaluation.settings.bootstraps,
        "seed": evaluation.settings.seed,
        "counts": counts,
        "notes": notes_of(evaluation, counts, summaries),
        "matching_rules": {rule.name: rule.text for rule in RULES},
        "primary_rule": PRIMARY.name,
        "models": summaries,
        "comparison": comparison_of(evaluation),
    }
    tell("drawing")
    files: dict[str, bytes] = {}
    charts = {}
    for name, figure in draw_figures(evaluation, summaries).items():
        charts[name] = files[f"figures/{name}.svg"] = image_of(figure, "svg")
        files[f"figures/{name}.png"] = image_of(figure, "png")
    drawn = failures(evaluation, evaluation.models[0], gallery)
    pictured = with_pictures(evaluation, evaluation.models[0], drawn, lambda text: tell(f"gallery: {text}"))
    files["index.html"] = render(metrics, charts, pictured).encode()
    files["lesions.csv"] = _csv(evaluation).encode()
    files["metrics.json"] = (json.dumps(_plain(metrics), indent=1, allow_nan=False) + "\n").encode()
    for name, content in files.items():
        write_whole(out / name, content)
    cpm = summaries[0]["rules"][PRIMARY.name]["measures"]["cpm"]
    shown = "not defined" if cpm.value is None else f"{cpm.value:.3f}"
    return f"{counts['scans']} scans, {counts['lesions']} lesions, CPM {shown}: {out / 'index.html'}"


def _plain(value: Any) -> Any:
    """As JSON values; numbers that are not finite become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value


def notes_of(evaluation: Evaluation, counts: dict[str, int], summaries: list[dict[str, Any]]) -> list[str]:
    """What a reader has to know before the figures."""
    notes = []
    partly = counts["scans"] - counts["scans_annotated_all"]
    if partly:
        unjudged = [
            f"{summary['rules'][PRIMARY.name]['counts']['predictions_not_judged']} ({summary['name']})"
            for summary in summaries
        ]
        notes.append(
            f"{partly} of {counts['scans']} scans are annotated in part or only at known lesions. "
            "Predictions there that find nothing are not counted as false positives: "
            f"{', '.join(unjudged)}. False positives per scan are too low by whatever was false among them."
        )
    if counts["scans_of_unknown_truth"]:
        notes.append(
            f"{counts['scans_of_unknown_truth']} scans are neither known to hold a lesion nor known to hold "
            "none: they are left out of the scan and patient level."
        )
    if counts["scans_labelled_by_report"]:
        notes.append(
            f"{counts['scans_labelled_by_report']} scans are called positive or negative by a report."
        )
    if counts["scans_without_image"]:
        notes.append(
            f"The images of {counts['scans_without_image']} scans are not there: whether points lie inside "
            "them was not checked."
        )
    for model, summary in zip(evaluation.models, summaries, strict=True):
        if not model.predictions.has_boxes:
            notes.append(f"{summary['name']} has no details: no rule on boxes, no sizes, no operating point.")
        if not model.predictions.has_likelihood:
            notes.append(f"{summary['name']} has no likelihood of scans: no figures of scans and patients.")
        if model.predictions.missing:
            notes.append(f"{summary['name']} has no prediction for {len(model.predictions.missing)} scans.")
        if isinstance(model.scans, Units) and len(set(model.scans.positive.tolist())) < 2:
            notes.append("All scans of known truth are of one kind: areas and some shares are not defined.")
    return notes


def _csv(evaluation: Evaluation) -> str:
    rules = list(dict.fromkeys(rule.name for model in evaluation.models for rule in model.rules))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *(f"found_{name}" for name in rules)], "", lineterminator="\n")
    writer.writeheader()
    for model in evaluation.models:
        for number, truth in enumerate(evaluation.truths):
            same = {
                "model": model.predictions.name,
                "case": truth.case.id,
                "patient": truth.case.patient,
                "source": truth.case.source,
            }
            for row in _case_rows(model, evaluation, number):
                writer.writerow(same | {key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return value


def _case_rows(model: Model, evaluation: Evaluation, number: int) -> Iterator[dict[str, Any]]:
    """A row per lesion or excluded finding, then one per prediction that finds none; primary rule."""
    truth, outcomes = evaluation.truths[number], model.outcomes[number]
    outcome = outcomes[PRIMARY.name]
    finders = {int(lesion): i for i, lesion in enumerate(outcome.found) if lesion >= 0}
    for place, lesion in enumerate(truth.lesions):
        by = finders.get(place)
        status = lesion.annotation.status
        row = {"what": "lesion" if status == "lesion" else f"excluded ({status})"}
        row |= _place(truth.frame.to_world(lesion.centre_mm)[0])
        row |= _sizes("true", lesion.measured) | {"type": lesion.annotation.type or ""}
        if by is not None:
            here = truth.frame.of_world(model.predictions.scans[number].points_mm[by])[0]
            distance_mm = float(np.linalg.norm(here - lesion.centre_mm))
            row |= _predicted(model, number, by) | {"distance_mm": distance_mm}
        found_under = {f"found_{name}": place in each.found for name, each in outcomes.items()}
        yield row | (found_under if status == "lesion" else {})
    for i, fate in enumerate(outcome.fates):
        if outcome.found[i] < 0:
            scan = model.predictions.scans[number]
            row = {"what": fate, "type": scan.types[i]} | _place(scan.points_mm[i])
            yield row | _predicted(model, number, i)


def _place(point: Any) -> dict[str, Any]:
    return dict(zip(("x_mm", "y_mm", "z_mm"), point, strict=True))


def _sizes(whose: str, sizes: Any) -> dict[str, Any]:
    return {f"{whose}_{name}_mm": size for name, size in zip(("long", "short", "z"), sizes, strict=True)}


def _predicted(model: Model, number: int, i: int) -> dict[str, Any]:
    scan, point = model.predictions.scans[number], model.predictions.operating_point
    probability = float(scan.probability[i])
    row: dict[str, Any] = {"probability": probability}
    if point is not None:
        row["above_operating_point"] = probability >= point
    return row | ({} if scan.sizes_mm is None else _sizes("predicted", scan.sizes_mm[i]))
