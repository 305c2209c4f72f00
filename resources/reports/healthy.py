"""Organs that the text calls normal."""

from __future__ import annotations

import dataclasses
import itertools
import re

from resources.reports.anatomy import REGIONS, Group, side_of
from resources.reports.drafts import Draft, Scene, above_side, own_side
from resources.reports.mentions import Mention
from resources.reports.vocabulary import ancestors, places

OPENING = 3
"""Tokens before "normal" in a sentence that says so of its heading's organ, and not of something unnamed."""
_SHORT = re.compile(r"\s*(?:(?:in|of|van|qua|wat) )?", re.IGNORECASE)
_NESTED = re.compile(
    r"\s*(?:of|van|in) (?:(?:the|de|het|both|beide) )?(?:(?:left|right|linker|rechter) )?", re.IGNORECASE
)
_AND_ALL = re.compile(
    r"\s*(?:en|and) (?:aspect|structuur|samenstelling|appearance|morphology|structure)\b", re.IGNORECASE
)
""" "Normal in size and appearance" is said of the organ as a whole."""
_CLAUSE = re.compile(
    r"[,;]|\b(?:with|met|but|maar|behoudens|except|save for|apart from|aside from|other than"
    r"|afgezien van|behalve|uitgezonderd)\b"
)


def normal(scene: Scene) -> list[Draft]:
    """Absent findings of the organs that a sentence calls normal as a whole."""
    normals = [m for m in scene.cues.named("normal") if not _undone(scene, m)]
    for cue in scene.cues.named("normal pseudo"):
        if _AND_ALL.match(scene.text, cue.end, scene.sentence.end):
            normals.append(cue)
    if not normals:
        return []
    positive = [g for g in scene.groups if g.kind in ("lesion", "node", "measured")]
    named = [m for m in scene.sentence.of("places") if _is_meant(scene, m, normals)]
    own, titles = _subjects(scene, named, normals)
    made: list[Draft] = []
    for place in own + titles:
        if place in named and positive and not _same_clause(scene, place, normals, positive):
            continue
        weak = places()[place.name].weak and place in own and len(own) > 1
        weak = weak or (place.name == "bone" and any("head" in ancestors(m.name) for m in named))
        if weak or not _is_whole(place.name) or _of_other(scene, place) or _of_part(scene, place):
            continue
        made.append(_cleared(scene, place, place in named, normals[0]))
    return made + _other_side(scene, normals, positive)


def _other_side(scene: Scene, normals: list[Mention], positive: list[Group]) -> list[Draft]:
    """ "Kidneys: cyst on the left, right normal": one side of the heading's organ is cleared."""
    sentence, edge = scene.sentence, scene.sentence.block.heading[1]
    titles = [m for m in sentence.of("places") if m.start < edge] or scene.above
    if len(titles) != 1 or not positive or not places()[titles[0].name].paired:
        return []
    marks = [m.start() for m in _CLAUSE.finditer(scene.text, max(edge, sentence.start), sentence.end)]
    bounds = [max(edge, sentence.start), *marks, sentence.end]
    for low, high in zip(bounds, bounds[1:], strict=False):
        sides = [m for m in sentence.of("side") if low <= m.start < high]
        said = [n for n in normals if low <= n.start < high]
        starts = [*(g.start for g in positive), *(m.start for m in sentence.of("places"))]
        if said and len(sides) == 1 and not any(low <= at < high for at in starts):
            draft = _cleared(scene, titles[0], False, said[0])
            return [dataclasses.replace(draft, side=sides[0].name)]
    return []


def _is_meant(scene: Scene, place: Mention, normals: list[Mention]) -> bool:
    """Whether no semicolon keeps a place from what is normal: "Bowel unremarkable; appendix not seen"."""
    between = [scene.text[min(place.end, n.end) : max(place.start, n.start)] for n in normals]
    return place.start < scene.sentence.block.heading[1] or not all(";" in text for text in between)


