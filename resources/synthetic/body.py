"""The trunk's frame: habitus, skin, fat, the muscles of the wall, arms, breasts and the table.

All stations are those of the reference adult (see space.py). The body cavity is a tube of superelliptic
slices; every other layer is told by its distance from that tube.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from resources.synthetic.draw import Draw
from resources.synthetic.organs import LABEL
from resources.synthetic.shapes import Point, Xyz, ellipsoid, interpolate, interpolate_at
from resources.synthetic.sites import SiteHabits
from resources.synthetic.space import Box, Space, Waves

# z, half width, half depth and centre y of the cavity; muscle at front, side, back; fat at front, side, back
STATIONS = (
    (-80, 78, 62, 12, 34, 88, 66, 20, 30, 36),
    (-40, 88, 68, 8, 32, 84, 68, 22, 32, 34),
    (0, 100, 74, 4, 22, 70, 66, 24, 28, 34),
    (50, 110, 80, 0, 14, 58, 58, 24, 24, 32),
    (100, 120, 84, -6, 11, 42, 44, 22, 20, 28),
    (150, 127, 86, -11, 11, 26, 36, 21, 20, 22),
    (200, 124, 86, -13, 11, 20, 35, 20, 20, 18),
    (250, 126, 90, -12, 11, 17, 33, 17, 17, 15),
    (300, 131, 96, -8, 12, 15, 31, 13, 13, 13),
    (350, 134, 99, -4, 14, 17, 30, 10, 11, 12),
    (400, 132, 97, 0, 18, 21, 31, 9, 10, 11),
    (450, 124, 90, 5, 22, 30, 34, 9, 9, 11),
    (490, 110, 79, 10, 26, 46, 40, 8, 9, 12),
    (520, 90, 65, 14, 26, 64, 46, 7, 10, 13),
    (545, 66, 50, 18, 22, 76, 48, 7, 11, 13),
    (565, 44, 38, 19, 16, 66, 44, 6, 10, 12),
    (590, 32, 32, 18, 12, 40, 38, 5, 7, 10),
    (640, 30, 31, 14, 12, 30, 34, 4, 5, 7),
)
# z, y of the centre of the vertebral column
SPINE = (
    (-40, 62), (0, 84), (30, 96), (60, 94), (90, 72), (110, 52), (140, 38), (175, 31), (205, 30), (240, 33),
    (273, 39), (303, 46), (331, 52), (358, 57), (384, 61), (409, 63), (433, 64), (456, 63), (478, 60),
    (499, 56), (519, 51), (538, 45), (556, 38), (572, 32), (586, 27), (640, 18),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Habitus:
    """One person. scale (x, y, z): size over the reference adult's; fat, visceral, muscle: over the mean.

    breasts: size, from, to. worn: of the spine, 0 to 1. absent: organs that were taken out.
    """

    sex: str
    age: float
    scale: tuple[float, float, float]
    fat: float
    visceral: float
    muscle: float
    arms: str
    bone_hu: float
    breasts: tuple[float, float] = (0.7, 1.25)
    worn: float = 0.0
    absent: tuple[str, ...] = ()


def draw_habitus(draw: Draw, habits: SiteHabits) -> Habitus:
    """One of a site's patients."""
    sex = draw.choice(("female", "male"))
    height = draw.normal(0.94 if sex == "female" else 1.02, 0.045)
    girth = draw.normal(0.95 if sex == "female" else 1.0, 0.05)
    age = draw.uniform(25, 88)
    obesity = math.exp(draw.normal(0, 0.42)) * habits.larger
    drawn = Habitus(
        sex=sex,
        age=age,
        scale=(girth * draw.normal(1, 0.02), girth * draw.normal(1, 0.03), height),
        fat=obesity * (1.25 if sex == "female" else 0.95),
        visceral=min(2.2, obesity * draw.uniform(0.7, 1.2) * (0.8 if sex == "female" else 1.05)),
        muscle=draw.normal(0.9 if sex == "female" else 1.06, 0.08) * (1 - 0.003 * max(0.0, age - 50)),
        arms="up" if draw.chance(habits.arms_up) else "down",
        bone_hu=max(60.0, draw.normal(158, 26) - 1.35 * max(0.0, age - 35)),
        breasts=habits.breasts,
    )
    other = ("prostate",) if sex == "female" else ("uterus", "breast left", "breast right")
    absent = tuple(
        organ for organ, share in habits.absent.items() if draw.chance(share) and organ not in other
    )
    if {"kidney left", "kidney right"} <= set(absent):
        absent = tuple(organ for organ in absent if organ != "kidney right")
    worn = habits.worn * draw.uniform(0, 1) ** (45 / age) if habits.worn else 0.0
    return dataclasses.replace(drawn, worn=worn, absent=absent)


