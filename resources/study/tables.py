"""From stored results to the tables of docs/results.md."""

from __future__ import annotations

import re
from typing import Any

from resources.evaluation.statistics import holm
from resources.study.contrasts import CROP_RATES, EQUAL_AT, RATES, SCAN_MEASURES, strata_names
from resources.study.real_figures import RATES as REAL_RATES
from resources.study.setting import ELSEWHERE, Setting
from resources.study.steps import ROOT

PAGE = ROOT / "docs" / "results.md"
RESULTS = ROOT / "resources" / "study" / "results"
BEGIN, END = "<!-- study: {} -->", "<!-- end of study: {} -->"
"""Lines between which a table stands."""
SAVED = f"share of false positives saved, at the sensitivity the other has at {EQUAL_AT:g} a scan"
SCAN_HEADS = ("area under the ROC curve", *SCAN_MEASURES[1:])

Stored = dict[str, Any]


def replaced(page: str, settings: dict[str, Setting], results: dict[str, Stored]) -> str:
    """The page with the table of every setting that has a place in it made anew."""
    adjusted = adjusted_of(results)
    for name, stored in results.items():
        page = put(page, name, table_of(settings[name], stored, adjusted.get(name, {})))
    return page


def put(page: str, name: str, lines: list[str]) -> str:
    """The page with other lines in a table's place; as it was if it has no such place."""
    begin, end = BEGIN.format(name), END.format(name)
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub("\n".join([begin, *lines, end]).replace("\\", r"\\"), page)


def adjusted_of(results: dict[str, Stored]) -> dict[str, dict[int, float]]:
    """Holm's p of the primary contrasts of all settings together, by setting and number of the contrast."""
    keys = [
        (name, number)
        for name, stored in results.items()
        for number, contrast in enumerate(stored.get("test", {}).get("contrasts", []))
        if contrast["primary"]
    ]
    values = [results[name]["test"]["contrasts"][number]["p"] for name, number in keys]
    found: dict[str, dict[int, float]] = {}
    for (name, number), value in zip(keys, holm(values), strict=True):
        found.setdefault(name, {})[number] = float(value)
    return found


def table_of(setting: Setting, stored: Stored, adjusted: dict[int, float]) -> list[str]:
    """Headroom, arms, contrasts, scans and errors: Markdown."""
    lines = headroom_lines(setting, stored["headroom"])
    if "test" in stored:
        lines += [
            "",
            *arm_lines(setting, stored["test"]),
            "",
            *contrast_lines(setting, stored["test"], adjusted),
        ]
        if "crops" in stored:
            lines += ["", *crop_lines(setting, stored["crops"])]
        if not setting.is_real:  # crops have a lesion each
            lines += ["", *scan_lines(setting, stored["test"])]
        if ELSEWHERE in stored:
            other = stored[ELSEWHERE]
            lines += [
                "",
                "At another site:",
                "",
                *arm_lines(setting, other),
                "",
                *contrast_lines(setting, other, {}),
            ]
            lines += ["", *scan_lines(setting, other)]
    if stored.get("errors"):
        lines += error_lines(stored["errors"])
    part: Stored = stored.get("test") or stored["headroom"]
    return [*lines, "", f"`{part['command']}` at commit {short(part['commit'])}, {part['date']}."]


def measure_of(setting: Setting) -> str:
    """What the primary measure is called."""
    if not setting.is_real:
        return "CPM"
    return f"mean sensitivity at {', '.join(f'{rate:g}' for rate in REAL_RATES)} false positives a whole scan"


def headroom_lines(setting: Setting, found: Stored) -> list[str]:
    stratum, (most, least) = strata_names(setting)[0], setting.headroom
    rows = [("**headroom**" if setting.endpoint == "mean" else "difference", "difference")]
    rows += [(setting.arms[name].title, name) for name in (most, least)]
    head = f"{measure_of(setting)}, {stratum}: {found['lesions'][stratum]} lesions in {found['scans']} "
    head += "validation scans"
    lines = [f"| {title} | {shown(found[name][f'{stratum}: mean'])} |" for title, name in rows]
    if setting.endpoint == "saved":
        lines = [f"| **headroom**: {SAVED} | {shown(found['difference'][f'{stratum}: saved'])} |", *lines]
    return [f"| {head} | |", "| --- | --- |", *lines]


