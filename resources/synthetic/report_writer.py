"""Writes CT reports in English and Dutch from a synthetic scan's truth, with what a perfect reader finds.

python -m resources.synthetic.report_writer --count 5 --language nl --site A --seed 1 [--out DIR]

Known of the texts: a finding's character is what the whole report says, the conclusion included; sizes of
lymph nodes are short axes where there is one number; a former size and a conclusion's repetition are
optional findings. Order of lesions, omissions, vagueness and errors are drawn at the site's rates.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path

from model.files import write_whole
from resources.cases.case import Finding
from resources.cli import end_with
from resources.synthetic.report_phrases import Language, ReportError, Speaker, tidy
from resources.synthetic.report_plan import FINDING_OF, SECTIONS, STYLES, Plan, Style, make_plan
from resources.synthetic.report_sampler import imagined_lesion, sample_scan
from resources.synthetic.report_sentences import Course, Mention, Scene, Sentence, Teller
from resources.synthetic.truth import TrueScan

HEADING_OF = {"mediastinum": "mediastinal nodes", "pelvis": "pelvic nodes"}
"""Subjects that stand below another's heading."""
NO_NEGATIVES = ("mediastinum", "abdomen", "pelvis", "soft tissue")
ZONE_ORGANS = {"thorax": "lung", "abdomen": "liver", "skeleton": ""}
INCIDENTAL_IN = {"thorax": ("atelectasis", "scar"), "skeleton": ("spur",)}
RESOLVED_IN = {"thorax": ("lung",), "abdomen": ("liver", "spleen", "adrenal gland")}
RESOLVED_RATE = 0.15


