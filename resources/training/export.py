"""Turns a run into weights: `python -m resources.training.export --work DIR --out FILE`.

Calibration and operating points are fitted on the validation scans, by Platt's logistic (1999): one for
candidates, one for the surest candidate of each scan. They are those of the run, or those of --cases with
their --cache, which may be others: scans of the hospital where the detector is to be used, or several kinds
together. Without validation the last averaged weights are exported as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from model.config import DetectorConfig, WeightsError
from model.detector import load_network, save_weights
from model.network import CenterNet3D
from resources.cases.strict import CaseError, decode_object
from resources.cli import end_with
from resources.evaluation import EvaluationError
from resources.evaluation.measures import scan_truth
from resources.training.checkpoint import aside, read_checkpoint, take
from resources.training.config import TrainingConfig, Validation
from resources.training.validation import Held, match_all, open_held, predict_scans, read_candidates

FALSE_POSITIVES_PER_SCAN = 0.5
"""The operating point is the lowest probability with at most this many on the validation scans whose lesions
are all marked, unless --false-positives says otherwise."""
NOTHING = 0.001
"""Probability that stands for a scan without candidates, as at inference."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.training.export", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file")
    parser.add_argument("--cases", type=Path, help="validation scans to fit on, in place of those of the run")
    parser.add_argument("--cache", type=Path, help="folder of their cache")
    parser.add_argument(
        "--false-positives",
        type=float,
        default=FALSE_POSITIVES_PER_SCAN,
        metavar="RATE",
        help="the operating point has at most so many a validation scan whose lesions are all marked "
        "(default %(default)s)",
    )
    options = parser.parse_args(arguments)
    rate = options.false_positives
    if not (math.isfinite(rate) and rate >= 0):
        parser.error(f"--false-positives: expected a number from 0 up, found {rate:g}")
    if (options.cases is None) != (options.cache is None):
        parser.error("--cases, --cache: expected both or neither")
    try:
        config = export(options.work, options.out, options.cases, options.cache, rate)
    except (CaseError, EvaluationError, WeightsError, OSError) as error:
        return end_with(error)
    print(f"{options.out}: {_summary(config)}")
    return 0


def _summary(config: DetectorConfig) -> str:
    """What a reader of the file may want to know first; the rest is in it."""
    facts = config.provenance
    return (
        f"step {facts['steps']}, {config.spacing_mm:g} mm, calibrated on: {facts['calibration']}, "
        f"operating point {config.operating_point:.3f}, of scans {config.scan_operating_point:.3f}"
    )


def export(
    work: Path,
    out: Path,
    cases: Path | None = None,
    cache: Path | None = None,
    false_positives: float = FALSE_POSITIVES_PER_SCAN,
) -> DetectorConfig:
    """Writes the weights file; the configuration in it. Raises CaseError, EvaluationError, WeightsError.

    cases, cache: the scans that calibration is fitted on; those of the run's validation if None.
    false_positives: a validation scan, of the operating point.
    """
    tensors, state = read_checkpoint(work / "checkpoint.safetensors")
    config = decode_object(TrainingConfig, state["config"])
    predicted = work / "validation"
    if cases is not None and cache is not None:
        settings = Validation(str(cases.absolute()), str(cache.absolute()))
        config = dataclasses.replace(config, validation=settings)
        predicted = work / "calibration" / hashlib.sha256(cases.read_bytes()).hexdigest()[:12]
    held = open_held(config, [])
    if held is None:
        network, step, calibration = CenterNet3D(config.network.detector), state["step"], "none"
        take(tensors, "average", network)
        network.eval()
        fitted = network.config
    else:
        best = work / "best.safetensors"
        if not best.exists():
            raise CaseError(f"{best}: expected the weights of a validation, found none; train further")
        network = load_network(best)
        step = int(network.config.provenance["step"])
        folder = predicted / f"{step:07d}"
        predict_scans(network, held, folder, 0, 1)
        fitted = fit(network.config, held, folder, false_positives)
        calibration = f"{len(held.truths)} validation scans"
    fitted = dataclasses.replace(fitted, provenance=provenance(config, state, step, calibration))
    with aside(out) as part:
        save_weights(part, network, fitted)
    return fitted


