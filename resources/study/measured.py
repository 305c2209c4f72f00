"""What a setting's runs are measured on: the headroom on the validation scans, the arms on the test scans."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from resources.evaluation.evaluation import Evaluation, Settings, evaluate
from resources.evaluation.predictions import Predictions, read_predictions
from resources.predict import digest_of
from resources.study.arms import BASE, held, predict, predictions, run_name
from resources.study.contrasts import (
    CROP_RATES,
    Model,
    difference,
    figures_of,
    mean_of,
    models_of,
    p_value,
    run_measure,
    strata_names,
)
from resources.study.real_figures import RATES as REAL_RATES
from resources.study.real_figures import judged_in_crops, patients_of, weights_of
from resources.study.setting import Setting
from resources.study.steps import commit
from resources.training.validation import Held, read_candidates


def headroom_of(setting: Setting, work: Path) -> dict[str, Any]:
    """The arm that has everything, the one with nothing new and their difference on the validation scans."""
    scans = held(work, "validation")
    runs = [run_name(name, setting.seeds[0]) for name in setting.headroom]
    looked = [validated(setting, work, run) for run in runs]
    read = tuple(candidates(scans, *pair) for pair in zip(runs, looked, strict=True))
    evaluation = evaluate(scans.truths, read, Settings(), lambda _: None)
    most, least = models_of(evaluation, setting)
    weights, _ = drawn(setting, evaluation)
    measures = {
        setting.headroom[0]: run_measure(most),
        setting.headroom[1]: run_measure(least),
        "difference": difference([most], [least]),
    }
    found: dict[str, Any] = {"scans": len(scans.truths), "lesions": counts_of(most), "seed": setting.seeds[0]}
    return found | {name: figures_of(one, weights) for name, one in measures.items()}


def validated(setting: Setting, work: Path, run: str) -> Path:
    """What a run says of the validation scans: predicted now where its training did not."""
    if not setting.is_real:
        return max((work / "runs" / run / "validation").iterdir())
    predict(setting, work, run, "validation")
    return predictions(work, run, "validation")


def candidates(scans: Held, run: str, folder: Path) -> Predictions:
    """What a validation, or predict on real scans, wrote: points and probabilities alone."""
    return Predictions(run, tuple(read_candidates(scans, folder)), None, None, "")


def drawn(setting: Setting, evaluation: Evaluation) -> tuple[Any, Any]:
    """Weights of the bootstrap (b, cases) and patients (cases,); of real scans patients with whole scans, on
    which thresholds rest, are drawn by themselves.
    """
    if setting.is_real:
        return weights_of(evaluation.truths), patients_of(evaluation.truths)
    return evaluation.weights, evaluation.patients


def counts_of(model: Model) -> dict[str, int]:
    """Lesions of each stratum."""
    return {name: len(table.lesion_case) for name, table in model.tables.items()}


def arms_of(
    setting: Setting, work: Path, arms: list[str], name: str = "test", in_crops: bool = False
) -> dict[str, Any]:
    """The figures of all arms on the scans of a test list, and the contrasts between those that were run.

    in_crops: false positives are counted beside the nodules of crops, in place of in whole scans.
    """
    scans, chosen = held(work, name), Settings()
    if in_crops:
        scans = dataclasses.replace(scans, truths=[judged_in_crops(truth) for truth in scans.truths])
    cases = [truth.case for truth in scans.truths]
    keys = [(arm, seed) for arm in arms for seed in setting.seeds]
    known = {case.id for case in cases}
    folders = [predictions(work, run_name(*key), name) for key in keys]
    read = tuple(
        candidates(scans, folder.name, folder) if setting.is_real else read_predictions(folder, cases, known)
        for folder in folders
    )
    evaluation = evaluate(scans.truths, read, chosen, lambda _: None)
    models: dict[str, list[Model]] = {arm: [] for arm in arms}
    rates = CROP_RATES if in_crops else REAL_RATES
    for (arm, _), model in zip(keys, models_of(evaluation, setting, rates), strict=True):
        models[arm].append(model)
    ranges = {arm: [run_measure(model) for model in runs] for arm, runs in models.items()}
    first = next(iter(models.values()))[0]
    weights, patients = drawn(setting, evaluation)
    return {
        "scans": len(cases),
        "lesions": counts_of(first),
        "positive scans": sum(positive is True for positive, _ in evaluation.labels),
        "arms": {arm: figures_of(mean_of(own), weights) for arm, own in ranges.items()},
        "contrasts": contrasts_of(setting, models, weights, patients),
    }


def contrasts_of(
    setting: Setting, models: dict[str, list[Model]], weights: Any, patients: Any
) -> list[dict[str, Any]]:
    """Each contrast whose arms were run: differences with intervals, and p in the primary stratum."""
    stratum, found = strata_names(setting)[0], []
    once = np.ones((1, weights.shape[1]), int)
    for contrast in setting.contrasts:
        if not {contrast.arm, *contrast.against} <= set(models):
            continue

        def mean(name: str) -> float:
            runs = mean_of([run_measure(model) for model in models[name]])
            return float(runs(once)[f"{stratum}: mean"][0])

        best = max(contrast.against, key=mean)
        pair = models[contrast.arm], models[best]
        found.append(
            {
                "arm": contrast.arm,
                "against": best,
                "of": list(contrast.against),
                "primary": contrast.primary,
                "p": round(p_value(*pair, stratum, patients, len(weights), setting.endpoint), 4),
                "difference": figures_of(difference(*pair), weights),
            }
        )
    return found


def origin(name: str, setting: Setting, work: Path) -> dict[str, str]:
    """The command and the commit that a result comes from, and the digest of weights that were given."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {
        "command": f"python -m resources.study run {name}",
        "commit": commit(),
        "date": today,
    } | ({"start_sha256": digest_of(work / "weights" / BASE)} if setting.start else {})
