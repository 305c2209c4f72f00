"""The teacher: the averaged network predicts a whole scan, as the detector does at inference.

It sees several mirrored copies and answers with the mean, which is surer than one view (Radosavovic et al.,
"Data Distillation", 2018); what it proposes again in later rounds persists. After the teacher of Tarvainen
and Valpola, "Mean teachers are better role models" (2017).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment

from model.boxes import distances
from model.detector import candidates_of, maps_of
from model.heads import split
from model.network import OUTPUT_STRIDE, CenterNet3D
from model.preprocess import Grid
from resources.cases.cache import HU, CachedScan
from resources.cases.lesions import reach_mm
from resources.training.config import Teacher
from resources.training.reports.pseudo_labels import Proposal

VIEWS = tuple(tuple(axis for bit, axis in enumerate((2, 1, 0)) if view >> bit & 1) for view in range(8))
"""Axes (0 z, 1 y, 2 x) along which each view is mirrored: none first, then left to right, which bodies bear
best."""
EMPTY_FROM_MM = 10.0
"""No cell this near to what a proposal may cover is empty."""

Mask = npt.NDArray[np.bool_]


def propose(
    network: CenterNet3D, scan: CachedScan, settings: Teacher, memory_bytes: int
) -> tuple[tuple[Proposal, ...], Mask]:
    """What the network proposes in a scan, surest first, and the cells in which it is sure of no lesion.

    The network must be in evaluation mode.
    Proposals are the peaks of the mean over the views, from doubtful_above up (at least decode's least
    probability). The mask is (z, y, x) on output cells: every view's highest type probability is below
    empty_below, and no proposal's reach, half its largest size, ends within EMPTY_FROM_MM.
    memory_bytes: for the network's activations. Raises NotFiniteError.
    """
    if network.training:
        raise ValueError("propose: expected a network in evaluation mode, found one that trains")
    hu = torch.from_numpy(np.ascontiguousarray(scan.array[HU]))
    grid = Grid(hu, scan.lower, scan.spacing_mm)
    with torch.inference_mode():
        total = highest = torch.zeros(())
        for number, axes in enumerate(VIEWS[: settings.views]):
            maps, _ = maps_of(network, grid, memory_bytes, "teacher", axes)
            top = split(maps).heat.amax(0)
            total, highest = (total + maps, torch.maximum(highest, top)) if number else (maps, top)
        candidates = candidates_of(total / settings.views, grid, scan.place)
    proposals = tuple(
        Proposal(_triple(point), _triple(size), tuple(heat.tolist()))
        for point, size, heat in zip(
            grid.to_world(candidates.voxel), candidates.size_mm, candidates.types, strict=True
        )
        if heat.max() >= settings.doubtful_above
    )
    empty, cells = (highest < settings.empty_below).cpu().numpy(), scan.grid.coarsened(OUTPUT_STRIDE)
    for proposal in proposals:
        reach_mm = max(proposal.size_mm) / 2 + EMPTY_FROM_MM
        _clear_ball(empty, cells.world_to_voxel(proposal.center_mm)[0], reach_mm / cells.spacing_mm[0])
    return proposals, empty


def link(proposals: tuple[Proposal, ...], previous: tuple[Proposal, ...]) -> tuple[Proposal, ...]:
    """The proposals with the rounds in which they have been seen running.

    One is that of the previous round if it is within its own reach; one to one, as many pairs as possible
    and then the nearest (Kuhn 1955). What was not there starts with 1.
    """
    apart_mm = distances([p.center_mm for p in proposals], [p.center_mm for p in previous])
    near = apart_mm < reach_mm([p.size_mm[0] for p in proposals])[:, None]
    far_mm = 1e6  # more than all distances of a scan together
    rounds = [1] * len(proposals)
    for current, other in zip(*linear_sum_assignment(np.where(near, apart_mm, far_mm)), strict=True):
        if near[current, other]:
            rounds[current] = previous[other].rounds + 1
    return tuple(dataclasses.replace(p, rounds=n) for p, n in zip(proposals, rounds, strict=True))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = values.tolist()
    return a, b, c


def _clear_ball(cells: Mask, center: npt.NDArray[np.float64], radius: float) -> None:
    """Sets to False what lies within `radius` cells of `center`."""
    spans = [
        slice(max(0, math.ceil(c - radius)), max(0, math.floor(c + radius) + 1))
        for c in center.tolist()
    ]  # fmt: skip
    part = cells[spans[0], spans[1], spans[2]]
    axes = [np.arange(s.start, s.start + n) - c for s, n, c in zip(spans, part.shape, center, strict=True)]
    z, y, x = np.ix_(*axes)
    part[z**2 + y**2 + x**2 <= radius**2] = False
