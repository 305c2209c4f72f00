"""Spine with discs and canal, the muscles beside it, ribs with cartilage, sternum."""

from __future__ import annotations

import math

import torch

from resources.synthetic.body import Frame
from resources.synthetic.draw import Draw
from resources.synthetic.organs import LABEL, ROOM, VERTEBRAE
from resources.synthetic.shapes import (
    Point,
    Xyz,
    capsule,
    ellipsoid,
    interpolate_at,
    smooth_union,
    spline,
    turned,
)
from resources.synthetic.space import Box, Shape, Space, as_float

LEVELS_MM = {
    "C6": 586.0, "C7": 572.0, "T1": 556.0, "T2": 538.0, "T3": 519.0, "T4": 499.0, "T5": 478.0, "T6": 456.0,
    "T7": 433.0, "T8": 409.0, "T9": 384.0, "T10": 358.0, "T11": 331.0, "T12": 303.0, "L1": 273.0, "L2": 240.0,
    "L3": 206.0, "L4": 172.0, "L5": 140.0,
}  # fmt: skip
"""z of the centre of each vertebral body in the reference adult."""
BODIES = (
    (90, 26, 18), (140, 26, 18), (240, 23, 17), (303, 21, 16), (433, 15.5, 14), (540, 15, 9.5),
    (590, 14, 8.5), (640, 13, 8),
)  # fmt: skip
"""z, half width and half depth of vertebral bodies."""
SOFT = (LABEL["muscle"], LABEL["subcutaneous fat"], *ROOM)


def paint_skeleton(space: Space, frame: Frame) -> None:
    """The axial skeleton and the muscles of the back."""
    for side in (1, -1):
        paint_back_muscles(space, frame, side)
    _paint_spine(space, frame)
    for side in (1, -1):
        _paint_ribs(space, frame, side)
    _paint_sternum(space, frame)


def paint_bone(
    space: Space,
    shape: Shape,
    label: int,
    cortex_mm: float,
    hu: tuple[float, float],
    inside: tuple[int, ...] | None = None,
) -> None:
    """A shell of cortical bone around trabecular bone; hu: (cortical, trabecular)."""
    box, distance = shape
    space.paint(shape, hu[0], label, inside)
    space.paint((box, distance + cortex_mm), hu[1], None, inside=(label,))


def bone_hu(frame: Frame, draw: Draw, dense: float = 1.0) -> tuple[float, float]:
    trabecular = frame.habitus.bone_hu * dense * draw.normal(1, 0.06)
    return draw.normal(560, 40) + 0.8 * trabecular, trabecular


def paint_back_muscles(space: Space, frame: Frame, side: int) -> None:
    """Erector spinae behind the ribs, quadratus lumborum and psoas beside the lumbar spine."""
    hu, fat = frame.tissues["muscle"], frame.tissues["fat"]
    muscle, bulk = LABEL["muscle"], frame.habitus.muscle
    path = []
    for z in range(40, 580, 30):
        y = frame.spine_y(float(z))
        (size,) = interpolate_at(
            ((0, 10), (90, 20), (150, 27), (240, 27), (330, 22), (450, 15), (560, 13), (640, 13)), z
        )
        path.append((side * (size + 7), y + 38 - (20 if z < 100 else 0) + 0.12 * size, float(z), size * bulk))
    radii = [p[3] for p in path]
    shape = space.path([p[:3] for p in path], radii)
    space.paint((shape[0], shape[1] - 1.0), fat + 40, muscle, inside=SOFT)
    space.paint(shape, hu - 8, muscle, inside=SOFT)
    streaks = space.noise(shape[0], (5.0, 5.0, 16.0), space.draw.generator)
    level = 2.0 - 0.018 * (frame.habitus.age - 25)
    space.paint(
        (shape[0], torch.maximum(shape[1], (level - streaks) * 3)),
        fat + 60,
        None,
        inside=(muscle,),
        soft_mm=3.0,
    )
    lumborum = [
        (side * 62, frame.spine_y(262) + 22, 268),
        (side * 70, frame.spine_y(210) + 26, 210),
        (side * 78, frame.spine_y(160) + 20, 155),
    ]
    space.paint(space.path(lumborum, [8.0 * bulk, 13.0 * bulk, 10.0 * bulk]), hu - 3, muscle, inside=SOFT)
    psoas = spline(
        [
            (side * 24, frame.spine_y(275) + 2, 280),
            (side * 38, frame.spine_y(220) + 4, 220),
            (side * 50, 20, 160),
            (side * 62, -8, 105),
            (side * 78, -32, 60),
            (side * 84, -42, 10),
            (side * 98, -20, -45),
        ],
        20.0,
    )
    girth = [5, 9, 13, 16, 18, 18, 17, 15, 13, 12]
    radii = [girth[min(9, round(i * 9 / (len(psoas) - 1)))] * bulk for i in range(len(psoas))]
    shape = space.path(psoas, radii)
    space.paint((shape[0], shape[1] - 2.0), fat + 5, None, inside=SOFT)
    space.paint(shape, hu - 2, LABEL["psoas left" if side > 0 else "psoas right"], inside=SOFT)


