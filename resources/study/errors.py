"""What became of the lesions that only a report tells of: the errors behind an arm, by cause.

Known because the scans are synthetic; no training sees it. Counted over the last round of the first seed.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

from model.boxes import distances
from model.network import OUTPUT_STRIDE
from resources.cases.cache import open_scan
from resources.cases.case import Case, read_cases
from resources.study.arms import run_name
from resources.study.setting import Setting
from resources.synthetic.files import read_mentions, read_truth
from resources.synthetic.truth import TrueLesion
from resources.training.data.batch import REPORT_NEGATIVE
from resources.training.reports.clearing import cleared_types, current_findings
from resources.training.reports.pseudo_labels import PseudoLabels, PseudoLesion, read_pseudo_labels
from resources.training.reports.teacher import NEAREST_MM
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
CAUSES = (OMITTED, UNREAD, CLEARED, UNSEEN, UNASSIGNED, ASSIGNED)


def counted(setting: Setting, work: Path, arms: Sequence[str]) -> dict[str, dict[str, int]]:
    """By title of each arm that assigns findings, how many lesions of the primary stratum met what end."""
    found = {}
    for name in arms:
        arm = setting.arms[name]
        lists = [own for own in arm.sources if setting.cases[own].view == "reports"]
        if lists and arm.supervision.report_positive > 0:
            run = work / "runs" / run_name(name, setting.seeds[0])
            total: collections.Counter[str] = collections.Counter(dict.fromkeys((*CAUSES, WRONG), 0))
            for own in lists:
                total += of_list(setting, work, own, max(run.glob("pseudo_labels/[0-9]*")))
            found[arm.title] = {cause: total[cause] for cause in (*CAUSES, WRONG)}
    return found


def of_list(setting: Setting, work: Path, name: str, folder: Path) -> collections.Counter[str]:
    """Of all scans of a case list. folder: of a round."""
    total: collections.Counter[str] = collections.Counter()
    for case in read_cases(work / "cases" / f"{name}.jsonl"):
        truth = read_truth(Path(case.image.path).parent)[0]
        kinds = setting.without_masks
        lesions = [x for x in truth.lesions if x.status == "lesion" and (not kinds or x.type in kinds)]
        known = read_pseudo_labels(folder, case.id)
        total.update(ends_of(case, lesions, known, work / "cache" / name / f"{case.id}.b2nd"))
        of_report = [b for b in known.lesions if b.source == "report" and (not kinds or b.type in kinds)]
        total[WRONG] += sum(not any(hits(b, lesion) for lesion in truth.lesions) for b in of_report)
    return total


def ends_of(case: Case, lesions: Sequence[TrueLesion], known: PseudoLabels, cached: Path) -> list[str]:
    """The first of CAUSES that holds for each lesion."""
    mentions, _ = read_mentions(Path(case.image.path).parent)
    mentioned = {
        label
        for mention in mentions
        if mention.finding.presence != "absent" and mention.finding.time == "current"
        for label in mention.lesions
    }
    read = {finding.type for finding in current_findings(case)[0]}
    scan = open_scan(cached)
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
