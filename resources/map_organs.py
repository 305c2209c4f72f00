"""Organ maps of scans that have none, by the organ head: so that reports can speak of places there.

python -m resources.map_organs --cases FILE --out DIR: one label map a case on the scan's own grid,
DIR/ID.nii.gz, and DIR/cases.jsonl, the case list with these maps. Cases that have a map keep theirs. What is
there already, from the same scan and weights, is left alone. Where organs are is predicted, not measured: do
not train the organ head on it (`supervision = {organs = 0.0}` in that source).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.config import WeightsError
from model.detector import Detector
from model.files import whole
from model.geometry import image_of
from model.volume import InputError, Volume
from resources.cases.case import Case, CaseError, read_cases, write_cases
from resources.cases.images import Labels, read_case_volume, resample_labels
from resources.cases.work import add_worker_options, report, run_jobs
from resources.cli import end_with
from resources.predict import WEIGHTS, Job, digest_of


@functools.cache
def _detector(weights: Path, device: str) -> Detector:
    """One model per worker."""
    return Detector.from_weights(weights, device)


def organs_of(detector: Detector, volume: Volume) -> npt.NDArray[np.uint8]:
    """Classes of the organ head on a scan's own voxels (z, y, x): those of the nearest voxel of the network's
    grid, 0 (background) outside of it.
    """
    grid, classes = detector.organs(volume)
    return resample_labels(Labels(classes.numpy(), grid.geometry), volume.geometry)


def _paths(job: Job) -> tuple[Path, Path]:
    """The map, and what it was made from, which is written last."""
    return job.folder / f"{job.case.id}.nii.gz", job.folder / f"{job.case.id}.json"


def map_case(job: Job) -> int:
    """Writes the organ map of one case; how many classes it shows. Raises InputError, WeightsError."""
    import SimpleITK as sitk

    volume = read_case_volume(job.case)
    classes = organs_of(_detector(job.weights, job.device), volume)
    path, made_from = _paths(job)
    with whole(path, ".nii.gz") as part:
        sitk.WriteImage(image_of(classes, volume.geometry), str(part), useCompression=True)
    made_from.write_text(json.dumps(job.made_from), encoding="utf-8")
    return len(np.unique(classes))


def is_done(job: Job) -> bool:
    """Whether the map is there, from the same scan and weights."""
    path, made_from = _paths(job)
    try:
        return path.exists() and json.loads(made_from.read_text(encoding="utf-8")) == job.made_from
    except (OSError, ValueError):
        return False


def with_map(case: Case, path: Path, classes: tuple[str, ...]) -> Case:
    """The case with an organ map whose values are the numbers of these classes."""
    values: dict[str, tuple[int, ...]] = {name: (number,) for number, name in enumerate(classes)}
    known = dataclasses.replace(case.completeness, organ_labels=str(path), organ_values=values)
    return dataclasses.replace(case, completeness=known)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 if some scans failed (they keep their place in the list, without a map), 2 on an
    error.
    """
    parser = argparse.ArgumentParser(prog="python -m resources.map_organs", description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="the case list")
    parser.add_argument("--out", type=Path, required=True, help="folder of the maps and of the new case list")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of .safetensors files")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_worker_options(parser)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        cases, out, weights = read_cases(options.cases), options.out.absolute(), options.weights.absolute()
        classes = Detector.from_weights(weights, "cpu").networks[0].config.organs
        if not classes:
            raise WeightsError(f"{weights}: expected weights with an organ head, found none")
        digest = digest_of(weights)
        wanted = [case for case in cases if case.completeness.organ_labels is None]
        jobs = {case.id: Job(case, out, weights, digest, options.device, None) for case in wanted}
        todo = {name: job for name, job in jobs.items() if not is_done(job)}
        failures = out / "failed.jsonl"
        outcomes = run_jobs(map_case, todo, "Mapping organs", options.processes, None, failures)
        mapped = {name for name, job in jobs.items() if is_done(job)}
        write_cases(
            out / "cases.jsonl",
            [with_map(c, _paths(jobs[c.id])[0], classes) if c.id in mapped else c for c in cases],
        )
    except (CaseError, InputError, WeightsError, OSError) as error:
        return end_with(error)
    return report(outcomes, len(jobs) - len(todo), started, failures)


if __name__ == "__main__":
    # workers look functions up by module, and theirs has another __main__
    from resources.map_organs import main as run

    sys.exit(run())
