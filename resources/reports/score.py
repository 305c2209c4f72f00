"""Scores report readers against annotations: python -m resources.reports.score TRUTH.jsonl READ.jsonl ...

Each file has one line a report, as `python -m resources.reports` writes it. The first file is the truth, each
further one a reader. Findings without `span` are matched by organ and sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from resources.cli import end_with
from resources.reports.schema import ReportError, records

Row = Mapping[str, Any]
NEAR = 60
"""Characters between two spans that can still speak of one lesion."""
HALF_MM = 0.5
FIELDS = ("type", "organ", "side", "count", "series", "presence", "time", "character")


@dataclasses.dataclass
class Count:
    """How many findings of one kind are right, were read, and are annotated."""

    right: int = 0
    read: int = 0
    annotated: int = 0

    @property
    def f1(self) -> float:
        total = self.read + self.annotated
        return 2 * self.right / total if total else 1.0

    def add(self, right: int, read: int, annotated: int) -> None:
        self.right += right
        self.read += read
        self.annotated += annotated


KINDS = (
    "lesion",
    "organ",
    "sizes",
    "negatives",
    "all fields",
    "organs cleared wrongly",
    "scans cleared wrongly",
)


class Score:
    """Counts of each kind over many reports.

    lesion: a stated (not absent) finding was read at its place in the text. organ, sizes: and with that
    organ, those sizes. negatives: organs of absent findings, each once a report. all fields: everything but
    the span. organs cleared wrongly: absent in what was read, stated and not absent in the truth.
    """

    def __init__(self) -> None:
        self.counts = {kind: Count() for kind in KINDS}

    def add(self, found: Sequence[Row], truth: Sequence[Row]) -> list[str]:
        """Adds one report. Returns its errors, each a line."""
        stated, wanted = [f for f in found if _stated(f)], [f for f in truth if _stated(f)]
        pairs = match(stated, wanted)
        organ = [p for p in pairs if p[0]["organ"] == p[1]["organ"]]
        sized = [p for p in pairs if p[1]["sizes_mm"] and _same_sizes(*p)]
        self.counts["lesion"].add(len(pairs), len(stated), len(wanted))
        self.counts["organ"].add(len(organ), len(stated), len(wanted))
        self.counts["sizes"].add(len(sized), _sized(stated), _sized(wanted))
        denied, free = _denied(found), _denied(truth)
        self.counts["negatives"].add(len(denied & free), len(denied), len(free))
        full = [p for p in pairs if _same(*p)]
        absent, gone = _absent(found), _absent(truth)
        right = len(full) + len(absent & gone)
        self.counts["all fields"].add(right, len(stated) + len(absent), len(wanted) + len(gone))
        sick = {f["organ"] for f in wanted} - free
        self.counts["organs cleared wrongly"].read += len((denied - {None}) & sick)
        self.counts["scans cleared wrongly"].read += None in denied - free
        return _errors(stated, wanted, pairs, full) + [
            f"{sign} no {name}"
            for sign, names in (("extra ", denied - free), ("missed", free - denied))
            for name in sorted(map(str, names))
        ]


def match(found: Sequence[Row], truth: Sequence[Row]) -> list[tuple[Row, Row]]:
    """The one-to-one pairs of most agreement; spans must be near, or organ and sizes the same."""
    if not found or not truth:
        return []
    worth = np.array([[_worth(f, t) for t in truth] for f in found])
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(found[i], truth[j]) for i, j in zip(rows, columns, strict=True) if worth[i, j] > 0]


def _worth(found: Row, truth: Row) -> float:
    spans = [f.get("span") for f in (found, truth)]
    known = [tuple(s) for s in spans if s and tuple(s) != (0, 0)]
    gap = max(s[0] for s in known) - min(s[1] for s in known) if len(known) == 2 else None
    organ, sizes = found["organ"] == truth["organ"], _same_sizes(found, truth)
    if not (gap is not None and gap <= NEAR or organ and sizes):
        return 0.0
    near = 0.0 if gap is None else 1.0 if gap <= 0 else 0.5 * (1 - min(gap, NEAR) / NEAR)
    exact = sum(found.get(name) == truth.get(name) for name in FIELDS) / 20
    return 0.1 + near + organ + sizes * (1.0 if truth["sizes_mm"] else 0.5) + exact


def _stated(finding: Row) -> bool:
    return bool(finding["presence"] != "absent")


def _sized(findings: Iterable[Row]) -> int:
    return sum(bool(f["sizes_mm"]) for f in findings)


def _same_sizes(one: Row, other: Row) -> bool:
    a, b = sorted(one["sizes_mm"]), sorted(other["sizes_mm"])
    return len(a) == len(b) and all(abs(x - y) <= HALF_MM for x, y in zip(a, b, strict=True))


def _denied(findings: Iterable[Row]) -> set[str | None]:
    return {f["organ"] for f in findings if not _stated(f) and f["time"] != "resolved"}


def _absent(findings: Iterable[Row]) -> set[tuple[Any, ...]]:
    return {(f["type"], f["organ"], f["time"]) for f in findings if not _stated(f)}


def _same(one: Row, other: Row) -> bool:
    same = all(one[name] == other[name] for name in FIELDS)
    return same and _same_sizes(one, other) and tuple(one["images"]) == tuple(other["images"])


def _errors(
    stated: Sequence[Row],
    wanted: Sequence[Row],
    pairs: Sequence[tuple[Row, Row]],
    full: Sequence[tuple[Row, Row]],
) -> list[str]:
    right = {id(f) for pair in full for f in pair}
    paired = {id(f) for pair in pairs for f in pair}
    lines = [f"differs read {_shown(f)}; true {_shown(t)}" for f, t in pairs if id(f) not in right]
    lines += [f"extra   {_shown(f)}" for f in stated if id(f) not in paired]
    return lines + [f"missed  {_shown(f)}" for f in wanted if id(f) not in paired]


def _shown(f: Row) -> str:
    sizes = "x".join(f"{mm:g}" for mm in f["sizes_mm"])
    images = f"{f['series']}:{','.join(map(str, f['images']))}" if f["images"] else ""
    parts = (f["organ"], f["side"], f["count"], sizes, images, f["presence"], f["time"], f["character"])
    return " ".join(str(p) for p in parts if p)


def read_rows(path: Path) -> dict[str, list[Row]]:
    """Findings by report of a JSON Lines file, as they stand there. Raises ReportError naming the line."""
    return {name: findings for _, name, findings in records(path)}


def score(
    found: Mapping[str, Sequence[Row]], truth: Mapping[str, Sequence[Row]], where: Path
) -> tuple[Score, list[str]]:
    """The score of one reader on the annotated reports, and its errors. Raises ReportError."""
    missing = sorted(set(truth) - set(found))
    if missing:
        raise ReportError(
            f"{where}: expected findings of all {len(truth)} annotated reports, found none of {missing[0]!r}"
        )
    total, errors = Score(), []
    for name in truth:
        errors += [f"{name}: {line}" for line in total.add(found[name], truth[name])]
    return total, errors


def table(scores: Mapping[str, Score]) -> Table:
    """F1 of each kind, one column a reader; what was cleared wrongly as counts."""
    shown = Table("F1 (right; read; annotated)", *scores)
    for kind in KINDS:
        counts = [s.counts[kind] for s in scores.values()]
        wrongly = kind.endswith("wrongly")
        cells = [
            str(c.read) if wrongly else f"{c.f1:.3f} ({c.right}; {c.read}; {c.annotated})" for c in counts
        ]
        shown.add_row(kind, *cells)
    return shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.reports.score", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("truth", type=Path, help="annotated findings, one report a line")
    parser.add_argument("read", type=Path, nargs="+", help="what a reader found, in the same form")
    parser.add_argument("--show", action="store_true", help="print every error")
    options = parser.parse_args(arguments)
    scores: dict[str, Score] = {}
    try:
        truth = read_rows(options.truth)
        for path in options.read:
            scores[path.name], errors = score(read_rows(path), truth, path)
            if options.show:
                print("\n".join(errors))
    except ReportError as error:
        return end_with(error)
    Console(width=max(80, 40 + 30 * len(scores))).print(table(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
