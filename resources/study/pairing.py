"""How well the findings of two scans, and of a scan and its report, are paired, on synthetic scans.

    python -m resources.study.pairing --count 20 [--seed 900000] [--processes 2]

Two scans of a patient: a synthetic scan of site A with 10 lesions is taken twice. Three of them are changed:
one grown (magnified by 1.5), one gone (replaced by what surrounds it), one new (replaced so in the first
scan). The second scan is moved by up to 30 mm and 10 degrees and has noise of its own. Findings are the true
lesions, 3 mm (standard deviation, along each axis) beside their place and 10 % off in size, and two false
ones a scan. Counted are pairs: right if both are the same lesion. The registration's error is that at the
lesions.

A scan and its report: findings in the same way, each with the organ of the label map at its place, two of
the lesions undetected, with the report that the writer has made of the scan. Counted are detections called
mentioned and not mentioned, those given to the very words that mean them, and findings of the report called
undetected. The writer leaves lesions out, as people do: what a report does not tell of is there to be called
"not mentioned". What the reader misreads, and all lesions of a group without a number ("several nodules"),
do count.

Another patient: the first scan against that of the next seed, whose registration has to be called poor.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from model.config import LESION_TYPES
from model.exports import Detection
from model.geometry import image_of
from model.volume import Volume
from resources.cases.organs import BACKGROUND, head_class
from resources.cases.work import default_processes, run_jobs
from resources.review.pairs import pair_findings
from resources.review.register import register
from resources.review.second_look import look_again
from resources.study.report_check import Checked, Count, check
from resources.synthetic.files import organ_values
from resources.synthetic.generate import Order, SyntheticScan, make_scan
from resources.synthetic.report_writer import write_report
from resources.synthetic.truth import TrueLesion
from resources.synthetic.weak import key_images

SPACING_MM = (3.0, 3.0, 3.0)
LESIONS, GROWTH = 10, 1.5
MOST_MM, MOST_DEGREES = 30.0, 10.0
PLACE_MM, SIZE_SHARE, FALSE_FINDINGS, UNDETECTED = 3.0, 0.1, 2, 2


@dataclasses.dataclass(frozen=True)
class Job:
    """One seed."""

    seed: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of one seed. states: findings whose state (gone, new) is right, called so, so in truth."""

    pairs: Count
    gone: Count
    new: Count
    report: Checked
    error_mm: float
    correlation: float
    other_correlation: float


def filled(hu: npt.NDArray[Any], mask: npt.NDArray[np.bool_], draw: np.random.Generator) -> npt.NDArray[Any]:
    """A lesion replaced by the nearest voxels outside it, smoothed, with the scan's noise."""
    near = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    out = hu.astype(np.float64)
    around = ndimage.gaussian_filter(out[tuple(near)], 1.5)
    out[mask] = around[mask] + draw.normal(0, 12, int(mask.sum()))
    return out.round().astype(hu.dtype)


def grown(hu: npt.NDArray[Any], mask: npt.NDArray[np.bool_], factor: float) -> npt.NDArray[Any]:
    """A lesion magnified about its middle, where nothing but its surroundings was."""
    middle = np.array(ndimage.center_of_mass(mask))
    offset = middle - middle / factor
    larger = ndimage.affine_transform(mask.astype(np.float32), [1 / factor] * 3, offset, order=1) > 0.5
    bodies = ndimage.affine_transform(hu.astype(np.float32), [1 / factor] * 3, offset, order=1)
    out = hu.copy()
    out[larger] = bodies[larger].round()
    return out


def moved(volume: Volume, draw: np.random.Generator) -> tuple[Volume, Any]:
    """The volume turned about its middle and shifted, with noise; and the transform of its LPS mm."""
    import SimpleITK as sitk

    axis = draw.normal(size=3)
    angle = np.deg2rad(draw.uniform(0, MOST_DEGREES))
    shift = draw.normal(size=3)
    shift *= draw.uniform(0, MOST_MM) / np.linalg.norm(shift)
    middle = volume.index_to_world([(np.array(volume.hu.shape[::-1]) - 1) / 2])[0]
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter(middle.tolist())
    transform.SetRotation((axis / np.linalg.norm(axis)).tolist(), float(angle))
    transform.SetTranslation(shift.tolist())
    image = image_of(volume.hu, volume.geometry)
    out = sitk.Resample(image, image, transform.GetInverse(), sitk.sitkLinear, -1000)
    hu = sitk.GetArrayFromImage(out).astype(np.float64)
    hu += draw.normal(0, 10, hu.shape)
    return dataclasses.replace(volume, hu=hu.round().astype(np.int16)), transform


