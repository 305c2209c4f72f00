"""A scan's detections beside its report: which of them it mentions, and which of its findings have none.

The report is read by `resources.reports` and its findings are assigned to detections as training assigns them
to the teacher's proposals: by type, size, place and probability, all at once. A detection below the operating
point may be assigned too, which is what a second look for missed lesions is about.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from model.config import LESION_TYPES, DetectorConfig
from model.exports import Detection
from model.preprocess import preprocess
from model.volume import Volume
from resources.cases.case import Case, Finding, ImageSource

OTHER_ORGAN = 2 / 26
"""Likelihood of the detector naming another organ than the lesion's: the rate of docs/results.md."""
LARGER = 1.3
"""How much larger than the reported largest of several lesions another of them may be found."""
NODELESS = ("abdominal organs", "lung", "bone")


@dataclasses.dataclass(frozen=True)
class Mention:
    """A detection that the report mentions. finding: number in the report's findings.

    sure: whether no other detection would do as well; share: its share of the likelihood, 0 to 1; 0 for
    one more of a group without a number ("several nodules"), wherever the image named for it is.
    """

    detection: int
    finding: int
    share: float
    sure: bool


@dataclasses.dataclass(frozen=True)
class SecondLook:
    """A report, its findings, and what became of them.

    wanted: numbers of the findings that state lesions in this scan, with how many each; lost: how many of
    these have no detection, by the finding's number.
    """

    text: str
    findings: tuple[Finding, ...]
    wanted: dict[int, int]
    mentions: tuple[Mention, ...]

    @property
    def lost(self) -> dict[int, int]:
        found = [mention.finding for mention in self.mentions]
        missing = {number: count - found.count(number) for number, count in self.wanted.items()}
        return {number: count for number, count in missing.items() if count > 0}

    def phrase(self, number: int) -> str:
        """The words of a finding, in one line, and where it lies."""
        found = self.findings[number]
        words = " ".join(self.text[slice(*found.span)].split()) or "(no words)"
        place = " ".join(filter(None, (found.side, found.organ)))
        return f"{words} ({place})" if place else words

    def data(self, detections: Sequence[Detection]) -> dict[str, Any]:
        """For the page, as JSON values: mentions by detection; what was not detected, or only weakly."""
        mentions = {
            str(m.detection): {"sure": m.sure, "share": round(m.share, 2), "text": self.phrase(m.finding)}
            for m in self.mentions
        }
        lost = []
        for number, count in self.lost.items():
            several = f"{count} of {self.wanted[number]}: " if self.wanted[number] > 1 else ""
            lost.append(f"{several}{self.phrase(number)}")
        by_number = {d.number: d for d in detections}
        weak = [
            f"no. {m.detection} at {by_number[m.detection].probability:.2f}: {self.phrase(m.finding)}"
            for m in self.mentions
            if not by_number[m.detection].above_operating_point
        ]
        return {"mentions": mentions, "lost": lost, "weak": weak}

    def html(self) -> Markup:
        """The text with the findings marked: found, or lost where none or not all were detected."""
        parts, at = [], 0
        for number in sorted(self.wanted, key=lambda n: self.findings[n].span):
            start, end = self.findings[number].span
            if start < at or end <= start:
                continue
            kind = "lost" if number in self.lost else "found"
            parts += [Markup.escape(self.text[at:start])]
            parts += [Markup('<mark class="{}">{}</mark>').format(kind, self.text[start:end])]
            at = end
        return Markup("").join([*parts, Markup.escape(self.text[at:])])


