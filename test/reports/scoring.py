"""Precision and recall of read findings against annotated ones, on ever stricter terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

Key = Callable[[dict[str, Any]], Hashable | None]


def _sized(f: dict[str, Any]) -> Hashable | None:
    if f["presence"] == "absent" or not f["sizes_mm"]:
        return None
    return (f["organ"], tuple(f["sizes_mm"]))


def _present(f: dict[str, Any]) -> Hashable | None:
    return None if f["presence"] == "absent" else (f["type"], f["organ"], tuple(f["sizes_mm"]))


def _absent(f: dict[str, Any]) -> Hashable | None:
    return (f["type"], f["organ"]) if f["presence"] == "absent" else None


def _full(f: dict[str, Any]) -> Hashable | None:
    names = ("type", "organ", "side", "count", "series", "presence", "time", "character")
    values = f if f["presence"] != "absent" else {**f, "character": "indeterminate", "side": None}
    return (*(values[name] for name in names), tuple(f["sizes_mm"]), tuple(f["images"]))


LEVELS: dict[str, Key] = {
    "sizes with their organ": _sized,
    "present: type, organ, sizes": _present,
    "absent: type, organ": _absent,
    "all fields": _full,
}


class Score:
    """Counts over many reports."""

    def __init__(self) -> None:
        self.right = self.read = self.annotated = 0

    def add(
        self, found: Iterable[dict[str, Any]], gold: Iterable[dict[str, Any]], key: Key
    ) -> tuple[list, list]:
        """Adds one report; returns what was read wrongly and what was missed."""
        read = Counter(k for f in found if (k := key(f)) is not None)
        true = Counter(k for f in gold if (k := key(f)) is not None)
        self.right += sum((read & true).values())
        self.read += sum(read.values())
        self.annotated += sum(true.values())
        return list((read - true).elements()), list((true - read).elements())

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.read + self.annotated) if self.read + self.annotated else 1.0
