"""One self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from resources.evaluation.curves import FP_NAMES, FP_RATES
from resources.evaluation.gallery import Failure
from resources.evaluation.matching import PRIMARY, RULES
from resources.evaluation.statistics import Estimate
from resources.evaluation.strata import FEWEST

TITLES = {
    "cpm": "CPM",
    "cpm_duplicates_ignored": "CPM, duplicates ignored",
    "roc_area": "area under the ROC curve",
    "brier": "Brier score",
    "distance_mm": "distance",
    "operating_sensitivity": "sensitivity at the operating point",
    "operating_false_positives_per_scan": "false positives per scan at the operating point",
    "operating_precision": "precision at the operating point",
    "z_error_mm": "z extent: mean error",
    "z_absolute_error_mm": "z extent: mean absolute error",
    "long_error_mm": "long diameter: mean error",
    "long_absolute_error_mm": "long diameter: mean absolute error",
    "short_error_mm": "short diameter: mean error",
    "short_absolute_error_mm": "short diameter: mean absolute error",
} | {
    f"sensitivity_at_{rate:g}": f"sensitivity at {name} false positives per scan"
    for rate, name in zip(FP_RATES, FP_NAMES, strict=True)
}


def image_of(figure: Figure, kind: str) -> bytes:
    """The figure as "svg" or "png"; the same figure gives the same bytes."""
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "evaluation"}):
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()


def render(metrics: Mapping[str, Any], charts: Mapping[str, bytes], failures: list[Failure]) -> str:
    """The page. metrics: as in metrics.json, estimates still as objects. charts: SVG by name."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"value": _value, "between": _between, "signed": _signed, "p": _p}
    environment.filters |= {
        "measures_of": lambda model, level: (model["name"], model[level]["measures"]),
        "measures_under": lambda model, rule: (model["name"], model["rules"][rule]["measures"]),
    }
    gallery: dict[str, list[dict[str, str]]] = {"False positives": [], "Missed lesions": []}
    for failure in failures:
        title = "False positives" if failure.kind == "false positive" else "Missed lesions"
        gallery[title].append(
            {
                "caption": failure.caption,
                "place": ", ".join(f"{mm:.0f}" for mm in failure.point_mm),
                "note": failure.note,
                "png": base64.b64encode(failure.png).decode() if failure.png else "",
            }
        )
    return environment.get_template("page.html.j2").render(
        **metrics,
        names=[model["name"] for model in metrics["models"]],
        charts={name: base64.b64encode(svg).decode() for name, svg in charts.items()},
        gallery=gallery,
        rules=RULES,
        primary=PRIMARY.name,
        titles=TITLES,
        fewest=FEWEST,
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _value(estimate: Estimate) -> str:
    return "–" if estimate.value is None else _number(estimate.value)


def _signed(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:+.3f}"


def _between(estimate: Estimate) -> str:
    if estimate.lower is None or estimate.upper is None:
        return "–"
    return f"{_number(estimate.lower)} to {_number(estimate.upper)}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
