"""Stored results of resources.study.real, one file for each weights, as a table of docs/results.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resources.evaluation.matching import PRIMARY
from resources.study.real_figures import RATES, SIZES_MM, column_of
from resources.study.tables import put, shown

REAL = "real"
"""Folder, beside the study's stored results, of files that resources.study.real has written."""
GROUP = f"nodules of {SIZES_MM[0]:g} mm or more"

Stored = dict[str, Any]


def with_real_tables(page: str, folder: Path) -> str:
    """The page with a table made anew, in its place "real SPLIT", of the files of a folder that have this
    split; in the order of their names.
    """
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    for split in dict.fromkeys(stored["split"] for stored in results):
        rows = [stored for stored in results if stored["split"] == split]
        page = put(page, f"real {split}", real_lines(rows))
    return page


def real_lines(results: list[Stored]) -> list[str]:
    """A row for each weights: sensitivity for nodules at rates of false positives, and the rate at the
    operating point. Markdown.
    """
    first = results[0]["rules"][PRIMARY.name]["groups"][GROUP]
    head = f"{GROUP} ({first['lesions']}), sensitivity at false positives a whole scan"
    rates = [f"{rate:g}" for rate in RATES]
    lines = [f"| {' | '.join([head, *rates, 'false positives a scan at the operating point', 'commit'])} |"]
    lines.append("| --- " * (len(rates) + 3) + "|")
    for stored in results:
        figures = stored["rules"][PRIMARY.name]
        found = figures["groups"][GROUP]["sensitivity"]
        point = column_of(None, figures["operating_point"])
        estimates = [found[column_of(rate)] for rate in RATES]
        estimates.append(figures["false_positives_per_whole_scan"][point])
        cells = [shown([each["value"], each["lower"], each["upper"]]) for each in estimates]
        title = f"{stored['weights']} ({stored['weights_sha256'][:12]})"
        lines.append(f"| {' | '.join([title, *cells, stored['commit'][:7]])} |")
    return lines
