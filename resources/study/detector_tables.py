"""Stored figures of a detector's weights, as tables of docs/results.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resources.cli import counted
from resources.evaluation.matching import PRIMARY
from resources.study.real_figures import FALSE, RATES, SIZES_MM, column_of
from resources.study.steps import RATES as SYNTHETIC_RATES
from resources.study.tables import SCAN_HEADS, put, short, shown

REAL, DETECTOR, PEERS = "real", "detector", "peers"
"""Folders, beside the study's stored results: of files that resources.study.real has written, one for each
weights; of NAME.json that other commands have, see TABLES; of those of resources.study.peers, by setting."""
GROUP = f"nodules of {SIZES_MM[0]:g} mm or more"
ORGANS = ("lung", "liver", "kidney", "spine", "spleen", "heart", "muscle")
DETECTORS = {
    "base": "ours: the base",
    "unet": "MONAI's U-Net, connected components",
    "retinanet": "MONAI's RetinaNet, ResNet-10",
    "unet naive": "MONAI's U-Net, marks too, the unmarked healthy",
    "retinanet naive": "MONAI's RetinaNet, marks too, the unmarked healthy",
}
PEER_MEASURES = ("sensitivity at 1", "sensitivity at 4", "mean")
PROBES = {"as they are": "whole", "cut to one side": "side", "nodule erased": "erased"}

Stored = dict[str, Any]


def with_detector_tables(page: str, folder: Path) -> str:
    """The page with the tables made anew of all files in the three folders: in its places "real SPLIT", a row
    for each file in the order of their names, NAME, and "peers SETTING".
    """
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / REAL).glob("*.json"))
    ]
    for split in dict.fromkeys(stored["split"] for stored in results):
        rows = [stored for stored in results if stored["split"] == split]
        page = put(page, f"real {split}", real_lines(rows))
    for name, lines in TABLES.items():
        path = folder / DETECTOR / f"{name}.json"
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            origin = f"Weights {stored['weights_sha256'][:12]}, at commit {short(stored['commit'])}:"
            page = put(page, name, [origin, "", *lines(stored)])
    for path in sorted((folder / PEERS).glob("*.json")):
        page = put(page, f"peers {path.stem}", peer_lines(json.loads(path.read_text(encoding="utf-8"))))
    return page


def real_lines(results: list[Stored]) -> list[str]:
    """A row for each weights: sensitivity for nodules at rates of false positives and at the operating point,
    and the rates there.
    """
    first = results[0]["rules"][PRIMARY.name]["groups"][GROUP]
    head = f"{GROUP} ({first['lesions']}), sensitivity at false positives a whole scan"
    rows = []
    for stored in results:
        figures = stored["rules"][PRIMARY.name]
        found = figures["groups"][GROUP]["sensitivity"]
        point = column_of(None, figures["operating_point"])
        estimates = [found[column_of(rate)] for rate in RATES]
        estimates.append(found[point])
        estimates += [figures[key][point] for key in FALSE.values()]
        title = f"{stored['weights']} ({stored['weights_sha256'][:12]})"
        rows.append([title, *map(cell, estimates), short(stored["commit"])])
    rates = [f"{rate:g}" for rate in RATES]
    return markdown([head, *rates, "at the operating point", *FALSE, "commit"], rows)


def crop_lines(stored: Stored) -> list[str]:
    """Of resources.study.crop_probe: the share of nodules with a detection at their place."""
    rows = [
        [title, *(number(shares[name]) for name in PROBES.values())]
        for title, shares in stored["shares"].items()
    ]
    return markdown([counted(stored["nodules"], "nodule"), *PROBES], rows)


def organ_lines(stored: Stored) -> list[str]:
    """Of resources.study.organs: Dice, and the organs named for detections."""
    rows = [
        [f"{stored['scans']} synthetic scans", *(cell(stored["cases"][name]) for name in ORGANS)],
        ["real trunk", *(number(stored["abdomen"][name]) for name in ORGANS)],
    ]
    right = stored["detections"]
    share = f"{right['right']} of {right['of']} lesions"
    told = f"The organ of a detection above the operating point is right for {share}."
    return [*markdown(["Dice", *ORGANS], rows), "", told]


def synthetic_lines(stored: Stored) -> list[str]:
    """Of resources.study.difficulty: lesions, scans, and strata of the detector, group by group."""
    lesions, scans, strata = [], [], []
    for title, pages in stored["groups"].items():
        detector = pages["detector"]
        counts = [str(detector["counts"][name]) for name in ("scans", "lesions", "scans_negative")]
        for name, page in pages.items():
            lesions.append([f"{title}, {name}", *counts[:2], *map(cell, page["measures"].values())])
        scans.append([title, counts[2], *map(cell, detector["scans"].values())])
        for row in detector["strata"]:
            stratum = f"{row['division']} {row['stratum']}"
            strata.append([title, stratum, str(row["lesions"]), cell(row["cpm"])])
    rates = [f"at {rate}" for rate in SYNTHETIC_RATES]
    heads = ["scans", "without lesions", *SCAN_HEADS, "expected calibration error"]
    return [
        *markdown(["sensitivity at false positives a scan", "scans", "lesions", *rates, "CPM"], lesions),
        "",
        *markdown(heads, scans),
        "",
        *markdown(["scans", "stratum", "lesions", "CPM"], strata),
    ]


def speed_lines(stored: Stored) -> list[str]:
    """Of resources.study.benchmark."""
    rows = [["from the start of a cold process to its end", f"{stored['cold_s']:.2f} s"]]
    rows += [[f"of these: {name}", f"{seconds:.2f} s"] for name, seconds in stored["stages_s"].items()]
    rows.append(["peak memory", f"{stored['peak_gb']:.2f} GB"])
    rows.append(["rate of the network, of the best convolution's", f"{stored['network_share_of_peak']:.0%}"])
    if "retinanet_times" in stored:
        rows.append(["MONAI's RetinaNet, times the network", f"{stored['retinanet_times']:.0f}"])
    head = f"{stored['scan_mb']:.0f} MB on {stored['device']}, {stored['threads']} threads"
    return markdown([head, ""], rows)


def peer_lines(stored: Stored) -> list[str]:
    """Of resources.study.peers: a row for the base and for each peer."""
    rows = [
        [
            DETECTORS[name],
            f"{one['parameters']:,}",
            f"{one['steps']:,}",
            "?" if one["minutes"] is None else f"{one['minutes']:.0f}",
            f"{one['seconds_a_scan']:.1f}",
            *(shown(one["measures"][f"all: {what}"]) for what in PEER_MEASURES),
            shown(one["difference"]["all: mean"]) if "difference" in one else "",
            short(one["commit"]),
        ]
        for name, one in ((name, stored[name]) for name in DETECTORS if name in stored)
    ]
    first = next(iter(stored.values()))
    head = f"{counted(first['scans'], 'test scan')}, {counted(first['lesions'], 'lesion')}"
    effort = ["parameters", "steps", "minutes of training", "seconds a scan"]
    heads = ["sensitivity at 1 false a scan", "at 4", "CPM", "CPM minus ours", "commit"]
    return markdown([head, *effort, *heads], rows)


TABLES = {
    "crops": crop_lines,
    "organs": organ_lines,
    "synthetic": synthetic_lines,
    "difficulty": synthetic_lines,
    "speed": speed_lines,
}
"""By name of the stored file, which is that of the table's place."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def cell(estimate: Stored) -> str:
    return shown([estimate["value"], estimate["lower"], estimate["upper"]])


def number(value: float | None) -> str:
    """Without an interval; nothing where there is none."""
    return "" if value is None else shown([value, None, None])
