"""A simple trunk: what a detector needs to tell apart, drawn from random parameters."""

from __future__ import annotations

import math

import torch

from resources.synthetic.canvas import Canvas

ORGANS = (
    "air", "fat", "muscle", "cavity fat", "mediastinum", "lung", "bone", "heart", "vessel", "liver",
    "spleen", "kidney", "pancreas", "bowel", "bladder", "pelvis fat", "airway",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(ORGANS)}
TRUNK_MM = (0.0, 620.0)
PELVIS_TOP_MM = 190.0
DIAPHRAGM_MM = 385.0


class Draw:
    """Random numbers from one seeded generator."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        return mean + sd * float(torch.randn((), generator=self.generator))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability


def paint_trunk(canvas: Canvas, draw: Draw) -> None:
    """Paints body, chest, abdomen, pelvis and skeleton; z is 0 at the pubis and 620 at the neck."""
    size = draw.uniform(0.88, 1.12)
    contrast = draw.uniform(0.0, 1.0) if draw.chance(0.75) else 0.0
    half = (draw.uniform(150, 185) * size, draw.uniform(100, 125) * size)
    _body(canvas, draw, half)
    _chest(canvas, draw, half, contrast)
    _abdomen(canvas, draw, half, contrast)
    _skeleton(canvas, draw, half)


def _body(canvas: Canvas, draw: Draw, half: tuple[float, float]) -> None:
    layer = draw.uniform(10, 30)
    cavity = (half[0] * 0.80, half[1] * 0.66)
    everywhere = (0.0, 0.0, 300.0)
    for radii, hu, name in (
        ((half[0] + layer, half[1] + layer, 900.0), draw.normal(-100, 6), "fat"),
        ((half[0], half[1], 900.0), draw.normal(55, 6), "muscle"),
        ((*cavity, 900.0), draw.normal(-95, 8), "cavity fat"),
    ):
        canvas.paint(canvas.ellipsoid(everywhere, radii, power=2.6), hu, LABEL[name])
    pelvis = canvas.label[canvas.axes_mm[0] < PELVIS_TOP_MM]
    pelvis[pelvis == LABEL["cavity fat"]] = LABEL["pelvis fat"]
    canvas.label[canvas.axes_mm[0] < PELVIS_TOP_MM] = pelvis


def _chest(canvas: Canvas, draw: Draw, half: tuple[float, float], contrast: float) -> None:
    chest = canvas.label[canvas.axes_mm[0] > DIAPHRAGM_MM]
    chest[chest == LABEL["cavity fat"]] = LABEL["mediastinum"]
    canvas.label[canvas.axes_mm[0] > DIAPHRAGM_MM] = chest
    air = draw.normal(-850, 25)
    for side in (-1, 1):
        center = (side * half[0] * 0.45, 0.0, 470 + draw.normal(0, 6))
        canvas.paint(
            canvas.ellipsoid(center, (half[0] * 0.36, half[1] * 0.62, 135.0), power=2.4),
            air,
            LABEL["lung"],
            inside=(LABEL["mediastinum"], LABEL["cavity fat"]),
        )
        for _ in range(draw.integer(22, 34)):
            _vessel(canvas, draw, (side * half[0] * 0.16, 5.0, 480.0), side)
    blood = 45 + 130 * contrast
    heart = (half[0] * 0.17, -half[1] * 0.22, 435.0)
    canvas.paint(canvas.ellipsoid(heart, (48, 42, 50), angle=0.5), blood, LABEL["heart"])
    canvas.paint(canvas.ellipsoid(heart, (36, 30, 38), angle=0.5), blood + 25, LABEL["heart"])
    canvas.tube([(0, -20, 620), (0, -5, 500)], 8.0, -990, LABEL["airway"])
    for side in (-1, 1):
        canvas.tube([(0, -5, 500), (side * 35, 5, 470)], 5.5, -980, LABEL["airway"])
    canvas.tube([(8, 22, 620), (10, 25, 385)], 7.0, draw.normal(35, 8), LABEL["bowel"])
    arch = [
        (20, half[1] * 0.30, 170),
        (22, half[1] * 0.32, 500),
        (10, 0, 530),
        (-15, -25, 500),
        (0, -20, 460),
    ]
    canvas.tube(arch, draw.uniform(9, 13), blood + 15, LABEL["vessel"])
    canvas.tube([(-25, -5, 170), (-28, 0, 420)], draw.uniform(9, 12), blood, LABEL["vessel"])
    canvas.tube([(-28, -15, 450), (-25, -20, 600)], draw.uniform(6, 9), blood + 30, LABEL["vessel"])


def _vessel(canvas: Canvas, draw: Draw, start: tuple[float, float, float], side: int) -> None:
    """A branch that thins from the hilum outwards."""
    point, radius = list(start), draw.uniform(2.0, 4.0)
    along, up = draw.uniform(-1.2, 1.2), draw.uniform(-1.2, 1.2)
    while radius > 0.7:
        step = draw.uniform(12, 24)
        target = [
            point[0] + side * step * draw.uniform(0.3, 1.0),
            point[1] + step * (along + draw.normal(0, 0.4)),
            point[2] + step * (up + draw.normal(0, 0.4)),
        ]
        canvas.paint(canvas.capsule(point, target, radius), 45.0, None, inside=(LABEL["lung"],))
        point, radius = target, radius * draw.uniform(0.68, 0.85)


def _abdomen(canvas: Canvas, draw: Draw, half: tuple[float, float], contrast: float) -> None:
    room = (LABEL["cavity fat"], LABEL["mediastinum"], LABEL["lung"])
    a, b = half
    liver_hu = draw.normal(58, 6) + 50 * contrast
    for center, radii in (
        ((-a * 0.40, -b * 0.05, 350), (a * 0.36, b * 0.56, 72)),
        ((-a * 0.08, -b * 0.28, 355), (a * 0.36, b * 0.28, 42)),
    ):
        canvas.paint(canvas.ellipsoid(center, radii), liver_hu, LABEL["liver"], inside=room)
    for _ in range(draw.integer(8, 14)):
        start = (-a * 0.25 + draw.normal(0, 8), 0.0, 350 + draw.normal(0, 20))
        end = (start[0] + draw.normal(0, 35), start[1] + draw.normal(0, 28), start[2] + draw.normal(0, 28))
        hu = liver_hu + 40 * contrast - 8
        canvas.tube([start, end], draw.uniform(1.5, 4), hu, None, inside=(LABEL["liver"],))
    spleen = canvas.ellipsoid((a * 0.55, b * 0.28, 362), (a * 0.19, b * 0.28, 48), angle=0.5)
    canvas.paint(spleen, draw.normal(50, 4) + 70 * contrast, LABEL["spleen"], inside=room)
    kidney_hu = draw.normal(34, 4) + 140 * contrast
    for side in (-1, 1):
        center = (side * a * 0.42, b * 0.36, 290 + 8 * side)
        canvas.paint(canvas.ellipsoid(center, (30, 26, 54), angle=0.5 * side), kidney_hu, LABEL["kidney"])
        sinus = (center[0] - side * 10, center[1] - 6, center[2])
        canvas.paint(canvas.ellipsoid(sinus, (11, 9, 24)), draw.normal(-60, 20), None)
        canvas.tube([(side * 42, b * 0.45, 330), (side * 62, b * 0.25, 90)], 20, 58, LABEL["muscle"])
    head = (-a * 0.10, -b * 0.05, 300)
    canvas.tube(
        [head, (a * 0.15, 0, 318), (a * 0.42, b * 0.10, 345)], 11, 42 + 45 * contrast, LABEL["pancreas"]
    )
    stomach = (a * 0.35, -b * 0.30, 355)
    canvas.paint(
        canvas.ellipsoid(stomach, (42, 30, 42), angle=-0.4), draw.normal(20, 10), LABEL["bowel"], room
    )
    gas = (stomach[0], stomach[1] - 12, stomach[2])
    canvas.paint(canvas.ellipsoid(gas, (26, 13, 26)), -950, LABEL["bowel"], inside=(LABEL["bowel"],))
    bladder = canvas.ellipsoid((0, -b * 0.2, 48), (38, 30, 30))
    canvas.paint(bladder, draw.normal(6, 4), LABEL["bladder"], inside=(LABEL["pelvis fat"],))
    _bowel(canvas, draw, half)


def _bowel(canvas: Canvas, draw: Draw, half: tuple[float, float]) -> None:
    room = (LABEL["cavity fat"], LABEL["pelvis fat"], LABEL["bowel"])
    for _ in range(draw.integer(16, 26)):
        point = [
            draw.uniform(-0.65, 0.65) * half[0],
            draw.uniform(-0.55, 0.1) * half[1],
            draw.uniform(70, 300),
        ]
        radius, filling = draw.uniform(8, 17), draw.uniform(0, 1)
        heading = draw.uniform(0, 2 * math.pi)
        path = [tuple(point)]
        for _ in range(draw.integer(3, 5)):
            heading += draw.normal(0, 0.7)
            point[0] += 24 * math.cos(heading)
            point[1] += 14 * math.sin(heading)
            point[2] += draw.normal(0, 12)
            path.append(tuple(point))
        canvas.tube(path, radius, draw.normal(42, 10), LABEL["bowel"], inside=room)
        inner = -900 if filling < 0.35 else draw.normal(12, 8) if filling < 0.8 else draw.uniform(150, 400)
        canvas.tube(path, radius * 0.72, inner, LABEL["bowel"], inside=(LABEL["bowel"],))


def _skeleton(canvas: Canvas, draw: Draw, half: tuple[float, float]) -> None:
    trabecular, cortical = draw.normal(190, 30), draw.normal(600, 80)
    back = half[1] * 0.58
    height = draw.uniform(29, 34)
    for level in range(20):
        z = 30 + level * height
        width = 26 - level * 0.45
        body = (0.0, back, z)
        canvas.paint(
            canvas.ellipsoid(body, (width, width * 0.75, height * 0.44), power=4), cortical, LABEL["bone"]
        )
        inner = (width - 2.5, width * 0.75 - 2.5, height * 0.44 - 2)
        canvas.paint(canvas.ellipsoid(body, inner, power=4), trabecular, LABEL["bone"])
        canvas.paint(canvas.ellipsoid((0, back + 26, z), (9, 8, height / 2)), 30, LABEL["muscle"])
        process = [(0, back + 38, z), (0, back + 55, z - 10)]
        canvas.tube(process, 4, cortical * 0.6, LABEL["bone"])
        for side in (-1, 1):
            canvas.tube(
                [(side * 14, back + 22, z), (side * 38, back + 26, z)], 5, cortical * 0.6, LABEL["bone"]
            )
        if z > 330:
            _ribs(canvas, half, back, z, cortical, trabecular)
    canvas.tube([(0, -half[1] * 0.80, 430), (0, -half[1] * 0.74, 580)], 8, trabecular + 40, LABEL["bone"])
    for side in (-1, 1):
        wing = [(side * 40, back, 150), (side * 95, back * 0.5, 170), (side * 115, -back * 0.5, 130)]
        canvas.tube(wing, 11, cortical * 0.8, LABEL["bone"])
        canvas.tube(wing, 8.5, trabecular, LABEL["bone"])
        arch = [(side * 95, back * 0.4, 165), (side * 90, 0, 60), (side * 30, -40, 20)]
        canvas.tube(arch, 13, cortical * 0.8, LABEL["bone"])
        canvas.tube(arch, 10, trabecular, LABEL["bone"])


def _ribs(
    canvas: Canvas, half: tuple[float, float], back: float, z: float, cortical: float, trabecular: float
) -> None:
    for side in (-1, 1):
        path = []
        for step in range(9):
            angle = math.pi / 2 - step * math.pi / 9.5
            path.append(
                (
                    side * half[0] * 0.88 * math.cos(angle) + side * 10,
                    half[1] * 0.80 * math.sin(angle),
                    z - step * 7,
                )
            )
        path[0] = (side * 30, back + 18, z)
        canvas.tube(path, 5.5, cortical * 0.8, LABEL["bone"])
        canvas.tube(path, 3.5, trabecular, LABEL["bone"])
