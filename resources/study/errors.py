"""What becomes of the lesions that only a report tells of, when the base looks at its scan: by cause.

Known because the scans are synthetic; no training sees it.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

from model.boxes import distances
from model.detector import DEFAULT_MEMORY_GB, load_network
from model.network import OUTPUT_STRIDE, CenterNet3D
from resources.cases.cache import CachedScan, open_scan
from resources.cases.case import Case, read_cases
from resources.study.arms import BASE, WEIGHTS
from resources.study.setting import Arm, Setting
from resources.synthetic.files import read_mentions, read_truth
from resources.synthetic.truth import TrueLesion
from resources.training.data.batch import REPORT_NEGATIVE
from resources.training.reports.clearing import cleared_types, current_findings
from resources.training.reports.guidance import resolve
from resources.training.reports.pseudo_labels import PseudoLabels, PseudoLesion
from resources.training.reports.rounds import untaught_types
from resources.training.reports.teacher import NEAREST_MM, propose
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
MEMORY_BYTES = int(DEFAULT_MEMORY_GB["cpu"] * 1e9)
CAUSES = (OMITTED, UNREAD, CLEARED, UNSEEN, UNASSIGNED, ASSIGNED)


def counted(setting: Setting, work: Path) -> dict[str, dict[str, int]]:
    """By title of each arm that assigns findings, how many lesions of the primary stratum meet what end."""
    network = load_network(work / "weights" / BASE / WEIGHTS).eval()
    found = {}
    for arm in setting.arms.values():
        lists = [name for name in arm.sources if setting.cases[name].view == "reports"]
        if lists and arm.teacher is not None:
            listed = {name: read_cases(work / "cases" / f"{name}.jsonl") for name in arm.sources}
            untaught = untaught_types(
                [case for cases in listed.values() for case in cases], network.config.types
            )
            total: collections.Counter[str] = collections.Counter()
            for name in lists:
                for case in listed[name]:
                    scan = open_scan(work / "cache" / name / f"{case.id}.b2nd")
                    total.update(of_scan(case, scan, network, arm, untaught, setting.without_masks))
            found[arm.title] = {cause: total[cause] for cause in (*CAUSES, WRONG)}
    return found


def of_scan(
    case: Case,
    scan: CachedScan,
    network: CenterNet3D,
    arm: Arm,
    untaught: frozenset[str],
    kinds: Sequence[str],
) -> list[str]:
    """An end for each lesion of these types, of all if none is given; and WRONG for each wrong assignment."""
    assert arm.teacher is not None
    proposals, empty = propose(network, scan, arm.teacher, MEMORY_BYTES)
    types = network.config.types
    labelled, bags = resolve(case, scan, proposals, types, arm.supervision, arm.teacher, untaught)
    truth = [x for x in read_truth(Path(case.image.path).parent)[0].lesions if x.status == "lesion"]
    lesions = [x for x in truth if not kinds or x.type in kinds]
    assigned = [b for b in labelled if b.source == "report" and (not kinds or b.type in kinds)]
    wrong = sum(not any(hits(b, lesion) for lesion in truth) for b in assigned)
    known = PseudoLabels(proposals, labelled, bags, empty)
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
    """By the evaluation's rule: nearer than half the long diameter, or than NEAREST_MM."""
    apart_mm = float(distances([point_mm], [lesion.center_mm])[0, 0])
    return apart_mm < max(NEAREST_MM, lesion.long_mm / 2)
