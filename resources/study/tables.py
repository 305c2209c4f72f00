"""From stored results to the tables of docs/results.md."""

from __future__ import annotations

import re
from typing import Any

from resources.evaluation.statistics import holm
from resources.study.contrasts import ALL, SCAN_MEASURES, WITH, WITHOUT
from resources.study.measured import stratum_of
from resources.study.setting import Setting
from resources.study.steps import ROOT

PAGE = ROOT / "docs" / "results.md"
RESULTS = ROOT / "resources" / "study" / "results"
BEGIN, END = "<!-- study: {} -->", "<!-- end of study: {} -->"
"""Lines between which a table stands."""
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
        lines += ["", *scan_lines(setting, stored["test"])]
    if stored.get("errors"):
        lines += ["", *error_lines(setting, stored["errors"])]
    part: Stored = stored.get("test") or stored["headroom"]
    return [*lines, "", f"`{part['command']}` at commit {part['commit']}, {part['date']}."]


def strata(setting: Setting) -> list[str]:
    return [WITHOUT, WITH, ALL] if setting.without_masks else [ALL]


def headroom_lines(setting: Setting, found: Stored) -> list[str]:
    stratum, (most, least) = stratum_of(setting), setting.headroom
    rows = [("**headroom**", "difference"), *((setting.arms[name].title, name) for name in (most, least))]
    head = f"CPM, {stratum}: {found['lesions'][stratum]} lesions in {found['scans']} validation scans"
    lines = [f"| {title} | {shown(found[name][f'{stratum}: cpm'])} |" for title, name in rows]
    return [f"| {head} | |", "| --- | --- |", *lines]


def arm_lines(setting: Setting, test: Stored) -> list[str]:
    names = strata(setting)
    heads = [f"CPM, {name} ({test['lesions'][name]} lesions)" for name in names]
    heads += [f"{names[0]}, sensitivity at {rate} false a scan" for rate in (1, 4)]
    keys = [f"{name}: cpm" for name in names] + [f"{names[0]}: sensitivity at {rate}" for rate in (1, 4)]
    lines = [f"| {test['scans']} test scans | " + " | ".join(heads) + " |"]
    lines.append("| --- " * (len(heads) + 1) + "|")
    for arm, figures in test["arms"].items():
        lines.append(
            f"| {setting.arms[arm].title} | " + " | ".join(shown(figures[key]) for key in keys) + " |"
        )
    return lines


def contrast_lines(setting: Setting, test: Stored, adjusted: dict[int, float]) -> list[str]:
    names = strata(setting)
    lines = ["| difference in CPM | " + " | ".join(names) + " | p | by Holm |"]
    lines.append("| --- " * (len(names) + 3) + "|")
    for number, contrast in enumerate(test["contrasts"]):
        title = f"{setting.arms[contrast['arm']].title} - {setting.arms[contrast['against']].title}"
        title = f"**{title}**" if contrast["primary"] else title
        values = [shown(contrast["difference"][f"{name}: cpm"]) for name in names]
        ours = f"{adjusted[number]:.3f}" if number in adjusted else ""
        lines.append(f"| {title} | " + " | ".join(values) + f" | {contrast['p']:.3f} | {ours} |")
    return lines


def scan_lines(setting: Setting, test: Stored) -> list[str]:
    head = f"scans, {test['positive scans']} of {test['scans']} with lesions"
    lines = [f"| {head} | " + " | ".join(SCAN_HEADS) + " |", "| --- " * (len(SCAN_HEADS) + 1) + "|"]
    for arm, figures in test["arms"].items():
        values = [shown(figures[name]) for name in SCAN_MEASURES]
        lines.append(f"| {setting.arms[arm].title} | " + " | ".join(values) + " |")
    return lines


def error_lines(setting: Setting, found: Stored) -> list[str]:
    lines = ["| what the base makes of the lesions in the hospital's reports | " + " | ".join(found) + " |"]
    lines.append("| --- " * (len(found) + 1) + "|")
    causes = list(next(iter(found.values())))
    for cause in causes:
        lines.append(f"| {cause} | " + " | ".join(str(column[cause]) for column in found.values()) + " |")
    return lines


def shown(value: list[float | None]) -> str:
    """A figure and its interval, as the page writes them."""
    middle, low, high = ("?" if v is None else re.sub(r"^(-?)0\.", r"\1.", f"{v:.3f}") for v in value)
    return middle if "?" in (low, high) else f"{middle} ({low} to {high})"
