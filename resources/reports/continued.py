"""Sentences that go on about what came before: "it measures", items of a list, a late diagnosis."""

from __future__ import annotations

import re

from resources.reports import assertion, sizing
from resources.reports.anatomy import Group, related
from resources.reports.drafts import Context, Draft, Scene, enlarge, is_node, more_axes, nodal, reference
from resources.reports.measured import split
from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import places

GENERIC = ("lesion", "target lesion", "focus", "nodule", "mass", "lymph node", "tumour", "cyst", "metastasis")
REMEMBERED = 50
"""Earlier lesions of the report that "the tumour" can still mean."""
ADVICE = 12
"""Tokens between "recommended for" and the lesion to be looked at."""
_DEFINITE = re.compile(
    r"\b(?:the|this|that|these|those|het|de|dit|deze|die)(?: same| zelfde)? $", re.IGNORECASE
)
_NAMED = re.compile(r" (?:[A-H]|\d{1,2})\b(?! ?(?:mm|cm|x\b|[.,]\d))")
""" "Lesion D": a row of the table of targets."""
NEAR_DIAGNOSIS = 8
"""Tokens between "consistent with" and the diagnosis."""


def late_reference(sentence: Sentence, context: Context) -> None:
    """ "(series 5, image 456)" behind the full stop of its lesion's sentence."""
    first = next((m for m in sentence.mentions if m.category in ("reference", "lesions", "size")), None)
    if first is None or first.category != "reference" or first.first - sentence.first > 2:
        return
    if context.age == 0 and context.drafts and context.drafts[-1].reference is None:
        context.drafts[-1].reference = first


def item_diagnosis(scene: Scene) -> Group | None:
    """ "Perifissural: 6 mm, most likely a lymph node", as an item of a list of nodules."""
    found = scene.sentence.of("size")
    if len(scene.groups) != 1 or not found or not scene.context.drafts:
        return None
    group = scene.groups[0]
    said = scene.cues.before(group, 2, "likely", "perhaps before")
    if not said or found[-1].end > said[0].start:
        return None
    return Group(group.words, group.kind, group.plural, group.words)


def is_diagnosis(scene: Scene, group: Group, found: list[Mention]) -> bool:
    """ "Most consistent with a granuloma." after the sentence of a nodule."""
    if found or not scene.context.drafts or scene.context.age > 1 or group is not scene.groups[0]:
        return False
    if any(not places()[m.name].weak for m in scene.sentence.of("places") if m.start < group.start):
        return False
    said = scene.cues.before(group, NEAR_DIAGNOSIS, "likely", "perhaps before")
    opened = any(m.first == scene.sentence.first for m in scene.cues.named("it"))
    near = bool(said) and said[0].first - scene.sentence.first <= (ADVICE if opened else 5)
    return near and not scene.cues.denials


def explains(scene: Scene, group: Group, found: list[Draft]) -> bool:
    """ "...; these are suspicious for metastases": the diagnosis of what the sentence itself has told."""
    said = scene.cues.before(group, NEAR_DIAGNOSIS, "likely", "perhaps before")
    its = [m for m in scene.cues.named("it") if said and 0 <= said[0].first - m.last <= 3]
    denied = any(m.start >= its[-1].start for m in scene.cues.denials) if its else True
    return not denied and any(d.presence == "present" for d in found)


def add_diagnosis(scene: Scene, group: Group, drafts: list[Draft]) -> None:
    doubtful = assertion.doubted(group, scene.groups, scene.cues, scene.sentence.end)
    whole = Group(group.words, group.kind, group.plural, [*group.words, *group.diagnoses])
    said = assertion.character(whole, scene.groups, scene.cues, doubtful)
    for draft in drafts if group.plural else drafts[-1:]:
        draft.words += tuple(m.name for m in group.words if not is_node(m))
        if said != "indeterminate":
            draft.character = said


def says_more(scene: Scene, owned: dict[int, list[Mention]]) -> bool:
    """ "The largest lesion measures 23 mm." after "several lesions": a size for what was said."""
    drafts = scene.context.drafts
    if not scene.groups or not drafts or scene.context.age > 1 or set(owned) != {0}:
        return False
    if any(g.kind in ("lesion", "node") for g in scene.groups[1:]):
        return False
    if not refers_back(scene, scene.groups[0], owned[0], drafts[-1]):
        return False
    enlarge(scene, drafts[-1], owned[0])
    return True


def refers_back(scene: Scene, group: Group, sizes: list[Mention], draft: Draft) -> bool:
    """Whether "the largest node", "this lesion" is one of those, or the one, that a draft stands for."""
    if group.words[0].name not in GENERIC or draft.presence == "absent":
        return False
    largest = any(
        0 <= group.first - m.last <= 2 or m.start < group.end <= m.end for m in scene.cues.named("largest")
    )
    it = _is_it(scene, group)
    open_ = not draft.sizes or more_axes(draft, sizing.diameters(sizes))
    if not (largest and draft.count != 1) and not (it and open_):
        return False
    if nodal(draft) != (group.kind == "node") and group.words[0].name != "lesion":
        return False
    after = [m for m in scene.sentence.of("places") if m.start >= draft.end]
    named = [m for m in after if not places()[m.name].weak]
    if len(sizes) > 1 and len({scene.text[m.start : m.end] for m in after}) > 1:
        return False
    return draft.place is None or not named or any(related(m.name, draft.place) for m in named)