def detections_of(
    lesions: Sequence[tuple[int, str, npt.NDArray[np.float64], float]],
    volume: Volume,
    draw: np.random.Generator,
) -> tuple[list[Detection], list[int]]:
    """Findings as a detector would give them, and the lesion of each, -1 for false ones.

    lesions: label, type, place in LPS mm, long diameter.
    """
    rows = [
        (label, kind, place + draw.normal(0, PLACE_MM, 3), long_mm * np.exp(draw.normal(0, SIZE_SHARE)))
        for label, kind, place, long_mm in lesions
    ]
    body = np.argwhere(volume.hu > -200)
    for _ in range(FALSE_FINDINGS):
        place = volume.index_to_world([body[draw.integers(len(body))][::-1]])[0]
        rows.append((-1, str(draw.choice(LESION_TYPES)), place, draw.uniform(6, 25)))
    probability = np.sort(draw.uniform(0.5, 0.99, len(rows)))[::-1]
    found = [
        _detection(number, str(kind), place, float(long_mm), float(p))
        for number, ((_, kind, place, long_mm), p) in enumerate(zip(rows, probability, strict=True), 1)
    ]
    return found, [row[0] for row in rows]


def _detection(number: int, kind: str, place: Any, long_mm: float, probability: float) -> Detection:
    x, y, z = (float(mm) for mm in place)
    half = long_mm / 2
    types = {name: probability if name == kind else 0.01 for name in LESION_TYPES}
    return Detection(
        number, (x, y, z), probability, kind, types, None, long_mm, 0.8 * long_mm, long_mm,
        (x - half, y - half, z - half), (x + half, y + half, z + half), True,
    )  # fmt: skip


def measure(job: Job) -> Measured:
    """All three tasks on one seed."""
    scan = make_scan(Order(job.seed, "A", SPACING_MM, "both", anatomy="procedural", lesion_count=LESIONS))
    other = make_scan(Order(job.seed + 1, "A", SPACING_MM, "both", anatomy="procedural", lesion_count=0))
    draw = np.random.default_rng(job.seed)
    lesions = [lesion for lesion in scan.truth.lesions if lesion.status == "lesion"]
    pairs, gone, new, error_mm, correlation = _two_scans(scan, lesions, draw)
    return Measured(
        pairs, gone, new, _report(scan, lesions, job.seed, draw), error_mm, correlation,
        register(scan.volume, other.volume).correlation,
    )  # fmt: skip


def _two_scans(
    scan: SyntheticScan, lesions: Sequence[TrueLesion], draw: np.random.Generator
) -> tuple[Count, Count, Count, float, float]:
    fates = {lesion.label: "same" for lesion in lesions}
    chosen = draw.permutation([lesion.label for lesion in lesions])[:3]
    fates |= {int(label): fate for label, fate in zip(chosen, ("grown", "gone", "new"), strict=False)}
    first, second = scan.volume.hu, scan.volume.hu
    for label, fate in fates.items():
        mask = scan.lesions == label
        first = filled(first, mask, draw) if fate == "new" else first
        second = filled(second, mask, draw) if fate == "gone" else second
        second = grown(second, mask, GROWTH) if fate == "grown" else second
    prior = dataclasses.replace(scan.volume, hu=first)
    follow_up, transform = moved(dataclasses.replace(scan.volume, hu=second), draw)
    before = [(x.label, x.type, np.array(x.center_mm), x.long_mm) for x in lesions if fates[x.label] != "new"]
    after = [
        (
            x.label,
            x.type,
            np.array(transform.TransformPoint(x.center_mm)),
            x.long_mm * (GROWTH if fates[x.label] == "grown" else 1.0),
        )
        for x in lesions
        if fates[x.label] != "gone"
    ]
    one, one_labels = detections_of(before, prior, draw)
    two, two_labels = detections_of(after, follow_up, draw)
    registration = register(prior, follow_up)
    found = pair_findings(one, two, registration, (prior, follow_up))
    ends = [
        (
            None if p.prior is None else one_labels[p.prior.number - 1],
            None if p.follow_up is None else two_labels[p.follow_up.number - 1],
            p.state,
        )
        for p in found
    ]
    made = [(a, b) for a, b, _ in ends if a is not None and b is not None]
    there = {label for label, fate in fates.items() if fate in ("same", "grown")}
    pairs = Count(sum(a == b and a in there for a, b in made), len(made), len(there))
    gone = _states(fates, "gone", [a for a, b, _ in ends if b is None and a is not None])
    new = _states(fates, "new", [b for a, b, _ in ends if a is None and b is not None])
    points = np.array([lesion.center_mm for lesion in lesions])
    truth = np.array([transform.TransformPoint(p.tolist()) for p in points])
    error = float(np.linalg.norm(registration.forward(points) - truth, axis=1).mean())
    return pairs, gone, new, error, registration.correlation


