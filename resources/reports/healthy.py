"""Organs that the text calls normal."""

from __future__ import annotations

import re

from resources.reports.anatomy import Group, side_of
from resources.reports.drafts import Draft, Scene, above_side, own_side
from resources.reports.mentions import Mention
from resources.reports.vocabulary import places

_CLAUSE = re.compile(r"[,;]|\b(?:with|met|but|maar|behoudens|except)\b")


def normal(scene: Scene, found: list[Draft]) -> list[Draft]:
    undone = scene.cues.named("normal pseudo")
    normals = [
        m for m in scene.cues.named("normal") if not any(u.start < m.end and u.end > m.start for u in undone)
    ]
    if not normals:
        return []
    positive = [g for g in scene.groups if g.kind in ("lesion", "node", "measured")]
    named = scene.sentence.of("places")
    made: list[Draft] = []
    for place in named or scene.above:
        if place in named and positive and not _same_clause(scene, place, normals, positive):
            continue
        if (
            places()[place.name].type is None
            or place.name != places()[place.name].organ
            or _of_other(scene, place)
            or places()[place.name].weak
            and place in named
            and len(named) > 1
        ):
            continue
        side = side_of(place, None, scene.sentence, scene.sentence.start, scene.sentence.end) or own_side(
            place.name
        )
        here = place in named
        start, end = (place.start, place.end) if here else (normals[0].start, normals[0].end)
        made.append(
            Draft(
                words=("abnormality",),
                kind="abnormality",
                place=place.name,
                side=side if here else above_side(scene),
                count=1,
                sizes=(),
                reference=None,
                presence="absent",
                time="current",
                character="indeterminate",
                start=min(start, normals[0].start),
                end=max(end, normals[0].end),
                section=scene.sentence.block.section,
                normal=True,
            )
        )
    return made


def _of_other(scene: Scene, place: Mention) -> bool:
    """Whether the place only says whose duct or vessel it is: "slender intrahepatic bile ducts"."""
    others = [g for g in scene.groups if g.kind == "other"]
    return any(g.first == place.last or (g.start < place.end and g.end > place.start) for g in others)


def _same_clause(scene: Scene, place: Mention, normals: list[Mention], positive: list[Group]) -> bool:
    edges = [scene.sentence.start]
    edges += [m.start() for m in _CLAUSE.finditer(scene.text, scene.sentence.start, scene.sentence.end)]
    edges.append(scene.sentence.end)
    for low, high in zip(edges, edges[1:], strict=False):
        if low <= place.start < high:
            return any(low <= n.start < high for n in normals) and not any(
                low <= g.start < high for g in positive
            )
    return False
