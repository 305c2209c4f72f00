"""The sizes of one group of lesion words: one lesion, several, or the largest of many."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from resources.reports import sizing
from resources.reports.anatomy import Group, lies_in, related
from resources.reports.drafts import Draft, Scene, own_side, reference
from resources.reports.mentions import Mention
from resources.reports.vocabulary import places


def sized(
    scene: Scene, base: Draft, group: Group, found: list[Mention], chosen: list[Mention]
) -> list[Draft]:
    parts = sizing.join_axes(found, scene.cues, scene.text)
    largest = scene.cues.named("largest")
    base.end = max(base.end, found[-1].end)
    base.start = min(base.start, found[0].start)
    ranged = any(s.ranged for s in found) and group.plural
    if len(parts) == 1:
        base.sizes = sizing.diameters(parts[0])
        base.reference = reference(scene, found[0].start, scene.sentence.end) or base.reference
        base.place = _nearest_place(scene, parts[0][0], chosen) or base.place
        base.side = base.side or own_side(base.place)
        whole = ranged or any(m.end <= found[0].start and found[0].first - m.last <= 6 for m in largest)
        if not whole and _is_title(scene, group, found[0]):
            base.count, base.titled = 1, True
        if whole:
            base.count = base.count if base.count != 1 or not group.plural else "several"
        return [base, *_others(scene, base, chosen)]
    several = split(scene, base, parts, group, chosen)
    if all(_own_place(scene, parts, index) for index in range(1, len(parts))):
        return several + _rest(scene, base, group, several, chosen)
    if any(m.end <= found[0].start and 0 <= found[0].first - m.last <= 8 for m in largest):
        if (
            len({d.side for d in several}) == 1
            and len({d.place for d in several}) == 1
            and not several[1].reference
        ):
            base.sizes = max((d.sizes for d in several), key=max)
            base.count = base.count if base.count != 1 else "several"
            return [base]
        if len({d.place for d in several}) == 1:
            for draft in several:
                draft.count = "several"
    return several + _rest(scene, base, group, several, chosen)


def _is_title(scene: Scene, group: Group, size: Mention) -> bool:
    """ "Nodes: station 7: 12 mm": the plural is the title of a list, of which this is one item."""
    titled = scene.text[group.end : group.end + 2].lstrip().startswith(":")
    named = any(group.end <= m.start < size.start for m in scene.sentence.of("places"))
    return titled and named and not any(m.start < size.start for m in scene.sentence.of("count"))


def _own_place(scene: Scene, parts: list[list[Mention]], index: int) -> bool:
    """Whether a size of a list comes with its own place: "...; segment 6, 18 mm"."""
    low, high = parts[index - 1][-1].end, parts[index][0].start
    return any(low <= m.start < high for m in scene.sentence.of("places"))


def _rest(
    scene: Scene, base: Draft, group: Group, several: list[Draft], chosen: list[Mention]
) -> list[Draft]:
    """What a group still stands for besides its measured members: the whole of "..., including"."""
    rest = []
    if any(group.end <= m.start < several[0].end for m in scene.cues.named("including")):
        weak = [
            m
            for m in scene.sentence.of("places")
            if group.start - 40 < m.start < several[0].start and m not in chosen
        ]
        rest.append(
            dataclasses.replace(
                base, place=weak[0].name if weak else base.place, end=group.end, reference=None
            )
        )
    organs = {places()[d.place].organ for d in several if d.place}
    for place in chosen:
        if places()[place.name].organ not in organs and group.plural and not places()[place.name].weak:
            rest.append(dataclasses.replace(base, place=place.name, side=None, end=group.end, reference=None))
    return rest


def _others(scene: Scene, base: Draft, chosen: list[Mention]) -> list[Draft]:
    """The places of several lesions other than the one whose largest is measured."""
    if base.count == 1 or len(chosen) < 2:
        return []
    nodal = base.kind == "node"
    organs = {lies_in(base.place, nodal)} if base.place else set()
    others = []
    for place in chosen:
        if (organ := lies_in(place.name, nodal)) not in organs:
            organs.add(organ)
            shared = base.sizes if nodal else ()
            others.append(dataclasses.replace(base, place=place.name, sizes=shared, reference=None))
    return others


def _nearest_place(scene: Scene, size: Mention, chosen: list[Mention]) -> str | None:
    before = [m for m in chosen if m.end <= size.start]
    return (before or chosen)[-1].name if chosen else None


def split(
    scene: Scene, base: Draft, parts: list[list[Mention]], group: Group, chosen: list[Mention]
) -> list[Draft]:
    """A draft for each size; one that has no place of its own shares that of the size before it."""
    made: list[Draft] = []
    for index, part in enumerate(parts):
        here = dataclasses.replace(base, place=made[-1].place) if made and base.place is None else base
        made.append(_item(scene, here, part, parts, index, group, chosen))
    return made


def _item(
    scene: Scene,
    base: Draft,
    part: list[Mention],
    parts: list[list[Mention]],
    index: int,
    group: Group,
    chosen: list[Mention],
) -> Draft:
    """One of several sizes of a group: with its own place, side and image where it has them."""
    low = parts[index - 1][-1].end if index else min(group.start, part[0].start)
    high = parts[index + 1][0].start if index + 1 < len(parts) else scene.sentence.end
    before = [m for m in scene.sentence.of("places") if low <= m.start < part[0].start]
    if index == 0:
        before = [m for m in before if m.start >= group.end and m not in chosen]
    firm = base.place is not None and not places()[base.place].weak
    last = [m for m in before if not places()[m.name].weak] or ([] if firm else before)
    after = [
        m
        for m in scene.sentence.of("places")
        if part[-1].end <= m.start < high and m.first - part[-1].last <= 4
    ]
    after = [m for m in after if not re.search(r"[,;]|\b(?:and|en)\b", scene.text[part[-1].end : m.start])]
    place = last[-1].name if last else (after[0].name if after else base.place)
    if last and base.place and not related(last[-1].name, base.place) and not places()[base.place].weak:
        place = last[-1].name if group.kind == "node" or group.plural else base.place
    side = _side_by(scene, part, low, high, index, len(parts))
    counts = [
        m
        for m in scene.sentence.of("count")
        if low <= m.start < part[0].start and m.number and part[0].first - m.last <= 3
    ]
    return dataclasses.replace(
        base,
        place=place,
        side=side
        or (own_side(place) if last else None)
        or (base.side if base.side != "both" else None)
        or own_side(place),
        count=counts[-1].number if counts else 1,
        sizes=sizing.diameters(part),
        reference=reference(scene, part[-1].end, high),
        start=last[-1].start if last else part[0].start,
        end=part[-1].end,
    )


def _side_by(scene: Scene, part: list[Mention], low: int, high: int, index: int, total: int) -> str | None:
    """The side of one size: before it or after it, as the sentence puts them throughout."""
    every = [m for m in scene.sentence.of("side") if m.name != "both"]
    sides = [m for m in every if low <= m.start < high]
    before = [m for m in sides if m.end <= part[0].start]
    after = [m for m in sides if m.start >= part[-1].end and m.first - part[-1].last <= 3]
    if total > 1 and not _trailing(scene, every):
        return before[-1].name if before else None
    if after:
        return after[0].name
    return before[-1].name if before else None


def _trailing(scene: Scene, every: list[Mention]) -> bool:
    """Whether sides follow their sizes ("35 mm on the right and 37 mm on the left")."""
    sizes = scene.sentence.of("size")
    return bool(every and sizes) and every[-1].start > sizes[-1].start


def count(scene: Scene, group: Group, found: list[Mention]) -> int | Literal["several"]:
    """How many: "two", "3 hypodense lesions", "several", "two of 14 mm"; a plural alone is several."""
    if any(m.name == "each" and 0 <= group.first - m.last <= 3 for m in scene.sentence.of("count")):
        return 2 if scene.sentence.of("side", "both") else "several"
    for m in reversed(scene.sentence.of("count")):
        between = scene.text[m.end : group.start]
        others = any(g is not group and m.end <= g.start < group.start for g in scene.groups)
        if m.start < group.start and group.first - m.last <= 5 and "," not in between and not others:
            return m.number or ("several" if any(word.plural for word in group.words) else 1)
    match = re.search(
        r"(?<![\w.,/-])(\d{1,2}) (?:[^\W\d]+ ){0,3}$",
        scene.text[max(scene.sentence.start, group.start - 50) : group.start],
    )
    if match and group.plural and 2 <= int(match.group(1)) <= 30:
        start = max(scene.sentence.start, group.start - 50) + match.start(1)
        if not any(m.start <= start < m.end for m in scene.sentence.of("size")) and not re.search(
            r"\b(?:segment\w*|level|station|im\w*|serie\w*|s|van|of|in) $",
            scene.text[max(0, start - 12) : start],
            re.I,
        ):
            return int(match.group(1))
    for m in scene.sentence.of("count"):
        if (
            m.number
            and found
            and m.start >= group.end
            and m.end <= found[0].start
            and found[0].first - m.last <= 3
        ):
            return m.number
    return "several" if group.plural else 1