def _paint_spine(space: Space, frame: Frame) -> None:
    draw = space.draw
    cord = [(0.0, frame.spine_y(z) + _body_size(z)[1] + 8.5, float(z)) for z in range(60, 640, 20)]
    canal = space.path(cord, [8.5 if p[2] > 150 else 10.0 for p in cord])
    for number, level in enumerate(VERTEBRAE):
        z = LEVELS_MM[level]
        above = LEVELS_MM[VERTEBRAE[number - 1]] if number else z + 15
        below = LEVELS_MM[VERTEBRAE[number + 1]] if number + 1 < len(VERTEBRAE) else z - 33
        _paint_vertebra(space, frame, level, (above - below) / 2, draw)
    _paint_sacrum(space, frame)
    for grow, hu in ((0.0, -35.0), (-1.5, 12.0)):
        space.paint((canal[0], canal[1] - grow), hu, LABEL["spinal canal"])
    space.paint((canal[0], canal[1] + 3.8), frame.tissues["cord"] + 12, None, inside=(LABEL["spinal canal"],))


def _body_size(z: float) -> tuple[float, float]:
    """Half width and half depth of a vertebral body at a height."""
    width, depth = interpolate_at(BODIES, z)
    return width, depth


def _paint_vertebra(space: Space, frame: Frame, level: str, pitch: float, draw: Draw) -> None:
    z, label, hu = LEVELS_MM[level], LABEL[level], bone_hu(frame, draw)
    y, (wide, deep) = frame.spine_y(z), _body_size(z)
    tilt = math.degrees(math.atan2(frame.spine_y(z + 10) - frame.spine_y(z - 10), 20.0))
    box = space.box((-55, y - deep - 12, z - pitch - 22), (55, y + deep + 62, z + pitch))
    if any(part.stop <= part.start for part in box):
        return
    worn = frame.habitus.worn and frame.habitus.worn * draw.uniform(0.3, 1.1) * (0.65 if 300 < z < 560 else 1)
    gap = (3.0 + 3.2 * (z < 300) + draw.uniform(-1.0, 0.6)) * (1 - 0.6 * worn)
    lean = 3.0 + abs(math.sin(math.radians(tilt))) * (deep + pitch)
    front, local = space.within(
        box,
        (-wide - 3 - 9 * worn, y - deep - lean - 9 * worn, z - pitch / 2 - gap - 2.5 - lean),
        (wide + 3 + 9 * worn, y + deep + lean, z + pitch / 2 + lean),
    )
    xyz = space.reference(front)
    # the column itself, of disc material; bodies stand in it
    column = ellipsoid(xyz, (0, y, z - pitch / 2), (wide - 0.5, deep - 0.5, gap + 2.5), (0, 0, tilt), 4.0)
    space.paint((front, column), frame.tissues["disc"], LABEL["disc"])
    x, yy, zz = xyz
    waist = 1.0 - 0.09 * torch.cos((zz - z) / pitch * 3.1).clamp(min=0)
    body = ellipsoid(
        (x / waist, (yy - y) / waist + y, zz), (0, y, z), (wide, deep, pitch / 2 - gap / 2), (0, 0, tilt), 5.0
    )
    paint_bone(space, _arch(space, box, (y + deep, z, pitch), level), label, 1.6, (hu[0], hu[1] + 65))
    paint_bone(space, (front, body), label, 1.3, (hu[0] * 0.43, hu[1]))
    inner = torch.maximum(body + 2.0, (zz - z).abs() - (pitch / 2 - gap / 2 - 3.5))
    plate = torch.maximum(body + 1.2, -(inner + 0.5))
    space.paint((front, plate), hu[1] + 88, None, inside=(label,))
    grain = space.noise(box, (3.5, 3.5, 5.0), space.draw.generator, local)
    space.hu[front] += as_float(body < -2.0) * grain * 24.0
    vein = capsule(xyz, (0, y + deep, z), (0, y + 3, z), (2.2, 1.2))
    space.paint((front, vein), hu[1] - 80, None, inside=(label,))
    if worn:
        _paint_wear(space, frame, (front, body), (z, pitch / 2 - gap / 2, tilt), worn, level)


