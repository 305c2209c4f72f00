"""Two published rules that make lesions of a report, as peers of the project's assignment.

"balls", after R-Super's ball loss (2025): the largest lesion first, each reported lesion is put where the
base's heat map is highest in its organ, dilated, with the reported diameter; the rest of the organ is taken
for free of lesions. "counts", after report-guided annotation (Bosma et al. 2023): of each type the n surest
candidates are kept, n from the report, and what is not kept is taken for free of lesions; a scan that has
fewer is left out, and one whose report gives no number.

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
from scipy.ndimage import distance_transform_edt

from model.decode import Candidates
from model.detector import DEFAULT_MEMORY_GB, candidates_of, maps_of
from model.heads import split
from model.network import OUTPUT_STRIDE, CenterNet3D
from model.preprocess import Grid
from resources.cases.cache import HU, ORGANS, CachedScan, open_scan
from resources.cases.case import Annotation, Case, Completeness
from resources.cases.organs import canonical, exact_values, organs, place_values
from resources.training.progress import tracked
from resources.training.reports.guidance import size_of
from resources.training.reports.matching import Wanted, wanted_of

Rule = Literal["balls", "counts"]
AROUND_MM = 15.0
"""So far outside of its organ, as the base sees it, a lesion may have its centre."""
MEMORY_BYTES = int(DEFAULT_MEMORY_GB["cpu"] * 1e9)
Sizes = tuple[float, float, float]


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
    """A case whose findings are lesions in its organs, which are complete where all of theirs are counted.

    maps: calibrated, of the scan, see model.heads. A finding of no organ of the map is left alone. What the
    report does not tell of a size the network says, but no lesion is larger than the largest.
    """
    cells, known = scan.grid.coarsened(OUTPUT_STRIDE), case.completeness
    labels = np.asarray(scan.array[ORGANS])[::OUTPUT_STRIDE, ::OUTPUT_STRIDE, ::OUTPUT_STRIDE]
    heat, offset, size = (part.numpy().reshape(len(part), -1) for part in split(maps))
    index = np.indices(labels.shape).reshape(3, -1).T
    cell_mm = cells.voxel_to_world(index)
    centers_mm = cells.voxel_to_world(index + np.clip(offset.T, -1.5, 1.5))
    free = scan.place.contains(centers_mm)
    lesions: list[Annotation] = []
    for one in sorted(wanted_of(case.findings), key=lambda wanted: -(wanted.size_mm or 0.0)):
        organ, kind = one.finding.organ, one.finding.type
        if organ is None or kind not in types:
            continue
        values = place_values(known.organ_values, organ, one.finding.side, kind)
        apart_mm = distance_transform_edt(~np.isin(labels, values)) * cells.spacing_mm[0]
        here = (apart_mm <= AROUND_MM).ravel() & bool(values)
        for number in range(one.count):
            if not (here & free).any():
                break
            best = int(np.where(here & free, heat[types.index(kind)], -1.0).argmax())
            size_mm = _size(one, number, size[:, best])
            lesions.append(_lesion(centers_mm[best], size_mm, kind))
            reach_mm = max(1.5 * cells.spacing_mm[0], max(size_mm) / 2)
            free &= np.linalg.norm(cell_mm - cell_mm[best], axis=1) > reach_mm
    complete = complete_organs(case, types)
    part = dataclasses.replace(known, kind="organs" if complete else "none", organs=complete)
    return dataclasses.replace(case, annotations=tuple(lesions), completeness=part)


def complete_organs(case: Case, types: tuple[str, ...]) -> tuple[str, ...]:
    """The organs that findings name and the map has, all lesions of which are counted, and none of a region's
    may be of.
    """
    values = case.completeness.organ_values
    own_class = {canonical(name)[0] for name in values}
    whole: set[int] = set()
    unsure: set[int] = set()
    for one in wanted_of(case.findings):
        organ, kind, side = one.finding.organ, one.finding.type, one.finding.side
        if organ is None and kind is None:
            return ()
        name = str(organ or kind)
        place = {*exact_values(values, name, side), *place_values(values, name, side, kind)}
        named = organ in own_class and not organs()[name].space
        counted = named and one.finding.count != "several" and kind in types
        (whole if counted else unsure).update(place)
    return tuple(name for name, own in values.items() if set(own) <= whole and not set(own) & unsure)


def with_counts(
    case: Case, candidates: Candidates, centers_mm: npt.NDArray[np.float64], types: tuple[str, ...]
) -> Case | None:
    """A case with as many of the surest candidates of each type as its report counts; None if it has fewer,
    or the report gives no number.

    centers_mm: (n, 3) LPS of the candidates.
    """
    wanted = wanted_of(case.findings)
    if any(one.finding.count == "several" for one in wanted):
        return None
    left = collections.Counter[str]()
    for one in wanted:
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


def _size(one: Wanted, number: int, predicted_mm: npt.NDArray[np.floating]) -> Sizes:
    """Long, short and z of a lesion of a finding, of which the report gives the largest."""
    if one.size_mm is not None and number == 0:
        return size_of(one.finding)
    short_mm, long_mm = sorted(predicted_mm[:2].tolist())
    smaller = 1.0 if one.size_mm is None else min(1.0, one.size_mm / long_mm)
    return smaller * long_mm, smaller * short_mm, smaller * float(predicted_mm[2])


def _lesion(center_mm: npt.ArrayLike, size_mm: npt.ArrayLike, kind: str) -> Annotation:
    """RECIST axes along x and y, for their way is not known. size_mm: long, short and z."""
    x, y, z = np.asarray(center_mm, np.float64).tolist()
    long_mm, short_mm, z_mm = np.asarray(size_mm, np.float64).tolist()
    return Annotation(
        "recist",
        kind,
        "mm",
        long=((x - long_mm / 2, y, z), (x + long_mm / 2, y, z)),
        short=((x, y - short_mm / 2, z), (x, y + short_mm / 2, z)),
        long_mm=long_mm,
        short_mm=short_mm,
        z_extent_mm=z_mm,
    )


def center_of(lesion: Annotation) -> npt.NDArray[np.float64]:
    """LPS mm of a lesion that a rule made."""
    return np.asarray(lesion.long, np.float64).mean(0)
