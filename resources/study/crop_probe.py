"""Does a network find the nodule of a crop, or does it know where crops have theirs?

    python -m resources.study.crop_probe --data DATA --weights DIR --split validation

The crops of LIDC-IDRI have their nodule in the middle, so a network that was trained on such crops can be
right about them without having seen a nodule. Three figures for the nodules of 6 mm or more tell: how many
are found in their crops as they are; in the same crops cut on one side to 12 mm beside the nodule, along x
and y, so that it lies in no middle; and how often something is found at the nodule's place after it was
replaced by the tissue around it. A network that looks has the first two alike and the third near 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from model.config import WeightsError
from model.detector import Detector
from model.volume import InputError, Volume, read_volume
from resources.cases.case import CaseError
from resources.cases.images import read_labels
from resources.cases.work import add_worker_options, run_jobs
from resources.cli import end_with
from resources.predict import WEIGHTS
from resources.study.real_data import CROPS, Row, read_case, read_split
from resources.study.steps import store

LEAST_MM, BESIDE_MM, PLACE_MM = 6.0, 12.0, 8.0
"""Long diameter from which a nodule counts; what is left beside it; around its place when it is erased."""
RING_VOXELS = (2, 4)
"""Voxels in the plane around a nodule's mask between which the tissue lies that replaces it."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """Of one crop: the highest probability at the nodule as it is, cut to one side, and erased."""

    whole: float
    side: float
    erased: float


def cut_beside(volume: Volume, center_xyz: npt.NDArray[np.float64], radius_mm: float) -> Volume:
    """The volume from BESIDE_MM beside a nodule on, along x and y; center_xyz: its index."""
    x, y = (
        max(0, int(center_xyz[axis] - (radius_mm + BESIDE_MM) / volume.spacing_mm[axis])) for axis in (0, 1)
    )
    i, j, k = (float(mm) for mm in volume.index_to_world([(x, y, 0)])[0])
    return dataclasses.replace(volume, hu=np.ascontiguousarray(volume.hu[:, y:, x:]), origin_mm=(i, j, k))


def erased(volume: Volume, mask: npt.NDArray[np.bool_]) -> Volume:
    """The volume with a nodule and its rim replaced by the median of the tissue around them."""
    plane = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]
    rim, ring = (ndimage.binary_dilation(mask, plane, iterations=n) for n in RING_VOXELS)
    hu = volume.hu.copy()
    hu[rim] = np.median(volume.hu[ring & ~rim])
    return dataclasses.replace(volume, hu=hu)


@functools.cache
def _detector(weights: Path) -> Detector:
    return Detector.from_weights(weights, "auto")


def _highest(weights: Path, volume: Volume, place_mm: npt.NDArray[np.float64], reach_mm: float) -> float:
    lesions = _detector(weights).predict(volume).lesions
    near = [x.probability for x in lesions if np.linalg.norm(np.array(x.point_mm) - place_mm) < reach_mm]
    return max(near, default=0.0)


def probe(data: Path, weights: Path, row: Row) -> Probe | None:
    """None for a nodule below LEAST_MM. Raises CaseError, InputError, WeightsError."""
    folder = data / "lidc"
    mask = read_labels(folder / "labels" / f"{row.id}.mha").values == 1
    long_mm = read_case(data, row).annotations[0].long_mm
    if long_mm is None or long_mm < LEAST_MM:
        return None
    volume = read_volume(folder / "images" / f"{row.id}.mha")
    center = np.array(ndimage.center_of_mass(mask))[::-1]
    place, radius = volume.index_to_world([center])[0], long_mm / 2
    return Probe(
        _highest(weights, volume, place, radius),
        _highest(weights, cut_beside(volume, center, radius), place, radius),
        _highest(weights, erased(volume, mask), place, max(radius, PLACE_MM)),
    )


def measure(options: argparse.Namespace) -> None:
    """Prints the table and writes the figures. Raises CaseError, WeightsError, OSError."""
    weights = options.weights.absolute()
    point = _detector(weights).operating_point
    rows = [row for row in read_split(options.data) if row.split == options.split]
    jobs = {row.id: row for row in rows if (options.data / "lidc" / "images" / f"{row.id}.mha").exists()}
    work = functools.partial(probe, options.data, weights)
    outcomes = run_jobs(
        work, jobs, "Probing", options.processes, None, options.out.with_suffix(".failed.jsonl")
    )
    probes = [outcome.result for outcome in outcomes if outcome.result is not None]
    refused = [outcome.name for outcome in outcomes if outcome.error]
    table = Table(f"{len(probes)} nodules", "as it is", "cut to one side", "erased")
    shares = {}
    for title, least in (("p >= 0.1", 0.1), (f"p >= {point:.3f}, op. point", point), ("p >= 0.5", 0.5)):
        shares[title] = {
            name: float(np.mean([getattr(one, name) >= least for one in probes]))
            for name in ("whole", "side", "erased")
        }
        table.add_row(title, *(f"{share:.2f}" for share in shares[title].values()))
    Console().print(table)
    figures = {"split": options.split, "nodules": len(probes), "refused": sorted(refused), "shares": shares}
    store(options.out, weights, figures)
    if refused:
        print(f"{len(refused)} {CROPS} could not be read: {', '.join(sorted(refused))}")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 on an error, which is a line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.crop_probe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the real scans")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of .safetensors files")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    parser.add_argument("--out", type=Path, default=Path("build/crop_probe.json"), help="the figures")
    add_worker_options(parser)
    options = parser.parse_args(arguments)
    try:
        measure(options)
    except (CaseError, InputError, WeightsError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    # Workers look functions up by module, and this one has another name as a script.
    from resources.study.crop_probe import main as run

    sys.exit(run())
