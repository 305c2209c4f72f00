"""What a report is going to say: which lesions together, in which section, how sure, in which style."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection
from typing import Literal

from resources.synthetic.report_phrases import ReportError
from resources.synthetic.truth import TrueLesion, TrueScan

Character = Literal["suspicious", "indeterminate", "benign"]

SECTIONS = {
    "thorax": ("lung", "mediastinum", "mediastinal nodes"),
    "abdomen": (
        *("liver", "pancreas", "spleen", "adrenal gland", "kidney"),
        *("abdomen", "abdominal nodes", "pelvis", "pelvic nodes"),
    ),
    "skeleton": ("bone", "soft tissue"),
}
"""Subjects of a report in order, by zone of the body."""
SUBJECT_OF = {
    "lung": ("lung", "pleura"),
    "mediastinum": ("mediastinum", "heart", "oesophagus", "thyroid"),
    "abdomen": ("gall bladder", "stomach", "duodenum", "small bowel", "colon", "abdominal fat"),
    "pelvis": ("pelvic fat", "bladder", "prostate", "uterus", "ovary", "rectum"),
    "bone": (
        *("vertebra", "rib", "sternum", "sacrum", "hip bone", "femur", "scapula", "clavicle", "humerus"),
        "bone",
    ),
    "soft tissue": ("muscle", "psoas", "subcutaneous fat", "breast"),
}
NODES_OF = {"mediastinum": "mediastinal nodes", "abdomen": "abdominal nodes", "pelvis": "pelvic nodes"}
FINDING_OF: dict[str, tuple[str | None, str]] = {
    "lung": ("lung", "lung"),
    "liver": ("liver", "liver"),
    "kidney": ("kidney", "kidney"),
    "bone": ("bone", "bone"),
    "soft tissue": ("soft tissue", "soft tissue"),
    "mediastinum": ("mediastinum", "mediastinum"),
    "abdomen": (None, "abdomen"),
    "pelvis": (None, "pelvis"),
    "mediastinal nodes": ("lymph node", "mediastinum"),
    "abdominal nodes": ("lymph node", "abdomen"),
    "pelvic nodes": ("lymph node", "pelvis"),
} | {organ: (organ, "abdomen") for organ in ("spleen", "pancreas", "adrenal gland")}
"""Organ and lesion type of what is said of a subject as a whole."""
SEEN_WITH = {
    "mediastinal nodes": ("lung", "mediastinum"),
    "abdominal nodes": ("kidney", "abdominal fat"),
    "pelvic nodes": ("bladder", "pelvic fat"),
}
"""A subject can be cleared if one of these organs lies within the field of view (or it does itself)."""
SMALL_MM, LARGE_MM = 8.0, 30.0


@dataclasses.dataclass(frozen=True)
class Style:
    """How one site reports: rates from 0 to 1, and habits.

    headed: a line for each organ, instead of prose by zone. wrap: lines are broken at this column, 0 for
    never. cm: sizes in cm. sized: a size is given. reference: series and image are given where known.
    prior: there is an earlier study. omit, omit_benign: a lesion or a mimic is not mentioned (lesions below
    SMALL_MM twice as often). overlook: of an omitted one, the organ is even said to be clear. size_error: a
    size is grossly wrong. conclusion: there is one. negatives: a clear organ is said to be so.
    """

    headed: bool
    wrap: int
    cm: float
    sized: float
    reference: float
    prior: float
    omit: float
    omit_benign: float
    overlook: float
    size_error: float
    conclusion: float
    negatives: float
    asides: float


STYLES = {
    "A": Style(False, 76, 0.25, 0.65, 0.45, 0.5, 0.06, 0.35, 0.3, 0.02, 0.9, 0.75, 0.4),
    "B": Style(True, 0, 0.7, 0.55, 0.3, 0.35, 0.08, 0.25, 0.3, 0.02, 0.8, 0.9, 0.25),
    "C": Style(False, 90, 0.45, 0.6, 0.35, 0.5, 0.07, 0.35, 0.3, 0.02, 0.85, 0.85, 0.35),
}


@dataclasses.dataclass(frozen=True)
class Group:
    """Lesions that are reported in one sentence, the largest first, and the subject they belong to."""

    subject: str
    lesions: tuple[TrueLesion, ...]

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(lesion.label for lesion in self.lesions))

    @property
    def side(self) -> Literal["left", "right", "both"] | None:
        """That of all lesions, "both" if there are some on either side, None if one has none."""
        sides = {lesion.side for lesion in self.lesions}
        if None in sides:
            return None
        return "both" if len(sides) > 1 else self.lesions[0].side

    @property
    def segment(self) -> str | None:
        """That of all lesions; "several" if they differ, for which some organs have words of their own."""
        segments = {lesion.segment for lesion in self.lesions}
        return self.lesions[0].segment if len(segments) == 1 else "several"


def subject_of(lesion: TrueLesion) -> str:
    """The section of the report to which a lesion belongs. Raises ReportError for an unknown organ."""
    if lesion.organ == "lymph node":
        return NODES_OF.get(lesion.type, "soft tissue")
    subject = next((key for key, organs in SUBJECT_OF.items() if lesion.organ in organs), lesion.organ)
    if subject not in FINDING_OF:
        raise ReportError(f"organ: expected one that reports have words for, found {lesion.organ}")
    return subject


def group_lesions(scan: TrueScan, named: Collection[str]) -> list[Group]:
    """Lesions of one cluster and organ together, mimics of one kind (of those named) and organ too."""
    groups: dict[tuple, list[TrueLesion]] = {}
    for lesion in scan.lesions:
        if lesion.status == "benign":
            key: tuple = ("benign", lesion.organ, lesion.texture)
        elif lesion.cluster is not None and lesion.status == "lesion":
            key = ("cluster", lesion.cluster, lesion.organ, lesion.type)
        else:
            key = ("single", lesion.label)
        if lesion.status != "benign" or lesion.texture in named:
            groups.setdefault(key, []).append(lesion)
    return [
        Group(subject_of(members[0]), tuple(sorted(members, key=lambda m: -m.long_mm)))
        for members in groups.values()
    ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is said and what is not.

    reported: groups by subject. characters: what the writer thinks of a subject's lesions. omitted: labels of
    lesions and named mimics not mentioned. overlooked: subjects said to be clear with lesions of these
    labels. clear: subjects without lesions; with_benign: those that hold a named mimic.
    """

    reported: dict[str, list[Group]]
    characters: dict[str, Character]
    omitted: tuple[int, ...]
    overlooked: dict[str, tuple[int, ...]]
    clear: tuple[str, ...]
    with_benign: frozenset[str]