def repeats(scene: Scene, group: Group, found: list[Draft]) -> bool:
    """ "These cysts are unchanged", "CT for evaluation of the mass": what was said before, nothing new."""
    if scene.cues.before(group, ADVICE, "advice"):
        return True
    listed = any("target lesion" in d.words for d in scene.context.stated)
    if listed and _NAMED.match(scene.text, group.end):
        return True
    known = [d for d in [*scene.context.drafts, *found] if d.presence != "absent" and not d.normal]
    definite = _DEFINITE.search(scene.text, max(0, group.start - 30), group.start) is not None
    gone = assertion.resolved(group, scene.groups, scene.cues)
    guess = scene.cues.before(group, 2, "likely", "perhaps before")
    if not (definite or _is_it(scene, group)) or guess or gone:
        return False
    there = _where(scene)
    sides = {m.name for m in scene.sentence.of("side")}
    alike = [d for d in known if _alike(d, group)]
    if there and definite:
        alike = [d for d in alike if not sides or d.side in (None, "both", *sides)]
        return any(d.place is None or related(m.name, d.place) for d in alike for m in there)
    return bool(alike) or (not there and any(_alike(d, group) for d in scene.context.stated[-REMEMBERED:]))


def _where(scene: Scene) -> list[Mention]:
    """The places of a sentence that a lesion can lie in, and does not only touch."""
    touched = scene.cues.named("near")
    return [
        m
        for m in scene.sentence.of("places")
        if not places()[m.name].weak
        and places()[m.name].type is not None
        and not any(0 <= m.first - n.last <= 2 for n in touched)
    ]


def _alike(draft: Draft, group: Group) -> bool:
    word = group.words[0].name
    return nodal(draft) == (group.kind == "node") and word in (*GENERIC, *draft.words)


def _is_it(scene: Scene, group: Group) -> bool:
    """ "This lesion", "it": words that stand for a lesion of an earlier sentence."""
    return any(
        m.start <= group.start and group.end <= m.end or 0 <= group.first - m.last <= 1
        for m in scene.cues.named("it")
    )


def like_the_whole(scene: Scene, group: Group, found: list[Draft], made: list[Draft]) -> list[Draft]:
    """Members named after "including" or "for example" are of the character of the whole."""
    cues = [m for m in scene.cues.named("including") if m.end <= group.start]
    before = scene.context.drafts if cues and cues[0].first - scene.sentence.first <= 2 else []
    for draft in made:
        whole = [d for d in found if cues and d.end <= cues[-1].start and d.kind == draft.kind]
        lies = [Mention("places", draft.place, draft.start, draft.end)] if draft.place else []
        whole = whole or [d for d in before if d.kind == draft.kind and _fits(d, lies)]
        if whole and draft.character == "indeterminate" and draft.presence == "present":
            draft.character = whole[-1].character
    return made


def items(scene: Scene, free: list[Mention]) -> list[Draft]:
    """Sizes of a sentence without lesion words: items of a list of targets or lesions, or "it measures"."""
    sentence, context = scene.sentence, scene.context
    named = [m for m in sentence.of("places") if m.end <= free[-1].start]
    named = [m for m in named if not places()[m.name].weak] or named
    parent = context.drafts[-1] if context.drafts and context.age <= 8 else None
    if sentence.block.section == "targets":
        return _split_items(scene, free, named, parent, None)
    marked = reference(scene, sentence.start, sentence.end) is not None
    if parent is None or not _fits(parent, named):
        return []
    if context.age <= 1 and (
        (not named and not marked) or (parent.count == 1 and not (parent.listed or parent.titled))
    ):
        enlarge(scene, parent, free)
        return []
    if not named and not marked:
        return []
    if not parent.sizes and not context.including and not parent.titled:
        parent.listed = True
    return _split_items(scene, free, named, parent, parent)


def _fits(parent: Draft, named: list[Mention]) -> bool:
    """Whether a size at the named places can be of the lesions that the list is about."""
    if parent.place is None or places()[parent.place].weak or nodal(parent):
        return True
    return all(related(m.name, parent.place) for m in named)


def _split_items(
    scene: Scene, free: list[Mention], named: list[Mention], parent: Draft | None, heir: Draft | None
) -> list[Draft]:
    """A draft for each size. heir: the list's opening, whose words the items inherit; None: targets."""
    sentence = scene.sentence
    words = heir.words if heir else ("target lesion",)
    base = Draft(
        words=words,
        kind=heir.kind if heir else "lesion",
        place=parent.place if parent and not named else None,
        side=heir.side if heir else None,
        count=1,
        sizes=(),
        reference=None,
        presence="present",
        time="current",
        character=heir.character if heir else "suspicious",
        start=free[0].start,
        end=free[-1].end,
        section=sentence.block.section,
    )
    at = Mention("lesions", words[0], sentence.start, sentence.start, sentence.first, sentence.first)
    parts = sizing.join_axes(free, scene.cues, scene.text)
    scene.is_item = True
    return split(scene, base, parts, Group([at], base.kind, True), [])


def under_header(scene: Scene, draft: Draft) -> None:
    """An item of a list ("Pulmonary lesions, mostly right, likely nodes:") takes what its header says."""
    for header in scene.context.header:
        if draft.place and header.place and related(draft.place, header.place) and draft.kind == header.kind:
            header.listed = not scene.context.header_including
            draft.side = draft.side or header.side
            if draft.character == "indeterminate":
                draft.character = header.character
