"""The detector that ships against a blob detector, on held-out synthetic scans.

    python -m resources.study.held_out --scans 40 --work build/held-out

The scans (seeds from 300000) were used neither for training nor for calibration. A prediction finds a lesion
within half its long diameter of the centre (LUNA16's rule); each lesion counts once, a further prediction on it
is a false positive. Scans that are done are kept in --work, so a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rich.progress
import torch

from model.boxes import distances
from model.detector import Detector
from model.preprocess import preprocess
from resources.evaluation.curves import FP_RATES, Ranking, cpm, sensitivity_at
from resources.study.blob import KINDS, blobs
from resources.synthetic.scan import make_scan
from resources.training.__main__ import SEEDS

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = "detector"
METHODS = (DETECTOR, *KINDS)
BOOTSTRAPS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.held_out", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "held-out")
    parser.add_argument("--weights", type=Path, default=ROOT / "model" / "weights")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    seeds = range(SEEDS["test"], SEEDS["test"] + options.scans)
    job = partial(run_scan, work=options.work, weights=options.weights)
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(job, seed) for seed in seeds]
        for done in rich.progress.track(as_completed(jobs), "Scans", total=len(jobs)):
            done.result()
    report([json.loads(result_file(options.work, seed, options.weights).read_text()) for seed in seeds])


def result_file(work: Path, seed: int, weights: Path) -> Path:
    """One per scan and weights."""
    digest = hashlib.sha256()
    for path in sorted(weights.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return work / f"{seed}-{digest.hexdigest()[:12]}.json"


def run_scan(seed: int, work: Path, weights: Path) -> None:
    """Makes a scan, runs all methods on it, and writes for each the scores of hits and of false positives."""
    file = result_file(work, seed, weights)
    if file.exists():
        return
    torch.set_num_threads(1)
    detector = Detector.from_weights(weights, "cpu")
    volume, truths = make_scan(seed)
    centres = np.array([truth.center_mm for truth in truths]).reshape(-1, 3)
    radii = np.array([truth.long_mm / 2 for truth in truths])
    lesions = detector.predict(volume).lesions
    points = np.array([lesion.point_mm for lesion in lesions]).reshape(-1, 3)
    scores = np.array([lesion.probability for lesion in lesions])
    rows = {DETECTOR: judge(points, scores, centres, radii)}
    grid = preprocess(volume, detector.networks[0].config.spacing_mm, detector.stride)
    for kind in KINDS:
        voxels, scores = blobs(grid.hu.numpy(), grid.spacing_mm, kind)
        rows[kind] = judge(grid.to_world(voxels), scores, centres, radii)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"seed": seed, "lesions": len(truths), "methods": rows}))
    part.replace(file)


def judge(
    points: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    centres: npt.NDArray[np.floating],
    radii: npt.NDArray[np.floating],
) -> dict[str, list[float]]:
    """Scores of the predictions that find a lesion (m at most) and of the others; all in mm."""
    near = distances(points, centres)
    free = np.ones(len(radii), bool)
    hits, false = [], []
    for i in np.argsort(-scores, kind="stable"):
        reached = np.where(free & (near[i] < radii), near[i], np.inf)
        if np.isfinite(reached).any():
            free[reached.argmin()] = False
            hits.append(float(scores[i]))
        else:
            false.append(float(scores[i]))
    return {"hits": hits, "false": false}


def report(rows: list[dict[str, Any]]) -> None:
    """Prints sensitivity at false positives per scan, with 95 % intervals by bootstrap over the scans."""
    lesions = np.array([row["lesions"] for row in rows])
    scans = np.ones(len(rows))
    sample = np.ones((1, len(rows)))
    drawn = np.random.default_rng(0).multinomial(len(rows), scans / len(rows), BOOTSTRAPS).astype(float)
    print(f"{len(rows)} scans, {lesions.sum()} lesions, {(lesions == 0).sum()} scans without; synthetic data")
    print(
        f"{'false positives per scan':<24}"
        + "".join(f"{rate:>8g}" for rate in FP_RATES)
        + "     CPM   at 1, 95 %"
    )
    for method in METHODS:
        ranking = ranking_of([row["methods"][method] for row in rows])
        line = sensitivity_at(ranking, sample, lesions, scans)[0]
        at_one = sensitivity_at(ranking, drawn, lesions, scans, [1.0])[:, 0]
        low, high = np.quantile(at_one, [0.025, 0.975])
        mean = float(cpm(ranking, sample, lesions, scans)[0])
        print(f"{method:<24}" + "".join(f"{v:8.3f}" for v in line) + f"{mean:8.3f}   {low:.3f} to {high:.3f}")


def ranking_of(rows: list[dict[str, list[float]]]) -> Ranking:
    pairs = {
        name: [(case, score) for case, row in enumerate(rows) for score in row[name]]
        for name in ("hits", "false")
    }
    columns = [[pair[i] for pair in pairs[name]] for name in ("hits", "false") for i in (0, 1)]
    return Ranking.of(columns[0], columns[1], columns[2], columns[3])


if __name__ == "__main__":
    main()
