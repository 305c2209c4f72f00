"""Whether a group's lesion is there, and how far a denial reaches that names no organ."""

from __future__ import annotations

import re

from resources.reports import assertion
from resources.reports.anatomy import Group
from resources.reports.assertion import Cues, Presence
from resources.reports.drafts import Scene, reference
from resources.reports.measured import count
from resources.reports.mentions import Mention
from resources.reports.vocabulary import lesion_words

WHOLE_SCAN = ("metastasis", "malignancy", "lymphoma", "lesion", "focus", "abnormality")
"""Words whose denial, without an organ, clears the whole scan."""
_SOMEWHERE = re.compile(
    r" (?:\w+ )?(?:in|at|along|within|around|near|op|ter hoogte van|rond(?:om)?|langs|bij|van de|of the) "
    r"(?!(?:\w+ ){0,2}(?:scan|scanned|study|examined|imaged|visuali[sz]ed|body|afgebeelde?|onderzochte?|rest|"
    r"lichaam))",
    re.IGNORECASE,
)
"""A denial that names a place we do not know clears nothing."""
_OPENED = re.compile(
    r"\s*(?:op|in|ter hoogte van|on|at|within|along) (?!(?:\w+ )?(?:scan|ct|onderzoek|study))", re.IGNORECASE
)
_LOCAL = re.compile(
    r"[^.;]{0,40}\b(?:resection|surgical|operative|ablation) (?:site|bed|cavity|margin)"
    r"|[^.;]{0,40}\b(?:stump|anastomosis|anastomose|resectievlak\w*|resectieplaats|operatiegebied|bronchusstomp|stomp)\b",
    re.IGNORECASE,
)
_MARGIN = re.compile(
    r"\b(?:resectierand\w*|resectievlak\w*|resection (?:margin|site)|surgical bed)\b", re.IGNORECASE
)
""" "No recurrence at the resection site" clears no organ."""


def presence(scene: Scene, index: int, group: Group, found: list[Mention]) -> Presence | None:
    """Whether the lesion is there; None where the words are no finding."""
    denied = assertion.denied(group, scene.groups, scene.cues, bool(found))
    gone = assertion.resolved(group, scene.groups, scene.cues)
    if group.kind == "other" or (denied is None and not gone):
        return None
    if group.kind == "measured" and (denied or not found):
        return None
    if denied and not gone and group.words[0].name == "abscess":
        return None
    if denied or gone:
        return "absent"
    if group.kind == "abnormality":
        number = count(scene, group, found)
        suspect = any(m.name == "suspicious" for m in scene.cues.before(group, 1, "suspicious"))
        if not (found or group.diagnoses or suspect or (isinstance(number, int) and number > 1)):
            return None
    if group.kind == "node" and not found:
        if _is_calm(scene, group):
            return "absent"
        if not _is_pointed_out(scene, index, group):
            return None
    doubtful = assertion.doubted(group, scene.groups, scene.cues, scene.sentence.end)
    return "uncertain" if doubtful and not found and not group.diagnoses else "present"


def _is_calm(scene: Scene, group: Group) -> bool:
    """Whether lymph nodes are called benign or normal."""
    benign = scene.cues.after(group, 6, "benign") or scene.cues.before(group, 2, "benign")
    return bool(benign) or _is_normal(group, scene.cues)


def _is_pointed_out(scene: Scene, index: int, group: Group) -> bool:
    """Whether lymph nodes without a size are a finding: abnormal, with an image, a diagnosis, or targets."""
    return bool(
        assertion.abnormal(group, scene.cues)
        or reference(scene, group.start, scene.sentence.end)
        or scene.cues.after(group, assertion.AFTER, "uncharacterized")
        or (index == 0 and scene.cues.before(group, assertion.NEAR, "perhaps before"))
        or group.diagnoses
        or scene.sentence.block.section == "targets"
    )


def clears_all(scene: Scene, group: Group) -> bool:
    """Whether a denial that names no organ speaks of the whole scan, or of the word's own organ."""
    if any(lesion_words()[m.name].place for m in group.words):
        return True
    if not any(m.name in WHOLE_SCAN for m in group.words):
        return False
    if _OPENED.match(scene.text, scene.sentence.start, group.start):
        return False
    return _SOMEWHERE.match(scene.text, group.end, scene.sentence.end) is None


def is_local(scene: Scene, group: Group) -> bool:
    """Whether a denial is only of the place of an operation: "resection margin without recurrence"."""
    if _LOCAL.match(scene.text, group.end, scene.sentence.end):
        return True
    again = group.words[0].name == "recurrence"
    return again and _MARGIN.search(scene.text, scene.sentence.start, group.start) is not None


def _is_normal(group: Group, cues: Cues) -> bool:
    return bool(cues.after(group, 5, "normal") or cues.before(group, 3, "normal"))
