"""From the mentions of each sentence to one draft per lesion, across sentences and lists."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from resources.reports import assertion, sizing
from resources.reports.anatomy import REGIONS, Group, narrower, places_of, side_of
from resources.reports.assertion import Cues
from resources.reports.continued import (
    add_diagnosis,
    explains,
    is_diagnosis,
    item_diagnosis,
    items,
    late_reference,
    like_the_whole,
    refers_back,
    repeats,
    says_more,
    under_header,
)
from resources.reports.drafts import (
    Context,
    Draft,
    Scene,
    above_side,
    enlarge,
    is_node,
    nodal,
    own_side,
    reference,
)
from resources.reports.grouping import group_lesions
from resources.reports.healthy import normal
from resources.reports.measured import count, sized
from resources.reports.mentions import Mention, Sentence
from resources.reports.passing import is_aside
from resources.reports.presence import clears_all, is_local, presence
from resources.reports.vocabulary import ancestors, lesion_words, places, station

_OPPOSITE = re.compile(r"\b(contra|ipsi|homo)latera\w+ (?:\w+ )?$", re.IGNORECASE)
SOLID = ("liver", "spleen", "pancreas", "adrenal gland", "kidney", "bone", "gallbladder", "thyroid gland")
"""Organs whose heading names no station: "Adrenals: ... No lymphadenopathy"."""
_INDEFINITE = re.compile(r"\b(?:an?|een|another) (?:[\w-]+ (?:(?:and|en) )?){0,3}$", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)")
_OR = re.compile(r"\s*(?:/|\b(?:or|of|nor|noch)\b)\s*", re.IGNORECASE)


def link(sentences: list[Sentence], text: str) -> list[Draft]:
    """Drafts in the order of the text; what indications, techniques and comparisons say is none."""
    drafts: list[Draft] = []
    stated: list[Draft] = []
    context = Context(stated=stated)
    for sentence in sentences:
        block = sentence.block
        if block.section in ("indication", "technique", "comparison", "end") or is_aside(sentence, text):
            continue
        if (block.paragraph, block.section) != (context.paragraph, context.section):
            context = Context(block.paragraph, block.section, stated=stated)
        late_reference(sentence, context)
        above = _above(sentence)
        context.title = above or context.title
        if not (sentence.of("lesions") or sentence.of("size") or _calls_normal(sentence)):
            _remember_place(sentence, context)
            context.age += 1
            continue
        cues = Cues(sentence, text)
        groups = group_lesions(sentence, cues, text)
        scene = Scene(sentence, text, context, cues, groups, above)
        found = _drafts(scene)
        drafts += found
        if scene.is_item:
            context.age = 0
            continue
        own = [d for d in found if not d.normal and d.presence != "absent"]
        stated += [d for d in own if all(d is not known for known in stated[-20:])]
        context.age = 0 if own else context.age + 1
        context.including = bool(scene.cues.named("including")) if own else context.including
        context.drafts = own or context.drafts
        if own and text[sentence.start : sentence.end].rstrip().endswith(":"):
            context.header = [d for d in own if d.count != 1 and not d.sizes]
            context.header_including = bool(scene.cues.named("including"))
        _remember_place(sentence, context)
    return drafts


def _calls_normal(sentence: Sentence) -> bool:
    return any(m.name in ("normal", "normal pseudo") for m in sentence.of("assertion"))


def _remember_place(sentence: Sentence, context: Context) -> None:
    named = [m for m in sentence.of("places") if not places()[m.name].weak]
    context.place = named[-1:] or context.place
    if named:
        nodes = [m for m in sentence.of("lesions") if is_node(m)]
        context.for_nodes = any(0 <= n.first - named[-1].last <= 1 for n in nodes)
    context.place_age = 0 if named else context.place_age + 1


def _drafts(scene: Scene) -> list[Draft]:
    sizing.mark_prior(scene.sentence, scene.cues, scene.text)
    diagnosis = item_diagnosis(scene)
    owned, free = sizing.assign(scene.sentence, [] if diagnosis else scene.groups, scene.text)
    found: list[Draft] = []
    if diagnosis:
        found = items(scene, free)
        said = assertion.character(diagnosis, scene.groups, scene.cues, doubtful=False)
        for draft in found:
            draft.character = said
        return found
    if says_more(scene, owned):
        return found
    for index, group in enumerate(scene.groups):
        if index not in owned and explains(scene, group, found):
            add_diagnosis(scene, group, found)
            continue
        if index not in owned and repeats(scene, group, found):
            continue
        before = [d for d in found if d.presence != "absent" and not d.sizes]
        sizes = owned.get(index, [])
        if before and sizes and refers_back(scene, group, sizes, before[-1]):
            enlarge(scene, before[-1], sizes)
            before[-1].end = max(before[-1].end, sizes[-1].end)
            continue
        made = like_the_whole(scene, group, found, _of_group(scene, index, group, sizes))
        made = [d for d in made if not _said_just_now(d, found)]
        scene.context.stated += [d for d in made if d.presence != "absent"]
        found += made
    if free and not any(g.kind != "abnormality" for g in scene.groups):
        found += items(scene, free)
    if not any(d.presence == "present" and not d.normal for d in found) or len(scene.groups) > 0:
        found += normal(scene)
    return found


def _said_just_now(draft: Draft, found: list[Draft]) -> bool:
    """ "Mediastinal adenopathy with contralateral involvement": nodes of no station, after nodes of one."""
    unnamed = nodal(draft) and draft.place is None and not draft.sizes and draft.presence != "absent"
    return unnamed and any(nodal(d) and d.place and d.presence == draft.presence for d in found)


def _window(scene: Scene, index: int) -> tuple[int, int]:
    """Where a group's places and sides may stand: from the lesion before it to the one after it."""
    first = last = index
    while first and _coordinated(scene, first - 1):
        first -= 1
    while last + 1 < len(scene.groups) and _coordinated(scene, last):
        last += 1
    group = dataclasses.replace(
        scene.groups[index], words=[scene.groups[first].words[0], scene.groups[last].words[-1]]
    )
    before = [g.end for g in scene.groups[:first] if g.kind in ("lesion", "node", "measured")]
    after = [g.start for g in scene.groups[last + 1 :] if not sizing.is_attribute(g, scene.text)]
    low = before[-1] if before else scene.sentence.start
    high = after[0] if after else scene.sentence.end
    tail = _BRACKETS.sub(lambda m: "_" * len(m.group()), scene.text[group.end : high])
    if after and ";" in tail:
        high = group.end + tail.index(";")
    elif after and "," in tail:
        high = group.end + tail.rindex(",")
    elif after and (joint := list(re.finditer(r"\b(?:and|en)\b", tail))):
        high = group.end + joint[-1].start() if not re.fullmatch(r"\s*(?:and|en)\s*", tail) else high
    after_colon = before and scene.text[before[-1] : before[-1] + 2].lstrip().startswith(":")
    if (
        before
        and not after_colon
        and (joint := list(re.finditer(r",|\b(?:and|en)\b", scene.text[low : group.start])))
    ):
        low += joint[0].start()
    return _after_semicolon(scene, group, low, high), high