def make_plan(scan: TrueScan, style: Style, named: Collection[str], draw: random.Random) -> Plan:
    """Draws omissions and the writer's opinion, and finds what may be said to be clear."""
    groups = group_lesions(scan, named)
    reported: dict[str, list[Group]] = {}
    missed: dict[str, list[Group]] = {}
    for group in groups:
        first = group.lesions[0]
        rate = style.omit_benign if first.status == "benign" else style.omit
        if first.status != "benign" and first.long_mm < SMALL_MM:
            rate *= 2
        (missed if draw.random() < rate else reported).setdefault(group.subject, []).append(group)
    characters: dict[str, Character] = {}
    for subject, members in reported.items():
        largest = max(group.lesions[0].long_mm for group in members)
        suspicious = draw.random() < (0.65 if largest >= 10 else 0.35)
        characters[subject] = "suspicious" if suspicious else "indeterminate"

    def ill(found: dict[str, list[Group]], subject: str) -> list[Group]:
        return [group for group in found.get(subject, []) if group.lesions[0].status != "benign"]

    overlooked: dict[str, tuple[int, ...]] = {}
    clear = []
    for subject in (subject for subjects in SECTIONS.values() for subject in subjects):
        seen = subject == "bone" or {subject, *SEEN_WITH.get(subject, ())} & set(scan.organs)
        if ill(reported, subject) or any(key.startswith(subject) for key in scan.absent):
            continue
        if ill(missed, subject) and draw.random() < style.overlook:
            labels = (label for group in ill(missed, subject) for label in group.labels)
            overlooked[subject] = tuple(sorted(labels))
        elif seen and not ill(missed, subject):
            clear.append(subject)
    benign = {subject_of(m) for m in scan.lesions if m.status == "benign" and m.texture in named}
    omitted = sorted(label for members in missed.values() for group in members for label in group.labels)
    return Plan(reported, characters, tuple(omitted), overlooked, tuple(clear), frozenset(benign))
