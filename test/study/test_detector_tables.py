"""Stored figures of a detector's weights become the page's tables."""

import json
from pathlib import Path
from typing import Any

from resources.study.detector_tables import DETECTOR, ORGANS, TABLES, short, with_detector_tables
from resources.study.steps import RATES, SCAN_MEASURES, Figures, store
from resources.study.tables import BEGIN, END


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "lower": value / 2, "upper": 2 * value}


def page_of(cpm: float) -> Figures:
    return {
        "counts": {"scans": 5, "lesions": 7, "scans_negative": 2},
        "measures": {f"sensitivity_at_{rate}": estimate(0.25) for rate in RATES} | {"cpm": estimate(cpm)},
        "scans": {name: estimate(0.5) for name in SCAN_MEASURES},
        "strata": [{"division": "size", "stratum": "below 10 mm", "lesions": 4, "cpm": estimate(0.125)}],
    }


SYNTHETIC = {"groups": {"site A": {"detector": page_of(0.5), "blobs dark": page_of(0.0625)}}}
STORED: dict[str, Figures] = {
    "crops": {"nodules": 3, "shares": {"p >= 0.1": {"whole": 1.0, "side": 0.5, "erased": 0.0}}},
    "organs": {
        "scans": 2,
        "cases": {name: estimate(0.25) for name in ORGANS},
        "abdomen": dict.fromkeys(ORGANS, 0.5) | {"heart": None},
        "detections": {"right": 3, "of": 4},
    },
    "synthetic": SYNTHETIC,
    "difficulty": SYNTHETIC,
    "speed": {
        "device": "cpu",
        "threads": 2,
        "scan_mb": 117.4,
        "cold_s": 3.7,
        "stages_s": {"read": 0.25},
        "peak_gb": 2.3,
        "network_share_of_peak": 0.6,
        "retinanet_times": 85.2,
    },
}
ROW = ".250 (.125 to .500) | .250 (.125 to .500) | .250 (.125 to .500) | .250 (.125 to .500)"
WANTED = {
    "crops": ["| p >= 0.1 | 1.000 | .500 | .000 |"],
    "organs": [
        f"| 2 synthetic scans | {ROW} | .250 (.125 to .500) | .250 (.125 to .500) | .250 (.125 to .500) |",
        "| real trunk | .500 | .500 | .500 | .500 | .500 |  | .500 |",
        "The organ of a detection above the operating point is right for 3 of 4 lesions.",
    ],
    "synthetic": [
        f"| site A, detector | 5 | 7 | {ROW} | .500 (.250 to 1.000) |",
        f"| site A, blobs dark | 5 | 7 | {ROW} | .062 (.031 to .125) |",
        "| site A | size below 10 mm | 4 | .125 (.062 to .250) |",
    ],
    "speed": [
        "| 117 MB on cpu, 2 threads |  |",
        "| from the start of a cold process to its end | 3.70 s |",
        "| of these: read | 0.25 s |",
        "| peak memory | 2.30 GB |",
        "| rate of the network, of the best convolution's | 60% |",
        "| MONAI's RetinaNet, times the network | 85 |",
    ],
}


def test_each_file_becomes_the_table_of_its_name(tmp_path: Path, weights: Path) -> None:
    assert set(STORED) == set(TABLES)
    for name, figures in STORED.items():
        store(tmp_path / DETECTOR / f"{name}.json", weights, figures)
    marks = [f"{BEGIN.format(name)}\nbefore\n{END.format(name)}\n" for name in TABLES]
    made = with_detector_tables("".join(marks), tmp_path)
    assert "before" not in made
    for name, lines in WANTED.items():
        part = made[made.index(BEGIN.format(name)) : made.index(END.format(name))].splitlines()
        assert [line for line in lines if line not in part] == []
        stored: Any = json.loads((tmp_path / DETECTOR / f"{name}.json").read_text(encoding="utf-8"))
        assert part[1] == f"Weights {stored['weights_sha256'][:12]}, at commit {short(stored['commit'])}:"
        for table in "\n".join(part[3:]).split("\n\n"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_commit_that_files_differed_from_says_so() -> None:
    assert [short("0123456789" * 4 + end) for end in ("", "+")] == ["0123456", "0123456+"]


def test_a_place_without_a_file_stays_as_it_is(tmp_path: Path) -> None:
    page = f"a\n{BEGIN.format('crops')}\nbefore\n{END.format('crops')}\n"
    assert with_detector_tables(page, tmp_path) == page
