"""Drafts to findings: organ, type and side by the tables, and what the text says twice only once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from typing import cast

from resources.cases.case import Finding
from resources.reports.anatomy import REGIONS, related
from resources.reports.drafts import Draft
from resources.reports.text import CleanText
from resources.reports.vocabulary import Place, Tongue, ancestors, lesion_words, places, station

ROUNDING_MM = 1.0
"""Sizes that differ by less are the same: 2.3 cm and 23 mm."""


RECENT = 20
"""Findings of the same section that a later one can restate."""
VAGUE = ("lesion", "focus", "nodule", "mass", "hypodensity", "hyperdensity")
CANDIDATES = 300
"""Earlier findings of a section that a later one is compared with; keeps reading linear."""


@dataclasses.dataclass(slots=True)
class _Kept:
    """A draft that becomes a finding, and the place it resolves to."""

    draft: Draft
    place: Place | None

    def absorb(self, other: _Kept) -> None:
        """Takes over what `other` says more of the same lesion."""
        kept, more = self.draft, other.draft
        kept.sizes = max(kept.sizes, more.sizes, key=len)
        kept.reference = kept.reference or more.reference
        kept.side = kept.side or more.side
        if more.character != "indeterminate" and (more.character, more.presence) != ("benign", "uncertain"):
            kept.character = more.character
        if kept.presence == "absent":
            kept.normal = kept.normal and more.normal
            return
        if "present" in (kept.presence, more.presence):
            kept.presence = "present"
        if other.place is not None and (self.place is None or self.place.name in ancestors(other.place.name)):
            self.place = other.place


def resolve(draft: Draft) -> Place | None:
    """The place a draft's lesion lies in, a lymph node's by its station; None: unknown."""
    return _resolved(draft.words, draft.kind, draft.place, draft.tissue)


@functools.lru_cache(10_000)
def _resolved(names: tuple[str, ...], kind: str, name: str | None, tissue: str) -> Place | None:
    table = places()
    words = [lesion_words()[name] for name in names]
    default = next((w.place for w in words if w.place), "") or tissue
    nodal = kind == "node" or default == "lymph node"
    if name is None:
        whole = default or ("lymph node" if nodal else "")
        return table[whole] if whole else None
    place = table[name]
    if nodal or (place.nodal and names[0] in ("lesion", "target lesion", "focus", "deposit")):
        return table[name] if name.endswith("lymph node") else table[station(name) or "lymph node"]
    if default == "bone" and name in ("iliac", "pelvis"):
        return table["pelvic bone"]
    if default and place.weak and default not in ancestors(name):
        return table[default]
    if default == "bone" and "bone" not in ancestors(name):
        return table["bone"]
    if place.name == "head" and "bone" in default:
        return table["skull"]
    return place


def aggregate(drafts: list[Draft], text: CleanText, language: Tongue) -> list[Finding]:
    """One finding a lesion, in the order of the text."""
    kept: list[_Kept] = []
    denied: dict[Hashable, _Kept] = {}
    by_section: dict[str, list[_Kept]] = {}
    for draft in (d for d in drafts if not d.listed):
        new = _Kept(draft, resolve(draft))
        if draft.presence == "absent":
            same = denied.setdefault((new.place, draft.side or "both", _nodal(draft), draft.time), new)
        else:
            others = [
                k for name in by_section if name != draft.section for k in by_section[name][:CANDIDATES]
            ]
            alike = [k for k in others if _same(k, new)]
            alike = alike or [k for k in by_section.get(draft.section, [])[-RECENT:] if _restated(k, new)]
            same = max(alike, key=lambda k: _closeness(k.draft, draft), default=new)
        if same is not new:
            same.absorb(new)
            continue
        kept.append(new)
        if draft.presence != "absent":
            by_section.setdefault(draft.section, []).append(new)
    stated = {(k.place.organ, k.draft.side) for k in kept if k.draft.presence != "absent" and k.place}
    around = {
        (wide, None) for organ, _ in stated for wide in ancestors(organ) if wide in REGIONS and wide != organ
    }
    stated |= around
    return [
        _finding(k.draft, k.place, text, language)
        for k in kept
        if not (k.draft.normal and k.place is not None and _contradicted(k.place, k.draft.side, stated))
    ]


def _contradicted(place: Place, side: str | None, stated: set[tuple[str, str | None]]) -> bool:
    return any(
        organ == place.organ and (None in (side, other) or side == other or "both" in (side, other))
        for organ, other in stated
    )


def _same(one: _Kept, other: _Kept) -> bool:
    """Whether two drafts of different sections speak of one lesion."""
    a, b, place_a, place_b = one.draft, other.draft, one.place, other.place
    if a.time != b.time:
        return False
    if a.reference and b.reference and place_a == place_b and place_a is not None:
        same_image = (a.reference.series, a.reference.images) == (b.reference.series, b.reference.images)
        if same_image and not _apart(a.side, b.side):
            return True
    if "impression" not in (a.section, b.section):
        return a.count == b.count and _alike(a, b, place_a, place_b) and _equal(a.sizes, b.sizes)
    if {a.character, b.character} == {"benign", "suspicious"} and not _equal(a.sizes, b.sizes):
        return False
    return _alike(a, b, place_a, place_b) and (not b.sizes or not a.sizes or _equal(a.sizes, b.sizes))


def _restated(one: _Kept, other: _Kept) -> bool:
    """Whether a section says again what it has measured: "Adrenal mass, 42 mm. ... mass of 42 x 38 mm"."""
    a, b = one.draft, other.draft
    single = a.count == b.count == 1 and a.time == b.time and bool(a.sizes)
    if not single or one.place is None or other.place is None or one.place.organ != other.place.organ:
        return False
    if a.side != b.side or a.words[0].split()[-1] != b.words[0].split()[-1] or a.reference or b.reference:
        return False
    if b.sizes:
        return a.side is not None and len(a.sizes) == 1 < len(b.sizes) and a.sizes[0] == max(b.sizes)
    if b.indefinite:
        return False
    return other.place.name == other.place.organ and a.words[0] not in VAGUE and b.words[0] not in VAGUE


def _closeness(one: Draft, other: Draft) -> tuple[bool, bool, bool]:
    """How much one of several candidates is the same lesion: by size, by word, by side."""
    return _equal(one.sizes, other.sizes), bool({*one.words} & {*other.words}), one.side == other.side


def _alike(a: Draft, b: Draft, place_a: Place | None, place_b: Place | None) -> bool:
    if _apart(a.side, b.side):
        return False
    if place_a is None or place_b is None:
        return (
            place_b is None
            and place_a is not None
            and _nodal(a) == _nodal(b)
            and (bool({*a.words} & {*b.words}) or {a.words[0], b.words[0]} <= {*VAGUE})
        )
    if _nodal(a) != _nodal(b) and place_a != place_b:
        return False
    return related(place_a.name, place_b.name) or (place_b.name == "lymph node" and _nodal(a))


def _apart(one: str | None, other: str | None) -> bool:
    return {one, other} == {"left", "right"}


def _nodal(draft: Draft) -> bool:
    place = resolve(draft)
    return place is not None and place.name.endswith("lymph node")


def _equal(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return any(abs(a - b) <= ROUNDING_MM for a in one for b in other)


def _finding(draft: Draft, place: Place | None, text: CleanText, language: Tongue) -> Finding:
    absent = draft.presence == "absent"
    side = (draft.side or place.side or None) if place is not None and place.paired else None
    reference = None if absent else draft.reference
    return Finding(
        type=place.type if place else None,
        organ=place.organ if place else None,
        side=cast("None", side),
        count=None if absent else draft.count,
        sizes_mm=() if absent else draft.sizes,
        series=reference.series if reference else None,
        images=reference.images if reference else (),
        presence=draft.presence,
        time=draft.time,
        character=cast("None", draft.character),  # type: ignore[arg-type]
        span=text.span(draft.start, max(draft.end, draft.start)),
        language=language,
    )
