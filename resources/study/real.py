"""The detector on real CT: whole scans of cancer patients, and LIDC-IDRI nodules with little around them.

    python -m resources.study.real --data ../shared/data/real --write-cases DIR

writes the case lists that training and validation use (resources.study.real_data says which patients are in
which).
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from model.volume import InputError
from resources.cases.case import Case, CaseError
from resources.cases.work import default_processes, run_jobs
from resources.study.real_data import Row, read_case, read_split, with_boxes, write_lists

ROOT = Path(__file__).resolve().parents[2]


def read_cases_of(data: Path, rows: list[Row], out: Path, processes: int) -> list[Case]:
    """The cases of these rows, in their order. Raises CaseError on the first that cannot be read."""
    failures = out / "failed.jsonl"
    jobs = {row.id: row for row in rows}
    work = functools.partial(read_case, data)
    outcomes = run_jobs(work, jobs, "Reading marks", processes, None, failures)
    bad = next((outcome for outcome in outcomes if outcome.error), None)
    if bad is not None:
        raise CaseError(f"{bad.name}: {bad.error}")
    by_id = {outcome.name: outcome.result for outcome in outcomes}
    return with_boxes(data, [by_id[row.id] for row in rows])


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 on an error, which is a line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "real")
    parser.add_argument("--write-cases", type=Path, metavar="DIR", required=True, help="write case lists")
    parser.add_argument("--processes", type=int, default=default_processes(), help="default: one per core")
    options = parser.parse_args(arguments)
    out = options.write_cases
    try:
        rows = read_split(options.data.absolute())
        cases = read_cases_of(options.data.absolute(), rows, out, options.processes)
        counts = write_lists(cases, out)
    except (CaseError, InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for name, count in counts.items():
        print(f"{out / name}.jsonl: {count} scans")
    return 0


if __name__ == "__main__":
    # Workers look functions up by module, and this one has another name as a script.
    from resources.study.real import main as run

    sys.exit(run())
