"""The names of organs, from organs.tsv: what lies in what, what label maps call it, how high it is.

A label map comes as `organ_values`: names of organs, with "left " or "right " before them where the map tells
sides apart, and the values of their voxels. Names may be those of organs.tsv or of TotalSegmentator or the
synthetic maps.
"""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from resources.cases.strict import CaseError

Side = Literal["left", "right", "both"] | None
Values = Mapping[str, tuple[int, ...]]
FILE = Path(__file__).with_name("organs.tsv")
TOTALSEGMENTATOR = Path(__file__).with_name("totalsegmentator.tsv")
BACKGROUND = "background"


@dataclasses.dataclass(frozen=True)
class Organ:
    """A row of organs.tsv; see its head for what the columns mean."""

    name: str
    parents: tuple[str, ...]
    type: str | None
    paired: bool
    head: str | None
    totalsegmentator: tuple[str, ...]
    synthetic: tuple[str, ...]
    within: tuple[str, ...]
    base_mm: tuple[float, float] | None
    apex_mm: tuple[float, float] | None
    space: bool
    note: str


@functools.cache
def organs() -> dict[str, Organ]:
    """All rows of organs.tsv by name. Raises CaseError where a row names an organ that has none."""
    with FILE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"))
    table = {
        row["name"]: Organ(
            row["name"],
            _split(row["parent"], "+"),
            None if row["type"] == "-" else row["type"],
            row["paired"] == "yes",
            row["head"] or None,
            _split(row["totalsegmentator"], "|"),
            _split(row["synthetic"], "|"),
            _split(row["within"], "|"),
            _span(row["base_mm"]),
            _span(row["apex_mm"]),
            row["space"] == "yes",
            row["note"],
        )
        for row in rows
    }
    for organ in table.values():
        for name in (*organ.parents, *organ.within, *([organ.head] if organ.head else [])):
            if name not in table:
                raise CaseError(f"{FILE.name}: {organ.name}: expected names of the table, found {name!r}")
    return table


def _split(text: str, by: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(by)))


def _span(text: str) -> tuple[float, float] | None:
    """ "-230:110" or ":60"; None if empty."""
    if not text:
        return None
    low, high = text.split(":")
    return float(low) if low else -math.inf, float(high) if high else math.inf


@functools.cache
def canonical(name: str) -> tuple[str, Side]:
    """The organ and side that a name of a finding or of a label map stands for.

    "left kidney" and "kidney_left" have a side, "gall bladder" is the gallbladder. A name that organs.tsv
    does not know stands for itself: label maps may have classes of their own.
    """
    bare, side = name, None
    for one in ("left", "right"):
        if name.startswith(f"{one} "):
            bare, side = name.removeprefix(f"{one} "), one
    table = organs()
    if bare in table:
        return bare, side  # type: ignore[return-value]
    for organ in table.values():
        if bare in organ.synthetic:
            return organ.name, side  # type: ignore[return-value]
    for organ in table.values():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in organ.totalsegmentator):
            sides = [one for one in ("left", "right") if one in name.split("_")]
            return organ.name, sides[0] if sides and organ.paired else None
    return bare, side  # type: ignore[return-value]


@functools.cache
def ancestors(name: str) -> tuple[str, ...]:
    """An organ and all that it lies in, nearest first."""
    names = [name]
    for narrow in names:
        parents = organs()[narrow].parents if narrow in organs() else ()
        names += [parent for parent in parents if parent not in names]
    return tuple(names)


@functools.cache
def region(name: str) -> frozenset[str]:
    """An organ and all that lies in it: "spine" holds vertebra and sacrum."""
    return frozenset({name, *(other for other in organs() if name in ancestors(other))})


def type_of(name: str) -> str | None:
    """The lesion type of what is found in an organ; None where it may be several or none."""
    organ = organs().get(canonical(name)[0])
    return None if organ is None else organ.type


def exact_values(values: Values, organ: str, side: Side = None) -> tuple[int, ...]:
    """The map's values of an organ with all that lies in it, and of nothing else; () if it has none.

    What is said of the organ as a whole ("free of lesions") is said of these.
    """
    return _values_in(values, region(canonical(organ)[0]), side)


def place_values(values: Values, organ: str, side: Side = None, type: str | None = None) -> tuple[int, ...]:
    """The map's values of where a lesion of an organ is to be looked for; () if the map cannot tell.

    Its own, else those of what it lies `within`, else those of the nearest organ around it that the map has.
    A lymph node of no station lies where its lesion type does.
    """
    name = canonical(organ)[0]
    if name == "lymph node":
        return place_values(values, type, side) if type is not None and type in organs() else ()
    mapped = {canonical(key)[0] for key in values}
    if any(organs()[other].space and other not in mapped for other in region(name) if other in organs()):
        return ()
    exact = exact_values(values, name, side)
    if exact:
        return exact
    within = organs()[name].within if name in organs() else ()
    around = [place_values(values, other, side) for other in within]
    if around:
        return tuple(sorted({value for part in around for value in part})) if all(around) else ()
    wider = [_values_in(values, [other], side) for other in ancestors(name)[1:]]
    return next(filter(None, wider), ())


def _values_in(values: Values, names: Iterable[str], side: Side) -> tuple[int, ...]:
    """Values of the map's classes with these names; of one side where the map tells sides apart."""
    wanted = frozenset(names)
    sided: set[int] = set()
    either: set[int] = set()
    split: set[str] = set()
    for key, own in values.items():
        name, key_side = canonical(key)
        if name in wanted and key_side is not None:
            split.add(name)
            if side in (None, "both", key_side):
                sided.update(own)
    for key, own in values.items():
        name, key_side = canonical(key)
        if name in wanted and key_side is None and not (name in split and side in ("left", "right")):
            either.update(own)
    return tuple(sorted(sided | either))


@functools.cache
def height_mm(name: str) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Lowest and highest place of an organ above the lungs' bases, and above their apices; None: unknown.

    Of the organ itself, else of the nearest one that it lies in.
    """
    for wider in ancestors(name):
        organ = organs().get(wider)
        if organ is not None and (organ.base_mm is not None or organ.apex_mm is not None):
            return organ.base_mm, organ.apex_mm
    return None, None


@functools.cache
def head_classes() -> tuple[str, ...]:
    """The classes of the organ head, the background first, then as organs.tsv has them."""
    named = dict.fromkeys(organ.head for organ in organs().values() if organ.head is not None)
    return (BACKGROUND, *(name for name in named if name != BACKGROUND))


def head_class(name: str) -> str | None:
    """The class of the organ head that an organ belongs to; None if it has none."""
    organ = organs().get(canonical(name)[0])
    return None if organ is None else organ.head


def head_table(values: Values, largest: int) -> list[int]:
    """For each value 0 to `largest` of a label map the number of its head class; -1 where it has none."""
    classes = {name: number for number, name in enumerate(head_classes())}
    table = [-1] * (largest + 1)
    for name, own in values.items():
        class_name = head_class(name)
        for value in own if class_name is not None else ():
            if value <= largest:
                table[value] = classes[class_name or ""]
    return table


@functools.cache
def totalsegmentator_values() -> dict[str, tuple[int, ...]]:
    """`organ_values` of the label maps that TotalSegmentator (version 2, task "total") writes with --ml."""
    values: dict[str, tuple[int, ...]] = {}
    with TOTALSEGMENTATOR.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            name, side = canonical(row["class"])
            for key in (name, f"{side} {name}") if side else (name,):
                values[key] = (*values.get(key, ()), int(row["label"]))
    return values