def look_again(text: str, detections: Sequence[Detection], volume: Volume) -> SecondLook:
    """Reads a report of a scan and assigns its findings to the scan's detections."""
    from resources.reports.reader import read_report
    from resources.training.reports.guidance import LEAST_SHARE
    from resources.training.reports.matching import Candidate, match, wanted_of

    findings = tuple(read_report(text))
    places = _places(findings, volume)
    wanted = [one for one in wanted_of(findings) if _in_scan(one.finding, places)]
    candidates = [
        Candidate(
            d.point_mm,
            d.long_mm,
            d.probability,
            tuple(d.type_probabilities.get(name, 0.0) for name in LESION_TYPES),
        )
        for d in detections
    ]
    likelihood = _likelihood([one.finding for one in wanted], detections, places)
    pairs = match(wanted, candidates, likelihood, LESION_TYPES)
    mentions = [
        Mention(detections[p.candidate].number, wanted[p.wanted].number, p.share, p.share > LEAST_SHARE)
        for p in pairs
    ]
    groups = [one for one in wanted if one.finding.count == "several"]
    anywhere = _likelihood(
        [dataclasses.replace(one.finding, images=()) for one in groups], detections, places
    )
    taken = {m.detection for m in mentions}
    for j, detection in enumerate(detections):
        free = detection.above_operating_point and detection.number not in taken
        fitting = [
            one.number
            for i, one in enumerate(groups)
            if free and _is_one_of(one.finding, detection, anywhere[i, j])
        ]
        mentions += [Mention(detection.number, number, 0.0, False) for number in fitting[:1]]
    return SecondLook(text, findings, {one.number: one.count for one in wanted}, tuple(mentions))


def _likelihood(
    findings: Sequence[Finding], detections: Sequence[Detection], places: Any
) -> npt.NDArray[np.float64]:
    """(findings, detections) log likelihood of the place and the organ of each detection."""
    points = np.array([d.point_mm for d in detections], np.float64).reshape(-1, 3)
    found = np.array([places.log_likelihood(finding, points) for finding in findings])
    return found.reshape(len(findings), len(detections)) + _organs(findings, detections)


def _is_one_of(group: Finding, detection: Detection, likelihood: float) -> bool:
    """Whether a detection may be one more of "several lesions", of which training asks for two places."""
    largest = max(group.sizes_mm, default=math.inf)
    fits = detection.type == group.type and detection.long_mm <= LARGER * largest
    return fits and likelihood > math.log(OTHER_ORGAN)


def _places(findings: tuple[Finding, ...], volume: Volume) -> Any:
    """Where in the scan the organs of the findings can be, as training works it out, without an organ map."""
    from resources.cases.cache import HU, CachedScan
    from resources.training.reports.location import location_prior

    config = DetectorConfig()
    grid = preprocess(volume, config.spacing_mm, config.stride)
    array = np.zeros((3, *grid.hu.shape), np.int16)
    array[HU] = grid.hu.numpy()
    scan = CachedScan(array, grid.lower, grid.spacing_mm, volume.geometry, {}, "")
    case = Case("scan", "patient", "review", None, ImageSource("scan"), findings=findings)
    return location_prior(case, scan)


def _in_scan(finding: Finding, places: Any) -> bool:
    """Whether the scan shows the height at which the organ of a finding lies, as far as one can tell."""
    slab = places.slab_mm(finding.organ, finding.type)
    if slab is None:
        return True
    low, high = places.extent_mm
    return max(slab[0], low) < min(slab[1], high)


def _organs(findings: Sequence[Finding], detections: Sequence[Detection]) -> npt.NDArray[np.float64]:
    """(findings, detections) log likelihood of the organ that the detector names being the report's.

    0 where either names none, where one lies in the other, or both belong to one class of the organ head. It
    has none of lymph nodes: they lie anywhere but in NODELESS.
    """
    out = np.zeros((len(findings), len(detections)))
    for i, finding in enumerate(findings):
        for j, detection in enumerate(detections):
            if finding.organ is not None and detection.organ is not None:
                out[i, j] = 0.0 if _agree(finding.organ, detection.organ) else math.log(OTHER_ORGAN)
    return out


def _agree(said: str, seen: str) -> bool:
    from resources.cases.organs import ancestors, canonical, head_class, region

    said, seen = canonical(said)[0], canonical(seen)[0]
    if said.endswith("lymph node"):
        return not {*NODELESS} & {*ancestors(seen)}
    return head_class(said) == head_class(seen) or seen in region(said) or said in region(seen)
