"""What the studies share: commands as steps, and the figures of resources.evaluation as text."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.files import write_whole
from resources.evaluation.__main__ import main as evaluate
from resources.evaluation.matching import PRIMARY
from resources.predict import digest_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "resources/study/results"
RATES = ("0.5", "1", "2", "4")
SCAN_MEASURES = ("roc_area", "accuracy", "sensitivity", "specificity", "expected_calibration_error")

Figures = dict[str, Any]


class StepError(Exception):
    """A step of a study failed; the only argument is its exit code. The step has said why on stderr."""


def step(main: Callable[[list[str]], int], *arguments: object) -> None:
    """Runs a command's main function, its output on stderr. Raises StepError where its exit code is not 0."""
    with contextlib.redirect_stdout(sys.stderr):
        code = main([str(argument) for argument in arguments])
    if code:
        raise StepError(code)


def commit() -> str:
    """Of the code that runs, "+" added where tracked files, stored results aside, differ from it; "unknown"
    without git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.strip()

    head = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){RESULTS}")
    return f"{head}{'+' if changed else ''}" if head else "unknown"


def store(path: Path, weights: Path, figures: Figures) -> None:
    """Writes figures as JSON, with the commit and the digest of the weights they are of."""
    origin = {"commit": commit(), "weights_sha256": digest_of(weights)}
    write_whole(path, json.dumps(origin | figures, indent=1, allow_nan=False) + "\n")


def evaluated(cases: Path, predictions: Path, out: Path) -> Figures:
    """The counts of resources.evaluation, and of its figures those that tables show."""
    step(evaluate, "--truth", cases, "--predictions", predictions, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    (model,) = metrics["models"]
    measures, scans = model["rules"][PRIMARY.name]["measures"], model.get("scans", {}).get("measures", {})
    return {
        "counts": {name: metrics["counts"][name] for name in ("scans", "lesions", "scans_negative")},
        "measures": {name: measures[name] for name in (*(f"sensitivity_at_{rate}" for rate in RATES), "cpm")},
        "scans": {name: scans[name] for name in SCAN_MEASURES if name in scans},
        "strata": [
            {name: row[name] for name in ("division", "stratum", "lesions", "cpm")}
            for row in model["lesion_strata"]
        ],
    }


def report(pages: dict[str, Figures]) -> None:
    """Prints sensitivity at false positives per scan, with 95 % intervals by bootstrap over the scans."""
    first = pages["detector"]
    counts = first["counts"]
    print(
        f"{counts['scans']} synthetic scans, {counts['lesions']} lesions, "
        f"{counts['scans_negative']} scans without; rule {PRIMARY.name}"
    )
    print(f"{'sensitivity at FP per scan':<28}" + "".join(f"{rate:>22}" for rate in RATES) + f"{'CPM':>22}")
    for name, figures in pages.items():
        print(f"{name:<28}" + "".join(f"{shown(each):>22}" for each in figures["measures"].values()))
    for name, estimate in first["scans"].items():
        print(f"scan level {name:<28}{shown(estimate):>22}")
    for row in first["strata"]:
        name = f"{row['division']} {row['stratum']}, {row['lesions']} lesions"
        print(f"CPM of {name:<32}{shown(row['cpm']):>22}")


def shown(estimate: dict[str, Any]) -> str:
    value, low, high = (
        "?" if estimate[key] is None else f"{estimate[key]:.3f}" for key in ("value", "lower", "upper")
    )
    return f"{value} ({low}-{high})"