def _after_semicolon(scene: Scene, group: Group, low: int, high: int) -> int:
    """The start of a group's places: after a semicolon, if the group has places of its own behind it."""
    mark = scene.text.rfind(";", low, group.start)
    if mark < 0 or not any(mark < m.start < high for m in scene.sentence.of("places")):
        return low
    return mark + 1


def _coordinated(scene: Scene, index: int) -> bool:
    """Whether a group and the next share their place: "no nodules or masses in the lungs"."""
    one, other = scene.groups[index : index + 2]
    kinds = ("lesion", "measured")
    return (
        one.kind in kinds and other.kind in kinds and bool(_OR.fullmatch(scene.text[one.end : other.start]))
    )


def _of_group(scene: Scene, index: int, group: Group, found: list[Mention]) -> list[Draft]:
    state = presence(scene, index, group, found)
    if state is None:
        return []
    absent = state == "absent"
    gone = assertion.resolved(group, scene.groups, scene.cues)
    low, high = _window(scene, index)
    if absent and (mark := scene.text.find(";", group.end, high)) >= 0:
        high = mark  # "no enlarged nodes; hila clear"
    standing = _standing(scene, group, absent and not gone)
    chosen, named = places_of(group, scene.sentence, low, high, scene.text, standing)
    default = _own_organ(group)
    if absent and not named and default and default != "lymph node":
        chosen = []  # the word's own organ
    if absent and not gone and (is_local(scene, group) or _has_subject(scene, chosen, named)):
        return []
    if group.kind == "abnormality" and not absent and not named and not found and not group.diagnoses:
        return []
    if absent and scene.above and named and _of_clause_before(scene, group, chosen):
        chosen = scene.above
    if not absent and not named:
        chosen = _likeliest(group, chosen)
    if not named and is_diagnosis(scene, group, found):
        add_diagnosis(scene, group, scene.context.drafts)
        return []
    if absent and not gone and not chosen and not clears_all(scene, group):
        return []
    doubtful = assertion.doubted(group, scene.groups, scene.cues, scene.sentence.end)
    base = Draft(
        words=tuple(m.name for m in group.words + [d for d in group.diagnoses if not is_node(d)]),
        kind=group.kind,
        place=chosen[0].name if chosen else None,
        side=side_of(chosen[0] if named and chosen else None, group, scene.sentence, low, high)
        or above_side(scene)
        or _opposite(scene, group, chosen),
        count=count(scene, group, found),
        sizes=(),
        reference=reference(scene, group.start, high),
        presence=state,
        time="resolved" if gone else ("prior" if assertion.prior(group, scene.cues) else "current"),
        character=assertion.character(group, scene.groups, scene.cues, doubtful),
        start=group.start,
        end=group.end,
        section=scene.sentence.block.section,
        normal=absent and not gone and (group.kind == "abnormality" or _excepted(scene, group)),
        tissue=_tissue(group, scene, chosen),
        indefinite=_INDEFINITE.search(scene.text, max(scene.sentence.start, group.start - 40), group.start)
        is not None,
    )
    if absent or not found:
        return _spread(scene, base, chosen, group, low, high)
    if named and scene.text[group.end : group.end + 2].strip() != ":":
        under_header(scene, base)
    return sized(scene, base, group, found, chosen)


