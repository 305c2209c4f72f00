"""Signed distances in mm (negative inside) of simple solids, and ways to join them.

Positions are tuples of tensors (x, y, z) that broadcast against each other. After Quilez,
"Distance functions" (iquilezles.org/articles/distfunctions) and "Smooth minimum".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch

Xyz = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Point = Sequence[float]


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


def capsule(
    xyz: Xyz, start: Point, end: Point, radius: tuple[float, float], flat: float = 1.0
) -> torch.Tensor:
    """A rod whose radius goes from one value to the other; `flat` below 1 stretches it along z."""
    x, y, z = (v - s for v, s in zip(xyz, start, strict=True))
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    if flat != 1.0:
        z, dz = z * flat, dz * flat
    t = ((x * dx + y * dy + z * dz) / max(dx * dx + dy * dy + dz * dz, 1e-6)).clamp_(0, 1)
    along = (t * d for d in (dx, dy, dz))  # in place from here on: thousands of rods make a scan
    a, b, c = (torch.sub(v, part, out=part).square_() for v, part in zip((x, y, z), along, strict=True))
    distance = a.add_(b).add_(c).sqrt_()
    return distance.sub_(t.mul_(radius[1] - radius[0]).add_(radius[0]))


def smooth_union(a: torch.Tensor, b: torch.Tensor, width: float) -> torch.Tensor:
    """The nearer of two distances, the seam rounded over about `width` mm."""
    h = (width - (a - b).abs()).clamp_(min=0) / width
    return torch.minimum(a, b) - h * h * (width / 4)


def smooth_cut(a: torch.Tensor, b: torch.Tensor, width: float) -> torch.Tensor:
    """What both hold, the seam rounded."""
    return -smooth_union(-a, -b, width)


def interpolate(stations: Sequence[Sequence[float]], at: torch.Tensor) -> list[torch.Tensor]:
    """Columns of a table, by its rising first column, at given values; smooth (monotone between rows)."""
    table, slopes = _table(tuple(map(tuple, stations)), at.device)
    keys = table[:, 0].contiguous()
    right = torch.searchsorted(keys, at.contiguous()).clamp_(1, len(keys) - 1)
    left = right - 1
    step = keys[right] - keys[left]
    t = ((at - keys[left]) / step).clamp_(0, 1)
    t2, t3 = t * t, t * t * t
    here, there = 2 * t3 - 3 * t2 + 1, 3 * t2 - 2 * t3
    rise, fall = (t3 - 2 * t2 + t) * step, (t3 - t2) * step
    return [
        here * table[left, c]
        + rise * slopes[left, c - 1]
        + there * table[right, c]
        + fall * slopes[right, c - 1]
        for c in range(1, table.shape[1])
    ]


@functools.lru_cache(maxsize=64)
def _table(
    stations: tuple[tuple[float, ...], ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Its numbers, and the slopes of its columns but the first."""
    table = torch.tensor(stations, dtype=torch.float32, device=device)
    slopes = torch.gradient(table[:, 1:], spacing=(table[:, 0].contiguous(),), dim=0)[0]
    return table, slopes


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
