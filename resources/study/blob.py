"""A rule without training, as a peer: scikit-image's blob detector on windowed HU."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.feature import blob_dog

from model.config import MOST_POINTS
from model.files import write_files
from model.outputs import FileNames, points_file
from model.preprocess import preprocess
from resources.cases.case import Case, read_cases
from resources.cases.images import read_case_volume
from resources.cases.work import add_worker_options, report, run_jobs

SPACING_MM = 2.0
BODY_HU = -250.0
SURROUNDINGS_MM = 20.0
SIGMAS_MM = (2.5, 12.0)
"""A Gaussian blob of sigma s has a radius of s times the root of 3."""
KINDS = ("bright in soft tissue", "dark in soft tissue", "bright in lung")

Floats = npt.NDArray[np.float64]
Job = tuple[Case, str, Path]
"""A case, one of KINDS, and the folder for its points."""


def blobs(hu: npt.NDArray[np.integer], spacing_mm: float, kind: str) -> tuple[Floats, Floats]:
    """Centres (n, 3) in voxels (z, y, x) and scores (n,) of the blobs of one of KINDS.

    hu: (z, y, x), isotropic. Differences of Gaussians (Lowe 2004) over a ladder of sizes; the score is the
    response. Blobs whose surroundings are not of the kind's tissue are left out.
    """
    low, high = (-1000, 100) if kind == "bright in lung" else (-160, 240)
    image = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)
    if kind == "dark in soft tissue":
        image = 1 - image
    smallest, largest = (mm / spacing_mm for mm in SIGMAS_MM)
    blobs_zyxs = blob_dog(
        image, min_sigma=smallest, max_sigma=largest, sigma_ratio=1.6, threshold=0.02, overlap=0.3
    )
    around = gaussian_filter(hu.astype(np.float32), SURROUNDINGS_MM / spacing_mm / 2)
    centres = blobs_zyxs[:, :3].astype(np.intp)
    in_lung = around[tuple(centres.T)] < BODY_HU
    blobs_zyxs = blobs_zyxs[in_lung if kind == "bright in lung" else ~in_lung]
    return blobs_zyxs[:, :3].astype(np.float64), _response(image, blobs_zyxs)


def _response(image: npt.NDArray[np.floating], found: npt.NDArray[np.floating]) -> Floats:
    """The difference of Gaussians at each blob, at the sigma that found it."""
    scores = np.zeros(len(found))
    for sigma in np.unique(found[:, 3]):
        chosen = found[:, 3] == sigma
        places = tuple(found[chosen, :3].astype(np.intp).T)
        difference = gaussian_filter(image, float(sigma)) - gaussian_filter(image, float(sigma) * 1.6)
        scores[chosen] = difference[places]
    return scores


def predict(job: Job) -> int:
    """Writes the points of one case, the response being the probability; the number of points."""
    case, kind, folder = job
    volume = read_case_volume(case)
    grid = preprocess(volume, SPACING_MM, 8)
    voxels, scores = blobs(grid.hu.numpy(), SPACING_MM, kind)
    best = np.argsort(-scores, kind="stable")[:MOST_POINTS]
    places = grid.to_world(voxels[best])
    rows = [
        ("blob", tuple(point), min(1.0, float(score)))
        for point, score in zip(places, scores[best], strict=True)
    ]
    write_files(folder, {FileNames().points: json.dumps(points_file(rows)) + "\n"})
    return len(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.blob", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    add_worker_options(parser)
    options = parser.parse_args(arguments)
    out, started = options.out.absolute(), time.monotonic()
    jobs: dict[str, Job] = {c.id: (c, options.kind, out / c.id) for c in read_cases(options.cases)}
    todo = {name: job for name, job in jobs.items() if not (job[2] / FileNames().points).exists()}
    outcomes = run_jobs(predict, todo, "Finding blobs", options.processes, None, out / "failed.jsonl")
    return report(outcomes, len(jobs) - len(todo), started, out / "failed.jsonl")


if __name__ == "__main__":
    sys.exit(main())
