"""The detector that ships against a blob detector, on held-out synthetic scans.

    python -m resources.study.held_out --scans 40 --work build/held-out

The scans (seeds from 300000) were used neither for training nor for calibration. Each step is the main
function of a command (resources.synthetic.cases, resources.predict, resources.study.blob,
resources.evaluation), and what is there in --work is kept. The detector's page is --work/page/index.html.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resources.evaluation.__main__ import main as evaluate
from resources.evaluation.matching import PRIMARY
from resources.predict import main as predict
from resources.study.blob import KINDS
from resources.study.blob import main as find_blobs
from resources.synthetic.cases import main as make_cases

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 300_000
"""Those of training, validation and calibration are lower."""
RATES = ("0.5", "1", "2", "4")


class StepError(Exception):
    """A step of a study failed; the only argument is its exit code. The step has said why on stderr."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.held_out", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "held-out")
    parser.add_argument("--weights", type=Path, default=ROOT / "model" / "weights")
    options = parser.parse_args(arguments)
    work, cases = options.work, options.work / "cases.jsonl"
    try:
        first = ["--first", FIRST_SEED, "--count", options.scans, "--split", "test"]
        step(make_cases, *first, "--out", cases)
        detector = work / "detector"
        step(predict, "--cases", cases, "--weights", options.weights, "--out", detector)
        pages = {"detector": evaluated(cases, detector, work / "page")}
        for kind in KINDS:
            folder = work / kind.replace(" ", "-")
            step(find_blobs, "--cases", cases, "--kind", kind, "--out", folder)
            pages[f"blobs {kind}"] = evaluated(cases, folder, work / f"page-{folder.name}")
    except StepError as error:
        return int(error.args[0])
    report(pages)
    return 0


def step(main: Callable[[list[str]], int], *arguments: object) -> None:
    """Runs a command's main function, its output on stderr. Raises StepError where its exit code is not 0."""
    with contextlib.redirect_stdout(sys.stderr):
        code = main([str(argument) for argument in arguments])
    if code:
        raise StepError(code)


def evaluated(cases: Path, predictions: Path, out: Path) -> dict[str, Any]:
    """The figures of resources.evaluation."""
    step(evaluate, "--truth", cases, "--predictions", predictions, "--out", out)
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def report(pages: dict[str, dict[str, Any]]) -> None:
    """Prints sensitivity at false positives per scan, with 95 % intervals by bootstrap over the scans."""
    counts = pages["detector"]["counts"]
    print(
        f"{counts['scans']} synthetic scans, {counts['lesions']} lesions, "
        f"{counts['scans_negative']} scans without; rule {PRIMARY.name}"
    )
    print(f"{'sensitivity at FP per scan':<28}" + "".join(f"{rate:>22}" for rate in RATES) + f"{'CPM':>22}")
    for name, metrics in pages.items():
        measures = metrics["models"][0]["rules"][PRIMARY.name]["measures"]
        cells = [shown(measures[key]) for key in (*(f"sensitivity_at_{rate}" for rate in RATES), "cpm")]
        print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells))
    scans = pages["detector"]["models"][0]["scans"]["measures"]
    for name in ("roc_area", "accuracy", "sensitivity", "specificity", "expected_calibration_error"):
        print(f"scan level {name:<28}{shown(scans[name]):>22}")
    for row in pages["detector"]["models"][0]["lesion_strata"]:
        name = f"{row['division']} {row['stratum']}, {row['lesions']} lesions"
        print(f"CPM of {name:<32}{shown(row['cpm']):>22}")


def shown(estimate: dict[str, Any]) -> str:
    value, low, high = (
        "?" if estimate[key] is None else f"{estimate[key]:.3f}" for key in ("value", "lower", "upper")
    )
    return f"{value} ({low}-{high})"


if __name__ == "__main__":
    sys.exit(main())