def _paint_wear(
    space: Space, frame: Frame, shape: Shape, place: tuple[float, float, float], worn: float, level: str
) -> None:
    """Beaks of bone around both end plates, dense bone beneath them, at times gas in the disc below.

    shape: the vertebral body. place: its height, half its thickness in mm, its tilt in degrees.
    """
    (box, body), (z, half, tilt), label = shape, place, LABEL[level]
    xyz, draw, (wide, deep) = space.reference(box), space.draw, _body_size(z)
    rough, patchy = (space.noise(box, length, draw.generator) for length in (16.0, 7.0))
    room = (*SOFT, LABEL["psoas left"], LABEL["psoas right"], LABEL["disc"])
    y = frame.spine_y(z)
    height = turned(xyz, (0, y, z), (0, 0, tilt))[2]
    for end in (1, -1):
        grown = 1 + 8.0 * worn * draw.uniform(0.5, 1.0)
        center = (0.0, frame.spine_y(z + end * half), z + end * (half - 0.5))
        beak = ellipsoid(xyz, center, (wide + grown, deep + grown, 3.0 + 1.5 * worn), (0, 0, tilt), 2.6)
        space.paint((box, beak + 1.2 - 1.2 * rough), draw.uniform(330, 480), label, room)
        dense = torch.maximum(body + 0.5, half - 5.0 * worn + 1.5 * patchy - end * height)
        space.paint((box, dense), draw.uniform(260, 460), None, (label,), soft_mm=1.5)
    if worn > 0.5 and draw.chance(0.4):
        center = (draw.normal(0, 4), frame.spine_y(z - half - 2) - 2, z - half - 2)
        gas = ellipsoid(xyz, center, (0.6 * wide, 0.5 * deep, 1.3), (0, 0, tilt))
        space.paint((box, gas), -500.0, None, (LABEL["disc"],))