@dataclasses.dataclass(frozen=True)
class Frame:
    """depth: (z, y, x) mm outside the cavity's wall (negative inside). spine_y: per reference z."""

    habitus: Habitus
    depth: torch.Tensor
    tissues: dict[str, float]

    def spine_y(self, z: float) -> float:
        return interpolate_at(SPINE, z)[0]

    def before_spine(self, z: float, gap: float) -> float:
        """y of a point `gap` mm in front of the vertebral bodies at a reference z."""
        return self.spine_y(z) - (17.0 if z < 320 else 13.0) - gap

    def cavity(self, z: float) -> tuple[float, float, float]:
        """Half width, half depth and centre y of the cavity at a reference z."""
        a, b, y = interpolate_at(STATIONS, z)[:3]
        return a, b * self.deep(z), y

    def deep(self, z: float) -> float:
        """Fat within the belly makes it rounder."""
        return 1 + 0.16 * (self.habitus.visceral - 1) * math.exp(-(((z - 200) / 130) ** 2))


def paint_body(space: Space, habitus: Habitus, tissues: dict[str, float]) -> Frame:
    """Skin, subcutaneous fat, muscles of the wall with their fat planes, and the cavity filled with fat."""
    depth = torch.empty_like(space.hu)
    lengths = (45.0, 38.0, 34.0, (9.0, 9.0, 20.0))
    waves = [space.waves(length, space.draw.generator) for length in lengths]
    for box in space.slabs(space.whole):
        depth[box] = _paint_layers(space, habitus, tissues, box, waves)
    return Frame(habitus, depth, tissues)


def _paint_layers(
    space: Space, habitus: Habitus, tissues: dict[str, float], box: Box, waves: list[Waves]
) -> torch.Tensor:
    """Paints a part of the body's layers; returns each voxel's distance from the cavity's wall."""
    z = space.axes_mm[0][box[0]] / space.scale[2]
    a, b, yc, wf, ws, wb, ff, fs, fb = (v[:, None, None] for v in interpolate(STATIONS, z))
    deep = 1 + 0.16 * (habitus.visceral - 1) * torch.exp(-(((z[:, None, None] - 200) / 130) ** 2))
    b = b * deep
    yc = yc - (deep - 1) * 60  # the belly grows forward
    x, y, _ = space.reference(box)
    y = y - yc
    power = 2.35
    q = ((x / a).abs() ** power + (y / b).abs() ** power) ** (1 / power)
    radius = (x * x + y * y).sqrt_().clamp_(min=1.0)
    depth = radius * (1 - 1 / q.clamp_(min=0.02))
    sine = y / radius
    side, back, front = 1 - sine * sine, sine.clamp(min=0) ** 2, (-sine).clamp(min=0) ** 2
    muscle = (wf * front + ws * side + wb * back) * habitus.muscle
    fat = (ff * front + fs * side + fb * back) * habitus.fat * (1 + 0.10 * waves[0](box))
    fat = fat - torch.exp(-((x / 11.0) ** 2)) * back * 9.0  # the furrow over the spine
    skin = depth - muscle - fat.clamp_(min=2.0)
    space.paint((box, skin - 2.0), 25.0, LABEL["skin"])
    space.paint((box, skin), tissues["fat"], LABEL["subcutaneous fat"])
    space.paint((box, depth - muscle), tissues["muscle"], LABEL["muscle"])
    gap = torch.maximum(
        _fat_planes(depth, muscle, (x, y, z), sine, [w(box) for w in waves[1:3]]), depth - muscle
    )
    space.paint((box, gap), tissues["fat"] + 25, None, inside=(LABEL["muscle"],))
    marbling = min(2.4, max(1.1, 2.3 - 0.012 * (tissues["age"] - 30)))
    streak = (marbling - waves[3](box)) * 4.0
    space.paint((box, streak), tissues["fat"] + 55, None, inside=(LABEL["muscle"],), soft_mm=3.0)
    space.paint((box, depth), tissues["cavity fat"], LABEL["abdominal fat"])
    low = (space.label[box] == LABEL["abdominal fat"]) & (z < 105)[:, None, None]
    space.label[box].masked_fill_(low, LABEL["pelvic fat"])
    return depth


