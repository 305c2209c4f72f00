"""Pages for people: python -m resources.review OUT [--scans INPUT] [--report FILE]; compare PRIOR FOLLOW_UP.

OUT is a folder that process.py or resources.predict has written. Each scan gets a self-contained review.html
beside its results, and a folder of scans summary.html. What is there already is left alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from model.files import write_whole
from model.volume import InputError
from resources.cases.case import CaseError
from resources.cases.work import add_worker_options, report, run_jobs
from resources.cli import end_with
from resources.review.build import SUMMARY, is_done, jobs_of, make_page


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 if some scans failed, 2 on an error, which is a line on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words[:1] == ["compare"]:
            from resources.review.compare import main as compare

            return compare(words[1:])
        return _pages(_parser().parse_args(words))
    except (CaseError, InputError, OSError) as error:
        return end_with(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m resources.review", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the results")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--scans", type=Path, help="the input of process.py; needed once, kept in OUT/cases.jsonl"
    )
    source.add_argument("--cases", type=Path, help="the case list that resources.predict was given")
    parser.add_argument("--report", type=Path, help="the report's text, or a folder of texts named ID.txt")
    parser.add_argument(
        "--part", default="1/1", help="I/N: only every N-th scan from the I-th, for job arrays"
    )
    parser.add_argument(
        "--summary-only", action="store_true", help="write summary.html from pages made before"
    )
    add_worker_options(parser, ray=True)
    return parser


def _pages(options: argparse.Namespace) -> int:
    from resources.review.overview import overview_of

    started = time.monotonic()
    jobs = jobs_of(options.out, options.scans, options.cases, options.report, options.part)
    single = bool(jobs) and jobs[0].folder == options.out
    part = [] if options.summary_only else jobs
    todo = {job.case.id: job for job in part if not is_done(job)}
    code = 0
    if len(todo) == 1:
        size = make_page(next(iter(todo.values())))
        print(f"{next(iter(todo.values())).folder / 'review.html'}: {size / 1e6:.1f} MB")
    elif todo:
        number = "" if options.part == "1/1" else f"-{options.part.replace('/', '-of-')}"
        failures = options.out / f"review-failed{number}.jsonl"
        outcomes = run_jobs(make_page, todo, "Pages", options.processes, options.ray, failures)
        code = report(outcomes, len(part) - len(todo), started, failures)
    if not single and options.part == "1/1":
        write_whole(options.out / SUMMARY, overview_of(jobs))
        print(options.out / SUMMARY)
    return code


if __name__ == "__main__":
    # Workers look functions up by module, and theirs has another __main__.
    from resources.review.__main__ import main as run

    sys.exit(run())