def _cleared(scene: Scene, place: Mention, here: bool, cue: Mention) -> Draft:
    start, end = (place.start, place.end) if here else (cue.start, cue.end)
    side = side_of(place, None, scene.sentence, scene.sentence.start, scene.sentence.end)
    return Draft(
        words=("abnormality",),
        kind="abnormality",
        place=place.name,
        side=side or own_side(place.name) if here else above_side(scene),
        count=1,
        sizes=(),
        reference=None,
        presence="absent",
        time="current",
        character="indeterminate",
        start=min(start, cue.start),
        end=max(end, cue.end),
        section=scene.sentence.block.section,
        normal=True,
    )


def _subjects(
    scene: Scene, named: list[Mention], normals: list[Mention]
) -> tuple[list[Mention], list[Mention]]:
    """The places that the sentence itself names, and those of its heading if they are what is normal.

    "Mediastinum: normal, no nodes" speaks of the mediastinum, "Mediastinum: normal heart" of the heart.
    """
    edge = scene.sentence.block.heading[1]
    titles = [m for m in named if m.start < edge]
    own = [m for m in named if m not in titles]
    titles = titles or scene.above
    if not own:
        opened = max(scene.sentence.first, titles[-1].last if titles[-1:] and titles[-1] in named else 0)
        part = any(opened <= m.first and m.last <= normals[0].first for m in scene.cues.named("aspect"))
        return [], titles if normals[0].first - opened <= OPENING and not part else []
    close = [n for n in normals if titles and 0 <= n.first - titles[-1].last <= 2]
    between = [m for m in own if m.start < close[0].start] if close else []
    direct = close and not between and not any(0 <= m.first - close[0].last <= 1 for m in own)
    return own, titles if direct else []


def _is_whole(name: str) -> bool:
    """Whether a place stands for an organ or a region, not for a part of one."""
    return places()[name].type is not None and (name == places()[name].organ or name in REGIONS)


def _undone(scene: Scene, cue: Mention) -> bool:
    """ "Normal in size", "normal outline": what is normal is a quality, which lesions need not change."""
    if any(u.start < cue.end and u.end > cue.start for u in scene.cues.named("normal pseudo")):
        return True
    return any(
        0 <= m.first - cue.last <= 2 and _SHORT.fullmatch(scene.text, cue.end, m.start)
        for m in scene.cues.named("aspect")
    )


def _of_part(scene: Scene, place: Mention) -> bool:
    """Whether what is normal is a part or quality of the place: "mediastinal vessels", "liver contour"."""
    vessels = [m for m in scene.sentence.of("places") if places()[m.name].type is None and m is not place]
    parts = [m for m in [*vessels, *scene.cues.named("aspect")] if m.name != "lymph node"]
    return any(
        0 <= m.first - place.last <= 1
        and not re.search(r"[,;:]|\b(?:and|en)\b", scene.text[place.end : m.start])
        or m.end <= place.start
        and _NESTED.fullmatch(scene.text, m.end, place.start)
        for m in parts
        if m.start >= place.end or m.end <= place.start
    )


def _of_other(scene: Scene, place: Mention) -> bool:
    """Whether the place only says whose duct or vessel it is: "slender intrahepatic bile ducts"."""
    others = [g for g in scene.groups if g.kind == "other"]
    return any(g.first == place.last or (g.start < place.end and g.end > place.start) for g in others)


def _same_clause(scene: Scene, place: Mention, normals: list[Mention], positive: list[Group]) -> bool:
    named = scene.sentence.of("places")
    listed = {(one.end, other.start) for one, other in itertools.pairwise(named)}
    edges = [scene.sentence.start]
    for mark in _CLAUSE.finditer(scene.text, scene.sentence.start, scene.sentence.end):
        edges += [] if (mark.start(), mark.end() + 1) in listed else [mark.start()]  # "liver, spleen"
    edges.append(scene.sentence.end)
    for low, high in zip(edges, edges[1:], strict=False):
        if low <= place.start < high:
            return any(low <= n.start < high for n in normals) and not any(
                low <= g.start < high for g in positive
            )
    return False
