"""Synthetic CT scans with all that is true of them.

python -m resources.synthetic --site A --count 20 --seed 7 --out DIR

writes DIR/scans/ID (image, lesion and organ labels, report, truth) and, as cases, DIR/cases.jsonl (the whole
truth) and one file for each kind of weak annotator. Scans that are there already are kept; the same command
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from model.config import LESION_TYPES
from model.volume import InputError
from resources.cases.case import CaseError, write_cases
from resources.cases.work import add_worker_options, report, run_jobs
from resources.cli import end_with
from resources.synthetic.files import TRUTH, VIEWS, Job, full_case, make_files, scan_id, weak_cases
from resources.synthetic.generate import Order
from resources.synthetic.labelmap import MAPS, TOTAL, LabelMapError, find_table
from resources.synthetic.sites import COVERAGES_MM, SITES


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m resources.synthetic", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    parser.add_argument("--site", choices=sorted(SITES), required=True)
    parser.add_argument("--count", type=int, required=True, help="number of scans")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first; the others follow")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--spacing-mm", type=float, help="edge of isotropic voxels; else as the site's scanners have it"
    )
    parser.add_argument(
        "--coverage",
        choices=sorted(COVERAGES_MM),
        help="part of the body; else by the site's habits, of --label-map both",
    )
    parser.add_argument(
        "--lesions", type=int, help="of each scan, for dense training; else by the site's habits"
    )
    parser.add_argument("--types", nargs="+", choices=LESION_TYPES, help="of the lesions; default: all")
    parser.add_argument("--anatomy", choices=["procedural", *MAPS], help="else by the site's habits")
    parser.add_argument("--maps", type=Path, help="folder with label maps of real people (see labelmap.py)")
    parser.add_argument("--label-map", type=Path, help="a body of your own, as TotalSegmentator segments it")
    parser.add_argument("--background", type=Path, help="a real CT into which the lesions are put")
    parser.add_argument("--organ-labels", type=Path, help="organ labels of the background, on its grid")
    parser.add_argument(
        "--label-table",
        default=TOTAL,
        help="CSV of label, organ, tissue: what they or the label map's mean; default: TotalSegmentator's",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="default: train, for site B test"
    )
    add_worker_options(parser, ray=True)
    chosen = parser.parse_args(arguments)
    for name, least in (("count", 1), ("seed", 0), ("processes", 1)):
        if getattr(chosen, name) < least:
            parser.error(f"--{name}: expected {least} or more, found {getattr(chosen, name)}")
    if chosen.lesions is not None and not 0 <= chosen.lesions <= 60:
        parser.error(f"--lesions: expected 0 to 60, found {chosen.lesions}")
    if chosen.spacing_mm is not None and not 0.4 <= chosen.spacing_mm <= 6:
        parser.error(f"--spacing-mm: expected 0.4 to 6, found {chosen.spacing_mm:g}")
    if chosen.maps is not None and not chosen.maps.is_dir():
        parser.error(f"--maps: expected a folder, found {chosen.maps}")
    if chosen.label_map is not None and (chosen.background or chosen.anatomy):
        parser.error("--label-map: expected neither --background nor --anatomy with it")
    if chosen.organ_labels is not None and chosen.background is None:
        parser.error("--organ-labels: expected the --background they belong to")
    for name in ("label_map", "background", "organ_labels"):
        path = getattr(chosen, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name.replace('_', '-')}: expected a file, found {path}")
    if not find_table(chosen.label_table).is_file():
        parser.error(f"--label-table: expected a table, found {chosen.label_table}")
    if chosen.site == "B" and chosen.split not in (None, "test"):
        parser.error(f"--split: expected test for site B, which no training may see, found {chosen.split}")
    return chosen


def orders(chosen: argparse.Namespace) -> list[Order]:
    spacing = (chosen.spacing_mm,) * 3 if chosen.spacing_mm else None
    background, labels, label_map = (
        str(p) if p else None for p in (chosen.background, chosen.organ_labels, chosen.label_map)
    )
    return [
        Order(
            chosen.seed + i,
            chosen.site,
            spacing,
            chosen.coverage,
            anatomy=chosen.anatomy,
            lesion_count=chosen.lesions,
            background=background,
            organ_labels=labels,
            label_table=chosen.label_table if labels or label_map else None,
            types=tuple(chosen.types) if chosen.types else None,
            label_map=label_map,
        )
        for i in range(chosen.count)
    ]


def check_there(folder: Path, order: Order) -> bool:
    """Whether the scan is there. Raises CaseError if it was made by another order."""
    path = folder / scan_id(order) / TRUTH
    if not path.is_file():
        return False
    order_made = json.loads(path.read_text(encoding="utf-8"))["order"]
    made = {"types": None, "label_map": None} | order_made  # older ones have none
    wanted = json.loads(json.dumps(order.__dict__))
    if made != wanted:
        changed = sorted(key for key in wanted if made.get(key) != wanted[key])
        raise CaseError(f"{path}: expected a scan made by this command, found another {', '.join(changed)}")
    return True


def main(arguments: list[str] | None = None) -> int:
    chosen, started = parse(arguments), time.monotonic()
    folder, failures = chosen.out / "scans", chosen.out / "failures.jsonl"
    split = chosen.split or ("test" if chosen.site == "B" else "train")
    try:
        wanted = orders(chosen)
        missing = [order for order in wanted if not check_there(folder, order)]
        folder.mkdir(parents=True, exist_ok=True)
        jobs = {scan_id(order): Job(order, folder, chosen.maps) for order in missing}
        outcomes = run_jobs(make_files, jobs, "scans", chosen.processes, chosen.ray, failures)
        made = [folder / scan_id(order) for order in wanted if (folder / scan_id(order) / TRUTH).is_file()]
        write_cases(chosen.out / "cases.jsonl", [full_case(path, split) for path in made])
        for view in VIEWS:
            cases = [case for path in made for case in weak_cases(path, split, view)]
            write_cases(chosen.out / f"{view.replace(' ', '_')}.jsonl", cases)
    except (CaseError, LabelMapError, InputError, OSError) as error:
        return end_with(error)
    return report(outcomes, len(wanted) - len(missing), started, failures)


if __name__ == "__main__":
    sys.exit(main())