def _fat_planes(
    depth: torch.Tensor, muscle: torch.Tensor, place: Xyz, sine: torch.Tensor, waves: list[torch.Tensor]
) -> torch.Tensor:
    """Signed distance of the fat between muscles: flat ones at the sides, recti in front, groups elsewhere.

    place: x, y from the cavity's centre, and the heights z of the slices.
    """
    x, y, heights = place
    z, (wobble, groups) = heights[:, None, None], waves
    layer = (depth / muscle.clamp(min=4)).clamp_(0, 1.2)
    gap = torch.full_like(layer, 1e3)
    lateral = sine.abs() < 0.75
    for place_in, thin in ((0.34, 0.5), (0.66, 0.6)):  # planes between layers
        sheet = (layer - place_in - 0.05 * wobble).abs() * muscle
        gap = torch.minimum(gap, torch.where(lateral & (z > 130), sheet - thin, 1e3))
    hips = z < 120
    sheet = (layer - 0.55 - 0.14 * wobble).abs() * muscle - 1.8  # beneath gluteus maximus
    gap = torch.minimum(gap, torch.where(hips & (sine > -0.35), sheet, 1e3))
    gap = torch.minimum(gap, torch.where(z < 110, (groups.abs() - 0.045) * 34, 1e3))
    rectus = (x.abs() - 66 - 6 * wobble).abs() - 2.5  # semilunar line
    front = (sine < -0.45) & (z < 330)
    gap = torch.minimum(gap, torch.where(front, torch.minimum(rectus, x.abs() - 3.5), 1e3))
    angle = torch.atan2(y, x.abs())
    for turn in (0.25, 0.75):  # seams between muscle groups around the chest and hips
        seam = (angle - turn - 0.12 * wobble).abs() * depth.clamp(min=60) - 1.4
        gap = torch.minimum(gap, torch.where((z > 330) | hips, seam, 1e3))
    return gap


def paint_limbs(space: Space, frame: Frame) -> None:
    """Breasts, and arms at the sides where they are down; shoulders otherwise end at the field of view."""
    habitus, tissues, draw = frame.habitus, frame.tissues, space.draw
    if habitus.sex == "female":
        size = draw.uniform(*habitus.breasts)
        dense = draw.uniform(0.1, 0.75)
        for side, name in ((1, "left"), (-1, "right")):
            if f"breast {name}" not in habitus.absent:
                _breast(space, frame, side, size, dense)
    if habitus.arms == "down":
        for side in (1, -1):
            out = frame.cavity(450)[0] + 60 + 14 * habitus.fat
            path = [
                (side * 175, 25, 535),
                (side * (out + 30), 35, 420),
                (side * (out + 38), 20, 250),
                (side * (out + 30), -5, 60),
            ]
            _arm(space, path, tissues, side, habitus)


