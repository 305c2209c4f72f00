"""How hard the second generator's scans are: the detector against blob detectors, on scans it never saw.

    python -m resources.study.difficulty --weights DIR --maps ../shared/data/anatomy --work build/difficulty
    python -m resources.study.difficulty --weights DIR --cases CASES.jsonl --blobs

Groups are reported apart: procedural bodies of site A; of site B; and, with --maps, ICRP's woman and man at
site B (deformations of two bodies are not patients). Seeds begin at 910000; training and validation keep
below. With --cases the scans of a list are measured instead. Each step is the main function of a command
(resources.synthetic, resources.predict, resources.study.blob, resources.evaluation), and what is there in
--work is kept. Detections are matched by the rule luna16_distance; mimics and doubtful lesions count neither
way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.config import LESION_TYPES
from resources.cases.work import add_worker_options
from resources.predict import main as predict
from resources.study.blob import KINDS
from resources.study.blob import main as find_blobs
from resources.study.steps import ROOT, Figures, StepError, evaluated, report, step, store
from resources.synthetic.__main__ import main as make_scans
from resources.synthetic.sites import COVERAGES_MM

FIRST_SEED = 910_000
GROUPS = {
    "site A": ("A", "procedural"),
    "site B, procedural bodies": ("B", "procedural"),
    "site B, ICRP's woman": ("B", "icrp110_AF"),
    "site B, ICRP's man": ("B", "icrp110_AM"),
}
"""Title -> site and anatomy."""
SITE_NAMES = sorted({site for site, _ in GROUPS.values()})


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.difficulty", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--weights", type=Path, default=ROOT / "model" / "weights")
    parser.add_argument("--cases", type=Path, help="measure on the scans of this list")
    parser.add_argument("--scans", type=int, default=40, help="of each group")
    parser.add_argument("--sites", nargs="+", choices=SITE_NAMES, default=SITE_NAMES)
    parser.add_argument("--coverage", choices=sorted(COVERAGES_MM), help="of procedural bodies")
    parser.add_argument("--types", nargs="+", choices=LESION_TYPES, help="of the lesions; default: all")
    parser.add_argument("--maps", type=Path, help="folder with the label maps of real people")
    parser.add_argument("--spacing-mm", type=float, default=2.0, help="edge of the voxels")
    parser.add_argument(
        "--native", action="store_true", help="spacing as the sites' scanners have it instead"
    )
    parser.add_argument(
        "--blobs", nargs="*", choices=KINDS, default=KINDS, help="kinds of blobs; minutes a group each"
    )
    add_worker_options(parser)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "difficulty")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here too")
    chosen = parser.parse_args(arguments)
    if chosen.scans < 1:
        parser.error(f"--scans: expected 1 or more, found {chosen.scans}")
    for name in ("weights", "maps"):
        folder = getattr(chosen, name)
        if folder is not None and not folder.is_dir():
            parser.error(f"--{name}: expected a folder, found {folder}")
        setattr(chosen, name, folder and folder.absolute())
    chosen.work = chosen.work.absolute()
    return chosen


def make_group(chosen: argparse.Namespace, site: str, anatomy: str) -> Path:
    """Makes the scans of a group; returns their folder."""
    folder: Path = chosen.work / f"{site}-{anatomy}"
    more: list[object] = [] if chosen.native else ["--spacing-mm", chosen.spacing_mm]
    more += ["--maps", chosen.maps] if chosen.maps else []
    more += ["--coverage", chosen.coverage] if chosen.coverage and anatomy == "procedural" else []
    more += ["--types", *chosen.types] if chosen.types else []
    more += ["--processes", chosen.processes]
    plan = ["--site", site, "--anatomy", anatomy, "--split", "test"]
    step(make_scans, *plan, "--seed", FIRST_SEED, "--count", chosen.scans, "--out", folder, *more)
    return folder


def compare_group(
    cases: Path, folder: Path, weights: Path, kinds: Sequence[str], processes: int
) -> dict[str, Figures]:
    """The figures of the detector and of these kinds of blobs on the scans of a list, printed too."""
    predictions = folder / "detector"
    step(predict, "--cases", cases, "--weights", weights, "--processes", processes, "--out", predictions)
    pages = {"detector": evaluated(cases, predictions, folder / "page-detector")}
    for kind in kinds:
        predictions = folder / kind.replace(" ", "-")
        step(find_blobs, "--cases", cases, "--kind", kind, "--processes", processes, "--out", predictions)
        pages[f"blobs {kind}"] = evaluated(cases, predictions, folder / f"page-{predictions.name}")
    report(pages)
    return pages


def measure(chosen: argparse.Namespace) -> dict[str, dict[str, Figures]]:
    """Of each group. Raises StepError."""
    more = chosen.weights, chosen.blobs, chosen.processes
    if chosen.cases is not None:
        return {chosen.cases.stem: compare_group(chosen.cases.absolute(), chosen.work, *more)}
    groups = {}
    for title, (site, anatomy) in GROUPS.items():
        if site not in chosen.sites:
            continue
        if anatomy != "procedural" and chosen.maps is None:
            print(f"\n{title}: left out, for --maps was not given")
            continue
        folder = make_group(chosen, site, anatomy)
        print(f"\n{title}, {'native spacing' if chosen.native else f'{chosen.spacing_mm:g} mm'}")
        groups[title] = compare_group(folder / "cases.jsonl", folder, *more)
    return groups


def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    try:
        groups = measure(chosen)
    except StepError as error:
        return int(error.args[0])
    if chosen.out is not None:
        store(chosen.out, chosen.weights, {"groups": groups})
    return 0


if __name__ == "__main__":
    sys.exit(main())