def _arch(space: Space, box: Box, place: Point, level: str) -> Shape:
    """Pedicles, laminae, transverse and spinous processes and facets, within a part, as one distance."""
    back, z, pitch = place
    lumbar, neck = level.startswith("L"), level.startswith("C")
    length = 34.0 if lumbar else 26.0
    drop = 4.0 if lumbar else (5.0 if neck else 20.0)
    r = 4.6 if lumbar else 3.6
    # the spinous process is flat: a pile of rods
    spinous = [
        ((0.0, back + 19, z - 5.0 - k), (0.0, back + 19 + length, z - 5 - drop - k), 2.6)
        for k in (0.0, 5.0, 10.0 if lumbar else 5.0)
    ]
    rods = list(spinous)
    for side in (1, -1):
        rods += [
            ((side * 14, back - 4, z + 4), (side * 15, back + 9, z + 2), r + 0.6),  # pedicle
            ((side * 15, back + 9, z), (side * 3, back + 20, z - 6), r - 0.4),  # lamina
            (
                (side * 15, back + 9, z + pitch * 0.35),
                (side * 15, back + 11, z - pitch * 0.55),
                r + 0.6,
            ),  # facets
            (
                (side * 15, back + 8, z),
                (side * (44 if lumbar else 32), back + (8 if lumbar else 17), z),
                r - 0.8,
            ),
        ]
    behind, _ = space.within(box, (-60, back - 16, z - 99), (60, back + 99, z + 99))
    xyz = space.reference(behind)
    total = torch.full_like(xyz[0], 1e3)
    for start, end, radius in rods:
        reach = radius + 2.5
        lower = [min(p, q) - reach for p, q in zip(start, end, strict=True)]
        upper = [max(p, q) + reach for p, q in zip(start, end, strict=True)]
        _, local = space.within(behind, lower, upper)
        d = capsule((xyz[0][local], xyz[1][local], xyz[2][local]), start, end, (radius, radius * 0.85))
        total[local] = smooth_union(total[local], d, 2.5)
    return behind, total


def _paint_sacrum(space: Space, frame: Frame) -> None:
    box = space.box((-66, 20, -15), (66, 120, 128))
    if any(part.stop <= part.start for part in box):
        return
    xyz = space.reference(box)
    rows = (
        (0, 56, 104, 34, 17, 15),
        (0, 74, 84, 46, 17, 16),
        (0, 88, 64, 42, 13, 15),
        (0, 95, 44, 34, 10, 14),
        (0, 94, 24, 26, 8, 14),
        (0, 86, 4, 10, 6, 12),
    )

    def near(center: Point, reach: Point) -> tuple[Box, Box, Xyz]:
        """The block around a point: its slices of the grid and of the box, and the positions there."""
        lower, upper = ([c + sign * r for c, r in zip(center, reach, strict=True)] for sign in (-1, 1))
        part, local = space.within(box, lower, upper)
        return part, local, (xyz[0][local], xyz[1][local], xyz[2][local])

    total = torch.full_like(xyz[0], 1e3)
    for x, y, z, wide, deep, high in rows:
        _, local, places = near((x, y, z), (wide + 9, deep + high / 2 + 9, high + deep / 2 + 9))
        d = ellipsoid(places, (x, y, z), (wide, deep, high), (0, 0, -28), 2.6)
        total[local] = smooth_union(total[local], d, 7.0)
    for side in (1, -1):  # the alae
        _, local, places = near((side * 40, 66, 90), (40, 40, 42))
        d = ellipsoid(places, (side * 40, 66, 90), (24, 15, 24), (side * 20, 0, -25), 2.4)
        total[local] = smooth_union(total[local], d, 6.0)
    total = torch.maximum(total, xyz[0].abs() - 55)
    hu = bone_hu(frame, space.draw, 0.62)
    part, _, places = near((0, 48, 120), (28, 25, 20))
    disc = ellipsoid(places, (0, 48, 120), (25, 18, 9), (0, 0, -25), 4.0)
    space.paint((part, disc), frame.tissues["disc"], LABEL["disc"])
    paint_bone(space, (box, total), LABEL["sacrum"], 1.6, (hu[0] * 0.85, hu[1]))
    for side in (1, -1):
        for _, y, z, wide, _, _ in rows[1:5]:
            start, end = (side * (wide * 0.45), y - 20, z - 4), (side * (wide * 0.5), y + 22, z + 4)
            part, local, places = near((side * wide * 0.475, y + 1, z), (wide * 0.025 + 5, 26, 9))
            hole = torch.maximum(capsule(places, start, end, (4.2, 3.4)), total[local])
            space.paint((part, hole), -40.0, None, inside=(LABEL["sacrum"],))
    grain = space.noise(box, 4.5, space.draw.generator)
    space.hu[box] += as_float(total < -2.5) * grain * 22.0