def _own_organ(group: Group) -> str:
    """The organ that a lesion word names itself, as "cholangiocarcinoma" the liver; empty if none does."""
    return next((lesion_words()[m.name].place for m in group.words if lesion_words()[m.name].place), "")


def _excepted(scene: Scene, group: Group) -> bool:
    """ "Otherwise no lesions", "free of nodules apart from a granuloma": not where there is one."""
    denials = [m for m in scene.cues.denials if m.last <= group.first]
    others = scene.cues.named("otherwise")
    before = denials and any(0 <= denials[-1].first - m.last <= 1 for m in others)
    return bool(before) or any(m.start >= group.end for m in others)


def _has_subject(scene: Scene, chosen: list[Mention], named: bool) -> bool:
    """ "Abdomen: ... The parenchyma shows no lesion": what is denied of a subject clears no region."""
    if not chosen or not all(m.name in REGIONS for m in chosen) or not scene.cues.denials:
        return False
    if named and any(m.start >= scene.sentence.block.heading[1] for m in chosen):
        return False
    opened = [m.last for m in chosen if scene.sentence.start <= m.start < scene.sentence.end]
    return scene.cues.denials[0].first - max([scene.sentence.first, *opened]) > 2


def _of_clause_before(scene: Scene, group: Group, chosen: list[Mention]) -> bool:
    """Whether places belong to something else: "Skeleton: old fracture of L1, no suspicious lesions"."""
    others = [g for g in scene.groups if g.kind == "other" and g.end <= group.start]
    if not others or not all(m.end <= group.start for m in chosen):
        return False
    return "," in scene.text[max(others[-1].end, *(m.end for m in chosen)) : group.start]