def provenance(config: TrainingConfig, state: dict[str, Any], step: int, calibration: str) -> dict[str, str]:
    """Where the weights come from, for people. step: at which the weights were taken."""
    origin = state["origin"]
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.strip()
    settings = json.dumps(state["config"], sort_keys=True).encode()
    started = {}
    if config.start is not None:
        before = load_network(Path(config.start)).config.provenance
        started = {"start": json.dumps(before, sort_keys=True)}
    return {
        "config": origin["name"],
        "config_sha256": hashlib.sha256(settings).hexdigest(),
        "data": ", ".join(f"{name}: {count} cases" for name, count in origin["sources"].items()),
        "data_sha256": origin["data"],
        "supervision": json.dumps(dataclasses.asdict(config.supervision)),
        "steps": f"{step} of {state['step']}",
        "seed": str(config.seed),
        "calibration": calibration,
        "git_commit": commit or "unknown",
        "intended_use": "research only; not a medical device",
    } | started


def fit(plain: DetectorConfig, held: Held, folder: Path, false_positives: float) -> DetectorConfig:
    """The configuration with calibration and operating points, from the candidates `predict_scans` wrote.

    plain: of the network, its calibration being none. false_positives: at most, a scan, at the operating
    point.
    """
    predictions = read_candidates(held, folder)
    table = match_all(held, predictions)
    hits = table.lesion_score[table.lesion_prediction >= 0]
    probability = np.concatenate([hits, table.false_score])
    is_hit = np.arange(len(probability)) < len(hits)
    calibration = _platt(probability, is_hit, ("hits", "misses"))
    top = np.array([scan.probability.max(initial=NOTHING) for scan in predictions])
    truth = [scan_truth(truth_of.case)[0] for truth_of in held.truths]
    pairs = zip(truth, held.truths, strict=True)  # a crop around a lesion says nothing of whole scans
    known = np.array([positive is not None and truth_of.judged for positive, truth_of in pairs])
    positive, likelihood = np.array(truth)[known].astype(bool), _apply(calibration, top[known])
    scan_calibration = _platt(likelihood, positive, ("scans with a lesion", "scans without one"))
    allowed = int(false_positives * table.judged.sum())
    false = np.sort(_apply(calibration, table.false_score))[::-1]
    threshold = float(false[allowed]) if len(false) > allowed else 0.01
    return dataclasses.replace(
        plain,
        calibration=calibration,
        scan_calibration=scan_calibration,
        operating_point=round(min(0.999, threshold + 1e-4), 4),
        scan_operating_point=_youden(_apply(scan_calibration, likelihood), positive),
    )


def _logit(probability: Floats) -> Floats:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def _apply(calibration: tuple[float, float], probability: Floats) -> Floats:
    return 1 / (1 + np.exp(-(calibration[0] * _logit(probability) + calibration[1])))


def _platt(probability: Floats, positive: Bools, kinds: tuple[str, str]) -> tuple[float, float]:
    """(slope, intercept) of the logistic on the logit. kinds: what positives and negatives are called.

    Raises CaseError where one of them lacks or the logistic does not rise.
    """
    if positive.all() or not positive.any():
        only = kinds[0] if positive.any() else kinds[1]
        expected = f"expected {kinds[0]} and {kinds[1]} in the validation"
        raise CaseError(f"calibration: {expected}, found only {only}")
    model = LogisticRegression(C=100.0).fit(_logit(probability)[:, None], positive)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if not slope > 0 or not math.isfinite(intercept):
        expected = f"expected {kinds[0]} of higher probability than {kinds[1]} in the validation"
        raise CaseError(f"calibration: {expected}, found a slope of {slope:g}")
    return slope, intercept


def _youden(likelihood: Floats, positive: Bools) -> float:
    """The threshold of the highest sensitivity plus specificity, half-way to the next lower likelihood."""
    levels = np.unique(likelihood)
    gain = [(likelihood[positive] >= v).mean() - (likelihood[~positive] >= v).mean() for v in levels]
    best = int(np.argmax(gain))
    return float(levels[max(0, best - 1) : best + 1].mean())


if __name__ == "__main__":
    sys.exit(main())
