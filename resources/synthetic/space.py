"""The grid on which a body is painted in Hounsfield units, with its organ labels.

Arrays are (z, y, x); positions are (x, y, z) LPS: x to the patient's left, y to the back, z to the head.
Anatomy is written once, in the millimetres of a reference adult whose symphysis is at z = 0 and whose
neck begins at z = 570. A patient is that adult scaled along the axes and bent by a smooth displacement
(cubic B-splines), so that no organ is an exact solid. Lesions are painted in true millimetres.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from resources.synthetic.draw import Draw
from resources.synthetic.shapes import Numbers, Point, Xyz, capsule, capsules

Box = tuple[slice, slice, slice]
Shape = tuple[Box, torch.Tensor]
"""Slices of a part of the grid, and signed distances in mm there (negative inside)."""

SLAB_VOXELS = 12_000_000
BATCH_VOXELS = 500_000
SPLINE_SD = math.sqrt(151 / 315)
"""Sd along one axis of a cubic B-spline through unit normal numbers."""


def bspline_weights(positions: Numbers, knots: int) -> Numbers:
    """(...,) positions in knot units -> (..., knots) uniform cubic B-spline weights."""
    gap = np.abs(positions[..., None] - np.arange(knots, dtype=np.float32))
    far = np.maximum(2 - gap, 0)
    return np.where(gap < 1, 2 / 3 - gap * gap + gap * gap * gap / 2, far * far * far / 6)


@dataclasses.dataclass(frozen=True)
class Waves:
    """Smooth noise: random values at coarse knots joined by cubic B-splines. positions: in knots, by axis."""

    positions: tuple[Numbers, ...]
    coarse: torch.Tensor

    def __call__(self, box: Box) -> torch.Tensor:
        z, y, x = (
            torch.from_numpy(bspline_weights(p[part], n)).to(self.coarse.device)
            for p, part, n in zip(self.positions, box, self.coarse.shape, strict=True)
        )
        value = torch.einsum("zi,ijk->zjk", z, self.coarse)
        return torch.einsum("zjk,yj->zyk", value, y) @ (x.T / SPLINE_SD**3)


def _counted_from(box: Box, part: Box) -> Box:
    """Slices of a part counted from where `box`, which holds it, begins."""
    z, y, x = (slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
    return z, y, x


def _batches(boxes: Sequence[Box]) -> Iterator[slice]:
    """Slices of successive parts that, all as long as the longest, have at most BATCH_VOXELS; or of one."""
    first, longest = 0, [0, 0, 0]
    for number, box in enumerate(boxes):
        sizes = [part.stop - part.start for part in box]
        longest = [max(pair) for pair in zip(longest, sizes, strict=True)]
        if number > first and (number + 1 - first) * math.prod(longest) > BATCH_VOXELS:
            yield slice(first, number)
            first, longest = number, sizes
    if boxes:
        yield slice(first, len(boxes))


def as_float(mask: torch.Tensor) -> torch.Tensor:
    """0.0 and 1.0 for a mask: by way of bytes, as torch turns those into float eight times faster."""
    return mask.view(torch.uint8).float()


@functools.lru_cache(maxsize=256)
def _runs(labels: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last of each run of successive labels."""
    values = sorted(set(labels))
    starts = [label for label in values if label - 1 not in values]
    return list(zip(starts, (label for label in values if label + 1 not in values), strict=True))


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
        self._axes_mm = tuple(mm.cpu().numpy() for mm in self.axes_mm)
        knot_mm = 75.0
        spans = ((-60.0, 700.0), (-250.0, 250.0), (-250.0, 250.0))  # the whole body, whatever is scanned
        knots = [math.ceil((high - low) / knot_mm) + 3 for low, high in spans]
        self.warp = torch.randn((3, *knots), generator=draw.generator).to(self.device) * warp_mm
        self._weights = [
            torch.from_numpy(bspline_weights((mm / scale[2 - i] - spans[i][0]) / knot_mm + 1, knots[i])).to(
                self.device
            )
            for i, mm in enumerate(self._axes_mm)
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

    def within(self, box: Box, lower: Point, upper: Point) -> tuple[Box, Box]:
        """What of a part holds a block given in reference mm: its slices of the grid, and of the part."""
        starts = [max(mine.start, part.start) for mine, part in zip(self.box(lower, upper), box, strict=True)]
        stops = [min(mine.stop, part.stop) for mine, part in zip(self.box(lower, upper), box, strict=True)]
        z, y, x = (slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))
        return (z, y, x), _counted_from(box, (z, y, x))

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
        p = np.array([tuple(q)[:3] for q in points], np.float32)
        shifted, lower = p, np.array([span[0] for span in reversed(self._spans)], np.float32)
        warp = self.warp.cpu()
        nz, ny, nx = warp.shape[1:]
        for _ in range(2):  # numpy: of so few numbers torch takes ten times longer
            knots = (shifted - lower) / self._knot_mm + 1
            weights = torch.from_numpy(bspline_weights(knots, max(nz, ny, nx)))
            z, y, x = weights[:, 2, :nz], weights[:, 1, :ny], weights[:, 0, :nx]
            shifted = p - torch.einsum("ni,nj,nk,cijk->nc", z, y, x, warp).numpy()
        return torch.from_numpy(shifted * np.array(self.scale, np.float32))

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
        member = (distance / -(self.edge_mm + soft_mm)).add_(0.5).clamp_(0, 1)
        if inside is not None:
            member.mul_(as_float(self.has(box, inside)))
        here = self.hu[box]
        here += (hu - here).mul_(member)  # on the view: self.hu[box] += would write it twice
        if label is not None:
            held = self.label[box]
            held += (label - held).mul_(member.gt_(0.5).bool().view(torch.uint8))  # bytes wrap around

    def has(self, box: Box, labels: Sequence[int]) -> torch.Tensor:
        """Which voxels of a part bear one of the labels."""
        part = self.label[box]
        mask: torch.Tensor | None = None
        for first, last in _runs(tuple(labels)):
            run = (part - first).le_(last - first)  # bytes: what is below `first` wraps around to above
            mask = run if mask is None else mask.bitwise_or_(run)
        return torch.zeros_like(part, dtype=torch.bool) if mask is None else mask.view(torch.bool)

    def path(
        self,
        points: Sequence[Point],
        radii: float | Sequence[float],
        flat: float = 1.0,
        margin_mm: float = 0.0,
    ) -> Shape:
        """A tube along points in reference mm, with a radius in true mm at each of them, or one for all.

        Distances are right up to `margin_mm` outside. `flat` below 1 makes it higher than wide.
        """
        each = [radii] * len(points) if isinstance(radii, int | float) else radii
        return self.paths([(points, each)], flat, margin_mm)

    def paths(
        self,
        lines: Sequence[tuple[Sequence[Point], Sequence[float]]],
        flat: float = 1.0,
        margin_mm: float = 0.0,
    ) -> Shape:
        """What any of several such tubes holds, each given by its points and radii."""
        true = self.true_points([point for points, _ in lines for point in points]).tolist()
        reach = max(max(radii) for _, radii in lines) / min(1.0, flat) + 2 * self.edge_mm + margin_mm
        lower, upper = (
            [op(c) + sign * reach for c in zip(*true, strict=True)] for op, sign in ((min, -1), (max, 1))
        )
        box = self.box(lower, upper, world=True)
        distance = torch.full([part.stop - part.start for part in box], 1e3, device=self.device)
        ends: list[tuple[Point, Point]] = []
        for points, _ in lines:
            line, true = true[: len(points)], true[len(points) :]
            ends += itertools.pairwise(line)
        widths = [pair for _, radii in lines for pair in itertools.pairwise(radii)]
        for part, own in self.rods(ends, widths, self.edge_mm + margin_mm, flat):
            if own.numel():
                here = distance[_counted_from(box, part)]
                torch.minimum(here, own, out=here)
        return box, distance

    def rod(self, start: Point, end: Point, radius: tuple[float, float], margin_mm: float = 1.0) -> Shape:
        """A straight rod between true positions whose radius goes from one value to the other."""
        box = self._around(start, end, max(radius) + self.edge_mm + margin_mm)
        return box, capsule(self.world(box), start, end, radius)

    def rods(
        self,
        ends: Sequence[tuple[Point, Point]],
        radii: Sequence[tuple[float, float]],
        margin_mm: float = 0.0,
        flat: float = 1.0,
    ) -> Iterator[Shape]:
        """What `rod` gives for each of many, in their order; many small ones are worked out at once."""
        reaches = [max(radius) / min(1.0, flat) + self.edge_mm + margin_mm for radius in radii]
        boxes = [self._around(a, b, reach) for (a, b), reach in zip(ends, reaches, strict=True)]
        for batch in _batches(boxes):
            distances = capsules(self._places(boxes[batch]), ends[batch], radii[batch], flat)
            for box, distance in zip(boxes[batch], distances.unbind(0), strict=True):
                yield box, distance[tuple(slice(0, part.stop - part.start) for part in box)]

    def _around(self, start: Point, end: Point, reach: float) -> Box:
        """The part of the grid that holds two true positions and what lies within a reach of them."""
        lower = [min(p, q) - reach for p, q in zip(start, end, strict=True)]
        upper = [max(p, q) + reach for p, q in zip(start, end, strict=True)]
        return self.box(lower, upper, world=True)

    def _places(self, boxes: Sequence[Box]) -> Xyz:
        """True x (n, 1, 1, nx), y (n, 1, ny, 1), z (n, nz, 1, 1) in mm of parts, as long as the longest."""
        places_mm = []
        for axis, mm in enumerate(self._axes_mm):
            starts = np.array([box[axis].start for box in boxes])
            longest = max(box[axis].stop - box[axis].start for box in boxes)
            index = np.minimum(starts[:, None] + np.arange(longest), len(mm) - 1)
            places_mm.append(torch.from_numpy(mm[index]).to(self.device))
        z, y, x = places_mm
        return x[:, None, None, :], y[:, None, :, None], z[:, :, None, None]

    def slabs(self, box: Box) -> Iterator[Box]:
        """A part in pieces along z, so that what is computed of each fits in little memory."""
        size = max(1, (box[1].stop - box[1].start) * (box[2].stop - box[2].start))
        count = max(1, SLAB_VOXELS // size)
        for first in range(box[0].start, box[0].stop, count):
            yield slice(first, min(first + count, box[0].stop)), box[1], box[2]

    def waves(self, wavelength_mm: float | Point, generator: torch.Generator) -> Waves:
        """Smooth noise of unit sd for the whole grid, to be evaluated on parts that fit each other."""
        lengths = (wavelength_mm,) * 3 if isinstance(wavelength_mm, int | float) else tuple(wavelength_mm)
        positions = [(mm - self.lower_mm[2 - i]) / lengths[2 - i] + 1 for i, mm in enumerate(self._axes_mm)]
        knots = [math.ceil(float(p[-1])) + 3 for p in positions]
        coarse = torch.randn(knots, generator=generator).to(self.device)
        return Waves(tuple(positions), coarse)

    def noise(
        self,
        box: Box,
        wavelength_mm: float | Point,
        generator: torch.Generator,
        local: Box = (slice(None), slice(None), slice(None)),
    ) -> torch.Tensor:
        """Smooth noise of unit sd on one part alone; of it, what lies at `local` (slices of the part)."""
        lengths = (wavelength_mm,) * 3 if isinstance(wavelength_mm, int | float) else tuple(wavelength_mm)
        positions = [
            (mm[part] - mm[part][:1]) / lengths[2 - i] + 1
            for i, (mm, part) in enumerate(zip(self._axes_mm, box, strict=True))
        ]
        knots = [
            math.ceil(len(p) * self.step_mm[2 - i] / lengths[2 - i]) + 4 for i, p in enumerate(positions)
        ]
        coarse = torch.randn(knots, generator=generator).to(self.device)
        return Waves(tuple(positions), coarse)(local)
