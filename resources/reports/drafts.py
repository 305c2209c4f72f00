"""Findings in the making, and what the reading of one sentence shares."""

from __future__ import annotations

import dataclasses
from typing import Literal

from resources.reports import sizing
from resources.reports.anatomy import Group
from resources.reports.assertion import Cues
from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import lesion_words, places


@dataclasses.dataclass(slots=True)
class Draft:
    """A finding in the making. Offsets are of the clean text.

    normal: it says only that all is well. listed: the items of the list it opens stand for it. titled: it is
    the first item of a list whose title is its words. tissue: "bone" for "bone lesions". indefinite: "a
    lesion", not "the lesion".
    """

    words: tuple[str, ...]
    kind: str
    place: str | None
    side: str | None
    count: int | Literal["several"]
    sizes: tuple[float, ...]
    reference: Mention | None
    presence: Literal["present", "absent", "uncertain"]
    time: Literal["current", "prior", "resolved"]
    character: str
    start: int
    end: int
    section: str
    normal: bool = False
    listed: bool = False
    titled: bool = False
    tissue: str = ""
    indefinite: bool = False


@dataclasses.dataclass(slots=True)
class Context:
    """What the sentences before leave behind. stated: the lesions of the whole report so far.

    for_nodes: the place was only said of lymph nodes.
    """

    paragraph: int = -1
    section: str = ""
    drafts: list[Draft] = dataclasses.field(default_factory=list)
    place: list[Mention] = dataclasses.field(default_factory=list)
    stated: list[Draft] = dataclasses.field(default_factory=list)
    age: int = 0
    place_age: int = 0
    for_nodes: bool = False
    including: bool = False
    header: list[Draft] = dataclasses.field(default_factory=list)
    header_including: bool = False
    title: list[Mention] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Scene:
    """One sentence being read. above: the places of its heading. is_item: read as an item of a list."""

    sentence: Sentence
    text: str
    context: Context
    cues: Cues
    groups: list[Group]
    above: list[Mention]
    is_item: bool = False


def reference(scene: Scene, low: int, high: int) -> Mention | None:
    return next((m for m in scene.sentence.of("reference") if low <= m.start < high), None)


def above_side(scene: Scene) -> str | None:
    low, high = scene.sentence.block.heading
    names = {m.name for m in scene.sentence.heading_sides}
    return names.pop() if len(names) == 1 and high > low else None


def own_side(place: str | None) -> str | None:
    return places()[place].side or None if place else None


def is_node(mention: Mention) -> bool:
    word = lesion_words()[mention.name]
    return word.kind == "node" or word.place == "lymph node"


def nodal(draft: Draft) -> bool:
    return draft.kind == "node" or any(lesion_words()[name].place == "lymph node" for name in draft.words)


def more_axes(draft: Draft, sizes: tuple[float, ...]) -> bool:
    """Whether sizes are those of a draft with one axis more: 42 mm, 42 x 38 mm."""
    return len(draft.sizes) == 1 < len(sizes) and draft.sizes[0] == max(sizes)


def enlarge(scene: Scene, draft: Draft, found: list[Mention]) -> None:
    """Gives a draft the sizes that a later sentence tells of it."""
    sizes = sizing.diameters(sizing.join_axes(found, scene.cues, scene.text)[0])
    if draft.sizes and not more_axes(draft, sizes):
        return
    draft.sizes = sizes
    draft.reference = draft.reference or reference(scene, scene.sentence.start, scene.sentence.end)
