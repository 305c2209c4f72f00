"""Signed distances in mm (negative inside) of simple solids, and ways to join them.

Positions are tuples of tensors (x, y, z) that broadcast against each other. After Quilez,
"Distance functions" (iquilezles.org/articles/distfunctions) and "Smooth minimum".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Xyz = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Point = Sequence[float]
Number = float | torch.Tensor
Numbers = npt.NDArray[np.floating[Any]]


def turned(xyz: Xyz, center: Point, turn: Point) -> Xyz:
    """Positions relative to a centre, in axes turned by degrees around z, then y, then x."""
    x, y, z = (v - c for v, c in zip(xyz, center, strict=True))
    for angle, (i, j) in zip(turn, ((0, 1), (2, 0), (1, 2)), strict=True):
        if angle:
            c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            p = [x, y, z]
            p[i], p[j] = c * p[i] + s * p[j], c * p[j] - s * p[i]
            x, y, z = p
    return x, y, z


def ellipsoid(
    xyz: Xyz, center: Point, radii: Point, turn: Point = (0, 0, 0), power: float = 2.0
) -> torch.Tensor:
    """An ellipsoid, or a superellipsoid (power above 2 is boxier); exact to first order at its surface."""
    x, y, z = turned(xyz, center, turn)
    if power == 2.0:
        a, b, c = (v / r for v, r in zip((x, y, z), radii, strict=True))
        inner = (a * a + b * b + c * c).sqrt_()
        slope = ((a / radii[0]) ** 2 + (b / radii[1]) ** 2 + (c / radii[2]) ** 2).sqrt_()
        return inner * (inner - 1) / slope.clamp_(min=1e-6)
    a, b, c = ((v / r).abs() for v, r in zip((x, y, z), radii, strict=True))
    q = (a**power + b**power + c**power) ** (1 / power)
    steep = power - 1
    slope = (a**steep / radii[0]) ** 2 + (b**steep / radii[1]) ** 2 + (c**steep / radii[2]) ** 2
    slope = slope.sqrt_()
    return (q - 1) * q ** (power - 1) / slope.clamp_(min=1e-6)


def capsule(xyz: Xyz, start: Point, end: Point, radius: tuple[float, float]) -> torch.Tensor:
    """A rod whose radius goes from one value to the other."""
    x, y, z = (v - s for v, s in zip(xyz, start, strict=True))
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    square = max(dx * dx + dy * dy + dz * dz, 1e-6)
    return _around((x, y, z), (dx, dy, dz), square, radius[0], radius[1] - radius[0])


def capsules(
    xyz: Xyz,
    ends: Sequence[tuple[Point, Point]],
    radii: Sequence[tuple[float, float]],
    flat: float = 1.0,
) -> torch.Tensor:
    """(n, z, y, x): n rods as `capsule` gives them, each at positions of its own; `flat` below 1 stretches
    them along z.
    """
    begin, end = np.array(ends, np.float64).transpose(1, 2, 0)
    step = end - begin
    step[2] *= flat
    first, last = np.array(radii, np.float64).T
    rows = [*begin, *step, np.maximum((step * step).sum(0), 1e-6), first, last - first]
    values = torch.from_numpy(np.array(rows, np.float32)).to(xyz[0].device)[..., None, None, None].unbind(0)
    x, y, z = (v - s for v, s in zip(xyz, values[:3], strict=True))
    if flat != 1.0:
        z = z * flat
    return _around((x, y, z), (values[3], values[4], values[5]), *values[6:])


def _around(
    xyz: Xyz, step: tuple[Number, Number, Number], square: Number, radius: Number, growth: Number
) -> torch.Tensor:
    """Distances from a rod from 0 to `step`, of that length squared, whose radius grows by `growth`."""
    (x, y, z), (dx, dy, dz) = xyz, step
    t = ((x * dx + y * dy + z * dz) / square).clamp_(0, 1)
    along = (t * d for d in step)  # in place from here on: thousands of rods make a scan
    a, b, c = (torch.sub(v, part, out=part).square_() for v, part in zip(xyz, along, strict=True))
    distance = a.add_(b).add_(c).sqrt_()
    return distance.sub_(t.mul_(growth).add_(radius))


def smooth_union(a: torch.Tensor, b: torch.Tensor, width: float) -> torch.Tensor:
    """The nearer of two distances, the seam rounded over about `width` mm."""
    h = (width - (a - b).abs()).clamp_(min=0) / width
    return torch.minimum(a, b) - h * h * (width / 4)


def smooth_cut(a: torch.Tensor, b: torch.Tensor, width: float) -> torch.Tensor:
    """What both hold, the seam rounded."""
    return -smooth_union(-a, -b, width)


def interpolate(stations: Sequence[Sequence[float]], at: torch.Tensor) -> list[torch.Tensor]:
    """Columns of a table, by its rising first column, at given values; smooth (monotone between rows)."""
    rows = _interpolate(stations, at.cpu().numpy())
    return list(torch.from_numpy(rows).to(at.device).unbind(-1))


def interpolate_at(stations: Sequence[Sequence[float]], at: float) -> list[float]:
    """`interpolate` of one value."""
    return [float(v) for v in _interpolate(stations, np.float32(at))]


def _interpolate(stations: Sequence[Sequence[float]], at: Numbers | np.float32) -> Numbers:
    """(..., columns); in numpy, as of a single number torch takes ten times longer."""
    table, slopes = _table(tuple(map(tuple, stations)))
    keys = table[:, 0]
    right = np.clip(np.searchsorted(keys, at), 1, len(keys) - 1)
    left = right - 1
    step = keys[right] - keys[left]
    t = np.clip((at - keys[left]) / step, 0, 1)
    t2, t3 = t * t, t * t * t
    parts = 2 * t3 - 3 * t2 + 1, (t3 - 2 * t2 + t) * step, 3 * t2 - 2 * t3, (t3 - t2) * step
    here, rise, there, fall = (part[..., None] for part in parts)
    return here * table[left, 1:] + rise * slopes[left] + there * table[right, 1:] + fall * slopes[right]


@functools.lru_cache(maxsize=64)
def _table(stations: tuple[tuple[float, ...], ...]) -> tuple[Numbers, Numbers]:
    """Its numbers, and the slopes of its columns but the first."""
    table = torch.tensor(stations, dtype=torch.float32)
    slopes = torch.gradient(table[:, 1:], spacing=(table[:, 0].contiguous(),), dim=0)[0]
    return table.numpy(), slopes.numpy()


def spline(points: Sequence[Point], step_mm: float = 8.0) -> list[tuple[float, ...]]:
    """A smooth curve through points (Catmull-Rom), sampled about every `step_mm` of its chords.

    Points may carry more than three numbers (a radius, say): all are interpolated.
    """
    ends = [tuple(2 * a - b for a, b in zip(points[0], points[1], strict=True))]
    tail = [tuple(2 * a - b for a, b in zip(points[-1], points[-2], strict=True))]
    p = [*ends, *(tuple(q) for q in points), *tail]
    curve = [p[1]]
    for i in range(1, len(p) - 2):
        count = max(1, round(math.dist(p[i][:3], p[i + 1][:3]) / step_mm))
        for k in range(1, count + 1):
            t = k / count
            curve.append(
                tuple(
                    0.5
                    * (
                        2 * b
                        + (c - a) * t
                        + (2 * a - 5 * b + 4 * c - d) * t * t
                        + (3 * b - a - 3 * c + d) * t**3
                    )
                    for a, b, c, d in zip(p[i - 1], p[i], p[i + 1], p[i + 2], strict=True)
                )
            )
    return curve
