"""Two published rules that make lesions of a report, as peers of the project's assignment.

"balls", after R-Super's ball loss (2025): the largest lesion first, each reported lesion is put where the
base's heat map is highest in its organ, with the reported diameter; the rest of the organ is taken for free
of lesions. "counts", after report-guided annotation (Bosma et al. 2023): of each type the n surest candidates
are kept, n from the report; a scan that has fewer is left out, and what is not kept is taken for free of
lesions.

Both are written from the papers' ideas, on maps of centres in place of segmentations, and place their lesions
once, by the base's maps: R-Super does so at every step, and has a loss of the volume besides, of which a map
of centres says nothing.
"""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from model.decode import Candidates
from model.detector import DEFAULT_MEMORY_GB, candidates_of, maps_of
from model.heads import split
from model.network import OUTPUT_STRIDE, CenterNet3D
from model.preprocess import Grid
from resources.cases.cache import HU, ORGANS, CachedScan, open_scan
from resources.cases.case import Annotation, Case, Completeness
from resources.cases.lesions import reach_mm
from resources.cases.organs import place_values
from resources.synthetic.files import read_truth
from resources.training.progress import tracked
from resources.training.reports.guidance import size_of
from resources.training.reports.matching import wanted_of

Rule = Literal["balls", "counts"]
PLACED, RIGHT, LEFT_OUT = (
    "lesions placed",
    "of them within reach of a lesion of their type",
    "scans left out",
)
MEMORY_BYTES = int(DEFAULT_MEMORY_GB["cpu"] * 1e9)


def ruled(cases: list[Case], cache: Path, network: CenterNet3D, rule: Rule) -> list[Case]:
    """The cases with the lesions that a rule makes of their reports; fewer where it leaves some out.

    cache: folder of the cases' cached scans. network: the base, in evaluation mode.
    """
    found: list[Case] = []
    for case in tracked(cases, rule, False):
        scan = open_scan(cache / f"{case.id}.b2nd")
        grid = Grid(torch.from_numpy(np.ascontiguousarray(scan.array[HU])), scan.lower, scan.spacing_mm)
        with torch.inference_mode():
            maps, _ = maps_of(network, grid, MEMORY_BYTES, case.id)
        if rule == "balls":
            found.append(with_balls(case, scan, maps, network.config.types))
            continue
        candidates = candidates_of(maps, grid, scan.place)
        made = with_counts(case, candidates, grid.to_world(candidates.voxel), network.config.types)
        found += [] if made is None else [made]
    return found


def with_balls(case: Case, scan: CachedScan, maps: torch.Tensor, types: tuple[str, ...]) -> Case:
    """A case whose findings are lesions of its organs, which are complete where all of theirs are counted.

    maps: calibrated, of the scan, see model.heads. A finding of no organ of the map is left alone, and of one
    without a size the network says how large it is.
    """
    cells, known = scan.grid.coarsened(OUTPUT_STRIDE), case.completeness
    labels = np.asarray(scan.array[ORGANS])[::OUTPUT_STRIDE, ::OUTPUT_STRIDE, ::OUTPUT_STRIDE]
    heat, free = split(maps).heat.numpy(), np.ones(labels.shape, bool)
    sizes_mm = split(maps).size.numpy()
    centers_mm = cells.voxel_to_world(np.indices(labels.shape).reshape(3, -1).T).reshape(*labels.shape, 3)
    lesions: list[Annotation] = []
    whole: set[int] = set()
    unsure: set[int] = set()
    for one in sorted(wanted_of(case.findings), key=lambda wanted: -(wanted.size_mm or 0.0)):
        organ, kind = one.finding.organ, one.finding.type
        values = place_values(known.organ_values, organ, one.finding.side, kind) if organ else ()
        here = np.isin(labels, values)
        (unsure if one.finding.count == "several" or kind not in types else whole).update(values)
        for number in range(one.count if kind in types else 0):
            left = here & free
            if not left.any():
                unsure.update(values)
                break
            best = int(np.where(left, heat[types.index(str(kind))], -1.0).argmax())
            center_mm = centers_mm.reshape(-1, 3)[best]
            told = one.size_mm is not None and number == 0  # the report speaks of the largest
            size_mm = size_of(one.finding) if told else sizes_mm.reshape(3, -1)[:, best]
            lesions.append(_lesion(center_mm, size_mm, str(kind)))
            free &= np.linalg.norm(centers_mm - center_mm, axis=-1) > max(size_mm[:2])
    complete = tuple(
        name for name, own in known.organ_values.items() if set(own) <= whole and not set(own) & unsure
    )
    part = dataclasses.replace(known, kind="organs" if complete else "none", organs=complete)
    return dataclasses.replace(case, annotations=tuple(lesions), completeness=part)


def with_counts(
    case: Case, candidates: Candidates, centers_mm: npt.NDArray[np.float64], types: tuple[str, ...]
) -> Case | None:
    """A case with as many of the surest candidates of each type as its report counts; None if it has fewer.

    centers_mm: (n, 3) LPS of the candidates.
    """
    left = collections.Counter[str]()
    for one in wanted_of(case.findings):
        left[str(one.finding.type)] += one.count
    lesions = []
    for center_mm, size_mm, heat in zip(centers_mm, candidates.size_mm, candidates.types, strict=True):
        kind = types[int(heat.argmax())]
        if left[kind] > 0:
            left[kind] -= 1
            lesions.append(_lesion(center_mm, size_mm, kind))
    if any(left.values()):
        return None
    known = case.completeness
    complete = Completeness("all", organ_labels=known.organ_labels, organ_values=known.organ_values)
    return dataclasses.replace(case, annotations=tuple(lesions), completeness=complete, findings=())


def _lesion(center_mm: npt.ArrayLike, size_mm: npt.ArrayLike, kind: str) -> Annotation:
    """size_mm: two diameters in the plane, and the z extent."""
    x, y, z = np.asarray(center_mm, np.float64).tolist()
    one_mm, other_mm, z_mm = np.asarray(size_mm, np.float64).tolist()
    return Annotation(
        "point",
        kind,
        "mm",
        point=(x, y, z),
        long_mm=max(one_mm, other_mm),
        short_mm=min(one_mm, other_mm),
        z_extent_mm=z_mm,
    )


def outcome(cases: list[Case], before: int) -> dict[str, int]:
    """How many of a rule's lesions are lesions; `before`: how many scans it was given. Of synthetic scans,
    whose truth no training sees.
    """
    ends = {PLACED: 0, RIGHT: 0, LEFT_OUT: before - len(cases)}
    for case in cases:
        truth = [x for x in read_truth(Path(case.image.path).parent)[0].lesions if x.status == "lesion"]
        for one in case.annotations:
            apart_mm = [np.linalg.norm(np.subtract(one.point or (), x.center_mm)) for x in truth]
            near = [
                x.type == one.type and mm < reach_mm(x.long_mm) for x, mm in zip(truth, apart_mm, strict=True)
            ]
            ends[PLACED], ends[RIGHT] = ends[PLACED] + 1, ends[RIGHT] + any(near)
    return ends
