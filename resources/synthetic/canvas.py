"""A grid in the patient's space on which soft-edged shapes are painted in Hounsfield units.

Arrays are (z, y, x); positions in mm are (x, y, z) LPS: x to the patient's left, y to the back,
z to the head. Anatomy is painted through a smooth displacement field, so no organ is an exact
ellipsoid; lesions are painted in true space, so their geometry is known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

Point = Sequence[float]
Box = tuple[slice, slice, slice]


class Canvas:
    """HU and organ labels on a regular grid.

    shape: (z, y, x); step_mm and lower_mm: (x, y, z). `warp_mm` is the displacement's amplitude.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        step_mm: Point,
        lower_mm: Point,
        generator: torch.Generator,
        warp_mm: float = 0.0,
    ):
        self.hu = torch.full(shape, -1000.0)
        self.label = torch.zeros(shape, dtype=torch.uint8)
        self.step_mm = tuple(step_mm)
        self.generator = generator
        x, y, z = (
            lower_mm[i] + step_mm[i] * torch.arange(count, dtype=torch.float32)
            for i, count in enumerate(reversed(shape))
        )
        self.axes_mm = (z, y, x)
        self.edge_mm = max(1.0, sum(step_mm) / 3)
        extent_mm = [step_mm[2 - i] * n for i, n in enumerate(shape)]
        coarse = [max(4, math.ceil(extent / 70.0) + 3) for extent in extent_mm]
        field = torch.randn((1, 3, *coarse), generator=generator) * warp_mm
        self.shift_mm = F.interpolate(field, size=shape, mode="trilinear", align_corners=True)[0]
        self.reach_mm = float(self.shift_mm.abs().max())

    def box(self, center_mm: Point, reach_mm: Point, margin_mm: float = 0.0) -> Box:
        """Slices (z, y, x) of the voxels within `reach_mm` (x, y, z) of a point."""
        slices = []
        for axis, mm in zip((2, 1, 0), self.axes_mm, strict=True):
            reach = reach_mm[axis] + margin_mm + self.edge_mm
            low, high = torch.searchsorted(
                mm, torch.tensor([center_mm[axis] - reach, center_mm[axis] + reach])
            ).tolist()
            slices.append(slice(low, high))
        return slices[0], slices[1], slices[2]

    def coordinates(self, box: Box, warped: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x, y, z in mm of the voxels of a box, broadcastable to its shape."""
        z = self.axes_mm[0][box[0]][:, None, None]
        y = self.axes_mm[1][box[1]][None, :, None]
        x = self.axes_mm[2][box[2]][None, None, :]
        if not warped:
            return x, y, z
        dx, dy, dz = self.shift_mm[(slice(None), *box)]
        return x + dx, y + dy, z + dz

    def ellipsoid(
        self, center_mm: Point, radii_mm: Point, angle: float = 0.0, power: float = 2.0, warped: bool = True
    ) -> tuple[Box, torch.Tensor]:
        """Membership 0..1 of a (super)ellipsoid turned by `angle` around z, in its bounding box."""
        wide = max(radii_mm[0], radii_mm[1]) if angle else None
        reach = (wide or radii_mm[0], wide or radii_mm[1], radii_mm[2])
        box = self.box(center_mm, reach, margin_mm=self.reach_mm if warped else 0.0)
        x, y, z = self.coordinates(box, warped)
        x, y, z = x - center_mm[0], y - center_mm[1], z - center_mm[2]
        if angle:
            c, s = math.cos(angle), math.sin(angle)
            x, y = c * x + s * y, c * y - s * x
        terms = [(v / r).abs_() for v, r in zip((x, y, z), radii_mm, strict=True)]
        q = sum(t * t if power == 2.0 else t**power for t in terms)
        distance_mm = (q ** (1 / power) - 1) * min(radii_mm)
        return box, (0.5 - distance_mm / self.edge_mm).clamp_(0, 1)

    def capsule(self, start_mm: Point, end_mm: Point, radius_mm: float) -> tuple[Box, torch.Tensor]:
        """Membership 0..1 of the points within `radius_mm` of a segment, in its bounding box."""
        center = [(a + b) / 2 for a, b in zip(start_mm, end_mm, strict=True)]
        reach = [abs(a - b) / 2 + radius_mm for a, b in zip(start_mm, end_mm, strict=True)]
        box = self.box(center, reach, margin_mm=self.reach_mm)
        x, y, z = (v - s for v, s in zip(self.coordinates(box), start_mm, strict=True))
        dx, dy, dz = (b - a for a, b in zip(start_mm, end_mm, strict=True))
        t = ((x * dx + y * dy + z * dz) / max(dx * dx + dy * dy + dz * dz, 1e-6)).clamp_(0, 1)
        distance = ((x - t * dx) ** 2 + (y - t * dy) ** 2 + (z - t * dz) ** 2).sqrt()
        return box, (0.5 - (distance - radius_mm) / self.edge_mm).clamp_(0, 1)

    def paint(
        self,
        part: tuple[Box, torch.Tensor],
        hu: float | torch.Tensor,
        label: int | None = None,
        inside: Sequence[int] | None = None,
    ) -> None:
        """Blends `hu` in by membership; `inside` restricts it to voxels that bear these labels."""
        box, member = part
        if member.numel() == 0:
            return
        if inside is not None:
            member = member * torch.isin(self.label[box], torch.tensor(inside, dtype=torch.uint8))
        self.hu[box] += member * (hu - self.hu[box])
        if label is not None:
            self.label[box] = torch.where(
                member > 0.5, torch.tensor(label, dtype=torch.uint8), self.label[box]
            )

    def tube(self, points_mm: Sequence[Point], radius_mm: float, hu: float, label: int | None = None,
             inside: Sequence[int] | None = None) -> None:  # fmt: skip
        for start, end in zip(points_mm[:-1], points_mm[1:], strict=True):
            self.paint(self.capsule(start, end, radius_mm), hu, label, inside)
