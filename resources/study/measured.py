"""What a setting's runs are measured on: the headroom on the validation scans, the arms on the test scans."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from resources.cases.case import read_cases
from resources.evaluation.evaluation import Settings, evaluate, prepare
from resources.evaluation.predictions import Predictions, read_predictions
from resources.study.arms import run_name
from resources.study.contrasts import (
    ALL,
    WITHOUT,
    Model,
    difference,
    figures_of,
    mean_of,
    models_of,
    p_value,
    run_measure,
)
from resources.study.setting import Setting
from resources.study.steps import ROOT
from resources.training.validation import Held, read_candidates

HEADROOM = "headroom"


def headroom_of(setting: Setting, work: Path) -> dict[str, Any]:
    """The arm that has everything, the one with nothing new and their difference on the validation scans."""
    cases = read_cases(work / "cases" / "validation.jsonl")
    held = Held(prepare(cases, Settings(), lambda _: None), work / "cache" / "validation")
    runs = [run_name(name, setting.seeds[0]) for name in setting.headroom]
    read = []
    for run in runs:
        looked = max((work / "runs" / run / "validation").iterdir())
        read.append(Predictions(run, tuple(read_candidates(held, looked)), None, None, ""))
    evaluation = evaluate(held.truths, tuple(read), Settings(), lambda _: None)
    most, least = models_of(evaluation, setting.without_masks)
    measures = {
        setting.headroom[0]: run_measure(most),
        setting.headroom[1]: run_measure(least),
        "difference": difference([most], [least]),
    }
    found: dict[str, Any] = {"scans": len(cases), "lesions": counts_of(most), "seed": setting.seeds[0]}
    return found | {name: figures_of(one, evaluation.weights) for name, one in measures.items()}


def stratum_of(setting: Setting) -> str:
    """In which the primary endpoint is measured."""
    return WITHOUT if setting.without_masks else ALL


def counts_of(model: Model) -> dict[str, int]:
    """Lesions of each stratum."""
    return {name: len(table.lesion_case) for name, table in model.tables.items()}


def arms_of(setting: Setting, work: Path, arms: list[str]) -> dict[str, Any]:
    """The figures of all arms on the test scans, and the contrasts between those that were run."""
    cases = read_cases(work / "cases" / "test.jsonl")
    chosen = Settings()
    truths = prepare(cases, chosen, lambda _: None)
    keys = [(name, seed) for name in arms for seed in setting.seeds]
    known = {case.id for case in cases}
    folders = [work / "predictions" / run_name(*key) for key in keys]
    read = tuple(read_predictions(folder, cases, known) for folder in folders)
    evaluation = evaluate(truths, read, chosen, lambda _: None)
    models: dict[str, list[Model]] = {name: [] for name in arms}
    for (name, _), model in zip(keys, models_of(evaluation, setting.without_masks), strict=True):
        models[name].append(model)
    ranges = {name: [run_measure(model) for model in runs] for name, runs in models.items()}
    first = next(iter(models.values()))[0]
    return {
        "scans": len(cases),
        "lesions": counts_of(first),
        "positive scans": sum(positive is True for positive, _ in evaluation.labels),
        "arms": {name: figures_of(mean_of(own), evaluation.weights) for name, own in ranges.items()},
        "contrasts": contrasts_of(setting, models, evaluation.weights, evaluation.patients),
    }


def contrasts_of(
    setting: Setting, models: dict[str, list[Model]], weights: Any, patients: Any
) -> list[dict[str, Any]]:
    """Each contrast whose arms were run: differences with intervals, and p in the primary stratum."""
    stratum, found = stratum_of(setting), []
    once = np.ones((1, weights.shape[1]), int)
    for contrast in setting.contrasts:
        if not {contrast.arm, *contrast.against} <= set(models):
            continue

        def cpm(name: str) -> float:
            runs = mean_of([run_measure(model) for model in models[name]])
            return float(runs(once)[f"{stratum}: cpm"][0])

        best = max(contrast.against, key=cpm)
        pair = models[contrast.arm], models[best]
        found.append(
            {
                "arm": contrast.arm,
                "against": best,
                "of": list(contrast.against),
                "primary": contrast.primary,
                "p": round(p_value(*pair, stratum, patients, len(weights)), 4),
                "difference": figures_of(difference(*pair), weights),
            }
        )
    return found


def origin(name: str) -> dict[str, str]:
    """The command and the commit that a result comes from."""
    line = ["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"]
    commit = subprocess.run(line, capture_output=True, encoding="utf-8", check=False).stdout.strip()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {
        "command": f"python -m resources.study run {name}",
        "commit": commit or "unknown",
        "date": today,
    }