def _opposite(scene: Scene, group: Group, chosen: list[Mention]) -> Literal["left", "right"] | None:
    """The side of a contralateral or ipsilateral lesion: by that of the last lesion with a side."""
    starts = [group.start, *(m.start for m in chosen)]
    said = [m for at in starts if (m := _OPPOSITE.search(scene.text, max(0, at - 30), at))]
    sides: list[Literal["left", "right"]] = [
        d.side  # type: ignore[misc]
        for d in scene.context.stated[-20:]
        if d.side in ("left", "right")
    ]
    if not said or not sides:
        return None
    other: Literal["left", "right"] = "left" if sides[-1] == "right" else "right"
    return other if said[0].group(1).lower() == "contra" else sides[-1]


def _tissue(group: Group, scene: Scene, chosen: list[Mention]) -> str:
    """ "bone" of "bone lesions in the sacrum and the pelvis", not of "liver and bone metastases"."""
    near = [
        m for m in scene.sentence.of("places") if m.start < group.end and 0 <= group.first - m.last + 1 <= 2
    ]
    own = [m for m in near if len(chosen) < 2 or m not in chosen]
    return "bone" if any("bone" in ancestors(m.name) for m in own) else ""


def _likeliest(group: Group, above: list[Mention]) -> list[Mention]:
    """The one of a heading's places ("Skeleton and soft tissues") that a lesion which names none lies in."""
    default = _own_organ(group)
    if group.kind == "node" or default == "lymph node":
        return [m for m in above if station(m.name)][:1] or above[:1]
    return [m for m in above if default in ancestors(m.name)][:1] or above[:1]


def _standing(scene: Scene, group: Group, absent: bool) -> list[Mention]:
    """The place that stands above a sentence which names none: its heading's, or the last one named."""
    near = scene.context.age <= 1 or scene.context.place_age == 0
    last = scene.context.place if near else []
    wide = any(m.name in ("metastasis", "malignancy", "lymphoma", "recurrence") for m in group.words)
    if absent and (scene.sentence.block.section == "impression" or wide or scene.context.place_age > 0):
        last = []
    if absent and any(m.name in REGIONS and m.start >= group.end for m in scene.sentence.of("places")):
        last = []
    above = scene.above
    if any(is_node(m) for m in group.words):
        last = [m for m in last if places()[m.name].weak or places()[m.name].nodal]
        if absent:
            above = [m for m in above if places()[m.name].organ not in SOLID]
    elif scene.context.for_nodes:
        last = []
    if not absent and above and last and all(narrower(last[0].name, m.name) for m in above):
        return last
    return above or last or ([] if absent else scene.context.title)


def _spread(
    scene: Scene, base: Draft, chosen: list[Mention], group: Group, low: int, high: int
) -> list[Draft]:
    """One draft a place: "metastases in liver and lungs"; a single lesion has one place."""
    if base.presence == "present" and not group.plural:
        chosen = chosen[:1]
    result: dict[str | None, Draft] = {}
    wanted: list[Mention | None] = list(chosen) or [None]
    for place in wanted:
        name = place.name if place else None
        organ = places()[name].organ if name else None
        side = (
            side_of(place, None if len(chosen) > 1 else group, scene.sentence, low, high)
            if place
            else base.side
        )
        if organ in result:
            same = result[organ]
            same.side = same.side if same.side == (side or own_side(name)) else "both"
            continue
        made = dataclasses.replace(base, place=name, side=side or (base.side if len(chosen) < 2 else None))
        made.side = made.side or own_side(name)
        result[organ] = made
    return list(result.values())


def _above(sentence: Sentence) -> list[Mention]:
    low, high = sentence.block.heading
    return [m for m in sentence.of("places") if low <= m.start < high] or list(sentence.heading)
