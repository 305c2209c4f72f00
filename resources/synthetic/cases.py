"""Synthetic scans as cases: with their masks, or as a hospital would have them, with weak marks and findings.

python -m resources.synthetic.cases --first 0 --count 20 --out synthetic/cases.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.volume import Volume
from resources.cases.case import (
    Annotation,
    Case,
    CaseError,
    Completeness,
    Finding,
    ImageSource,
    Point,
    read_cases,
    write_cases,
)
from resources.cases.describe import describe
from resources.cases.geometry import Shape
from resources.cases.patients import split_of
from resources.cases.work import default_processes, run_jobs
from resources.cli import end_with
from resources.synthetic.anatomy import LABEL, Draw
from resources.synthetic.lesions import Truth
from resources.synthetic.scan import make_labelled_scan

ORGAN_VALUES: dict[str, tuple[int, ...]] = {name: (value,) for name, value in LABEL.items() if name != "air"}
MARK_ERROR = 0.03
"""Relative standard deviation of a reader's end points."""


@dataclasses.dataclass(frozen=True)
class Job:
    """view: "full" (masks, all complete) or "weak" (RECIST marks and findings). marked: share with a mark."""

    seed: int
    folder: Path
    view: str
    marked: float
    split: str | None


def ellipsoid_of(truth: Truth) -> Shape:
    """The true lesion; all its radii are sure."""
    c, s = math.cos(truth.angle), math.sin(truth.angle)
    size = np.array([truth.long_mm, truth.short_mm, truth.z_extent_mm])
    axes = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return Shape(np.array(truth.center_mm), axes, size, size / 2, size / 2, size / 2)


def true_labels(truths: list[Truth], volume: Volume) -> npt.NDArray[np.uint16]:
    """(z, y, x) number of the lesion, from 1, whose ellipsoid holds the voxel's centre."""
    out = np.zeros(volume.hu.shape, np.uint16)
    for number, truth in enumerate(truths, 1):
        shape = ellipsoid_of(truth)
        middle = volume.world_to_index(shape.center_mm)[0]
        reach = shape.reach_mm / np.array(volume.spacing_mm)
        low = np.maximum(0, np.floor(middle - reach)).astype(int)
        high = np.minimum(np.array(out.shape[::-1]), np.ceil(middle + reach).astype(int) + 1)
        box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        axes = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
        points = volume.index_to_world(np.stack(axes, -1)).reshape(*(high - low), 3)
        out[box][shape.surely(points).T] = number
        nearest = np.clip(np.rint(middle).astype(int), 0, np.array(out.shape[::-1]) - 1)
        out[tuple(nearest[::-1])] = number
    return out


def recist_of(truth: Truth, volume: Volume, draw: Draw) -> Annotation:
    """The mark of a reader: both axes on the slice nearest to the centre, with a reader's error.

    A slice shows the average over its thickness, so the axes are the greatest within it: the lesion's own.
    """
    shape = ellipsoid_of(truth)
    middle = volume.world_to_index(shape.center_mm)[0]
    level = float(np.clip(round(float(middle[2])), 0, volume.hu.shape[0] - 1))
    limit = np.array(volume.hu.shape[::-1]) - 1.0
    ends: list[Point] = []
    for axis in range(2):
        for sign in (-1, 1):
            radius = shape.size_mm[axis] / 2 * (1 + draw.normal(0.0, MARK_ERROR))
            point = volume.world_to_index(shape.center_mm + sign * radius * shape.axes[axis])[0]
            x, y, _ = np.clip(point, 0, limit).tolist()
            ends.append((x, y, level))
    first, second = (ends[0], ends[1]), (ends[2], ends[3])
    spacing = np.array(volume.spacing_mm)
    lengths = [float(np.linalg.norm((np.array(b) - a) * spacing)) for a, b in (first, second)]
    if lengths[1] > lengths[0]:
        first, second = second, first
    return Annotation(
        "recist", truth.type, long=first, short=second, long_mm=max(lengths), short_mm=min(lengths)
    )


