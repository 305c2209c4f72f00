"""Real lung nodules put into the lungs of other scans, synthetic or real.

python -m resources.synthetic.bank --nodules LIDC.jsonl --into CASES.jsonl --seed 7 --out DIR

--nodules and --into are case lists; of both only the training split is used, of --nodules the masks of lung
lesions. DIR/scans/ID gets image.mha, lesions.mha (the nodules) and case.jsonl; DIR/cases.jsonl has all cases.
A case keeps the annotations, organ labels and completeness of the scan it was made from, but not its report,
which does not mention the nodules. Scans without lungs are left out. An interrupted run resumes where it
stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.volume import InputError, Volume
from resources.cases.axes import measure_axes
from resources.cases.case import Annotation, Attributes, Case, CaseError, ImageSource, read_cases, write_cases
from resources.cases.geometry import shape_of_annotation
from resources.cases.images import check_same_grid, read_case_volume, read_labels
from resources.cases.work import add_worker_options, report, run_jobs
from resources.cli import end_with
from resources.synthetic.files import write_image
from resources.synthetic.graft import (
    DEEPER,
    Lungs,
    Pose,
    Rendered,
    blend,
    draw_turn,
    fits,
    lungs_of,
    noise_of,
    render,
)
from resources.synthetic.nodules import Nodule, read_nodule

SCALE = (0.7, 1.5)
LONG_MM = (4.0, 40.0)
"""Long diameters of nodules that are put in."""
LEAST_MM = 3.0
"""Least long diameter of what the voxels of the scan leave of a nodule."""
THICK = 2.0
"""A nodule's slices are at most so many times as thick as those of the scan."""
NOISY = 1.5
"""A nodule is at most so many times as noisy as the scan, once averaged over its voxels."""
APART_MM = 5.0
"""Room that is left around other lesions."""
DEEP_MM = 2.5
"""Least depth of the centre of a nodule that is not attached: none lies in a slit or recess."""
ML_PER_NODULE = 100.0
TRIES = 12
"""For each nodule wanted."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One scan to make. nodules: case list. count: of nodules, fewer where the lungs are small."""

    id: str
    case: Case
    nodules: Path
    count: int
    seed: int
    folder: Path


@dataclasses.dataclass(frozen=True)
class Placed:
    """A nodule as it was put in. lesion: its voxels in the box; contrast_hu: by how much they rose."""

    nodule: Nodule
    scale: float
    rendered: Rendered
    lesion: npt.NDArray[np.bool_]
    contrast_hu: float


@functools.lru_cache(maxsize=2)
def lesions_of(path: Path) -> tuple[tuple[Case, int], ...]:
    """Case and number of each mask of a lung lesion in the training split of a list. Raises CaseError."""
    entries = tuple(
        (case, number)
        for case in read_cases(path)
        if case.split == "train"
        for number, annotation in enumerate(case.annotations)
        if annotation.kind == "mask" and annotation.type == "lung" and annotation.status == "lesion"
    )
    if not entries:
        raise CaseError(f"{path}: expected masks of lung lesions in the split train, found none")
    return entries


@functools.lru_cache(maxsize=64)
def nodule_of(path: Path, index: int) -> Nodule | None:
    """One of `lesions_of`; None where it cannot be used: its scan is refused, or shows too little lung."""
    try:
        return read_nodule(*lesions_of(path)[index])
    except InputError:
        return None


def taken_by(case: Case, volume: Volume) -> npt.NDArray[np.bool_]:
    """(z, y, x) boxes around all annotated lesions. Raises InputError."""
    from scipy import ndimage

    taken = np.zeros(volume.hu.shape, bool)
    margin = APART_MM / np.array(volume.spacing_mm)

    def take(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> None:
        low, high = np.maximum(0, np.floor(low - margin)), np.maximum(0, np.ceil(high + margin) + 1)
        taken[tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))] = True

    for path in {annotation.mask for annotation in case.annotations if annotation.mask is not None}:
        labels = read_labels(Path(path))
        check_same_grid(Path(path), labels, volume.geometry)
        for box in ndimage.find_objects(labels.values):
            if box is not None:
                low, high = ([getattr(part, end) for part in reversed(box)] for end in ("start", "stop"))
                take(np.array(low, float), np.array(high, float))
    for annotation in case.annotations:
        if annotation.kind != "mask":
            shape = shape_of_annotation(annotation, volume.geometry)
            middle = volume.world_to_index(shape.center_mm)[0]
            reach = shape.reach_mm / np.array(volume.spacing_mm)
            take(middle - reach, middle + reach)
    return taken