def arm_lines(setting: Setting, test: Stored) -> list[str]:
    names = strata_names(setting)
    heads = [f"{measure_of(setting)}, {name} ({test['lesions'][name]} lesions)" for name in names]
    heads += [f"{names[0]}, sensitivity at {rate:g} false a scan" for rate in RATES]
    keys = [f"{name}: mean" for name in names] + [f"{names[0]}: sensitivity at {rate:g}" for rate in RATES]
    lines = [f"| {test['scans']} test scans | " + " | ".join(heads) + " |"]
    lines.append("| --- " * (len(heads) + 1) + "|")
    for arm, figures in test["arms"].items():
        lines.append(
            f"| {setting.arms[arm].title} | " + " | ".join(shown(figures[key]) for key in keys) + " |"
        )
    return lines


def contrast_lines(setting: Setting, test: Stored, adjusted: dict[int, float]) -> list[str]:
    names = [f"{name}: mean" for name in strata_names(setting)]
    heads = [f"difference, {name}" for name in strata_names(setting)]
    if setting.endpoint == "saved":
        names, heads = [f"{strata_names(setting)[0]}: saved", *names], [SAVED, *heads]
    lines = ["| | " + " | ".join(heads) + " | p | by Holm |", "| --- " * (len(names) + 3) + "|"]
    for number, contrast in enumerate(test["contrasts"]):
        title = f"{setting.arms[contrast['arm']].title} - {setting.arms[contrast['against']].title}"
        title = f"**{title}**" if contrast["primary"] else title
        values = [shown(contrast["difference"][name]) for name in names]
        ours = f"{adjusted[number]:.3f}" if number in adjusted else ""
        lines.append(f"| {title} | " + " | ".join(values) + f" | {contrast['p']:.3f} | {ours} |")
    return lines


def crop_lines(setting: Setting, crops: Stored) -> list[str]:
    """Arms and contrasts where false positives are counted beside the nodules of crops."""
    names = strata_names(setting)
    rates = ", ".join(f"{rate:g}" for rate in CROP_RATES)
    heads = [f"{name}, mean sensitivity at {rates} false positives a crop" for name in names]
    lines = ["| | " + " | ".join(heads) + " | p |", "| --- " * (len(names) + 2) + "|"]
    for arm, figures in crops["arms"].items():
        values = [shown(figures[f"{name}: mean"]) for name in names]
        lines.append(f"| {setting.arms[arm].title} | " + " | ".join(values) + " | |")
    for contrast in crops["contrasts"]:
        title = f"{setting.arms[contrast['arm']].title} - {setting.arms[contrast['against']].title}"
        values = [shown(contrast["difference"][f"{name}: mean"]) for name in names]
        lines.append(f"| {title} | " + " | ".join(values) + f" | {contrast['p']:.3f} |")
    return lines


def scan_lines(setting: Setting, test: Stored) -> list[str]:
    head = f"scans, {test['positive scans']} of {test['scans']} with lesions"
    lines = [f"| {head} | " + " | ".join(SCAN_HEADS) + " |", "| --- " * (len(SCAN_HEADS) + 1) + "|"]
    for arm, figures in test["arms"].items():
        values = [shown(figures[name]) for name in SCAN_MEASURES]
        lines.append(f"| {setting.arms[arm].title} | " + " | ".join(values) + " |")
    return lines


def error_lines(found: Stored) -> list[str]:
    """A table for all arms that have the same ends."""
    lines: list[str] = []
    for causes in dict.fromkeys(tuple(column) for column in found.values()):
        arms = {title: column for title, column in found.items() if tuple(column) == causes}
        head = "| what the base makes of the lesions it is given no place of | " + " | ".join(arms) + " |"
        lines += ["", head, "| --- " * (len(arms) + 1) + "|"]
        for cause in causes:
            lines.append(f"| {cause} | " + " | ".join(str(column[cause]) for column in arms.values()) + " |")
    return lines


def shown(value: list[float | None]) -> str:
    """A figure and its interval, as the page writes them."""
    middle, low, high = ("?" if v is None else re.sub(r"^(-?)0\.", r"\1.", f"{v:.3f}") for v in value)
    return middle if "?" in (low, high) else f"{middle} ({low} to {high})"


def short(commit: str) -> str:
    """The first digits; "+" stays where files differed from it."""
    return commit[:7] + commit[40:]
