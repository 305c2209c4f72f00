"""Rounds: now and then the averaged network predicts all training scans, and their pseudo-labels are renewed.

A round writes WORK/pseudo_labels/.NNNN.part and renames it to NNNN when all processes are done. Killed, it
goes on with the scans that are missing. The same network and files give the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from model.boxes import distances
from model.config import NotFiniteError
from model.detector import DEFAULT_MEMORY_GB
from model.files import write_whole
from model.network import OUTPUT_STRIDE, CenterNet3D
from resources.cases.cache import CachedScan
from resources.cases.case import Case, CaseError
from resources.cases.lesions import reach_mm
from resources.training.config import TrainingConfig
from resources.training.data.stream import Scans
from resources.training.progress import tracked
from resources.training.reports import audit, guidance
from resources.training.reports.pseudo_labels import (
    Proposal,
    PseudoLabels,
    PseudoLesion,
    read_pseudo_labels,
    write_pseudo_labels,
)
from resources.training.reports.teacher import link, propose
from resources.training.targets.states import NEGATIVE, locate, states_of
from resources.training.targets.terms import type_of

HARD_PER_SCAN = 5
"""Hard negatives of one scan at most: the surest."""
MISSED_BELOW = 0.3
"""A lesion is missed where no proposal on it is as probable as this."""
HARD_FILE = "hard.json"


@dataclasses.dataclass(frozen=True)
class HardPlace:
    """Where the network sees a lesion and there is none, or hardly sees one that is there. voxel: (z, y, x)
    in the cached scan.
    """

    case: str
    voxel: tuple[int, int, int]
    probability: float


def renew(
    network: CenterNet3D,
    scans: Scans,
    config: TrainingConfig,
    number: int,
    rank: int,
    ranks: int,
    barrier: Callable[[], None],
) -> None:
    """Predicts all training scans and writes the folder WORK/pseudo_labels/NNNN unless it is there.

    In it: pseudo-labels of every case (none where all is annotated); hard.json, a list of case,
    voxel and probability; the audit log. network: in evaluation mode, on its device, the same in all
    processes. rank, ranks: this process, which predicts each ranks-th scan, and how many there are; all call
    this, on one file system. barrier: returns when all have called it. Raises CaseError naming the case.
    """
    folder = Path(config.work) / "pseudo_labels"
    final, part, aside = (
        folder / name for name in (f"{number:04d}", f".{number:04d}.part", f".{number:04d}.hard")
    )
    if final.exists():
        return
    cases = [case for _, case in scans.cases]
    if any(_path(part, case.id) == part / HARD_FILE for case in cases):
        raise CaseError(f"case id: expected any but that of the file {HARD_FILE}, found it")
    untaught = untaught_types(cases, network.config.types)
    missing = [i for i in range(rank, len(cases), ranks) if not _path(part, cases[i].id).exists()]
    for index in tracked(missing, f"Round {number}", quiet=rank > 0):
        case = cases[index]
        try:
            before = _proposals_of(folder / f"{number - 1:04d}", case.id)
            pseudo_labels, hard = _renewed(network, case, scans.open(index), config, before, untaught)
        except (CaseError, NotFiniteError) as error:
            raise type(error)(f"case {case.id}: {error}") from None
        write_whole(_path(aside, case.id), json.dumps([dataclasses.asdict(place) for place in hard]))
        write_pseudo_labels(part, case.id, pseudo_labels)  # last, for its file says that the scan is done
    barrier()
    if rank == 0:
        places = [place for case in cases for place in json.loads(_path(aside, case.id).read_text("utf-8"))]
        _audit(part, scans, config.teacher.pictures, number)
        write_whole(part / HARD_FILE, json.dumps(places))
        for left in part.rglob(".*.part"):  # of a process that was killed
            left.unlink()
        os.replace(part, final)
        shutil.rmtree(aside)
    barrier()


def untaught_types(cases: Sequence[Case], types: Sequence[str]) -> frozenset[str]:
    """Types of which the cases mark no lesion, while they do of others."""
    marked = {type_of(a) for case in cases for a in case.annotations if a.status == "lesion"}
    return frozenset(types) - marked if marked else frozenset()


def _renewed(
    network: CenterNet3D,
    case: Case,
    scan: CachedScan,
    config: TrainingConfig,
    before: tuple[Proposal, ...],
    untaught: frozenset[str],
) -> tuple[PseudoLabels, list[HardPlace]]:
    """Pseudo-labels and hard places of one scan; the network does not run where neither is wanted."""
    benign = any(mark.status == "benign" for mark in case.annotations)
    known = case.completeness.kind != "none" or bool(case.findings) or benign
    labels = config.strongest.uses_proposals and case.completeness.kind != "all"
    hardens = config.patches.hard > 0 and known
    z, y, x = (n // OUTPUT_STRIDE for n in scan.shape)
    pseudo_labels = PseudoLabels((), (), np.zeros((z, y, x), bool))
    if not labels and not hardens:
        return pseudo_labels, []
    memory = int(DEFAULT_MEMORY_GB[network.out.weight.device.type] * 1e9)
    proposals, empty = propose(network, scan, config.teacher, memory)
    if labels:
        proposals = link(proposals, before)
        types, settings = network.config.types, config.strongest
        lesions = guidance.resolve(case, scan, proposals, types, settings, config.teacher, untaught)
        pseudo_labels = PseudoLabels(proposals, lesions, empty)
    if not hardens:
        return pseudo_labels, []
    hard = hard_negatives(case, scan, proposals, pseudo_labels.lesions)
    return pseudo_labels, hard + missed_lesions(case, scan, proposals)


def missed_lesions(case: Case, scan: CachedScan, proposals: Sequence[Proposal]) -> list[HardPlace]:
    """The annotated lesions that no proposal of MISSED_BELOW or more is within reach of. probability: that
    of the best proposal there, 0 where there is none.
    """
    places = []
    for mark in locate(case, scan):
        if mark.annotation.status != "lesion" or not scan.grid.contains(mark.center_mm)[0]:
            continue
        apart_mm = distances([proposal.center_mm for proposal in proposals], [tuple(mark.center_mm.tolist())])
        at_it = apart_mm[:, 0] < reach_mm(mark.size_mm[0])
        on_it = [proposal.probability for proposal, there in zip(proposals, at_it, strict=True) if there]
        if max(on_it, default=0.0) < MISSED_BELOW:
            z, y, x = scan.grid.nearest_voxel(mark.center_mm)[0].tolist()
            places.append(HardPlace(case.id, (z, y, x), max(on_it, default=0.0)))
    return places


def hard_negatives(
    case: Case, scan: CachedScan, proposals: Sequence[Proposal], lesions: Sequence[PseudoLesion]
) -> list[HardPlace]:
    """The surest proposals, at most HARD_PER_SCAN, on cells that complete annotation, a benign mark or the
    report calls free of lesions, and that are within reach of no lesion, annotated or pseudo-labelled.
    """
    if not proposals:
        return []
    state, cells = states_of(case, scan).state, scan.grid.coarsened(OUTPUT_STRIDE)
    marks = [mark for mark in locate(case, scan) if mark.annotation.status != "benign"]
    centers_mm = [tuple(mark.center_mm.tolist()) for mark in marks] + [x.center_mm for x in lesions]
    long_mm = [float(mark.size_mm[0]) for mark in marks] + [x.size_mm[0] or np.nan for x in lesions]
    apart_mm = distances([proposal.center_mm for proposal in proposals], centers_mm)
    free = np.all(apart_mm >= reach_mm(long_mm), axis=1).tolist()
    places = []
    for proposal, alone in zip(proposals, free, strict=True):
        if alone and state[tuple(cells.nearest_voxel(proposal.center_mm)[0])] == NEGATIVE:
            z, y, x = scan.grid.nearest_voxel(proposal.center_mm)[0].tolist()
            places.append(HardPlace(case.id, (z, y, x), proposal.probability))
    return places[:HARD_PER_SCAN]


def _audit(folder: Path, scans: Scans, most: int, number: int) -> None:
    """Writes the audit log of the pseudo-labels in a folder, and its pictures."""
    lines: list[audit.Mined] = []
    indices: list[int] = []
    for index, (_, case) in enumerate(scans.cases):
        lesions = read_pseudo_labels(folder, case.id).lesions
        if any(lesion.verdict == "positive" for lesion in lesions):
            lines += audit.mined_of(case, scans.open(index), lesions)
            indices += [index] * (len(lines) - len(indices))
    audit.write_log(folder / "audit.jsonl", lines)
    drawn = audit.chosen(lines, most)
    if drawn:
        title = (
            f"Round {number}: {len(drawn)} of {len(lines)} mined lesions, from the surest to the least sure"
        )
        pairs = [(lines[i], scans.open(indices[i])) for i in drawn]
        audit.draw_sheet(folder / "audit.png", pairs, title)


def _path(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}.json"


def _proposals_of(folder: Path, case_id: str) -> tuple[Proposal, ...]:
    """Of a round; none if there was none."""
    return read_pseudo_labels(folder, case_id).proposals if _path(folder, case_id).exists() else ()