def scan_lungs(case: Case, volume: Volume) -> Lungs:
    """The lungs of a case, by its organ labels where it has them, else by density. Raises InputError."""
    values = case.completeness.organ_values.get("lung")
    if values is None or case.completeness.organ_labels is None:
        return lungs_of(volume, None)
    path = Path(case.completeness.organ_labels)
    labels = read_labels(path)
    check_same_grid(path, labels, volume.geometry)
    return lungs_of(volume, np.isin(labels.values, values))


def put_in(
    volume: Volume, lungs: Lungs, taken: npt.NDArray[np.bool_], job: Job
) -> tuple[npt.NDArray[np.int16], list[Placed]]:
    """The HU of a volume with nodules in its lungs, and what was put in. `taken` is added to."""
    random = np.random.default_rng([job.seed, 18])
    count, hu = len(lesions_of(job.nodules)), np.rint(volume.hu).astype(np.int16)
    noise_hu = noise_of(volume, lungs)
    placed: list[Placed] = []
    wanted = min(job.count, int(lungs.ml / ML_PER_NODULE))
    for _ in range(TRIES * wanted):
        if len(placed) == wanted:
            break
        scale = float(np.exp(random.uniform(*np.log(SCALE))))
        nodule = nodule_of(job.nodules, int(random.integers(count)))
        if nodule is None or not _suits(nodule, scale, volume, noise_hu):
            continue
        rendered = _tried(nodule, scale, lungs, random)
        lesion = None if rendered is None else fits(rendered, nodule.wall is not None, lungs, taken, hu)
        if rendered is None or lesion is None:
            continue
        if measure_axes(lesion, volume.spacing_mm).long_mm < LEAST_MM:
            continue
        before = hu[rendered.box][lesion].mean()
        blend(hu, rendered, nodule, noise_hu)
        placed.append(
            Placed(nodule, scale, rendered, lesion, float(hu[rendered.box][lesion].mean() - before))
        )
        margin = [round(APART_MM / mm) for mm in volume.spacing_mm[::-1]]
        wide = tuple(
            slice(max(0, s.start - m), s.stop + m) for s, m in zip(rendered.box, margin, strict=True)
        )
        taken[wide] = True
    return hu, placed


def _suits(nodule: Nodule, scale: float, volume: Volume, noise_hu: float) -> bool:
    """Whether size, slices and noise of a nodule go with a scan."""
    if not LONG_MM[0] <= nodule.long_mm * scale <= LONG_MM[1]:
        return False
    if nodule.spacing_mm[2] * scale > THICK * volume.spacing_mm[2]:
        return False
    voxels = np.maximum(1, np.rint(np.array(volume.spacing_mm) / (nodule.spacing_mm * scale)))[::-1]
    return nodule.noise_hu((int(voxels[0]), int(voxels[1]), int(voxels[2]))) <= NOISY * noise_hu


def _tried(nodule: Nodule, scale: float, lungs: Lungs, random: np.random.Generator) -> Rendered | None:
    """The nodule at a random place in the lungs; an attached one where a wall is as near as its own was."""
    room = lungs.depth_mm >= DEEP_MM
    if nodule.wall is not None:
        half = max(step * mm for step, mm in zip(lungs.step, lungs.volume.spacing_mm[::-1], strict=True)) / 2
        room = lungs.inside & (np.abs(lungs.depth_mm - DEEPER * scale * nodule.wall.apart_mm) <= half)
    places = np.flatnonzero(room)
    if not len(places):
        return None
    flat = int(places[int(random.integers(len(places)))])
    outward = lungs.outward(flat)
    if nodule.wall is not None and np.linalg.norm(outward[:2]) < 0.6:
        return None
    shift = random.uniform(-0.5, 0.5, 3) * np.array(lungs.step[::-1])
    center = lungs.volume.index_to_world([lungs.voxel(flat) + shift])[0]
    return render(nodule, lungs.volume, Pose(center, draw_turn(nodule, outward, scale, random)))


def make_files(job: Job) -> int:
    """Makes a scan and writes its folder, all or nothing; the number of nodules. Raises InputError."""
    volume = read_case_volume(job.case)
    lungs = scan_lungs(job.case, volume)
    if lungs.ml < ML_PER_NODULE:
        return 0
    hu, nodules = put_in(volume, lungs, taken_by(job.case, volume), job)
    if not nodules:
        raise InputError(f"{job.id}: expected room for nodules in {lungs.ml:.0f} ml of lung, found none")
    with whole(job.folder / job.id) as part:
        part.mkdir()
        labels = np.zeros(hu.shape, np.uint8)
        for number, placed in enumerate(nodules, 1):
            labels[placed.rendered.box][placed.lesion] = number
        write_image(part / "image.mha", hu, volume)
        write_image(part / "lesions.mha", labels, volume)
        write_cases(part / "case.jsonl", [_case(job, part, nodules, volume)])
    return len(nodules)