def findings_of(truths: list[Truth]) -> tuple[Finding, ...]:
    """A report without omissions: each lesion with its axes, and every organ without one as clear."""
    present = [
        Finding(t.type, t.organ, sizes_mm=(t.long_mm, t.short_mm), character="suspicious") for t in truths
    ]
    affected = {t.organ for t in truths}
    absent = [
        Finding(None, organ, count=None, presence="absent") for organ in ORGAN_VALUES if organ not in affected
    ]
    return (*present, *absent)


def weak_annotations(truths: list[Truth], volume: Volume, seed: int, marked: float) -> tuple[Annotation, ...]:
    """RECIST marks of a random share of the lesions."""
    draw = Draw(10**9 + seed)
    return tuple(recist_of(truth, volume, draw) for truth in truths if draw.chance(marked))


def make_case(job: Job) -> Case:
    """Makes the scan, writes it with its label images, and returns its case."""
    volume, truths, organs = make_labelled_scan(job.seed)
    name = f"synthetic-{job.seed:07d}"
    image, organ_labels = job.folder / f"{name}.mha", job.folder / f"{name}_organs.mha"
    lesions = job.folder / f"{name}_lesions.mha"
    _write(image, volume.hu, volume)
    _write(organ_labels, organs, volume)
    z, y, x = volume.hu.shape
    if job.view == "full":
        _write(lesions, true_labels(truths, volume), volume)
        annotations = tuple(
            Annotation(
                "mask",
                truth.type,
                mask=str(lesions),
                label=number,
                long_mm=truth.long_mm,
                short_mm=truth.short_mm,
                z_extent_mm=truth.z_extent_mm,
            )
            for number, truth in enumerate(truths, 1)
        )
    else:
        annotations = weak_annotations(truths, volume, job.seed, job.marked)
    return Case(
        id=name,
        patient=name,
        source=f"synthetic-{job.view}",
        split=job.split or split_of(name, 0.1, 0.1),  # type: ignore[arg-type]
        image=ImageSource(str(image), size=(x, y, z)),
        annotations=annotations,
        completeness=Completeness(
            "all" if job.view == "full" else "none",
            organ_labels=str(organ_labels),
            organ_values=ORGAN_VALUES,
        ),
        findings=findings_of(truths),
    )


def _write(path: Path, array: npt.NDArray[np.generic], volume: Volume) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(mm) for mm in volume.spacing_mm])
    image.SetOrigin([float(mm) for mm in volume.origin_mm])
    image.SetDirection(volume.direction.ravel().tolist())
    with whole(path, path.suffix) as part:
        sitk.WriteImage(image, str(part), True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m resources.synthetic.cases", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, required=True, help="number of scans")
    parser.add_argument(
        "--view", choices=("full", "weak"), default="full", help="masks, or marks and findings"
    )
    parser.add_argument("--marked", type=float, default=1.0, help="weak: share of the lesions with a mark")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="of all; else by patient")
    parser.add_argument("--processes", type=int, default=default_processes())
    parser.add_argument("--ray", metavar="ADDRESS", help='a Ray cluster, or "local"')
    parser.add_argument("--out", type=Path, required=True, help="the case list; scans lie beside it")
    options = parser.parse_args(arguments)
    folder = options.out.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first, options.first + options.count)
    jobs = {f"{s:07d}": Job(s, folder, options.view, options.marked, options.split) for s in seeds}
    failures = folder / "failed.jsonl"
    try:
        outcomes = run_jobs(make_case, jobs, "Making scans", options.processes, options.ray, failures)
        bad = [outcome.error for outcome in outcomes if outcome.error]
        if bad:
            raise CaseError(f"{bad[0]} ({len(bad)} scans failed: {failures})")
        write_cases(options.out, sorted((outcome.result for outcome in outcomes), key=lambda case: case.id))
    except (CaseError, OSError) as error:
        return end_with(error)
    print(describe(read_cases(options.out)))
    return 0


if __name__ == "__main__":
    # Ray's workers look functions up by module, and theirs has another __main__.
    from resources.synthetic.cases import main as run

    sys.exit(run())
