"""Where a lesion lies: the places and the side that its sentence, or what stands above it, gives it."""

from __future__ import annotations

import dataclasses
import re

from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import ancestors, places, station

_NESTED = re.compile(
    r"[\s(]*(?:of|van|in|from|uit|binnen|within)(?: (?:the|de|het|both|beide))?"
    r"(?: (?:left|right|linker|rechter))?\s*$",
    re.IGNORECASE,
)
_DISTANT = re.compile(r"distant|afstand", re.IGNORECASE)
""" "No nodal or distant metastases": these lie anywhere."""
_OR = re.compile(r"[\s(]*of\b", re.IGNORECASE)
_AND = re.compile(
    r"[\s,/&+()-]*(?:(?:and|en|or|of|as well as|evenals|alsook|the|de|het|both|beide|in|"
    r"along|langs|nor|noch|vaten|vessels|regio|region|regions|alsmede|"
    r"left|right|linker|rechter|links|rechts|beiderzijds|bilateral)[\s,/&+()-]*)*$",
    re.IGNORECASE,
)
_FAR = re.compile(
    r"[,;:.()]|\b(?:in|of|van|met|with|at|op|en|and|is|are|zijn|on|but|maar|except|behoudens|behalve|apart|"
    r"uitgezonderd|shows?|toont|contains?|bevat)\b",
    re.IGNORECASE,
)
BONY = ("pelvis", "vertebral level")
"""Wide or vague places that are bones where the lesion is one of bone."""
REGIONS = ("chest", "abdomen", "upper abdomen", "pelvis")


@dataclasses.dataclass(slots=True)
class Group:
    """Lesion words that name one thing: "conglomerate of lymph nodes", "metastatic lesions"."""

    words: list[Mention]
    kind: str
    plural: bool
    diagnoses: list[Mention] = dataclasses.field(default_factory=list)

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return self.words[-1].end

    @property
    def first(self) -> int:
        return self.words[0].first

    @property
    def last(self) -> int:
        return self.words[-1].last


def narrower(name: str, wide: str) -> bool:
    return name != wide and wide in ancestors(name)


def lies_in(name: str, nodal: bool) -> str:
    """What tells places apart: an organ, or of lymph nodes the station."""
    return (station(name) if nodal else "") or places()[name].organ


def related(one: str, other: str) -> bool:
    """Whether one place is the other, or lies in it, or both lie in one organ."""
    table = places()
    return one in ancestors(other) or other in ancestors(one) or table[one].organ == table[other].organ


def chains(found: list[Mention], text: str, language: str) -> list[list[Mention]]:
    """Places that the text joins: "liver and spleen" is one chain of two, "head of the pancreas" of one."""
    result: list[list[Mention]] = []
    for mention in found:
        if result:
            last = result[-1][-1]
            between = text[last.end : mention.start]
            nested = _NESTED.fullmatch(between) and not (language == "nl" and _OR.match(between))
            if mention.start < last.end or nested:
                if not narrower(last.name, mention.name) or places()[last.name].weak:
                    result[-1][-1] = _narrowest(last, mention)
                continue
            if len(between) < 40 and _AND.fullmatch(between):
                weak = places()[last.name].weak or places()[mention.name].weak
                if not between.strip() and (weak or related(last.name, mention.name)):
                    result[-1][-1] = _narrowest(last, mention)
                else:
                    result[-1].append(mention)
                continue
        result.append([mention])
    return result


def _narrowest(one: Mention, other: Mention) -> Mention:
    if places()[one.name].weak and not narrower(one.name, other.name):
        return other
    if places()[one.name].weak:
        return one if places()[other.name].weak else other
    if narrower(one.name, other.name):
        return one
    return other if narrower(other.name, one.name) or places()[one.name].weak else one


