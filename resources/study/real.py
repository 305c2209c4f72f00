"""The detector on real CT: whole scans of cancer patients, and LIDC-IDRI nodules with little around them.

    python -m resources.study.real --data DATA --weights DIR --split validation --out DIR

prints sensitivity for lesions of whole scans and for nodules at 1, 4 and 8 false positives a whole scan, and
writes results-SPLIT-WEIGHTS.json and a page with every detection above the operating point in whole scans.
Predictions are kept in --out by the digest of weights and code, so the same command goes on where it stopped.

    python -m resources.study.real --data DATA --write-cases DIR

writes the case lists that training and validation use (resources.study.real_data says which patients are in
which).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from model.config import WeightsError
from model.volume import InputError
from resources.cases.case import Case, CaseError
from resources.cases.work import add_worker_options, run_jobs
from resources.cli import end_with
from resources.evaluation import EvaluationError
from resources.evaluation.__main__ import telling
from resources.evaluation.evaluation import Evaluation, Settings, evaluate, prepare
from resources.evaluation.matching import PRIMARY
from resources.evaluation.predictions import read_predictions
from resources.predict import WEIGHTS, Job, digest_of, is_done, predict_case
from resources.study.real_data import (
    WHOLE,
    Row,
    false_positives_count,
    read_case,
    read_split,
    with_boxes,
    write_lists,
)
from resources.study.real_figures import UPPER_BOUND, figures_of, text_of
from resources.study.real_page import write_page
from resources.study.steps import ROOT, commit

SHORT = 12
"""Digits of a digest in a file's name."""
RULES_REPORTED = (PRIMARY.name, "point_inside", "iou_0.1")
"""Names of the rules whose figures are written; the table shows one."""


def read_cases_of(data: Path, rows: list[Row], out: Path, processes: int) -> list[Case]:
    """The cases of these rows, in their order. Raises CaseError on the first that cannot be read."""
    jobs = {row.id: row for row in rows}
    work = functools.partial(read_case, data)
    outcomes = run_jobs(work, jobs, "Reading marks", processes, None, out / "failed.jsonl")
    bad = next((outcome for outcome in outcomes if outcome.error), None)
    if bad is not None:
        raise CaseError(f"{bad.name}: {bad.error}")
    by_id = {outcome.name: outcome.result for outcome in outcomes}
    return with_boxes(data, [by_id[row.id] for row in rows])


def code_digest() -> str:
    """Of all that runs at inference: predictions of other code are not taken for this one's."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "model").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def predict(cases: list[Case], weights: Path, folder: Path, processes: int) -> dict[str, str]:
    """Predicts what is not there yet; by id why a scan could not be. Raises CaseError where none could."""
    digest = digest_of(weights)
    jobs = [Job(case, folder / case.id, weights, digest, "auto", None) for case in cases]
    todo = {job.case.id: job for job in jobs if not is_done(job)}
    failures = folder.with_name(f"{folder.name}.failed.jsonl")
    outcomes = run_jobs(predict_case, todo, "Predicting", processes, None, failures)
    refused = {outcome.name: outcome.error for outcome in outcomes if outcome.error}
    if len(refused) == len(cases):
        raise CaseError(next(iter(refused.values())))
    return refused


def evaluated(cases: list[Case], folder: Path, refused: dict[str, str]) -> Evaluation:
    """What became of every lesion and detection. Raises EvaluationError, CaseError.

    Lesions of a scan that was refused are missed; in a whole scan that was, no false positives are counted.
    """
    counted = {case.id: case for case in false_positives_count(cases) if case.id not in refused}
    cases = [counted.get(case.id, case) for case in cases]
    settings = Settings()
    with telling() as tell:
        predictions = read_predictions(folder, cases, {case.id for case in cases}, missing_as_empty=True)
        truths = prepare(cases, settings, lambda text: tell(f"truth: {text}"))
        return evaluate(truths, (predictions,), settings, lambda text: tell(f"matching: {text}"))


def measure(options: argparse.Namespace) -> None:
    """Predicts, evaluates, prints and writes. Raises CaseError, InputError, EvaluationError, WeightsError."""
    data, out, weights = options.data.absolute(), options.out.absolute(), options.weights.absolute()
    digest = digest_of(weights)
    rows = [row for row in read_split(data) if row.split == options.split]
    cases = read_cases_of(data, rows, out, options.processes)
    folder = out / "predictions" / f"{digest[:SHORT]}-{code_digest()[:SHORT]}"
    refused = predict(cases, weights, folder, options.processes)
    evaluation = evaluated(cases, folder, refused)
    version = evaluation.models[0].predictions.weights_version
    whole = sum(case.source == WHOLE for case in cases)
    heading = (
        f"{version} ({digest[:SHORT]}), {options.split}: {whole} whole scans, {len(cases) - whole} crops of "
        f"{len({case.patient for case in cases})} patients."
    )
    figures = {rule: figures_of(evaluation, rule) for rule in RULES_REPORTED}
    results: dict[str, Any] = {
        "not_a_medical_device": True,
        "commit": commit(),
        "weights": version,
        "weights_sha256": digest,
        "split": options.split,
        "scans": {"whole": whole, "crops": len(cases) - whole},
        "refused_by_the_reader": sorted(refused),
        "note": UPPER_BOUND,
        "rules": figures,
    }
    name = f"{options.split}-{digest[:SHORT]}"
    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    (out / f"results-{name}.json").write_text(text, encoding="utf-8")
    print(text_of(figures[options.rule], options.rule, heading))
    if refused:
        print(f"{len(refused)} scans could not be predicted, so are missed: {', '.join(sorted(refused))}")
    with telling() as tell:
        write_page(out / f"page-{name}.html", evaluation, options.rule, heading, tell)
    print(f"{out / f'results-{name}.json'}\n{out / f'page-{name}.html'}")


def list_cases(options: argparse.Namespace) -> None:
    """Writes the case lists of all splits. Raises CaseError, InputError."""
    data, out = options.data.absolute(), options.write_cases
    cases = read_cases_of(data, read_split(data), out, options.processes)
    for name, count in write_lists(cases, out).items():
        print(f"{out / name}.jsonl: {count} scans")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 on an error, which is a line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "real")
    parser.add_argument("--write-cases", type=Path, metavar="DIR", help="write case lists, measure nothing")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of .safetensors files")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument(
        "--rule", choices=RULES_REPORTED, default=PRIMARY.name, help="of the table; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "real")
    add_worker_options(parser)
    options = parser.parse_args(arguments)
    try:
        (list_cases if options.write_cases else measure)(options)
    except (CaseError, InputError, EvaluationError, WeightsError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    # Workers look functions up by module, and this one has another name as a script.
    from resources.study.real import main as run

    sys.exit(run())
