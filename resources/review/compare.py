"""Two scans of a patient side by side: python -m resources.review compare PRIOR FOLLOW_UP

Both are folders with the results of one scan, of which a page was made (so that OUT/cases.jsonl says where
the scan lies), or are given with --prior-scan and --scan. The bodies are registered rigidly, the findings
above the operating points paired by position, and comparison.html and .json are written into FOLLOW_UP.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from model.exports import Detection, Results, read_results
from model.files import write_whole
from model.preprocess import Grid
from model.volume import Volume
from resources.cases.images import read_case_volume
from resources.review.build import Job, jobs_of, numbering_of
from resources.review.page import environment
from resources.review.pairs import Pair, TargetSum, pair_findings, sum_of_targets
from resources.review.register import POOR_CORRELATION, Registration, register
from resources.review.slices import reduced_copy, thumbnail

HTML, JSON = "comparison.html", "comparison.json"
MOST_VOXELS = 4_000_000
NOT_JUDGED = "not judged: poor registration"


@dataclasses.dataclass(frozen=True)
class Study:
    """One of the two scans, with all that the comparison shows of it."""

    job: Job
    results: Results
    volume: Volume
    copy: Grid
    slices: tuple[int, ...]

    def slice_of(self, finding: Detection) -> int:
        """Its number as a workstation shows it."""
        k = round(float(self.volume.world_to_index([finding.point_mm])[0, 2]))
        return self.slices[min(max(k, 0), len(self.slices) - 1)]


def main(arguments: list[str]) -> int:
    """Exit code 0; raises CaseError, InputError, OSError."""
    parser = argparse.ArgumentParser(prog="python -m resources.review compare", description=__doc__)
    parser.add_argument("prior", type=Path, metavar="PRIOR", help="results of the earlier scan")
    parser.add_argument("follow_up", type=Path, metavar="FOLLOW_UP", help="results of the later scan")
    parser.add_argument(
        "--prior-scan", type=Path, help="the earlier scan, where PRIOR/cases.jsonl is missing"
    )
    parser.add_argument("--scan", type=Path, help="the later scan, where FOLLOW_UP/cases.jsonl is missing")
    parser.add_argument(
        "--targets",
        help="numbers of the prior's findings to sum, commas between; else by the rule of RECIST 1.1",
    )
    options = parser.parse_args(arguments)
    chosen = None if options.targets is None else _numbers(parser, options.targets)
    first, second = open_study(options.prior, options.prior_scan), open_study(options.follow_up, options.scan)
    registration = register(first.volume, second.volume)
    pairs = pair_findings(
        first.results.detections, second.results.detections, registration, (first.volume, second.volume)
    )
    total = sum_of_targets(pairs, chosen)
    if registration.poor:
        total = dataclasses.replace(total, response=NOT_JUDGED)
    value = json_of(first, second, registration, pairs, total)
    write_whole(options.follow_up / JSON, json.dumps(value, indent=1) + "\n")
    write_whole(options.follow_up / HTML, html_of(first, second, registration, pairs, total))
    _print(registration, pairs, total)
    print(options.follow_up / HTML)
    return 0


def _numbers(parser: argparse.ArgumentParser, text: str) -> list[int]:
    if not all(part.strip().isdigit() for part in text.split(",")):
        parser.error(f"argument --targets: expected numbers with commas between, found {text!r}")
    return sorted({int(part) for part in text.split(",")})


def open_study(folder: Path, scan: Path | None) -> Study:
    """A folder of results with its scan. Raises InputError, CaseError."""
    (job,) = jobs_of(folder, scan)[:1]
    volume = read_case_volume(job.case)
    numbers = numbering_of(job.case, volume).numbers
    return Study(job, read_results(job.folder), volume, reduced_copy(volume, MOST_VOXELS), numbers)


def warning_of(registration: Registration) -> str | None:
    """One sentence where the registration is poor."""
    if not registration.poor:
        return None
    return (
        f"The registration is poor (correlation {registration.correlation:.2f}, expected {POOR_CORRELATION} "
        "or more): the pairs below may be wrong. Are both scans of one patient and of one part of the body?"
    )


def json_of(
    first: Study, second: Study, registration: Registration, pairs: Sequence[Pair], total: TargetSum
) -> dict[str, Any]:
    """The comparison as JSON values; numbers are those of the points files, from 1."""
    rows = [
        {
            "state": pair.state,
            "prior": None if pair.prior is None else pair.prior.number,
            "follow_up": None if pair.follow_up is None else pair.follow_up.number,
            "below_operating_point_in_one": pair.weak,
            "apart_mm": pair.apart_mm,
            "change_mm": pair.change_mm,
        }
        for pair in pairs
    ]
    return {
        "prior": first.job.case.id,
        "follow_up": second.job.case.id,
        "registration": {
            "rotation": registration.rotation.tolist(),
            "shift_mm": registration.shift_mm.tolist(),
            "correlation": registration.correlation,
            "overlap": registration.overlap,
            "poor": registration.poor,
        },
        "pairs": rows,
        "targets": dataclasses.asdict(total),
    }


def html_of(
    first: Study, second: Study, registration: Registration, pairs: Sequence[Pair], total: TargetSum
) -> str:
    """The page, with the axial slice of each finding in both scans."""
    rows = []
    for pair in pairs:
        places = _places(pair, registration)
        rows.append(
            {
                "pair": pair,
                "target": pair.prior is not None and pair.prior.number in total.numbers,
                "pictures": [
                    base64.b64encode(thumbnail(study.copy, place, 160, 40.0)).decode()
                    for study, place in zip((first, second), places, strict=True)
                ],
                "slices": [
                    None if found is None else study.slice_of(found)
                    for study, found in ((first, pair.prior), (second, pair.follow_up))
                ],
                "change": change_of(pair),
            }
        )
    counts = {state: sum(pair.state == state for pair in pairs) for state in ("both", "gone", "new")}
    return environment().get_template("compare.html.j2").render(
        prior=first.job.case.id,
        follow_up=second.job.case.id,
        warning=warning_of(registration),
        registration=registration,
        rows=rows,
        counts=counts,
        total=total,
    )  # fmt: skip


def _places(pair: Pair, registration: Registration) -> tuple[Any, Any]:
    """Where to look in the prior and the follow-up: at the finding, or where it would be."""
    if pair.prior is not None and pair.follow_up is not None:
        return pair.prior.point_mm, pair.follow_up.point_mm
    if pair.prior is not None:
        return pair.prior.point_mm, registration.forward([pair.prior.point_mm])[0]
    assert pair.follow_up is not None
    return registration.backward([pair.follow_up.point_mm])[0], pair.follow_up.point_mm


def change_of(pair: Pair) -> str:
    """The change of the long diameter for people."""
    if pair.change_mm is None or pair.prior is None:
        return "–"
    return f"{pair.change_mm:+.1f} mm ({100 * pair.change_mm / pair.prior.long_mm:+.0f} %)"


def _print(registration: Registration, pairs: Sequence[Pair], total: TargetSum) -> None:
    console = Console()
    table = Table("prior", "follow-up", "type", "prior, mm", "follow-up, mm", "change", "state")
    for pair in pairs:
        ends = (pair.prior, pair.follow_up)
        kind = next(d.type for d in ends if d is not None)
        numbers = ["" if d is None else str(d.number) for d in ends]
        sizes = ["" if d is None else f"{d.long_mm:.1f}" for d in ends]
        state = pair.state + (", below the operating point in one" if pair.weak else "")
        table.add_row(*numbers, kind, *sizes, change_of(pair), state)
    console.print(table)
    console.print(
        f"sum of the targets {', '.join(map(str, total.numbers)) or '(none)'}: {total.prior_mm:.1f} mm, then "
        f"{total.follow_up_mm:.1f} mm; RECIST 1.1 would call it: {total.response}",
        highlight=False,
    )
    warning = warning_of(registration)
    if warning is not None:
        console.print(f"warning: {warning}", highlight=False)
