"""Lesions of known place and size, and mimics that are none, painted on an anatomy."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F

from model.config import LESION_TYPES
from resources.synthetic.anatomy import LABEL, Draw
from resources.synthetic.canvas import Box, Canvas

HOME = {
    "bone": ("bone",),
    "abdomen": ("cavity fat", "pancreas"),
    "mediastinum": ("mediastinum",),
    "liver": ("liver",),
    "lung": ("lung",),
    "kidney": ("kidney",),
    "soft tissue": ("muscle", "fat"),
    "pelvis": ("pelvis fat",),
}
"""The labels in which the centre of a lesion of each type lies."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """One lesion: centre (x, y, z) in LPS mm, axial long and short diameter and z extent in mm.

    angle: of the long axis from x towards y, in radians. organ: label of the anatomy at the centre.
    """

    center_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float
    z_extent_mm: float
    type: str
    angle: float = 0.0
    organ: str = ""


def paint_lesions(canvas: Canvas, draw: Draw, count: int) -> list[Truth]:
    """Paints up to `count` lesions that do not touch each other; fewer where no room is found."""
    found: list[Truth] = []
    for _ in range(count):
        lesion_type = LESION_TYPES[draw.integer(0, len(LESION_TYPES) - 1)]
        lesion = _place(canvas, draw, lesion_type, found)
        if lesion is not None:
            _paint_lesion(canvas, draw, lesion)
            found.append(lesion)
    return found


def paint_mimics(canvas: Canvas, draw: Draw) -> None:
    """Cysts in liver and kidney, bone islands and calcified granulomas: sharp, and not lesions."""
    for organ, hu, low, high in (
        ("liver", 4.0, 4, 14),
        ("kidney", 4.0, 4, 14),
        ("bone", 1100.0, 1.5, 3),
        ("lung", 700.0, 1.5, 2.5),
    ):
        for _ in range(draw.integer(0, 2)):
            center = _voxel_of(canvas, draw, (organ,), depth_mm=2.0)
            if center is not None:
                radius = draw.uniform(low, high)
                part = canvas.ellipsoid(center, (radius, radius * 0.95, radius), warped=False)
                canvas.paint(part, draw.normal(hu, 5), None)


def _voxel_of(
    canvas: Canvas, draw: Draw, organs: tuple[str, ...], depth_mm: float
) -> tuple[float, float, float] | None:
    """A random point that lies about `depth_mm` inside one of the organs; None where there is none."""
    labels = torch.tensor([LABEL[name] for name in organs], dtype=torch.uint8)
    mask = torch.isin(canvas.label, labels)
    candidates = torch.nonzero(mask.flatten())[:, 0]
    reach = [max(1, round(depth_mm / canvas.step_mm[2 - axis])) for axis in range(3)]
    for _ in range(50 if len(candidates) else 0):
        flat = int(candidates[draw.integer(0, len(candidates) - 1)])
        z, rest = divmod(flat, mask.shape[1] * mask.shape[2])
        index = (z, *divmod(rest, mask.shape[2]))
        around = tuple(slice(max(0, i - r), i + r + 1) for i, r in zip(index, reach, strict=True))
        if bool(mask[around].all()):
            z_mm, y_mm, x_mm = (float(mm[i]) for mm, i in zip(canvas.axes_mm, index, strict=True))
            return x_mm, y_mm, z_mm
    return None


def _place(canvas: Canvas, draw: Draw, lesion_type: str, others: list[Truth]) -> Truth | None:
    """A lesion whose axes follow the measured distributions."""
    long_mm = min(60.0, max(5.0, math.exp(draw.normal(math.log(16.0), 0.5))))
    if lesion_type in ("bone", "mediastinum", "pelvis"):
        long_mm = min(long_mm, 28.0)
    short_mm = long_mm * min(1.0, max(0.45, draw.normal(0.74, 0.13)))
    extent_mm = math.sqrt(long_mm * short_mm) * min(1.6, max(0.5, math.exp(draw.normal(-0.03, 0.3))))
    home = HOME[lesion_type][draw.integer(0, len(HOME[lesion_type]) - 1)]
    center = _voxel_of(canvas, draw, (home,), depth_mm=min(6.0, 0.25 * short_mm))
    if center is None:
        return None
    for other in others:
        if math.dist(center, other.center_mm) < (long_mm + other.long_mm) / 2 + 8:
            return None
    inner_mm = 10.0
    for mm, value in zip(canvas.axes_mm, reversed(center), strict=True):
        if value - float(mm[0]) < inner_mm or float(mm[-1]) - value < inner_mm:
            return None
    return Truth(center, long_mm, short_mm, extent_mm, lesion_type, draw.uniform(0.01, math.pi), home)


def _paint_lesion(canvas: Canvas, draw: Draw, truth: Truth) -> None:
    radii = (truth.long_mm / 2, truth.short_mm / 2, truth.z_extent_mm / 2)
    box, member = canvas.ellipsoid(truth.center_mm, radii, angle=truth.angle, warped=False)
    core = float(canvas.hu[_nearest(canvas, truth.center_mm)])
    if truth.type == "bone":
        hu = draw.normal(40, 12) if draw.chance(0.6) else draw.normal(750, 90)
    elif truth.type in ("liver", "kidney"):
        change = draw.uniform(28, 70)
        hu = core - change if draw.chance(0.75) and core - change > 15 else core + change
    elif truth.type == "soft tissue" and core > 0:
        hu = core + draw.uniform(25, 60) * (1 if draw.chance(0.7) else -1)
    else:
        hu = draw.normal(48, 14)
    texture = torch.randn((1, 1, *(max(2, s // 3) for s in member.shape)), generator=draw.generator)
    texture = F.interpolate(texture, size=member.shape, mode="trilinear")[0, 0] * draw.uniform(2, 9)
    canvas.paint((box, member), hu + texture)
    if truth.long_mm > 22 and truth.type != "bone" and draw.chance(0.35):
        inner = canvas.ellipsoid(
            truth.center_mm, tuple(0.55 * r for r in radii), angle=truth.angle, warped=False
        )
        canvas.paint(inner, hu - draw.uniform(20, 45))


def _nearest(canvas: Canvas, center_mm: tuple[float, float, float]) -> tuple[int, ...] | Box:
    return tuple(
        int((mm - value).abs().argmin())
        for mm, value in zip(canvas.axes_mm, reversed(center_mm), strict=True)
    )
