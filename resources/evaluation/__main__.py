"""Evaluate the predictions of process.py against the truth, alone or against another model's.

Writes metrics.json, lesions.csv, figures/ and index.html into the output folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.volume import InputError
from resources.cases.case import CaseError, read_cases
from resources.cli import end_with
from resources.evaluation import EvaluationError
from resources.evaluation.evaluation import FEWEST_BOOTSTRAPS, Settings, evaluate, prepare
from resources.evaluation.output import write_all
from resources.evaluation.predictions import read_predictions


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resources.evaluation", description=__doc__)
    parser.add_argument("--cases", "--truth", dest="truth", type=Path, required=True, help="the case list")
    parser.add_argument("--predictions", type=Path, required=True, help="output folder of process.py")
    parser.add_argument("--compare", type=Path, help="the same of another model, to compare with")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="only cases of this split")
    parser.add_argument(
        "--missing-as-empty", action="store_true", help="a case without prediction: nothing was found in it"
    )
    parser.add_argument(
        "--exclude",
        nargs="*",
        choices=("benign", "doubtful"),
        default=["benign", "doubtful"],
        help="findings that count neither way; without one of them, predictions on these are false positives",
    )
    parser.add_argument("--gallery", type=int, default=12, help="failures of each kind to picture [12]")
    parser.add_argument(
        "--bootstraps", type=int, default=FEWEST_BOOTSTRAPS, help="resamples, 1000 or more [1000]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of resamples and permutations [0]")
    options = parser.parse_args(arguments)
    if options.bootstraps < FEWEST_BOOTSTRAPS:
        parser.error(f"--bootstraps: expected {FEWEST_BOOTSTRAPS} or more, found {options.bootstraps}")
    if options.gallery < 0 or options.seed < 0:
        parser.error("--gallery and --seed: expected 0 or more")
    return options


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Yields what to call as work goes on: a spinner with a count on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), console=console
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda text: bar.update(task, description=escape(text))


def run(options: argparse.Namespace, tell: Callable[[str], None]) -> str:
    """Reads, evaluates, writes; returns the outcome in a line. Raises EvaluationError, CaseError, OSError."""
    every_case = read_cases(options.truth)
    cases = [case for case in every_case if options.split in (None, case.split)]
    if not cases:
        what = f"cases of the split {options.split}" if options.split else "at least one case"
        raise EvaluationError(f"{options.truth}: expected {what}, found none")
    settings = Settings(tuple(options.exclude), options.bootstraps, options.seed)
    known = {case.id for case in every_case}
    folders = [folder for folder in (options.predictions, options.compare) if folder is not None]
    predictions = tuple(
        read_predictions(folder, cases, known, options.missing_as_empty) for folder in folders
    )
    truths = prepare(cases, settings, lambda text: tell(f"truth: {text}"))
    evaluation = evaluate(truths, predictions, settings, lambda text: tell(f"matching: {text}"))
    return write_all(options.out, evaluation, options.truth, options.split, options.gallery, tell)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code; an error is one line on stderr."""
    options = parse_arguments(arguments)
    try:
        with telling() as tell:
            outcome = run(options, tell)
    except (EvaluationError, CaseError, InputError, OSError) as error:
        return end_with(error)
    print(outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
