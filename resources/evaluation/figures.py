"""Charts of an evaluation, as matplotlib figures; drawn without a display."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from resources.evaluation.curves import BINS, FP_NAMES, FP_RATES, bin_of, sensitivity_at
from resources.evaluation.evaluation import Evaluation, Model
from resources.evaluation.matching import PRIMARY, RULES
from resources.evaluation.measures import Units, lesion_ranking, size_errors
from resources.evaluation.statistics import in_chunks, wilson

matplotlib.rcParams["text.parse_math"] = False  # names of folders may hold a $
COLOURS = ("#0b5394", "#c55a11", "#38761d", "#7f3f98", "#7f7f7f", "#bf9000")
RATES = np.exp2(np.linspace(-4, 4, 49))
"""Where the FROC is drawn: 1/16 to 16 false positives a scan."""


def draw_figures(evaluation: Evaluation, summaries: list[dict[str, Any]]) -> dict[str, Figure]:
    """By name; those for which there is something to draw."""
    models, figures = evaluation.models, {}
    if any(model.tables[PRIMARY.name].judged.any() for model in models):
        figures["froc"] = _froc(evaluation)
        figures["froc_by_rule"] = _froc_by_rule(models[0])
    for name, draw in (("roc", _roc), ("precision_recall", _precision_recall), ("calibration", _calibration)):
        known = [(model.predictions.name, model.scans) for model in models if model.scans is not None]
        usable = [(label, units) for label, units in known if 0 < units.positive.sum() < len(units.positive)]
        if usable:
            figures[name] = draw(usable)
    sizes = _sizes(evaluation, models[0])
    if sizes is not None:
        figures["sizes"] = sizes
    strata = _strata(summaries[0])
    if strata is not None:
        figures["strata"] = strata
    return figures


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes[0] if columns == 1 else axes


def _legend(figure: Figure, title: str) -> None:
    """Above the chart, where it hides nothing."""
    figure.legend(loc="outside upper left", title=title, ncols=3, frameon=False, alignment="left", fontsize=9)


def _froc_axis(axis: Any) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(FP_RATES, FP_NAMES)
    axis.set(
        xlim=(RATES[0], RATES[-1]), ylim=(0, 1.02), xlabel="false positives per scan", ylabel="sensitivity"
    )


def _froc(evaluation: Evaluation) -> Figure:
    figure, axis = _axes(6.4, 4.4)
    once = np.ones((1, len(evaluation.truths)), np.int64)
    for model, colour in zip(evaluation.models, COLOURS, strict=False):
        table = model.tables[PRIMARY.name]
        ranking = lesion_ranking(table)

        def curve(weights: npt.NDArray, table: Any = table, ranking: Any = ranking) -> dict[str, npt.NDArray]:
            return {"froc": sensitivity_at(ranking, weights, table.lesions, table.judged, RATES)}

        lower, upper = np.nanquantile(
            in_chunks(curve, evaluation.weights)["froc"], [0.025, 0.975], axis=0
        ) if len(table.lesion_case) else (np.zeros(len(RATES)), np.zeros(len(RATES)))  # fmt: skip
        axis.fill_between(RATES, lower, upper, step="post", color=colour, alpha=0.18, linewidth=0)
        axis.step(RATES, curve(once)["froc"][0], where="post", color=colour, label=model.predictions.name)
    _froc_axis(axis)
    _legend(figure, f"rule {PRIMARY.name}; bands: 95 %")
    return figure


def _froc_by_rule(model: Model) -> Figure:
    figure, axis = _axes(6.4, 4.4)
    once = np.ones((1, len(model.outcomes)), np.int64)
    for rule, colour in zip(RULES, COLOURS, strict=True):
        if rule not in model.rules:
            continue
        table = model.tables[rule.name]
        sensitivity = sensitivity_at(lesion_ranking(table), once, table.lesions, table.judged, RATES)[0]
        style = (0, (4, 2)) if rule.assignment == "hungarian" or rule is PRIMARY else "-"
        axis.step(
            RATES, sensitivity, where="post", color=colour, linestyle=style, label=rule.name, zorder=2.5
        )
    _froc_axis(axis)
    _legend(figure, f"{model.predictions.name}, by matching rule")
    return figure


def _roc(models: list[tuple[str, Units]]) -> Figure:
    figure, axis = _axes(4.6, 4.4)
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    for (name, units), colour in zip(models, COLOURS, strict=False):
        false, true, _ = roc_curve(units.positive, units.score, drop_intermediate=False)
        axis.plot(false, true, color=colour, label=name)
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.02), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    _legend(figure, "scans")
    return figure


def _precision_recall(models: list[tuple[str, Units]]) -> Figure:
    figure, axis = _axes(4.6, 4.4)
    for (name, units), colour in zip(models, COLOURS, strict=False):
        precision, recall, _ = precision_recall_curve(units.positive, units.score)
        axis.step(recall, precision, where="post", color=colour, label=name)
    share = float(models[0][1].positive.mean())
    axis.axhline(share, color="#999999", linewidth=0.8, linestyle=":")
    axis.set(
        xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision", aspect="equal"
    )
    _legend(figure, f"scans; dotted: share of positives, {share:.2f}")
    return figure


def _calibration(models: list[tuple[str, Units]]) -> Figure:
    figure, axis = _axes(4.6, 4.4)
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    for (name, units), colour in zip(models, COLOURS, strict=False):
        place = bin_of(units.score)
        for number in range(BINS):
            inside = place == number
            if inside.any():
                hits, count = int(units.positive[inside].sum()), int(inside.sum())
                lower, upper = wilson(hits, count)
                mean = float(units.score[inside].mean())
                axis.plot([mean, mean], [lower, upper], color=colour, linewidth=1)
                label = name if number == place.min() else None
                axis.plot(mean, hits / count, "o", color=colour, markersize=4 + count**0.5 / 2, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set(xlabel="predicted likelihood, mean of ten bins", ylabel="share of positive scans")
    _legend(figure, "scans; bars: 95 % (Wilson)")
    return figure


def _sizes(evaluation: Evaluation, model: Model) -> Figure | None:
    point = model.predictions.operating_point
    errors = size_errors(model.tables[PRIMARY.name], evaluation.truths, model.predictions.scans, point)
    if not np.isfinite(errors["predicted_mm"] - errors["true_mm"]).any():
        return None
    figure, axes = _axes(8.4, 3.1, 3)
    for i, (axis, name) in enumerate(zip(axes, ("long", "short", "z"), strict=True)):
        true, predicted = errors["true_mm"][:, i], errors["predicted_mm"][:, i]
        known = np.isfinite(true + predicted)
        values = np.concatenate([true[known], predicted[known], [10.0]])
        limits = (max(float(values.min()), 0.5) / 1.2, float(values.max()) * 1.2)
        axis.plot(limits, limits, color="#999999", linewidth=0.8, linestyle=":")
        axis.plot(true[known], predicted[known], "o", color=COLOURS[0], alpha=0.35, markersize=3, mew=0)
        axis.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
        ticks = [mm for mm in (1, 2, 5, 10, 20, 50, 100, 200) if limits[0] <= mm <= limits[1]]
        axis.set_xticks(ticks, map(str, ticks), minor=False)
        axis.set_yticks(ticks, map(str, ticks), minor=False)
        axis.minorticks_off()
        axis.set(xlabel=f"true {name} (mm), n = {known.sum()}", ylabel="predicted (mm)" if i == 0 else "")
    return figure


def _strata(summary: dict[str, Any]) -> Figure | None:
    rows = [
        (f"{row['division']}: {row['stratum']} (n = {row['lesions']})", row["cpm"])
        for row in summary["lesion_strata"] + summary["scan_strata"]
        if row["cpm"].value is not None
    ]
    if not rows:
        return None
    rows.append(("all lesions", summary["rules"][PRIMARY.name]["measures"]["cpm"]))
    figure, axis = _axes(7.2, 1 + 0.27 * len(rows))
    for place, (_, value) in enumerate(reversed(rows)):
        if value.lower is not None:
            axis.plot([value.lower, value.upper], [place, place], color=COLOURS[0], linewidth=1.2)
        axis.plot(value.value, place, "o", color=COLOURS[0], markersize=4)
    axis.axvline(rows[-1][1].value, color="#999999", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)], fontsize=8)
    axis.set(
        xlim=(0, 1),
        ylim=(-0.7, len(rows) - 0.3),
        xlabel="mean sensitivity at 1/8 to 8 false positives a scan",
    )
    return figure
