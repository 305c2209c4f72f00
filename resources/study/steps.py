"""What the studies share: commands as steps, and the figures of resources.evaluation as text."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resources.evaluation.__main__ import main as evaluate
from resources.evaluation.matching import PRIMARY

ROOT = Path(__file__).resolve().parents[2]
RATES = ("0.5", "1", "2", "4")


class StepError(Exception):
    """A step of a study failed; the only argument is its exit code. The step has said why on stderr."""


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
