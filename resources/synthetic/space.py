"""The grid on which a body is painted in Hounsfield units, with its organ labels.

Arrays are (z, y, x); positions are (x, y, z) LPS: x to the patient's left, y to the back, z to the head.
Anatomy is written once, in the millimetres of a reference adult whose symphysis is at z = 0 and whose
neck begins at z = 570. A patient is that adult scaled along the axes and bent by a smooth displacement
(cubic B-splines), so that no organ is an exact solid. Lesions are painted in true millimetres.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from resources.synthetic.draw import Draw
from resources.synthetic.shapes import Point, Xyz, capsule

Box = tuple[slice, slice, slice]
Shape = tuple[Box, torch.Tensor]
"""Slices of a part of the grid, and signed distances in mm there (negative inside)."""

SLAB_VOXELS = 12_000_000
SPLINE_SD = math.sqrt(151 / 315)
"""Sd along one axis of a cubic B-spline through unit normal numbers."""


def bspline_weights(positions: torch.Tensor, knots: int) -> torch.Tensor:
    """(n,) positions in knot units -> (n, knots) uniform cubic B-spline weights."""
    gap = (positions[:, None] - torch.arange(knots, device=positions.device)).abs()
    near = 2 / 3 - gap**2 + gap**3 / 2
    far = (2 - gap).clamp(min=0) ** 3 / 6
    return torch.where(gap < 1, near, far)


@dataclasses.dataclass(frozen=True)
class Waves:
    """Smooth noise: random values at coarse knots joined by cubic B-splines. positions: in knots, by axis."""

    positions: tuple[torch.Tensor, ...]
    coarse: torch.Tensor

    def __call__(self, box: Box) -> torch.Tensor:
        z, y, x = (
            bspline_weights(p[part], n)
            for p, part, n in zip(self.positions, box, self.coarse.shape, strict=True)
        )
        value = torch.einsum("zi,ijk->zjk", z, self.coarse)
        return torch.einsum("zjk,yj->zyk", value, y) @ (x.T / SPLINE_SD**3)


def _runs(labels: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of successive labels."""
    own = sorted(set(labels))
    starts = [label for label in own if label - 1 not in own]
    return list(zip(starts, (label for label in own if label + 1 not in own), strict=True))