def _case(job: Job, folder: Path, found: list[Placed], volume: Volume) -> Case:
    z, y, x = volume.hu.shape
    annotations = [
        _annotation(placed, number, folder, volume.spacing_mm) for number, placed in enumerate(found, 1)
    ]
    made: Attributes = {
        "bank_seed": float(job.seed),
        "bank_count": float(job.count),
        "bank_into": job.case.id,
    }
    return dataclasses.replace(
        job.case,
        id=job.id,
        source=f"{job.case.source} with nodules",
        image=ImageSource(str(folder / "image.mha"), size=(x, y, z)),
        annotations=(*job.case.annotations, *annotations),
        findings=(),
        report=None,
        attributes=job.case.attributes | made,
    )


def _annotation(
    placed: Placed, label: int, folder: Path, spacing_mm: tuple[float, float, float]
) -> Annotation:
    axes = measure_axes(placed.lesion, spacing_mm)
    return Annotation(
        "mask",
        "lung",
        mask=str(folder / "lesions.mha"),
        label=label,
        long_mm=axes.long_mm,
        short_mm=min(axes.short_mm, axes.long_mm),
        z_extent_mm=axes.z_extent_mm,
        attributes={
            "organ": "lung",
            "contrast_hu": round(placed.contrast_hu, 1),
            "nodule": placed.nodule.id,
            "scale": round(placed.scale, 3),
            "attached": placed.nodule.wall is not None,
        },
    )


def made_before(folder: Path, job: Job) -> bool:
    """Whether the scan is there. Raises CaseError if it was made by another command."""
    path = folder / job.id / "case.jsonl"
    if not path.is_file():
        return False
    made = read_cases(path)[0].attributes
    for name, value in (("bank_seed", job.seed), ("bank_count", job.count), ("bank_into", job.case.id)):
        if made.get(name) != value:
            raise CaseError(f"{path}: expected a scan made with {name} {value}, found {made.get(name)}")
    return True


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m resources.synthetic.bank",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodules", type=Path, required=True, help="case list with masks of lung lesions")
    parser.add_argument("--into", type=Path, required=True, help="case list of the scans they are put into")
    parser.add_argument("--count-per-scan", type=int, default=8, help="nodules; one for each 100 ml at most")
    parser.add_argument("--copies", type=int, default=1, help="of each scan, with other nodules (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the first scan; the others follow")
    add_worker_options(parser, ray=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    for name, most in (("count_per_scan", 255), ("copies", 1000), ("processes", 1000)):
        if not 1 <= getattr(chosen, name) <= most:
            option = f"--{name.replace('_', '-')}"
            parser.error(f"{option}: expected 1 to {most}, found {getattr(chosen, name)}")
    if chosen.seed < 0:
        parser.error(f"--seed: expected 0 or more, found {chosen.seed}")
    return chosen


def jobs_of(chosen: argparse.Namespace) -> list[Job]:
    """A job for each copy of each training scan. Raises CaseError."""
    lesions_of(chosen.nodules)
    cases = [case for case in read_cases(chosen.into) if case.split == "train"]
    if not cases:
        raise CaseError(f"{chosen.into}: expected scans of the split train, found none")
    folder, nodules = (chosen.out / "scans").absolute(), chosen.nodules.absolute()
    return [
        Job(f"{case.id.replace('/', '-')}-nodules-{seed}", case, nodules, chosen.count_per_scan, seed, folder)
        for seed, case in enumerate(cases * chosen.copies, chosen.seed)
    ]


def main(arguments: list[str] | None = None) -> int:
    chosen, started = parse(arguments), time.monotonic()
    failures = chosen.out / "failures.jsonl"
    try:
        wanted = jobs_of(chosen)
        todo = {job.id: job for job in wanted if not made_before(job.folder, job)}
        outcomes = run_jobs(make_files, todo, "Scans", chosen.processes, chosen.ray, failures)
        paths = [path for job in wanted if (path := job.folder / job.id / "case.jsonl").is_file()]
        cases = [case for path in paths for case in read_cases(path)]
        if cases:
            write_cases(chosen.out / "cases.jsonl", cases)
    except (CaseError, InputError, OSError) as error:
        return end_with(error)
    empty = sum(outcome.result == 0 for outcome in outcomes if not outcome.error)
    count = sum(a.attributes.get("nodule") is not None for case in cases for a in case.annotations)
    print(f"{count} nodules in {len(cases)} scans; {empty} scans without lungs left out")
    return report(outcomes, len(wanted) - len(todo), started, failures)


if __name__ == "__main__":
    # workers look functions up by module, and theirs has another __main__
    from resources.synthetic.bank import main as run

    sys.exit(run())
