"""From the mentions of each sentence to one draft per lesion, across sentences and lists where the text does so."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from resources.reports import assertion, sizing
from resources.reports.anatomy import Group, narrower, places_of, related, side_of
from resources.reports.assertion import Cues
from resources.reports.mentions import Mention, Sentence
from resources.reports.vocabulary import lesion_words, places

GENERIC = ("lesion", "target lesion", "focus", "nodule", "mass", "lymph node", "tumour", "cyst", "metastasis")
_JOIN = re.compile(r"(?:[ -]?|,? ?(?:of|van)(?: \w+){0,3} ?| ?\(|/)", re.IGNORECASE)


@dataclasses.dataclass(slots=True)
class Draft:
    """A finding in the making. Offsets are of the clean text.

    normal: it says only that all is well. listed: the items of the list it opens stand for it.
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


@dataclasses.dataclass(slots=True)
class Context:
    """What the sentences before leave behind."""

    paragraph: int = -1
    section: str = ""
    drafts: list[Draft] = dataclasses.field(default_factory=list)
    place: list[Mention] = dataclasses.field(default_factory=list)
    age: int = 0
    including: bool = False
    header: list[Draft] = dataclasses.field(default_factory=list)


def group_lesions(sentence: Sentence, cues: Cues, text: str) -> list[Group]:
    """Lesion words, joined where they name one thing, with the diagnoses that the text gives them."""
    table = lesion_words()
    groups: list[Group] = []
    for mention in sentence.of("lesions"):
        kind = table[mention.name].kind
        if groups and mention.start < groups[-1].end:
            continue
        if groups and kind != "abnormality":
            last = groups[-1]
            between = text[last.end : mention.start]
            same = kind != "other" and last.kind not in ("other", "abnormality")
            loose = len(between) > 2 and last.words[-1].name not in (
                "conglomerate",
                "lesion",
                "mass",
                "deposit",
                "nodule",
            )
            if same and not loose and len(between) < 40 and _JOIN.fullmatch(between):
                last.words.append(mention)
                if last.words[0].name != "conglomerate":
                    last.plural = last.plural or mention.plural
                last.kind = "node" if "node" in (kind, last.kind) else "lesion"
                continue
            if same and _diagnosis(last, mention, cues, text):
                last.diagnoses.append(mention)
                continue
        groups.append(Group([mention], kind, mention.plural))
    return groups


def _diagnosis(last: Group, mention: Mention, cues: Cues, text: str) -> bool:
    low = last.diagnoses[-1].end if last.diagnoses else last.end
    between = text[low : mention.start]
    if len(between) > 200 or re.search(r"\.(?!\d)", between):
        return False
    said = [m for m in cues.named("likely", "perhaps before") if low <= m.start and m.end <= mention.start]
    denials = [m for m in cues.denials if low <= m.start < mention.start]
    if said and not denials:
        return mention.first - said[-1].last <= 6
    question = "?" in text[mention.end : mention.end + 3]
    joined = last.diagnoses and re.fullmatch(r"[ ,]*(?:or|of|versus|vs\.?|dd|and/or|/)?[ ,]*", between)
    return bool(joined) or (question and len(between) < 4)


def link(sentences: list[Sentence], text: str) -> list[Draft]:
    """Drafts in the order of the text; what indications, techniques and comparisons say is none."""
    context = Context()
    drafts: list[Draft] = []
    for sentence in sentences:
        block = sentence.block
        if block.section in ("indication", "technique", "comparison", "end"):
            continue
        if (block.paragraph, block.section) != (context.paragraph, context.section):
            context = Context(block.paragraph, block.section)
        _late_reference(sentence, context)
        reading = _Reading(sentence, text, context)
        found = reading.drafts()
        drafts += found
        if reading.is_item:
            context.age = 0
            continue
        own = [d for d in found if not d.normal and d.presence != "absent"]
        context.age = 0 if own else context.age + 1
        context.including = bool(reading.cues.named("including")) if own else context.including
        context.drafts = own or context.drafts
        if own and text[sentence.start : sentence.end].rstrip().endswith(":"):
            context.header = [d for d in own if d.count != 1 and not d.sizes]
        named = [m for m in sentence.of("places") if not places()[m.name].weak]
        context.place = named[-1:] or context.place
    return drafts