def _breast(space: Space, frame: Frame, side: int, size: float, dense: float) -> None:
    a, b, y = frame.cavity(445)
    center = (side * 82, y - b * 0.80 - 14, 445.0)
    radii = (66 * size, 40 * size * min(1.3, frame.habitus.fat), 70 * size)
    box = space.box(
        [c - r - 5 for c, r in zip(center, radii, strict=True)],
        [c + r + 5 for c, r in zip(center, radii, strict=True)],
    )
    xyz = space.reference(box)
    outside = (LABEL["background"], LABEL["skin"], LABEL["subcutaneous fat"])
    name = "left" if side > 0 else "right"
    d = ellipsoid(xyz, center, radii)
    space.paint((box, d - 2.0), 25.0, LABEL["skin"], inside=(LABEL["background"],))
    space.paint((box, d), frame.tissues["fat"], LABEL[f"breast {name}"], inside=outside)
    texture = space.noise(box, 11.0, space.draw.generator)
    gland = ellipsoid(xyz, (center[0], center[1] - 8, center[2]), [0.62 * r for r in radii])
    gland = torch.maximum(gland, (1.4 - 2.2 * dense - texture) * 6)
    space.paint((box, gland), frame.tissues["gland"], None, inside=(LABEL[f"breast {name}"],), soft_mm=2.0)


def _arm(
    space: Space,
    path: Sequence[Point],
    tissues: dict[str, float],
    side: int,
    habitus: Habitus,
) -> None:
    name = "left" if side > 0 else "right"
    radii = [52.0, 46.0, 40.0, 30.0]
    fat = 5 + 5 * habitus.fat
    outside = (LABEL["background"], LABEL["skin"])
    for grow, hu in ((fat + 2, 25.0), (fat, tissues["fat"]), (0.0, tissues["muscle"])):
        shape = space.path(path, [r * habitus.muscle - 8 + grow for r in radii])
        space.paint(shape, hu, LABEL[f"arm {name}"], inside=(*outside, LABEL[f"arm {name}"]))
    for r, hu in ((11.0, 900.0), (7.0, -20.0)):
        space.paint(
            space.path(path, r),
            hu,
            LABEL[f"humerus {name}"],
            inside=(LABEL[f"arm {name}"], LABEL[f"humerus {name}"]),
        )


def paint_table(space: Space, draw: Draw) -> None:
    """A curved table top of thin shells with foam between, and a mattress, beneath the back."""
    label, hu = space.label, space.hu
    body = (label != LABEL["background"]).any(2).any(0).nonzero()
    if not len(body):
        return
    back = float(space.axes_mm[1][int(body.max())])
    x, y, _ = space.world(space.whole)
    curve = draw.uniform(0.0006, 0.0014) * x * x
    half = draw.uniform(190, 235)
    top = back + draw.uniform(2, 8) - curve
    thick = draw.uniform(18, 38)
    free = label == LABEL["background"]
    for low, high, value in (
        (-9.0, 0.0, -930.0),
        (0.0, 2.0, -150.0),
        (2.0, thick, -955.0),
        (thick, thick + 2.0, -150.0),
    ):
        sheet = torch.maximum((y - top - (low + high) / 2).abs() - (high - low) / 2, x.abs() - half)[0]
        member = (0.5 - sheet / space.edge_mm).clamp_(0, 1)
        for box in space.slabs(space.whole):
            share = member * free[box]
            hu[box] += share * (value - hu[box])
            label[box].masked_fill_(share > 0.5, LABEL["table"])


def block(
    center: tuple[float, float, float], reach: tuple[float, float, float]
) -> tuple[list[float], list[float]]:
    """Corners of a block around a point."""
    return [c - r for c, r in zip(center, reach, strict=True)], [
        c + r for c, r in zip(center, reach, strict=True)
    ]
