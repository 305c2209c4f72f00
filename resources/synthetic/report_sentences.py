"""Sentences of a report about lesions, each with the findings that a perfect reader takes from it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Literal

from resources.cases.case import Finding
from resources.synthetic.report_phrases import CLOSE, OPEN, Language, Speaker, tidy
from resources.synthetic.report_plan import LARGE_MM, SMALL_MM, Character, Group, Style, subject_of
from resources.synthetic.truth import TrueLesion

Course = Literal["stable", "progression", "regression"]
ENTITIES = {
    "lung": "lung",
    "bone": "bone",
    "adrenal gland": "adrenal",
    "soft tissue": "soft",
    "abdomen": "implant",
    "pelvis": "implant",
    "mediastinum": "implant",
}
"""Kind of noun for the lesions of a subject; "lesion" for all others."""
MASSES = {"lung": "lung_mass", "soft": "soft_mass", "lesion": "mass", "implant": "mass"}
"""What it becomes from LARGE_MM on."""
ENLARGED_MM = 9.0
"""Short axis from which a node is called enlarged."""
SIZE_NOISE = 0.05
"""Standard deviation of the log of a reported size: readers differ."""
ENHANCING = ("ring-enhancing", "hyperdense")
"""Textures whose words speak of contrast."""
MIMICRY = ("cyst", "haemangioma")
"""Mimics that are called indeterminate when they are small."""


@dataclasses.dataclass(frozen=True)
class Mention:
    """A finding as the text has it, and the lesions (their labels) that it is about.

    optional: a reader may leave it out, or merge it: a former size, or what a conclusion repeats. errors:
    "size": the size is grossly wrong; "overlooked": an organ is said to be clear that holds these lesions.
    """

    finding: Finding
    lesions: tuple[int, ...] = ()
    optional: bool = False
    errors: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Sentence:
    """Text, and mentions whose spans count from its start."""

    text: str
    mentions: tuple[Mention, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """What all sentences of one report share.

    course: how the disease went since the earlier study of `date`, None without one. series: number of the
    series. images: of the key images, by lesion label. concluded: there is a conclusion. enhanced: contrast
    was given.
    """

    style: Style
    course: Course | None
    date: str
    series: int
    images: Mapping[int, int]
    concluded: bool
    enhanced: bool


@dataclasses.dataclass
class Teller:
    """Puts groups of lesions into words."""

    speaker: Speaker
    scene: Scene
    draw: random.Random

    @property
    def language(self) -> Language:
        return self.speaker.language

    def tell(self, group: Group, opinion: Character, headed: bool) -> Sentence:
        """The sentence about a group. opinion: what is thought of its subject's lesions."""
        first = group.lesions[0]
        if first.status == "doubtful":
            return self._tell_one(group, "indeterminate", "doubtful", headed)
        if first.status == "benign":
            vague = first.texture in MIMICRY and first.long_mm < SMALL_MM and self.draw.random() < 0.25
            return self._tell_one(group, "indeterminate" if vague else "benign", "", headed)
        listed = 2 <= len(group.lesions) <= 4 and self.draw.random() < 0.35
        if listed and (opinion != "suspicious" or self.scene.concluded):
            return self._tell_list(group, opinion, headed)
        return self._tell_one(group, opinion, "", headed)

    def _tell_one(self, group: Group, character: Character, kind: str, headed: bool) -> Sentence:
        """One sentence with one finding, for one lesion or several."""
        many, first = len(group.lesions) > 1, group.lesions[0]
        short = headed and group.subject == first.organ
        site, side = self.speaker.place(first.organ, group.side, group.segment, first.type, short)
        entity, spoken = self._entity(group, character, many)
        size, stated_mm, errors = self._size(group, many)
        reference, series, images = self._reference(first)
        before, prior = self._comparison(first, stated_mm, many, "cm" in size)
        count_text, count = self.speaker.count(len(group.lesions)) if many else ("", 1)
        tail = before + ("" if spoken else self._tail(group, character, many))
        template = self._template(kind or ("many" if many else "one"), site)
        text = template.format(
            site=site,
            a=self.speaker.article(entity),
            entity=entity,
            entities=entity,
            size=size,
            largest=size,
            ref=reference,
            tail=tail,
            count=count_text,
        )
        clean, spans = tidy(text)
        finding = Finding(
            type=first.type,
            organ=first.organ,
            side=side,
            count=count,
            sizes_mm=stated_mm,
            series=series,
            images=images,
            presence="uncertain" if kind == "doubtful" else "present",
            character=character,
            span=(0, len(clean)),
            language=self.language,
        )
        mentions = [Mention(finding, group.labels, errors=errors)]
        for span in spans:
            before_it = dataclasses.replace(
                finding, sizes_mm=prior, time="prior", span=span, series=None, images=()
            )
            mentions.append(Mention(before_it, group.labels, optional=True))
        return Sentence(clean, tuple(mentions))

    def _tell_list(self, group: Group, character: Character, headed: bool) -> Sentence:
        """ "Nodules: 9 mm in the right upper lobe, 6 mm in the left lower lobe.": a finding for each item."""
        entity, _ = self._entity(group, "indeterminate", True)
        items: list[str] = []
        findings: list[tuple[Finding, int, tuple[str, ...]]] = []
        in_cm = self._in_cm()
        for lesion in group.lesions:
            short = headed and group.subject == lesion.organ
            site, side = self.speaker.place(lesion.organ, lesion.side, lesion.segment, lesion.type, short)
            size, stated_mm, errors = self._stated(self._diameters(lesion)[:2], in_cm)
            reference, series, images = self._reference(lesion)
            item = self.speaker.pick("lesion", "item").format(site=site, size=size, ref=reference)
            items.append(f"{OPEN}{item.strip()}{CLOSE}")
            finding = Finding(
                type=lesion.type,
                organ=lesion.organ,
                side=side,
                sizes_mm=stated_mm,
                series=series,
                images=images,
                character=character,
                language=self.language,
            )
            findings.append((finding, lesion.label, errors))
        count = self.speaker.words["numbers"][len(items) - 1]
        text, spans = tidy(
            self.speaker.pick("lesion", "listed").format(
                entities=entity, items=self.speaker.joined(items), count=count
            )
        )
        return Sentence(
            text,
            tuple(
                Mention(dataclasses.replace(finding, span=span), (label,), errors=errors)
                for (finding, label, errors), span in zip(findings, spans, strict=True)
            ),
        )

    def resolved(self, lesion: TrueLesion) -> Sentence:
        """A lesion of an earlier study, made up, that is no longer there."""
        site, side = self.speaker.place(lesion.organ, lesion.side, lesion.segment, lesion.type, False)
        entity, _ = self._entity(Group(subject_of(lesion), (lesion,)), "indeterminate", False)
        template = self.speaker.pick("resolved", "sentences")
        size, stated_mm = (
            self.speaker.size((lesion.long_mm,), self._in_cm()) if "{size}" in template else ("", ())
        )
        size = f" van {size}" if self.language == "nl" else f" of {size}"
        text, _ = tidy(template.format(entity=entity, site=site, size=size, date=self.scene.date))
        finding = Finding(
            type=lesion.type,
            organ=lesion.organ,
            side=side,
            sizes_mm=stated_mm,
            time="resolved",
            span=(0, len(text)),
            language=self.language,
        )
        return Sentence(text, (Mention(finding),))

    def _template(self, kind: str, site: str) -> str:
        options = self.speaker.words["lesion"][kind]
        if not site:  # a sentence cannot start with a place that the heading tells
            options = [option for option in options if not option.startswith("{site}")]
        return str(self.draw.choice(options))

    def _entity(self, group: Group, character: Character, many: bool) -> tuple[str, bool]:
        """The noun with its adjective, and whether it tells the character already."""
        first = group.lesions[0]
        if character == "benign":
            return self.speaker.name(self.speaker.pick("benign", first.texture), many), False
        alike = len({lesion.texture for lesion in group.lesions}) == 1
        alike &= self.scene.enhanced or first.texture not in ENHANCING
        adjectives = self.speaker.words["adjectives"].get(first.texture, [""]) if alike else [""]
        if first.texture in MIMICRY:
            adjectives = self.speaker.words["adjectives"]["hypodense"]
        kind = ENTITIES.get(group.subject, "lesion")
        spoken = False
        if first.organ == "lymph node":
            spoken = character == "suspicious" and self.draw.random() < 0.5
            kind = "node_suspicious" if spoken else "node"
        elif character == "suspicious" and self.draw.random() < 0.3:
            kind, spoken = "metastasis", True
        elif min(lesion.long_mm for lesion in group.lesions) >= LARGE_MM:
            kind = MASSES.get(kind, kind)
        options = self.speaker.words["entities"][kind]
        if kind == "node" and max(lesion.short_mm for lesion in group.lesions) < ENLARGED_MM:
            options = options[-2:]  # prominent, or a node and no more
        phrase = self.speaker.name(self.draw.choice(options), many)
        return phrase.format(adj=self.draw.choice(adjectives)), spoken

    def _tail(self, group: Group, character: Character, many: bool) -> str:
        """What is thought of it; of a mimic, that nothing is known."""
        if character == "suspicious":
            if self.scene.concluded and self.draw.random() < 0.4:
                return ""  # the conclusion says so
            return self.speaker.pick("tail", "suspicious_many" if many else "suspicious")
        first = group.lesions[0]
        vague = first.status == "benign" and character != "benign"
        tiny = first.long_mm < SMALL_MM and character == "indeterminate" and self.draw.random() < 0.5
        options = self.speaker.words["tail"]["tiny" if tiny else character]
        return str(self.draw.choice([option for option in options if option or not vague]))

    def _in_cm(self) -> bool:
        return self.draw.random() < self.scene.style.cm

    def _diameters(self, lesion: TrueLesion) -> tuple[float, ...]:
        """One to three diameters as a reader gives them; of a node the short axis alone, or both."""
        noisy = [
            mm * self.draw.lognormvariate(0, SIZE_NOISE)
            for mm in (lesion.long_mm, lesion.short_mm, lesion.z_extent_mm)
        ]
        noisy[:2] = sorted(noisy[:2], reverse=True)
        if lesion.organ == "lymph node":
            return (noisy[1],) if self.draw.random() < 0.7 else (noisy[0], noisy[1])
        return tuple(noisy[: self.draw.choices((1, 2, 3), (50, 40, 10))[0]])

    def _stated(
        self, sizes_mm: tuple[float, ...], in_cm: bool
    ) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
        """The size in words, maybe grossly wrong: a slip of the unit or of the hand."""
        wrong = self.draw.random() < self.scene.style.size_error
        if wrong:
            factor = self.draw.choice((0.1, 0.5, 2.0, 10.0))
            sizes_mm = tuple(max(1.0, mm * factor) for mm in sizes_mm)
        text, stated_mm = self.speaker.size(sizes_mm, in_cm)
        return text, stated_mm, ("size",) if wrong else ()

    def _size(self, group: Group, many: bool) -> tuple[str, tuple[float, ...], tuple[str, ...]]:
        """The size of the (largest) lesion with its connecting words, the diameters stated, and errors."""
        lesion = group.lesions[0]
        if self.draw.random() >= self.scene.style.sized:
            return "", (), ()
        diameters = self._diameters(lesion)
        text, stated_mm, errors = self._stated(diameters, self._in_cm())
        short_axis = lesion.organ == "lymph node" and len(stated_mm) == 1
        if many and not short_axis and lesion.segment != group.segment and self.draw.random() < 0.4:
            site, _ = self.speaker.place(lesion.organ, lesion.side, lesion.segment, lesion.type, False)
            return self.speaker.pick("size", "largest_at").format(site=site, size=text), stated_mm, errors
        if many:
            key = "largest_short" if short_axis else "largest"
        else:
            key = "short" if short_axis else "diameter" if len(stated_mm) == 1 else "axes"
        return self.speaker.pick("size", key).format(size=text), stated_mm, errors

    def _reference(self, lesion: TrueLesion) -> tuple[str, int | None, tuple[int, ...]]:
        image = self.scene.images.get(lesion.label)
        if image is None or self.draw.random() >= self.scene.style.reference:
            return "", None, ()
        series = self.scene.series if self.draw.random() < 0.8 else None
        key = "image" if series is None else "both"
        text = self.speaker.pick("reference", key).format(series=series, image=image)
        return text, series, (image,)

    def _comparison(
        self, lesion: TrueLesion, stated_mm: tuple[float, ...], many: bool, in_cm: bool
    ) -> tuple[str, tuple[float, ...]]:
        """What has become of it since the earlier study, and the size then, marked, if it is stated."""
        course = self.scene.course
        if course is None or lesion.status == "doubtful" or self.draw.random() >= 0.5:
            return "", ()
        course = "stable" if lesion.status == "benign" else course
        new = course == "progression" and self.draw.random() < 0.3
        options = self.speaker.words["tail"]["new" if new else course]
        if not stated_mm or many:
            options = [option for option in options if "{prior}" not in option]
        template = str(self.draw.choice(options))
        if "{prior}" not in template:
            return template.format(date=self.scene.date), ()
        low, high = {"stable": (1.0, 1.0), "progression": (0.5, 0.85), "regression": (1.2, 1.8)}[course]
        factor = self.draw.uniform(low, high)
        text, prior = self.speaker.size(tuple(mm * factor for mm in stated_mm), in_cm)
        return template.format(prior=f"{OPEN}{text}{CLOSE}", date=self.scene.date), prior
