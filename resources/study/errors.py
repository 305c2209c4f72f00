"""What becomes of the lesions that only a report tells of, when the base looks at its scan: by cause.

Known because the scans are synthetic; no training sees it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from model.boxes import distances
from model.detector import DEFAULT_MEMORY_GB, load_network
from model.files import write_whole
from model.network import OUTPUT_STRIDE, CenterNet3D
from resources.cases.cache import CachedScan, open_scan
from resources.cases.case import Case, read_cases
from resources.cases.lesions import reach_mm
from resources.evaluation.outcomes import truth_of
from resources.study.arms import BASE, WEIGHTS, real_cases
from resources.study.real_data import with_marks
from resources.study.rules import center_of
from resources.study.setting import Arm, Setting
from resources.synthetic.files import read_mentions, read_truth
from resources.synthetic.truth import TrueLesion
from resources.training.config import Teacher
from resources.training.data.batch import REPORT_NEGATIVE
from resources.training.reports.clearing import cleared_types, current_findings
from resources.training.reports.guidance import resolve
from resources.training.reports.pseudo_labels import Proposal, PseudoLabels, PseudoLesion
from resources.training.reports.rounds import untaught_types
from resources.training.reports.teacher import Mask, propose
from resources.training.targets.states import states_of

OMITTED, UNREAD, CLEARED, UNSEEN, UNASSIGNED, ASSIGNED = (
    "left out of the report",
    "reported, not read as a lesion of its type",
    "read, at a place taken for free of lesions",
    "read, not proposed by the network",
    "proposed, no finding of its type assigned",
    "proposed and assigned",
)
WRONG = "besides: findings assigned to a place without such a lesion"
Proposed = tuple[tuple[Proposal, ...], Mask]
MEMORY_BYTES = int(DEFAULT_MEMORY_GB["cpu"] * 1e9)
CAUSES = (OMITTED, UNREAD, CLEARED, UNSEEN, UNASSIGNED, ASSIGNED)
UNPROPOSED, DOUBTFUL, POSITIVE = (
    "no mark, not proposed",
    "no mark, proposed and left out of the loss",
    "no mark, taken for a lesion",
)
PLACED, RIGHT, LEFT_OUT = (
    "lesions placed",
    "of them within reach of a lesion of their type",
    "scans left out",
)
BESIDE = "besides: taken for a lesion beside the crop's nodule"


def counted(setting: Setting, work: Path) -> dict[str, dict[str, int]]:
    """By title of each arm that assigns findings, by a rule too, or mines real crops, how many lesions meet
    what end.

    Kept in the folder of the work.
    """
    path = work / "errors.json"
    if not path.exists():
        write_whole(path, json.dumps(count(setting, work), indent=1) + "\n")
    found: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def count(setting: Setting, work: Path) -> dict[str, dict[str, int]]:
    """As `counted`, anew. What the base proposes in a scan is the same for all arms with one teacher."""
    network = load_network(work / "weights" / BASE / WEIGHTS).eval()
    types = network.config.types

    @functools.cache
    def proposed(cached: Path, teacher: Teacher) -> Proposed:
        return propose(network, open_scan(cached), teacher, MEMORY_BYTES)

    found = {}
    for arm in setting.arms.values():
        lists = [name for name in arm.sources if setting.cases[name].view == "reports"]
        for name, own in setting.cases.items():
            if arm.teacher is not None and name in arm.sources and own.real and own.view != "masks":
                masks = real_cases(dataclasses.replace(own, view="masks"), work / "real", None)
                ends = mined(masks, own.view, work / "cache" / name, network, arm.teacher)
                found[arm.title] = {end: ends[end] for end in (UNPROPOSED, DOUBTFUL, POSITIVE, BESIDE)}
            if name in arm.sources and own.of:
                files = [work / "cases" / f"{each}.jsonl" for each in (name, own.of)]
                found[arm.title] = placed(read_cases(files[0]), len(read_cases(files[1])))
        if lists and arm.teacher is not None:
            listed = {name: read_cases(work / "cases" / f"{name}.jsonl") for name in arm.sources}
            untaught = untaught_types([case for cases in listed.values() for case in cases], types)
            total: collections.Counter[str] = collections.Counter()
            for name in lists:
                here = arm.of(name)
                for case in listed[name]:
                    cached = work / "cache" / name / f"{case.id}.b2nd"
                    scan, known = open_scan(cached), proposed(cached, arm.teacher)
                    total.update(of_scan(case, scan, known, types, here, untaught, setting.without_masks))
            found[arm.title] = {cause: total[cause] for cause in (*CAUSES, WRONG)}
    return found


def placed(cases: Sequence[Case], before: int) -> dict[str, int]:
    """How many of the lesions that a rule made are lesions; before: how many scans it was given."""
    ends = {PLACED: 0, RIGHT: 0, LEFT_OUT: before - len(cases)}
    for case in cases:
        truth = [x for x in read_truth(Path(case.image.path).parent)[0].lesions if x.status == "lesion"]
        for one in case.annotations:
            point = center_of(one).tolist()
            right = any(x.type == one.type and within(point, x.center_mm, x.long_mm) for x in truth)
            ends[PLACED], ends[RIGHT] = ends[PLACED] + 1, ends[RIGHT] + right
    return ends


def mined(
    cases: Sequence[Case], view: str, cache: Path, network: CenterNet3D, teacher: Teacher
) -> collections.Counter[str]:
    """What the network makes of real crops, whose masks it is not shown: an end for each unmarked lesion."""
    ends: collections.Counter[str] = collections.Counter()
    for case in cases:
        proposals, _ = propose(network, open_scan(cache / f"{case.id}.b2nd"), teacher, MEMORY_BYTES)
        sure = [p for p in proposals if p.probability >= teacher.positive_above]
        lesions = truth_of(case, ()).lesions
        ends[BESIDE] += sum(
            not any(within(p.center_mm, x.centre_mm.tolist(), x.measured[0]) for x in lesions) for p in sure
        )
        marked = len(with_marks(case).annotations) if view == "marks" else 0
        for lesion in lesions[marked:]:
            here = [
                p for p in proposals if within(p.center_mm, lesion.centre_mm.tolist(), lesion.measured[0])
            ]
            ends[UNPROPOSED if not here else POSITIVE if set(here) & set(sure) else DOUBTFUL] += 1
    return ends


def of_scan(
    case: Case,
    scan: CachedScan,
    proposed: Proposed,
    types: tuple[str, ...],
    arm: Arm,
    untaught: frozenset[str],
    kinds: Sequence[str],
) -> list[str]:
    """An end for each lesion of these types, of all if none is given; and WRONG for each wrong assignment."""
    assert arm.teacher is not None
    proposals, empty = proposed
    labelled = resolve(case, scan, proposals, types, arm.supervision, arm.teacher, untaught)
    truth = [x for x in read_truth(Path(case.image.path).parent)[0].lesions if x.status == "lesion"]
    lesions = [x for x in truth if not kinds or x.type in kinds]
    assigned = [b for b in labelled if b.source == "report" and (not kinds or b.type in kinds)]
    wrong = sum(not any(hits(b, lesion) for lesion in truth) for b in assigned)
    known = PseudoLabels(proposals, labelled, empty)
    return [*ends_of(case, lesions, known, scan), *[WRONG] * wrong]


def ends_of(case: Case, lesions: Sequence[TrueLesion], known: PseudoLabels, scan: CachedScan) -> list[str]:
    """The first of CAUSES that holds for each lesion."""
    mentions, _ = read_mentions(Path(case.image.path).parent)
    mentioned = {
        label
        for mention in mentions
        if mention.finding.presence != "absent" and mention.finding.time == "current"
        for label in mention.lesions
    }
    read = {finding.type for finding in current_findings(case)[0]}
    said_by, ruled_out = states_of(case, scan).said_by, cleared_types(case)
    cells = scan.grid.coarsened(OUTPUT_STRIDE)
    found = []
    for lesion in lesions:
        cell = tuple(cells.nearest_voxel(lesion.center_mm)[0])
        if lesion.label not in mentioned:
            found.append(OMITTED)
        elif lesion.type not in read:
            found.append(UNREAD)
        elif said_by[cell] == REPORT_NEGATIVE or lesion.type in ruled_out:
            found.append(CLEARED)
        elif any(hits(b, lesion) for b in known.lesions if b.source == "report"):
            found.append(ASSIGNED)
        elif any(near(p.center_mm, lesion) for p in known.proposals):
            found.append(UNASSIGNED)
        else:
            found.append(UNSEEN)
    return found


def hits(pseudo: PseudoLesion, lesion: TrueLesion) -> bool:
    """Whether a pseudo-labelled lesion is this one, of this type."""
    return pseudo.type == lesion.type and near(pseudo.center_mm, lesion)


def near(point_mm: tuple[float, float, float], lesion: TrueLesion) -> bool:
    return within(point_mm, lesion.center_mm, lesion.long_mm)


def within(point_mm: Sequence[float], center_mm: Sequence[float], long_mm: float) -> bool:
    """Whether a point is within reach of a lesion."""
    return float(distances([point_mm], [center_mm])[0, 0]) < float(reach_mm(long_mm))
