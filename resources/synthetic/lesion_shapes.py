"""Sizes and forms of lesions.

Sizes follow 3,600 real lesion masks of three slices or more (their quantiles are below; the masks are
those gathered by ULS23, de Grauw et al. 2024). A form is a lobed solid, measured and then scaled so that
its axial long and short diameters and its z extent are exactly those drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from resources.synthetic.draw import Draw
from resources.synthetic.space import Box, Shape, Space

LONG_MM = {
    0: 3.0, 0.01: 6.2, 0.05: 8.3, 0.1: 9.8, 0.15: 11.2, 0.2: 12.3, 0.3: 14.7, 0.4: 17.2, 0.5: 20.0, 0.6: 23.4,
    0.7: 27.5, 0.75: 30.1, 0.8: 33.3, 0.85: 37.8, 0.9: 44.5, 0.95: 57.8, 0.975: 72.3, 0.99: 88.7, 1: 120.0,
}  # fmt: skip
"""Long diameter by quantile; below, short over long, and the z extent over the root of their product."""
SHORT_PER_LONG = {
    0: 0.3, 0.025: 0.407, 0.05: 0.468, 0.1: 0.531, 0.15: 0.581, 0.2: 0.611, 0.3: 0.663, 0.4: 0.704,
    0.5: 0.743, 0.6: 0.777, 0.7: 0.811, 0.8: 0.849, 0.9: 0.898, 0.95: 0.931, 0.99: 0.973, 1: 1.0,
}  # fmt: skip
EXTENT = {
    0: 0.3, 0.05: 0.404, 0.1: 0.528, 0.15: 0.614, 0.2: 0.685, 0.3: 0.799, 0.4: 0.889, 0.5: 0.968, 0.6: 1.055,
    0.7: 1.176, 0.8: 1.331, 0.9: 1.575, 0.95: 1.833, 0.975: 2.19, 1: 2.5,
}  # fmt: skip
SHORT_WITH_LONG = -0.34
"""Correlation of the short-to-long ratio with log long: large lesions are longer."""
ALIKE = 0.55
"""Its square is the correlation of log long between lesions of one patient, as over ULS23's five largest sets
(0.25 to 0.35)."""
CELLS = 36


@dataclasses.dataclass(frozen=True)
class Size:
    """Axial long and short diameter and z extent in mm."""

    long_mm: float
    short_mm: float
    z_extent_mm: float


@dataclasses.dataclass(frozen=True)
class Form:
    """distance: (n, n, n) mm on a cube of half edge `half_mm` around the centre, (z, y, x)."""

    distance: torch.Tensor
    half_mm: tuple[float, float, float]
    size: Size


def _quantile(share: float, table: dict[float, float]) -> float:
    """The value at a quantile, linearly between those of the table."""
    for (low, first), (high, last) in itertools.pairwise(table.items()):
        if share <= high:
            return first + (share - low) / (high - low) * (last - first)
    return last


def _share(normal: float) -> float:
    return 0.5 * (1 + math.erf(normal / math.sqrt(2)))


def draw_size(draw: Draw, common: float | None = None) -> Size:
    """A size; lesions of one disease share `common` (a standard normal number) and so are alike."""
    drawn = float(torch.randn((), generator=draw.generator))
    z = drawn if common is None else ALIKE * common + math.sqrt(1 - ALIKE**2) * drawn
    long_mm = _quantile(_share(z), LONG_MM)
    z2 = SHORT_WITH_LONG * z + math.sqrt(1 - SHORT_WITH_LONG**2) * float(
        torch.randn((), generator=draw.generator)
    )
    short_mm = long_mm * _quantile(_share(z2), SHORT_PER_LONG)
    ratio = _quantile(draw.uniform(0, 1), EXTENT)
    return Size(long_mm, short_mm, ratio * math.sqrt(long_mm * short_mm))


def draw_form(draw: Draw, size: Size, lobed: float, angle: float | None = None) -> Form:
    """A solid with these diameters; `lobed` 0 is an ellipsoid, 0.5 is very irregular.

    angle: degrees from x of the long axis in the axial plane; drawn where None.
    """
    n = CELLS
    axis = torch.linspace(-1.3, 1.3, n)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    field = torch.zeros((n, n, n))
    for knots, weight in ((4, 0.75), (7, 0.5)):
        coarse = torch.randn((1, 1, knots, knots, knots), generator=draw.generator)
        field += weight * F.interpolate(coarse, size=(n, n, n), mode="trilinear", align_corners=True)[0, 0]
    power = draw.uniform(1.9, 2.3)
    q = (x.abs() ** power + y.abs() ** power + z.abs() ** power) ** (1 / power)
    distance = q - 1 - lobed * 0.45 * field.clamp(-1.6, 1.0)
    distance = largest(distance)
    long_u, short_u, extent_u, turn = measure(distance < 0, float(axis[1] - axis[0]))
    scales = (size.long_mm / long_u, size.short_mm / short_u, size.z_extent_mm / extent_u)
    angle = math.radians(draw.uniform(0, 180) if angle is None else angle)
    reach = 1.3 * math.hypot(scales[0], scales[1])
    half = (reach, reach, 1.3 * scales[2])
    # target cube (true mm) -> the solid's own axes: turn to its long axis, shrink, turn back
    gz, gy, gx = torch.meshgrid(
        *(torch.linspace(-1, 1, n) * h for h in (half[2], half[1], half[0])), indexing="ij"
    )
    u = (math.cos(angle) * gx + math.sin(angle) * gy) / scales[0]
    v = (-math.sin(angle) * gx + math.cos(angle) * gy) / scales[1]
    sx, sy, sz = (
        math.cos(turn) * u - math.sin(turn) * v,
        math.sin(turn) * u + math.cos(turn) * v,
        gz / scales[2],
    )
    grid = torch.stack([sx, sy, sz], -1)[None] / 1.3
    shaped = F.grid_sample(
        distance[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )[0, 0]
    outside = (grid[0].abs().amax(-1) - 1).clamp(min=0)
    shaped = shaped + outside
    return Form(_in_mm(shaped, half), half, size)


def _in_mm(distance: torch.Tensor, half: tuple[float, float, float]) -> torch.Tensor:
    """Scales an implicit function by its slope, so that it is a distance near the surface."""
    steps = tuple(2 * h / (CELLS - 1) for h in (half[2], half[1], half[0]))
    slope = sum(g * g for g in torch.gradient(distance, spacing=steps)).sqrt()  # type: ignore[union-attr]
    return distance / slope.clamp(min=0.5 / max(half))


def largest(distance: torch.Tensor) -> torch.Tensor:
    """Keeps the part that holds the centre; islands cut off by the lobes are pushed out."""
    inside = distance < 0
    n = distance.shape[0] // 2
    parts, _ = ndimage.label(inside.numpy(), np.ones((3, 3, 3)))
    middle = parts[n - 3 : n + 3, n - 3 : n + 3, n - 3 : n + 3]
    islands = (parts > 0) & ~np.isin(parts, middle[middle > 0])
    return distance.masked_fill(torch.from_numpy(islands), 0.2)


def measure(inside: torch.Tensor, step: float) -> tuple[float, float, float, float]:
    """Long and short axial diameter, z extent (same unit as `step`) and direction (radians) of the long one.

    inside: (z, y, x). The long diameter is the largest width of any axial slice; the short one is the width
    across it in that slice; of slices with the same, the one with the largest.
    """
    rows = inside.any(2).any(1).nonzero()[:, 0]
    extent = float(rows.max() - rows.min() + 1) * step
    angles = torch.arange(0, 180, 3) * math.pi / 180
    directions = torch.stack([angles.cos(), angles.sin()])
    best = (-1.0, 0.0, 0.0)
    for k in rows.tolist():
        yx = inside[k].nonzero().float()
        widths = yx.flip(1) @ directions
        spans = widths.amax(0) - widths.amin(0)
        i = int(spans.argmax())
        across = float(spans[(i + len(angles) // 2) % len(angles)])
        best = max(best, (float(spans[i]), across, float(angles[i])))
    return (best[0] + 1) * step, (best[1] + 1) * step, extent, best[2]


def place(space: Space, form: Form, center_mm: tuple[float, float, float], margin_mm: float = 0.0) -> Shape:
    """The form's distances on the part of the grid around it; `margin_mm` of surroundings with it."""
    lower = [c - h - margin_mm for c, h in zip(center_mm, form.half_mm, strict=True)]
    upper = [c + h + margin_mm for c, h in zip(center_mm, form.half_mm, strict=True)]
    box: Box = space.box(lower, upper, world=True)
    x, y, z = (v - c for v, c in zip(space.world(box), center_mm, strict=True))
    shape = [part.stop - part.start for part in box]
    if min(shape) <= 0:
        return box, torch.empty([max(0, s) for s in shape], device=space.device)
    grid = torch.stack([(v / h).expand(shape) for v, h in zip((x, y, z), form.half_mm, strict=True)], -1)
    inner = F.grid_sample(
        form.distance.to(space.device)[None, None],
        grid[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )[0, 0]
    out = [(v.abs() - h).clamp(min=0).expand(shape) for v, h in zip((x, y, z), form.half_mm, strict=True)]
    return box, inner + sum(o * o for o in out).sqrt()  # type: ignore[union-attr]
