"""Turns a checkpoint into weights: `python -m resources.training.export --work DIR --out FILE`.

Calibration and operating points are fitted on the validation scans, by Platt's logistic (1999): one for
candidates, one for the surest candidate of each scan.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rich.progress
import torch
from sklearn.linear_model import LogisticRegression

from model.boxes import distances
from model.config import DetectorConfig
from model.decode import calibrated, decode
from model.detector import DEFAULT_MEMORY_GB, save_weights
from model.network import CenterNet3D
from model.tiles import run_network
from resources.training.__main__ import SEEDS, load_average
from resources.training.data import Scan, load_scans

FALSE_POSITIVES_PER_SCAN = 0.5
"""The operating point: the lowest probability with at most this many on the validation scans."""
NEAREST_MM = 4.0
"""A candidate within half a lesion's long diameter of its centre, or within this, has found it."""

Floats = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.training.export", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file")
    parser.add_argument("--scans", type=int, default=24, help="validation scans")
    options = parser.parse_args()
    config = DetectorConfig()
    network, training = load_average(options.work / "checkpoint.safetensors", config)
    network.eval()
    seeds = range(SEEDS["validation"], SEEDS["validation"] + options.scans)
    scans = load_scans(seeds, options.work.parent / "scans", config)
    config = fit(network, scans, provenance(training, len(seeds)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    part = options.out.with_suffix(".part")
    save_weights(part, network, config)
    part.chmod(0o644)  # safetensors writes files that only their owner can read
    part.replace(options.out)
    print(f"{options.out}: {config}")


def provenance(training: str, validation: int) -> dict[str, str]:
    """Where the weights come from, for people: data, steps, commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=True)
    return {
        "data": "synthetic scans only (resources/synthetic), no patient data",
        "training": training,
        "calibration": f"{validation} scans (seeds from {SEEDS['validation']})",
        "git_commit": commit.stdout.strip(),
        "intended_use": "research only; not a medical device",
    }


def fit(network: CenterNet3D, scans: list[Scan], origin: dict[str, str]) -> DetectorConfig:
    """The network's configuration with calibration, operating points and provenance."""
    plain = dataclasses.replace(network.config, calibration=(1.0, 0.0), scan_calibration=(1.0, 0.0))
    found = [_candidates(network, scan, plain) for scan in rich.progress.track(scans, "Validating")]
    probability = np.concatenate([values for values, _ in found])
    hit = np.concatenate([hits for _, hits in found])
    top = np.array([values.max(initial=0.001) for values, _ in found])
    positive = np.array([len(scan.lesions.center) > 0 for scan in scans])
    calibration = _platt(probability, hit)
    scan_calibration = _platt(_apply(calibration, top), positive)
    allowed = int(FALSE_POSITIVES_PER_SCAN * len(scans))
    false = np.sort(_apply(calibration, probability[~hit]))[::-1]
    threshold = float(false[allowed]) if len(false) > allowed else 0.01
    return dataclasses.replace(
        plain,
        calibration=calibration,
        scan_calibration=scan_calibration,
        operating_point=round(min(0.999, threshold + 1e-4), 4),
        scan_operating_point=_youden(_apply(scan_calibration, _apply(calibration, top)), positive),
        provenance=origin,
    )


def _candidates(
    network: CenterNet3D, scan: Scan, config: DetectorConfig
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Probability of each candidate, and whether it is the first to find a lesion."""
    with torch.inference_mode():
        heads = run_network(network, scan.hu, int(DEFAULT_MEMORY_GB["cpu"] * 1e9))
        found = decode(calibrated(heads, config), len(config.types), config.spacing_mm)
    apart_mm = distances(found.voxel, scan.lesions.center.numpy()) * config.spacing_mm
    reach_mm = np.maximum(NEAREST_MM, scan.lesions.size_mm[:, 0].numpy() / 2)
    free = np.ones(len(reach_mm), bool)
    hit = np.zeros(len(apart_mm), bool)
    for i, row in enumerate(apart_mm):
        near = np.where(free & (row < reach_mm), row, np.inf)
        if np.isfinite(near).any():
            hit[i] = True
            free[near.argmin()] = False
    return found.probability, hit


def _logit(probability: Floats) -> Floats:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def _apply(calibration: tuple[float, float], probability: Floats) -> Floats:
    return 1 / (1 + np.exp(-(calibration[0] * _logit(probability) + calibration[1])))


def _platt(probability: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(slope, intercept) of the logistic on the logit. Raises SystemExit where it does not rise."""
    if positive.all() or not positive.any():
        raise SystemExit(
            "error: calibration: expected hits and misses on the validation scans, found one kind"
        )
    model = LogisticRegression(C=100.0).fit(_logit(probability)[:, None], positive)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if not slope > 0 or not math.isfinite(intercept):
        raise SystemExit(f"error: calibration: expected a rising logistic, found a slope of {slope:g}")
    return slope, intercept


def _youden(likelihood: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The threshold of the highest sensitivity plus specificity."""
    levels = np.unique(likelihood)
    gain = [(likelihood[positive] >= v).mean() - (likelihood[~positive] >= v).mean() for v in levels]
    return round(float(levels[int(np.argmax(gain))]), 4)


if __name__ == "__main__":
    main()