@dataclasses.dataclass(frozen=True)
class Report:
    """A text, what it says, and the labels of the lesions and named mimics that it leaves out."""

    text: str
    language: Language
    site: str
    mentions: tuple[Mention, ...]
    omitted: tuple[int, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a perfect reader finds, without what is optional."""
        return tuple(mention.finding for mention in self.mentions if not mention.optional)


def write_report(
    scan: TrueScan, language: Language, site: str, seed: int | str, images: Mapping[int, int] | None = None
) -> Report:
    """The report of a scan in the style of a site of STYLES; the same seed gives the same text.

    images: number of the key image by lesion label (weak.key_images); without it none are named. Raises
    ReportError for an organ without words.
    """
    return _Writer(
        scan, language, site, random.Random(f"report {language} {site} {seed}"), images or {}
    ).write()


class _Document:
    """The text so far and the mentions in it."""

    def __init__(self) -> None:
        self.text = ""
        self.mentions: list[Mention] = []

    def add(self, sentence: Sentence) -> None:
        start = len(self.text)
        for mention in sentence.mentions:
            first, last = mention.finding.span
            moved = dataclasses.replace(mention.finding, span=(start + first, start + last))
            self.mentions.append(dataclasses.replace(mention, finding=moved))
        self.text += sentence.text

    def add_line(self, sentences: list[Sentence], before: str = "") -> None:
        """Sentences on one line; none is no line."""
        if sentences:
            self.text += before
            for number, sentence in enumerate(sentences):
                self.text += " " if number else ""
                self.add(sentence)
            self.text += "\n"


class _Writer:
    def __init__(
        self, scan: TrueScan, language: Language, site: str, draw: random.Random, images: Mapping[int, int]
    ) -> None:
        self.scan, self.site, self.draw = scan, site, draw
        self.style: Style = STYLES[site]
        self.speaker = Speaker(language, draw)
        self.words = self.speaker.words
        course: Course = draw.choice(("stable", "progression", "regression"))
        self.scene = Scene(
            style=self.style,
            course=course if draw.random() < self.style.prior else None,
            date=self.speaker.date(),
            series=draw.randint(2, 9),
            images=images,
            concluded=draw.random() < self.style.conclusion,
            enhanced=scan.attributes.get("phase") != "none",
        )
        self.teller = Teller(self.speaker, self.scene, draw)
        named = {*self.words["benign"]}
        self.plan: Plan = make_plan(scan, self.style, named, draw)

    def write(self) -> Report:
        document = _Document()
        titles = self.words["style"][self.site]
        gap = "\n" if self.style.headed else ""
        if self.draw.random() < 0.7:
            document.text += f"{titles['indication']}{self._indication()}\n{gap}"
        document.text += f"{titles['technique']}{self._technique()}\n\n{titles['report']}\n"
        if self.style.headed:
            self._write_lines(document)
        else:
            self._write_prose(document, titles["zones"])
        if self.scene.concluded:
            document.text += f"\n{titles['conclusion']}\n"
            self._write_conclusion(document)
        text = _wrapped(document.text, self.style.wrap)
        return Report(text, self.speaker.language, self.site, tuple(document.mentions), self.plan.omitted)

    def _write_prose(self, document: _Document, zones: Mapping[str, str]) -> None:
        """By zone of the body, the sentences one after the other."""
        for zone, subjects in SECTIONS.items():
            parts = [self._sentences_on(subject, headed=False) for subject in subjects]
            sentences = [sentence for part in parts for sentence in part]
            grouped = self._grouped_negative(subjects)
            done = {m.finding.organ for s in grouped for m in s.mentions}
            negatives = [self._negative(subject, headed=False) for subject in subjects if subject not in done]
            sentences += [*grouped, *(n for n in negatives if n), *self._extras(zone)]
            if sentences:
                document.text += zones[zone] + "\n"
                document.add_line(sentences)

    def _write_lines(self, document: _Document) -> None:
        """A line for each subject, its name before it."""
        lines: dict[str, list[Sentence]] = {}
        for zone, subjects in SECTIONS.items():
            for subject in subjects:
                heading = HEADING_OF.get(subject, subject)
                line = lines.setdefault(heading, [])
                line += self._sentences_on(subject, headed=True)
                negative = self._negative(subject, headed=not line)
                line += [negative] if negative else []
            last = {"thorax": "lung", "abdomen": "abdomen", "skeleton": "bone"}[zone]
            lines[last] += self._extras(zone)
        for heading, sentences in lines.items():
            document.add_line(sentences, f"{self.words['headings'][heading]}: ")

    def _sentences_on(self, subject: str, headed: bool) -> list[Sentence]:
        groups = sorted(self.plan.reported.get(subject, []), key=lambda g: g.lesions[0].status == "benign")
        return [self.teller.tell(group, self.plan.characters[subject], headed) for group in groups]

    def _negative(self, subject: str, headed: bool) -> Sentence | None:
        """That a subject is clear, at the style's rate; or that it is, while it is not."""
        overlooked = self.plan.overlooked.get(subject, ())
        if subject in NO_NEGATIVES or not (overlooked or subject in self.plan.clear):
            return None
        if self.draw.random() >= self.style.negatives and not overlooked:
            return None
        key = "but" if subject in self.plan.with_benign else "none"
        if headed:
            key = "headed_but" if key == "but" else "headed"
        text, _ = tidy(self.speaker.pick("absent", subject, key))
        return Sentence(text, (self._absent(subject, (0, len(text)), overlooked),))

    def _absent(self, subject: str, span: tuple[int, int], labels: tuple[int, ...] = ()) -> Mention:
        organ, lesion_type = FINDING_OF[subject] if subject != "whole" else (None, None)
        language = self.speaker.language
        finding = Finding(lesion_type, organ, count=None, presence="absent", span=span, language=language)
        return Mention(finding, labels, errors=("overlooked",) if labels else ())

    def _grouped_negative(self, subjects: tuple[str, ...]) -> list[Sentence]:
        """Two or more clear organs in one sentence, half of the time there are some."""
        organs = [
            subject
            for subject in subjects
            if subject in self.plan.clear
            and subject not in (*self.plan.with_benign, *NO_NEGATIVES)
            and self.words["absent"][subject]["noun"]
        ]
        if len(organs) < 2 or self.draw.random() < 0.5:
            return []
        organs = organs[: self.draw.randint(2, len(organs))]
        nouns = self.speaker.joined([self.words["absent"][subject]["noun"] for subject in organs])
        text, _ = tidy(self.speaker.pick("absent_group", "sentences").format(nouns=nouns))
        return [Sentence(text, tuple(self._absent(subject, (0, len(text))) for subject in organs))]

    def _extras(self, zone: str) -> list[Sentence]:
        """What is no finding: diffuse changes, normal measures; and lesions that are no longer there."""
        organ = ZONE_ORGANS[zone]
        if organ and organ not in self.scan.organs:
            return []
        sentences = []
        textures = {m.texture for m in self.scan.lesions if m.status == "benign"}
        textures |= {"spur"} if float(self.scan.attributes.get("worn", 0)) > 0.4 else set()
        for name in INCIDENTAL_IN.get(zone, ()):
            if name in textures and self.draw.random() < 0.7:
                sentences.append(self.speaker.pick("incidental", name))
        for phrase in self.words["asides"][zone]:
            gone = any(
                self.words["absent"].get(key, {}).get("noun", "-") in phrase for key in self.scan.absent
            )
            if self.draw.random() < self.style.asides / 2 and not gone:
                aorta = self.draw.randint(26, 36) if zone == "thorax" else self.draw.randint(15, 24)
                length = f"{self.draw.uniform(8.5, 12):.1f}".replace(".", self.words["decimal"])
                sentences.append(phrase.format(aorta=aorta, length=length, duct=self.draw.randint(3, 6)))
        sentences += [self.speaker.pick("operated", zone, key) for key in self._operated(zone)]
        tidied = [Sentence(tidy(text)[0]) for text in sentences]
        if organ and self.scene.course not in (None, "stable") and self.draw.random() < RESOLVED_RATE:
            places = [name for name in RESOLVED_IN[zone] if name in self.scan.organs]
            former = imagined_lesion(self.draw.choice(places), self.draw)
            here = {(m.organ, m.side, m.segment) for m in self.scan.lesions}
            if (former.organ, former.side, former.segment) not in here:
                tidied.append(self.teller.resolved(former))
        return tidied

    def _operated(self, zone: str) -> list[str]:
        """Absent organs that are mentioned in a zone, most of the time."""
        known = self.words["operated"].get(zone, {})
        return [key for key in self.scan.absent if key in known and self.draw.random() < 0.8]

    def _write_conclusion(self, document: _Document) -> None:
        lines = [self._verdict()]
        course = self.scene.course
        if course and any(self.plan.reported.values()) and self._suspicious():
            phrase = self.speaker.pick("conclusion", "sentences", course)
            lines.append(Sentence(tidy(phrase.format(date=self.scene.date))[0]))
        for number, line in enumerate(lines, 1):
            before = f"{number}. " if self.style.headed and len(lines) > 1 else ""
            document.add_line([line], before)

    def _suspicious(self) -> list[str]:
        """Subjects with lesions that the report calls suspicious."""
        return [
            subject
            for subject, groups in self.plan.reported.items()
            if self.plan.characters[subject] == "suspicious"
            and any(group.lesions[0].status == "lesion" for group in groups)
        ]

    def _verdict(self) -> Sentence:
        """Metastases by subject, or none in the whole scan, or that nothing is sure."""
        labels: dict[str, tuple[int, ...]] = {}
        for subject in self._suspicious():
            groups = [g for g in self.plan.reported[subject] if g.lesions[0].status == "lesion"]
            labels[subject] = tuple(sorted(label for group in groups for label in group.labels))
        if labels:
            nouns = self.words["conclusion"]["nouns"]
            parts = [self.speaker.name(nouns[subject], len(own) > 1) for subject, own in labels.items()]
            phrase = self.speaker.pick("conclusion", "sentences", "suspicious")
            text, _ = tidy(phrase.format(nouns=self.speaker.joined(parts)))
            mentions = [self._concluded(subject, (0, len(text)), own) for subject, own in labels.items()]
            return Sentence(text, tuple(mentions))
        ill = {lesion.label for lesion in self.scan.lesions if lesion.status != "benign"}
        if ill - set(self.plan.omitted):
            return Sentence(tidy(self.speaker.pick("conclusion", "sentences", "other"))[0])
        if ill and self.draw.random() >= self.style.overlook:
            return Sentence(tidy(self.speaker.pick("conclusion", "sentences", "neutral"))[0])
        text, _ = tidy(self.speaker.pick("absent", "whole", "none"))
        return Sentence(text, (self._absent("whole", (0, len(text)), tuple(sorted(ill))),))

    def _concluded(self, subject: str, span: tuple[int, int], labels: tuple[int, ...]) -> Mention:
        organ, lesion_type = FINDING_OF[subject]
        finding = Finding(
            lesion_type,
            organ,
            count=1 if len(labels) == 1 else "several",
            character="suspicious",
            span=span,
            language=self.speaker.language,
        )
        return Mention(finding, labels, optional=True)

    def _indication(self) -> str:
        text = self.speaker.pick("indications", "sentences").format(
            cycles=self.draw.randint(2, 8), kg=self.draw.randint(4, 15), year=self.draw.randint(2005, 2013)
        )
        return tidy(text)[0]

    def _technique(self) -> str:
        regions = self.words["technique"]["regions"]
        chest, abdomen = ("lung" in self.scan.organs, "liver" in self.scan.organs)
        seen = "both" if chest == abdomen else "chest" if chest else "abdomen"
        region = regions[self.scan.attributes.get("coverage", seen)]
        phase = str(self.scan.attributes.get("phase", ""))
        contrast = self.speaker.pick(
            "technique", {"none": "plain", "portal": "portal"}.get(phase, "contrast")
        )
        text = self.speaker.pick("technique", "sentences").format(
            region=region,
            contrast=contrast.format(ml=self.draw.randrange(60, 130, 5)),
            slice=f"{float(self.scan.attributes.get('slice_mm', 3)):g}".replace(".", self.words["decimal"]),
        )
        if self.scene.course:
            text += " " + tidy(self.speaker.pick("technique", "compared").format(date=self.scene.date))[0]
        return tidy(text)[0]


def _wrapped(text: str, column: int) -> str:
    """The text with line feeds in the place of spaces, so that offsets stay; column 0: unchanged."""
    if not column:
        return text
    lines = []
    for line in text.split("\n"):
        rest = line
        while len(rest) > column:
            cut = rest.rfind(" ", 0, column + 1)
            cut = rest.find(" ", column) if cut < 0 else cut
            if cut < 0:
                break
            lines.append(rest[:cut])
            rest = rest[cut + 1 :]
        lines.append(rest)
    return "\n".join(lines)


def sample_report(language: Language, site: str, seed: int | str) -> tuple[TrueScan, Report]:
    """A random truth without an image, and its report."""
    scan = sample_scan(seed)
    draw = random.Random(f"images {seed}")
    images = {lesion.label: draw.randint(10, 400) for lesion in scan.lesions}
    return scan, write_report(scan, language, site, seed, images)


def _as_json(name: str, scan: TrueScan, report: Report) -> str:
    row = {"id": name, **dataclasses.asdict(report), "truth": dataclasses.asdict(scan)}
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.synthetic.report_writer", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--language", choices=("en", "nl"), default="en")
    parser.add_argument("--site", choices=sorted(STYLES), default="A")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for reports.jsonl; without it, print")
    options = parser.parse_args(arguments)
    names = [f"{options.site}-{options.language}-{options.seed}-{i:05d}" for i in range(options.count)]
    try:
        rows = [(name, *sample_report(options.language, options.site, name)) for name in names]
        if options.out is None:
            for name, scan, report in rows:
                print(f"=== {name}\n{report.text}\n{_shown(scan, report)}")
        else:
            write_whole(options.out / "reports.jsonl", "".join(_as_json(*row) + "\n" for row in rows))
    except (OSError, ReportError) as error:
        return end_with(error)
    return 0


def _shown(scan: TrueScan, report: Report) -> str:
    lines = []
    for lesion in scan.lesions:
        place = " ".join(filter(None, (lesion.side, lesion.organ, lesion.segment)))
        rest = f", {lesion.type}" + " OMITTED" * (lesion.label in report.omitted)
        size = f"{lesion.long_mm:.0f} x {lesion.short_mm:.0f} x {lesion.z_extent_mm:.0f} mm"
        group = "" if lesion.cluster is None else f" cluster {lesion.cluster}"
        lines.append(f"#{lesion.label} {lesion.status}: {lesion.texture}, {place}, {size}{group}{rest}")
    for mention in report.mentions:
        f = mention.finding
        quoted = report.text[slice(*f.span)].replace("\n", " ")
        marks = "(optional) " * mention.optional + " ".join(mention.errors)
        lines.append(
            f"-> {mention.lesions} {f.organ}/{f.type} side={f.side} count={f.count} {f.sizes_mm} "
            f"{f.series}/{f.images} {f.presence} {f.time} {f.character} {marks} | {quoted}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