def _states(fates: dict[int, str], state: str, called: Sequence[int]) -> Count:
    """Of true lesions: called gone or new, and so in truth. False findings are neither right nor wrong."""
    true = {label for label, fate in fates.items() if fate == state}
    lesions = [label for label in called if label >= 0]
    return Count(sum(label in true for label in lesions), len(lesions), len(true))


def _report(
    scan: SyntheticScan, lesions: Sequence[TrueLesion], seed: int, draw: np.random.Generator
) -> Checked:
    """A second look at the scan with its report, some of its lesions undetected."""
    images = key_images(scan.truth, scan.lesions, scan.volume.spacing_mm)
    report = write_report(scan.truth, "en" if seed % 2 else "nl", "A", seed, images)
    seen = draw.permutation([lesion.label for lesion in lesions])[UNDETECTED:]
    rows = [(x.label, x.type, np.array(x.center_mm), x.long_mm) for x in lesions if x.label in seen]
    detections, labels = detections_of(rows, scan.volume, draw)
    named = [dataclasses.replace(d, organ=_organ(scan, d.point_mm)) for d in detections]
    return check(look_again(report.text, named, scan.volume), report.mentions, labels)


def _organ(scan: SyntheticScan, point_mm: tuple[float, float, float]) -> str | None:
    """The class of the organ head of what lies at a place; None for the background."""
    x, y, z = np.rint(scan.volume.world_to_index([point_mm])[0]).astype(int)
    inside = np.clip((z, y, x), 0, np.array(scan.organs.shape) - 1)
    value = int(scan.organs[tuple(inside)])
    names = [name for name, values in organ_values().items() if value in values]
    found = head_class(names[0]) if names else None
    return None if found == BACKGROUND else found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.pairing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=20, help="seeds")
    parser.add_argument("--seed", type=int, default=900_000, help="the first")
    parser.add_argument("--processes", type=int, default=default_processes())
    parser.add_argument("--work", type=Path, default=Path("build/pairing"))
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prints precision and recall; 1 if a seed failed."""
    options = _parser().parse_args(arguments)
    jobs = {str(seed): Job(seed) for seed in range(options.seed, options.seed + options.count)}
    options.work.mkdir(parents=True, exist_ok=True)
    outcomes = run_jobs(measure, jobs, "Pairing", options.processes, None, options.work / "failed.jsonl")
    found = [outcome.result for outcome in outcomes if not outcome.error]
    table = Table("task", "precision", "recall", "right", "made", "there")
    report = sum((one.report for one in found), Checked())
    for title, total in (
        ("lesions in both scans", sum((one.pairs for one in found), Count())),
        ("gone", sum((one.gone for one in found), Count())),
        ("new", sum((one.new for one in found), Count())),
        ("detections mentioned", report.mentioned),
        ("... and given to their words", report.placed),
        ("detections not mentioned", report.unmentioned),
        ("findings not detected", report.undetected),
    ):
        counts = (str(n) for n in (total.right, total.made, total.there))
        table.add_row(title, f"{total.precision:.3f}", f"{total.recall:.3f}", *counts)
    console = Console()
    console.print(table)
    for title, values in (
        ("registration error at the lesions, mm", [one.error_mm for one in found]),
        ("correlation, same patient", [one.correlation for one in found]),
        ("correlation, another patient", [one.other_correlation for one in found]),
    ):
        low, middle, high = np.quantile(values, [0, 0.5, 1])
        console.print(f"{title}: median {middle:.2f}, from {low:.2f} to {high:.2f}")
    return int(len(found) < len(jobs))


if __name__ == "__main__":
    # Workers look functions up by module, and theirs has another __main__.
    from resources.study.pairing import main as run

    sys.exit(run())