def _late_reference(sentence: Sentence, context: Context) -> None:
    """ "(series 5, image 456)" behind the full stop of its lesion's sentence."""
    first = next((m for m in sentence.mentions if m.category in ("reference", "lesions", "size")), None)
    if first is not None and first.category == "reference" and context.age == 0 and context.drafts:
        if context.drafts[-1].reference is None and first.first - sentence.first <= 2:
            context.drafts[-1].reference = first


class _Reading:
    """One sentence being read."""

    def __init__(self, sentence: Sentence, text: str, context: Context) -> None:
        self.sentence, self.text, self.context = sentence, text, context
        self.cues = Cues(sentence, text)
        low, high = sentence.block.heading
        self.above = [m for m in sentence.of("places") if low <= m.start < high] or self._heading()
        self.groups = group_lesions(sentence, self.cues, text)
        self.is_item = False

    def _heading(self) -> list[Mention]:
        return list(self.sentence.heading)

    def drafts(self) -> list[Draft]:
        sizing.mark_prior(self.sentence, self.cues, self.text)
        diagnosis = self._item_diagnosis()
        owned, free = sizing.assign(self.sentence, [] if diagnosis else self.groups, self.text)
        found: list[Draft] = []
        if diagnosis:
            found = self._items(free)
            said = assertion.character(diagnosis, self.groups, self.cues, doubtful=False)
            for draft in found:
                draft.character = said
            return found
        if self._says_more(owned):
            return found
        for index, group in enumerate(self.groups):
            found += self._of_group(index, group, owned.get(index, []))
        if free and not any(g.kind != "abnormality" for g in self.groups):
            found += self._items(free)
        if not any(d.presence == "present" and not d.normal for d in found) or len(self.groups) > 0:
            found += self._normal(found)
        return found

    def _item_diagnosis(self) -> Group | None:
        """ "Perifissural: 6 mm, most likely a lymph node", as an item of a list of nodules."""
        found = self.sentence.of("size")
        if len(self.groups) != 1 or not found or not self.context.drafts:
            return None
        group = self.groups[0]
        said = self.cues.before(group, 2, "likely", "perhaps before")
        if not said or found[-1].end > said[0].start:
            return None
        return Group(group.words, group.kind, group.plural, group.words)

    # One group of lesion words

    def _window(self, index: int) -> tuple[int, int]:
        """Where a group's places and sides may stand: from the lesion before it to the one after it."""
        group = self.groups[index]
        before = [g.end for g in self.groups[:index] if g.kind in ("lesion", "node", "measured")]
        after = [g.start for g in self.groups[index + 1 :] if not sizing.is_attribute(g, self.text)]
        low, high = (
            (before[-1] if before else self.sentence.start),
            (after[0] if after else self.sentence.end),
        )
        tail = self.text[group.end : high]
        if after and "," in tail:
            high = group.end + tail.rindex(",")
        elif after and (joint := list(re.finditer(r"\b(?:and|en)\b", tail))):
            high = group.end + joint[-1].start() if not re.fullmatch(r"\s*(?:and|en)\s*", tail) else high
        if before and (joint := list(re.finditer(r",|\b(?:and|en)\b", self.text[low : group.start]))):
            low += joint[0].start()
        return low, high

    def _of_group(self, index: int, group: Group, found: list[Mention]) -> list[Draft]:
        absent = assertion.denied(group, self.groups, self.cues, bool(found))
        gone = assertion.resolved(group, self.cues)
        normal = group.kind == "abnormality" and absent is not False
        absent = normal or absent
        if group.kind == "other" or absent is None and not gone:
            return []
        if group.kind == "measured" and (absent or not found):
            return []
        if group.kind == "abnormality" and not absent and not found:
            return []
        unusual = assertion.abnormal(group, self.cues)
        calm = bool(self.cues.after(group, 6, "benign") or self.cues.before(group, 2, "benign"))
        if group.kind == "node" and not absent and not gone and not found:
            if calm or _is_normal(group, self.cues):
                absent = True
            elif not unusual and not group.diagnoses and not self.sentence.block.section == "targets":
                return []
        low, high = self._window(index)
        chosen, named = places_of(group, self.sentence, low, high, self.text, self._standing(bool(absent)))
        if not named and self._is_diagnosis(group, found):
            self._add_diagnosis(group)
            return []
        doubtful = assertion.doubted(group, self.groups, self.cues, self.sentence.end)
        presence: Literal["present", "absent", "uncertain"] = "absent" if absent or gone else "present"
        if presence == "present" and doubtful and not found and not group.diagnoses:
            presence = "uncertain"
        base = Draft(
            words=tuple(m.name for m in group.words + [d for d in group.diagnoses if not _is_node(d)]),
            kind=group.kind,
            place=chosen[0].name if chosen else None,
            side=side_of(chosen[0] if named and chosen else None, group, self.sentence, low, high)
            or self._above_side(),
            count=self._count(group, found),
            sizes=(),
            reference=self._reference(group.start, high),
            presence=presence,
            time="resolved" if gone else ("prior" if assertion.prior(group, self.cues) else "current"),
            character=assertion.character(group, self.groups, self.cues, doubtful),
            start=group.start,
            end=group.end,
            section=self.sentence.block.section,
            normal=normal,
        )
        if presence == "absent" or not found:
            return self._spread(base, chosen, group, low, high)
        if named and self.text[group.end : group.end + 2].strip() != ":":
            self._under_header(base)
        return self._sized(base, group, found, chosen)

    def _under_header(self, draft: Draft) -> None:
        """An item of a list ("Pulmonary lesions, mostly right, likely nodes:") takes what its header says."""
        for header in self.context.header:
            if (
                draft.place
                and header.place
                and related(draft.place, header.place)
                and draft.kind == header.kind
            ):
                header.listed = not self.context.including
                draft.side = draft.side or header.side
                if draft.character == "indeterminate":
                    draft.character = header.character

    def _above_side(self) -> str | None:
        low, high = self.sentence.block.heading
        names = {m.name for m in self.sentence.heading_sides}
        return names.pop() if len(names) == 1 and high > low else None

    def _standing(self, absent: bool) -> list[Mention]:
        """The place that stands above a sentence which names none: its heading's, or the last one named."""
        last = self.context.place if self.context.age <= 1 else []
        if absent and self.sentence.block.section == "impression":
            last = []
        if self.above and last and all(narrower(last[0].name, m.name) for m in self.above):
            return last
        return self.above or last

    def _spread(self, base: Draft, chosen: list[Mention], group: Group, low: int, high: int) -> list[Draft]:
        """One draft a place: "metastases in liver and lungs"; a single lesion has one place."""
        if base.presence == "present" and not group.plural:
            chosen = chosen[:1]
        result: dict[str | None, Draft] = {}
        for place in chosen or [None]:
            name = place.name if place else None
            organ = places()[name].organ if name else None
            side = (
                side_of(place, None if len(chosen) > 1 else group, self.sentence, low, high)
                if place
                else base.side
            )
            if organ in result:
                same = result[organ]
                same.side = same.side if same.side == (side or _own_side(name)) else "both"
                continue
            made = dataclasses.replace(
                base, place=name, side=side or (base.side if len(chosen) < 2 else None)
            )
            made.side = made.side or _own_side(name)
            result[organ] = made
        return list(result.values())

    def _sized(self, base: Draft, group: Group, found: list[Mention], chosen: list[Mention]) -> list[Draft]:
        parts = sizing.join_axes(found, self.cues, self.text)
        largest = [m for m in self.cues.named("largest")]
        base.end = max(base.end, found[-1].end)
        base.start = min(base.start, found[0].start)
        ranged = any(s.ranged for s in found) and group.plural
        if len(parts) == 1:
            base.sizes = sizing.diameters(parts[0])
            base.reference = self._reference(found[0].start, self.sentence.end) or base.reference
            base.place = self._nearest_place(parts[0][0], chosen) or base.place
            base.side = base.side or _own_side(base.place)
            if ranged or any(m.end <= found[0].start and found[0].first - m.last <= 6 for m in largest):
                base.count = base.count if base.count != 1 or not group.plural else "several"
            return [base, *self._others(base, chosen)]
        split = self._split(base, parts, group, chosen)
        if any(m.end <= found[0].start and 0 <= found[0].first - m.last <= 8 for m in largest):
            if (
                len({d.side for d in split}) == 1
                and len({d.place for d in split}) == 1
                and not split[1].reference
            ):
                base.sizes = max((d.sizes for d in split), key=max)
                base.count = base.count if base.count != 1 else "several"
                return [base]
            for draft in split:
                draft.count = "several"
        return split + self._rest(base, group, split, chosen)

    def _rest(self, base: Draft, group: Group, split: list[Draft], chosen: list[Mention]) -> list[Draft]:
        """What a group still stands for besides its measured members: the whole of "..., including", other places."""
        rest = []
        if any(group.end <= m.start < split[0].end for m in self.cues.named("including")):
            weak = [
                m
                for m in self.sentence.of("places")
                if group.start - 40 < m.start < split[0].start and m not in chosen
            ]
            rest.append(
                dataclasses.replace(
                    base, place=weak[0].name if weak else base.place, end=group.end, reference=None
                )
            )
        organs = {places()[d.place].organ for d in split if d.place}
        for place in chosen:
            if places()[place.name].organ not in organs and group.plural:
                rest.append(
                    dataclasses.replace(base, place=place.name, side=None, end=group.end, reference=None)
                )
        return rest

    def _others(self, base: Draft, chosen: list[Mention]) -> list[Draft]:
        """The places of several lesions other than the one whose largest is measured."""
        if base.count == 1 or len(chosen) < 2:
            return []
        organs = {places()[base.place].organ} if base.place else set()
        others = []
        for place in chosen:
            if places()[place.name].organ not in organs:
                organs.add(places()[place.name].organ)
                others.append(dataclasses.replace(base, place=place.name, sizes=(), reference=None))
        return others

    def _nearest_place(self, size: Mention, chosen: list[Mention]) -> str | None:
        before = [m for m in chosen if m.end <= size.start]
        return (before or chosen)[-1].name if chosen else None

    def _split(
        self, base: Draft, parts: list[list[Mention]], group: Group, chosen: list[Mention]
    ) -> list[Draft]:
        """A draft for each size; one that has no place of its own shares that of the size before it."""
        made: list[Draft] = []
        for index, part in enumerate(parts):
            here = dataclasses.replace(base, place=made[-1].place) if made and base.place is None else base
            made.append(self._item(here, part, parts, index, group, chosen))
        return made

    def _item(
        self,
        base: Draft,
        part: list[Mention],
        parts: list[list[Mention]],
        index: int,
        group: Group,
        chosen: list[Mention],
    ) -> Draft:
        """One of several sizes of a group: with its own place, side and image where it has them."""
        low = parts[index - 1][-1].end if index else min(group.start, part[0].start)
        high = parts[index + 1][0].start if index + 1 < len(parts) else self.sentence.end
        before = [m for m in self.sentence.of("places") if low <= m.start < part[0].start]
        if index == 0:
            before = [m for m in before if m.start >= group.end and m not in chosen]
        firm = base.place is not None and not places()[base.place].weak
        last = [m for m in before if not places()[m.name].weak] or ([] if firm else before)
        after = [
            m
            for m in self.sentence.of("places")
            if part[-1].end <= m.start < high and m.first - part[-1].last <= 4
        ]
        after = [m for m in after if not re.search(r"[,;]|\b(?:and|en)\b", self.text[part[-1].end : m.start])]
        place = (
            last[-1].name if last else (after[0].name if after and not index == len(parts) else base.place)
        )
        if last and base.place and not related(last[-1].name, base.place) and not places()[base.place].weak:
            place = last[-1].name if group.kind == "node" or group.plural else base.place
        side = self._side_by(part, low, high, index, len(parts))
        counts = [
            m
            for m in self.sentence.of("count")
            if low <= m.start < part[0].start and m.number and part[0].first - m.last <= 3
        ]
        return dataclasses.replace(
            base,
            place=place,
            side=side or (base.side if base.side != "both" or index is None else None) or _own_side(place),
            count=counts[-1].number if counts else 1,
            sizes=sizing.diameters(part),
            reference=self._reference(part[-1].end, high),
            start=last[-1].start if last else part[0].start,
            end=part[-1].end,
        )

    def _side_by(self, part: list[Mention], low: int, high: int, index: int, total: int) -> str | None:
        sides = [m for m in self.sentence.of("side") if low <= m.start < high and m.name != "both"]
        before = [m for m in sides if m.end <= part[0].start]
        after = [m for m in sides if m.start >= part[-1].end and m.first - part[-1].last <= 3]
        every = [m for m in self.sentence.of("side") if m.name != "both"]
        trailing = bool(every) and every[-1].start > part[-1].end and index < total
        if after and (trailing or not before):
            return after[0].name
        if before:
            return before[-1].name
        return after[0].name if after else None

    def _count(self, group: Group, found: list[Mention]) -> int | Literal["several"]:
        for m in reversed(self.sentence.of("count")):
            between = self.text[m.end : group.start]
            if m.start < group.start and group.first - m.last <= 5 and "," not in between:
                if not any(g is not group and m.end <= g.start < group.start for g in self.groups):
                    return m.number or ("several" if group.plural else 1)
        match = re.search(
            r"(?<![\w.,/-])(\d{1,2}) (?:[^\W\d]+ ){0,3}$",
            self.text[max(self.sentence.start, group.start - 50) : group.start],
        )
        if match and group.plural and 2 <= int(match.group(1)) <= 30:
            start = max(self.sentence.start, group.start - 50) + match.start(1)
            if not re.search(
                r"(?:segment\w*|level|station|im\w*|serie\w*|s|level|van|of|level|in) $",
                self.text[max(0, start - 12) : start],
                re.I,
            ):
                return int(match.group(1))
        for m in self.sentence.of("count"):
            if (
                m.number
                and found
                and m.start >= group.end
                and m.end <= found[0].start
                and found[0].first - m.last <= 3
            ):
                return m.number
        return "several" if group.plural else 1

    def _reference(self, low: int, high: int) -> Mention | None:
        return next((m for m in self.sentence.of("reference") if low <= m.start < high), None)

    # Sentences that go on about an earlier lesion

    def _is_diagnosis(self, group: Group, found: list[Mention]) -> bool:
        """ "Most consistent with a granuloma." after the sentence of a nodule."""
        if found or not self.context.drafts or self.context.age > 1 or group is not self.groups[0]:
            return False
        if any(not places()[m.name].weak for m in self.sentence.of("places") if m.start < group.start):
            return False
        said = self.cues.before(group, NEAR_DIAGNOSIS, "likely", "perhaps before")
        return bool(said) and said[0].first - self.sentence.first <= 5 and not self.cues.denials

    def _add_diagnosis(self, group: Group) -> None:
        doubtful = assertion.doubted(group, self.groups, self.cues, self.sentence.end)
        whole = Group(group.words, group.kind, group.plural, [*group.words, *group.diagnoses])
        said = assertion.character(whole, self.groups, self.cues, doubtful)
        for draft in self.context.drafts if group.plural else self.context.drafts[-1:]:
            draft.words += tuple(m.name for m in group.words if not _is_node(m))
            if said != "indeterminate":
                draft.character = said

    def _says_more(self, owned: dict[int, list[Mention]]) -> bool:
        """ "The largest lesion measures 23 mm." after "several lesions": nothing new, a size for what was said."""
        if (
            not self.groups
            or not self.context.drafts
            or self.context.age > 1
            or 0 not in owned
            or len(owned) > 1
        ):
            return False
        group, draft = self.groups[0], self.context.drafts[-1]
        if any(g.kind in ("lesion", "node") for g in self.groups[1:]) or group.words[0].name not in GENERIC:
            return False
        largest = any(
            0 <= group.first - m.last <= 2 or m.start < group.end <= m.end for m in self.cues.named("largest")
        )
        it = any(
            m.start <= group.start and group.end <= m.end or 0 <= group.first - m.last <= 1
            for m in self.cues.named("it")
        )
        if not (largest and draft.count != 1) and not (it and not draft.sizes):
            return False
        named = [m for m in self.sentence.of("places") if not places()[m.name].weak]
        if draft.place and any(not related(m.name, draft.place) for m in named):
            return False
        self._enlarge(draft, owned[0])
        return True

    def _enlarge(self, draft: Draft, found: list[Mention]) -> None:
        if draft.sizes:
            return
        draft.sizes = sizing.diameters(sizing.join_axes(found, self.cues, self.text)[0])
        draft.reference = draft.reference or self._reference(self.sentence.start, self.sentence.end)

    def _items(self, free: list[Mention]) -> list[Draft]:
        """Sizes of a sentence without lesion words: an item of a list of targets or lesions, or "it measures"."""
        listed = self.sentence.block.section == "targets"
        parents = [d for d in self.context.drafts if self.context.age <= 8]
        named = [m for m in self.sentence.of("places") if m.end <= free[-1].start]
        named = [m for m in named if not places()[m.name].weak] or named
        parent = parents[-1] if parents else None
        if parent is not None and not listed:
            fits = (
                not named
                or parent.place is None
                or all(
                    related(m.name, parent.place) or places()[parent.place].weak or _nodal(parent)
                    for m in named
                )
            )
            if not fits:
                return []
            if (
                not named
                and self.context.age <= 1
                and not self._reference(self.sentence.start, self.sentence.end)
            ):
                self._enlarge(parent, free)
                return []
            if parent.count == 1 and self.context.age <= 1 and not parent.listed:
                self._enlarge(parent, free)
                return []
        if not listed and (
            parent is None or not (named or self._reference(self.sentence.start, self.sentence.end))
        ):
            return []
        words = parent.words if parent and not listed else ("target lesion",)
        base = Draft(
            words, parent.kind if parent and not listed else "lesion",
            parent.place if parent and not named else None, parent.side if parent and not listed else None, 1, (), None, "present", "current",
            parent.character if parent and not listed else "suspicious", free[0].start, free[-1].end, self.sentence.block.section,
        )  # fmt: skip
        at = Mention(
            "lesions",
            words[0],
            self.sentence.start,
            self.sentence.start,
            self.sentence.first,
            self.sentence.first,
        )
        group = Group([at], base.kind, True)
        parts = sizing.join_axes(free, self.cues, self.text)
        made = self._split(base, parts, group, [])
        if parent and not listed and not parent.sizes and not self.context.including:
            parent.listed = True
        self.is_item = True
        return made

    # What is said to be normal

    def _normal(self, found: list[Draft]) -> list[Draft]:
        undone = self.cues.named("normal pseudo")
        normals = [
            m
            for m in self.cues.named("normal")
            if not any(
                u.start <= m.start
                and m.end <= u.end
                and u.end - u.start > m.end - m.start
                or (u.start == m.start and u.end == m.end)
                for u in undone
            )
        ]
        normals = [m for m in normals if not any(u.start < m.end and u.end > m.start for u in undone)]
        if not normals:
            return []
        positive = [g for g in self.groups if g.kind in ("lesion", "node", "measured")]
        named = self.sentence.of("places")
        made: list[Draft] = []
        for place in named or self.above:
            if place in named and positive and not self._same_clause(place, normals, positive):
                continue
            if (
                places()[place.name].type is None
                or place.name != places()[place.name].organ
                or self._of_other(place)
                or places()[place.name].weak
                and place in named
                and len(named) > 1
            ):
                continue
            side = side_of(place, None, self.sentence, self.sentence.start, self.sentence.end) or _own_side(
                place.name
            )
            made.append(Draft(
                ("abnormality",), "abnormality", place.name, side if place in named else self._above_side(), 1, (), None,
                "absent", "current", "indeterminate", min(place.start, normals[0].start) if place in named else normals[0].start,
                max(place.end, normals[0].end) if place in named else normals[0].end, self.sentence.block.section, normal=True,
            ))  # fmt: skip
        return made

    def _of_other(self, place: Mention) -> bool:
        """Whether the place only says whose duct or vessel it is: "slender intrahepatic bile ducts"."""
        others = [g for g in self.groups if g.kind == "other"]
        return any(
            0 <= g.first - place.last <= 1 or (g.start < place.end and g.end > place.start) for g in others
        )

    def _same_clause(self, place: Mention, normals: list[Mention], positive: list[Group]) -> bool:
        edges = [self.sentence.start]
        edges += [
            m.start() + self.sentence.start
            for m in re.finditer(
                r"[,;]|\b(?:with|met|but|maar|behoudens|except)\b",
                self.text[self.sentence.start : self.sentence.end],
            )
        ]
        edges.append(self.sentence.end)
        for low, high in zip(edges, edges[1:], strict=False):
            if low <= place.start < high:
                return any(low <= n.start < high for n in normals) and not any(
                    low <= g.start < high for g in positive
                )
        return False


NEAR_DIAGNOSIS = 8


def _is_node(mention: Mention) -> bool:
    word = lesion_words()[mention.name]
    return word.kind == "node" or word.place == "lymph node"


def _own_side(place: str | None) -> str | None:
    return places()[place].side or None if place else None


def _nodal(draft: Draft) -> bool:
    return draft.kind == "node" or any(lesion_words()[name].place == "lymph node" for name in draft.words)


def _is_normal(group: Group, cues: Cues) -> bool:
    return bool(cues.after(group, 5, "normal") or cues.before(group, 3, "normal"))


__all__ = ["Draft", "link", "narrower"]