class Space:
    """hu: float32, label: uint8, both (z, y, x). step_mm, lower_mm (first voxel's centre), scale: (x, y, z).

    `scale` is the patient's size over the reference adult's; `warp_mm` the displacement's amplitude.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        step_mm: Point,
        lower_mm: Point,
        draw: Draw,
        scale: Point = (1.0, 1.0, 1.0),
        warp_mm: float = 0.0,
        device: str = "cpu",
    ):
        self.device = torch.device(device)
        self.hu = torch.full(shape, -1000.0, device=self.device)
        self.label = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        self.step_mm, self.lower_mm, self.scale = tuple(step_mm), tuple(lower_mm), tuple(scale)
        self.draw = draw
        self.edge_mm = max(0.8, sum(step_mm) / 3)
        x, y, z = (
            lower_mm[i] + step_mm[i] * torch.arange(n, dtype=torch.float32, device=self.device)
            for i, n in enumerate(reversed(shape))
        )
        self.axes_mm = (z, y, x)
        knot_mm = 75.0
        spans = ((-60.0, 700.0), (-250.0, 250.0), (-250.0, 250.0))  # the whole body, whatever is scanned
        knots = [math.ceil((high - low) / knot_mm) + 3 for low, high in spans]
        self.warp = torch.randn((3, *knots), generator=draw.generator).to(self.device) * warp_mm
        self._weights = [
            bspline_weights((mm / scale[2 - i] - spans[i][0]) / knot_mm + 1, knots[i])
            for i, mm in enumerate(self.axes_mm)
        ]
        self._spans, self._knot_mm = spans, knot_mm
        self.reach_mm = 1.2 * warp_mm

    @property
    def whole(self) -> Box:
        z, y, x = self.hu.shape
        return slice(0, z), slice(0, y), slice(0, x)

    def box(self, lower: Point, upper: Point, world: bool = False) -> Box:
        """The part of the grid that holds a block given by its corners, in reference mm or true mm."""
        slices = []
        for axis, mm in zip((2, 1, 0), self.axes_mm, strict=True):
            scale = 1.0 if world else self.scale[axis]
            margin = (0.0 if world else self.reach_mm) + self.edge_mm
            low, high = np.float32(lower[axis] * scale - margin), np.float32(upper[axis] * scale + margin)
            first = math.ceil((float(low) - self.lower_mm[axis]) / self.step_mm[axis])
            last = math.floor((float(high) - self.lower_mm[axis]) / self.step_mm[axis])
            start = min(max(0, first), len(mm))
            slices.append(slice(start, max(start, min(len(mm), last + 1))))
        return slices[0], slices[1], slices[2]

    def world(self, box: Box) -> Xyz:
        """True x, y, z in mm of a part, broadcastable to its shape."""
        z, y, x = (mm[part] for mm, part in zip(self.axes_mm, box, strict=True))
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def reference(self, box: Box) -> Xyz:
        """x, y, z in the reference adult, displaced, of a part: each of the part's shape."""
        wz, wy, wx = (w[part] for w, part in zip(self._weights, box, strict=True))
        partial = torch.einsum("zi,cijk->czjk", wz, self.warp)
        shift = torch.einsum("czjk,yj->czyk", partial, wy) @ wx.T
        x, y, z = (v / s for v, s in zip(self.world(box), self.scale, strict=True))
        return x + shift[0], y + shift[1], z + shift[2]

    def true_points(self, points: Sequence[Point]) -> torch.Tensor:
        """(n, 3) reference points -> (n, 3) true mm: the displacement inverted to first order."""
        p = torch.tensor([tuple(q)[:3] for q in points], dtype=torch.float32)
        shifted = p.clone()
        warp = self.warp.cpu()
        for _ in range(2):
            weights = [
                bspline_weights(
                    (shifted[:, 2 - i] - self._spans[i][0]) / self._knot_mm + 1, warp.shape[i + 1]
                )
                for i in range(3)
            ]
            shifted = p - torch.einsum("ni,nj,nk,cijk->nc", *weights, warp)
        return shifted * torch.tensor(self.scale)

    def paint(
        self,
        shape: Shape,
        hu: float | torch.Tensor,
        label: int | None = None,
        inside: Sequence[int] | None = None,
        soft_mm: float = 0.0,
    ) -> None:
        """Blends `hu` in over one voxel's width at the surface, as partial volume does.

        `inside` restricts it to voxels that bear these labels; `soft_mm` widens the edge.
        """
        box, distance = shape
        if distance.numel() == 0:
            return
        member = (distance / (self.edge_mm + soft_mm)).neg_().add_(0.5).clamp_(0, 1)
        if inside is not None:
            member.mul_(self.has(box, inside))
        self.hu[box] += (hu - self.hu[box]).mul_(member)
        if label is not None:
            self.label[box].masked_fill_(member > 0.5, label)

    def has(self, box: Box, labels: Sequence[int]) -> torch.Tensor:
        """Which voxels of a part bear one of the labels."""
        part = self.label[box]
        found = torch.zeros(part.shape, dtype=torch.bool, device=self.device)
        for first, last in _runs(labels):
            found |= part == first if first == last else (part >= first) & (part <= last)
        return found

    def path(
        self, points: Sequence[Point], radii: Sequence[float], flat: float = 1.0, margin_mm: float = 0.0
    ) -> Shape:
        """A tube along points in reference mm, with a radius in true mm at each of them.

        Distances are right up to `margin_mm` outside. `flat` below 1 makes it higher than wide.
        """
        true = self.true_points(points).tolist()
        reach = max(radii) / min(1.0, flat) + 2 * self.edge_mm + margin_mm
        lower, upper = (
            [op(c) + sign * reach for c in zip(*true, strict=True)] for op, sign in ((min, -1), (max, 1))
        )
        box = self.box(lower, upper, world=True)
        origin = [part.start for part in box]
        distance = torch.full([part.stop - part.start for part in box], 1e3, device=self.device)
        for a, b, ra, rb in zip(true[:-1], true[1:], radii[:-1], radii[1:], strict=True):
            r = max(ra, rb) / min(1.0, flat) + 2 * self.edge_mm + margin_mm
            part = self.box(
                [min(p, q) - r for p, q in zip(a, b, strict=True)],
                [max(p, q) + r for p, q in zip(a, b, strict=True)],
                world=True,
            )
            if any(s.stop <= s.start for s in part):
                continue
            local = tuple(slice(s.start - o, s.stop - o) for s, o in zip(part, origin, strict=True))
            here = distance[local]
            torch.minimum(here, capsule(self.world(part), a, b, (ra, rb), flat), out=here)
        return box, distance

    def join(self, shapes: Sequence[Shape]) -> Shape:
        """What any of the shapes holds."""
        starts = [min(box[i].start for box, _ in shapes) for i in range(3)]
        stops = [max(box[i].stop for box, _ in shapes) for i in range(3)]
        whole = torch.full([b - a for a, b in zip(starts, stops, strict=True)], 1e3, device=self.device)
        for box, distance in shapes:
            here = whole[tuple(slice(p.start - a, p.stop - a) for p, a in zip(box, starts, strict=True))]
            torch.minimum(here, distance, out=here)
        z, y, x = (slice(a, b) for a, b in zip(starts, stops, strict=True))
        return (z, y, x), whole

    def rod(self, start: Point, end: Point, radius: tuple[float, float], margin_mm: float = 1.0) -> Shape:
        """A straight rod between true positions whose radius goes from one value to the other."""
        reach = max(radius) + self.edge_mm + margin_mm
        lower = [min(p, q) - reach for p, q in zip(start, end, strict=True)]
        upper = [max(p, q) + reach for p, q in zip(start, end, strict=True)]
        box = self.box(lower, upper, world=True)
        return box, capsule(self.world(box), start, end, radius)

    def slabs(self, box: Box) -> Iterator[Box]:
        """A part in pieces along z, so that what is computed of each fits in little memory."""
        size = max(1, (box[1].stop - box[1].start) * (box[2].stop - box[2].start))
        count = max(1, SLAB_VOXELS // size)
        for first in range(box[0].start, box[0].stop, count):
            yield slice(first, min(first + count, box[0].stop)), box[1], box[2]

    def waves(self, wavelength_mm: float | Point, generator: torch.Generator) -> Waves:
        """Smooth noise of unit sd for the whole grid, to be evaluated on parts that fit each other."""
        lengths = (wavelength_mm,) * 3 if isinstance(wavelength_mm, int | float) else tuple(wavelength_mm)
        positions = [(mm - self.lower_mm[2 - i]) / lengths[2 - i] + 1 for i, mm in enumerate(self.axes_mm)]
        knots = [math.ceil(float(p[-1])) + 3 for p in positions]
        coarse = torch.randn(knots, generator=generator).to(self.device)
        return Waves(tuple(positions), coarse)

    def noise(self, box: Box, wavelength_mm: float | Point, generator: torch.Generator) -> torch.Tensor:
        """Smooth noise of unit sd on one part alone."""
        lengths = (wavelength_mm,) * 3 if isinstance(wavelength_mm, int | float) else tuple(wavelength_mm)
        positions = [
            (mm[part] - mm[part][:1]) / lengths[2 - i] + 1
            for i, (mm, part) in enumerate(zip(self.axes_mm, box, strict=True))
        ]
        knots = [
            math.ceil(len(p) * self.step_mm[2 - i] / lengths[2 - i]) + 4 for i, p in enumerate(positions)
        ]
        coarse = torch.randn(knots, generator=generator).to(self.device)
        whole = tuple(slice(0, len(p)) for p in positions)
        return Waves(tuple(positions), coarse)((whole[0], whole[1], whole[2]))