def places_of(
    group: Group, sentence: Sentence, low: int, high: int, text: str, above: list[Mention]
) -> tuple[list[Mention], bool]:
    """The places of a group among those that lie in [low, high), and whether the sentence itself names them.

    Nearest first: within the word or right before it, after it, earlier in the sentence, the heading above,
    and last what the lesion only touches ("abutting the pleura").
    """
    found = [m for m in sentence.of("places") if low <= m.start < high]
    near = sentence.of("assertion", "near") if group.kind != "node" else []
    touching = [
        m
        for m in found
        if m.name != "fissure" and any(0 <= m.first - n.last <= 3 and n.start >= group.start for n in near)
    ]
    inside = [m for m in found if m.start < group.end and m.end > group.start]
    rest = [m for m in found if m not in touching and m not in inside]
    distant = _DISTANT.match(text, group.start)
    earlier = [] if distant else [m for m in rest if m.end <= group.start]
    before = chains(earlier, text, sentence.language)
    above = [] if distant else above
    after = chains([m for m in rest if m.start >= group.end], text, sentence.language)
    close = before and not _FAR.search(text[before[-1][-1].end : group.start])
    strong = [inside] if inside else (before[-1:] if close else [])
    chosen = _choose(strong, after, before)
    if chosen is None and touching and not above:
        return touching[:1], True
    if chosen is None:
        return above, False
    vague = all(places()[m.name].weak for m in chosen) and not all(places()[m.name].weak for m in above)
    vague = vague and not _liver_segment(chosen[0], above, text)
    apart = all(m.name in REGIONS and not narrower(above[0].name, m.name) for m in chosen) if above else False
    nodal = group.kind == "node" and any(places()[m.name].node for m in chosen)
    level = "bone" in ancestors(above[0].name) and chosen[0].name == "vertebral level" if above else False
    if vague and not (apart or nodal or level) and not any(narrower(m.name, above[0].name) for m in chosen):
        return above, False
    return chosen, True


def _liver_segment(place: Mention, above: list[Mention], text: str) -> bool:
    """ "In segment 7 ..." is the liver's after any organ but the lung, which has segments too."""
    numbered = place.name == "liver segment" and " " in text[place.start : place.end]
    return numbered and not any("lung" in ancestors(m.name) for m in above)


def _choose(
    strong: list[list[Mention]], after: list[list[Mention]], before: list[list[Mention]]
) -> list[Mention] | None:
    if strong:
        for chain in after[:1] + [c for c in reversed(before) if c is not strong[0]]:
            if any(narrower(m.name, s.name) or places()[s.name].weak for m in chain for s in strong[0]):
                finer = [m for m in chain if any(narrower(m.name, s.name) for s in strong[0])]
                bony = any("bone" in ancestors(s.name) for s in strong[0])
                firm = [m for m in chain if not places()[m.name].weak or (bony and m.name in BONY)]
                if finer and not all(places()[s.name].weak for s in strong[0]):
                    return (firm or finer) if bony else finer
                return firm or finer or strong[0]
        return strong[0]
    for chain in after[:2]:
        if not all(places()[m.name].weak for m in chain):
            return chain
    for chain in reversed(before):
        if not all(places()[m.name].weak for m in chain):
            finer = [m for m in after[0] if any(narrower(m.name, b.name) for b in chain)] if after else []
            return finer or chain
    return after[0] if after else (before[-1] if before else None)


def side_of(
    place: Mention | None, group: Group | None, sentence: Sentence, low: int, high: int
) -> str | None:
    """The side next to the place, else next to the lesion, else the nearest in [low, high)."""
    sides = [m for m in sentence.of("side") if low <= m.start < high]
    anchors = [a for a in (place, group) if a is not None]
    for anchor in anchors:
        close = [m for m in sides if -2 <= m.first - anchor.last <= 2 or -2 <= anchor.first - m.last <= 2]
        names = {m.name for m in close}
        if names:
            if names >= {"left", "right"} and anchor is place:
                gap = min(close, key=lambda m: (abs(anchor.first - m.last), m.start))
                return gap.name if abs(anchor.first - gap.last) == 0 and len(sides) > 2 else "both"
            return min(
                close, key=lambda m: (min(abs(m.first - anchor.last), abs(anchor.first - m.last)), m.start)
            ).name
    names = {m.name for m in sides if not _of_other_place(m, place, sentence)}
    if names >= {"left", "right"} or "both" in names:
        return "both"
    return names.pop() if names else None


def _of_other_place(side: Mention, place: Mention | None, sentence: Sentence) -> bool:
    """Whether a side belongs to a place of another organ: "left ilium" beside a tumour of the lung."""
    if place is None:
        return False
    owners = [m for m in sentence.of("places") if 0 <= m.first - side.last <= 1]
    return bool(owners) and not any(related(m.name, place.name) for m in owners)