def _paint_ribs(space: Space, frame: Frame, side: int) -> None:
    """Twelve ribs on the surface of the cavity, and the cartilage of the first ten."""
    name = "left" if side > 0 else "right"
    tips = (172, 172, 168, 162, 157, 150, 143, 136, 128, 116, 78, 52)
    falls = (26, 44, 56, 66, 74, 82, 88, 92, 94, 92, 58, 36)
    ends = (512, 492, 474, 456, 438, 420, 404, 388, 372, 362)
    for i in range(12):
        head = LEVELS_MM[f"T{i + 1}"] + (5 if i < 10 else 0)
        y = frame.spine_y(head) + _body_size(head)[1] * 0.8
        points: list[tuple[float, ...]] = [(side * 19.0, y, head, 4.2), (side * 33.0, y + 13, head - 3, 4.2)]
        tip = math.radians(tips[i])
        count = max(4, round(tips[i] / 11))
        for k in range(count + 1):
            angle = math.radians(32) + (tip - math.radians(32)) * k / count
            t = k / count
            z = head - 4 - falls[i] * (t**1.15)
            a, b, yc = frame.cavity(z)
            out = 5.0 + (8.0 if i == 0 else 0)
            points.append(
                (
                    side * (a + out) * _super(math.sin(angle)),
                    yc + (b + out) * _super(math.cos(angle)),
                    z,
                    4.4 + 0.9 * t,
                )
            )
        curve = spline(points, 14.0)
        shape = space.path([p[:3] for p in curve], [p[3] for p in curve], flat=0.68)
        hu = bone_hu(frame, space.draw, 0.85)
        if i < 10:
            last = points[-1]
            a, b, yc = frame.cavity(ends[i])
            middle = (
                side * (12.0 if i < 7 else 22.0 + 7 * (i - 7)),
                yc - b - 9.0,
                ends[i] + (0 if i < 7 else -18),
            )
            bend = (
                (last[0] + middle[0]) / 2,
                min(last[1], middle[1]) - 1.0,
                min(last[2], middle[2]) - (4 if i > 4 else 0),
            )
            _paint_cartilage(space, frame, spline([last[:3], bend, middle], 14.0))
        paint_bone(space, shape, LABEL[f"rib {name} {i + 1}"], 1.2, (hu[0] * 0.85, hu[1]))


def _paint_cartilage(space: Space, frame: Frame, way: list[tuple[float, ...]]) -> None:
    """A costal cartilage, its rim and core calcified the more the older."""
    label = LABEL["costal cartilage"]
    shape = space.path(way, 5.6, 0.75)
    space.paint(shape, frame.tissues["cartilage"], label)
    box, distance = shape
    if distance.numel():
        lumps = space.noise(box, (6.0, 6.0, 6.0), space.draw.generator)
        rim = (distance + 1.6).abs() - 1.3
        chalk = torch.maximum(
            torch.minimum(rim, distance + 4.6), (2.6 - 0.022 * frame.habitus.age - lumps) * 3
        )
        space.paint((box, chalk), space.draw.uniform(220, 420), None, inside=(label,), soft_mm=1.0)


def _super(value: float) -> float:
    """The superellipse of the cavity along a sine or cosine."""
    return math.copysign(abs(value) ** (2 / 2.35), value)


def _paint_sternum(space: Space, frame: Frame) -> None:
    hu = bone_hu(frame, space.draw, 0.7)
    points = []
    for z, wide in ((345, 5), (372, 12), (400, 16), (440, 14), (470, 15), (482, 20), (505, 27), (518, 22)):
        _, b, yc = frame.cavity(z)
        points.append((wide, yc - b - 9, z))
    rods = [
        [(k * w, y + 0.02 * (k * w) ** 2, z) for w, y, z in points]
        for k in (-1, -0.67, -0.33, 0, 0.33, 0.67, 1)
    ]
    shape = space.paths([(rod, [5.2] * len(rod)) for rod in rods])
    paint_bone(space, shape, LABEL["sternum"], 1.2, (hu[0] * 0.75, hu[1] * 0.9))
