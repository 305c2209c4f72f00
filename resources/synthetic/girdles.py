"""Shoulder girdle, pelvis and hips."""

from __future__ import annotations

import math

import torch

from resources.synthetic.body import Frame
from resources.synthetic.organs import LABEL
from resources.synthetic.shapes import spline
from resources.synthetic.skeleton import bone_hu, paint_bone
from resources.synthetic.space import Shape, Space

CREST = (
    (46, 84, 92), (62, 74, 128), (92, 48, 155), (122, 8, 163), (134, -30, 148), (126, -62, 112),
    (108, -58, 78),
)  # fmt: skip
"""The iliac crest from the sacrum to the front, and below it the line above the hip joint."""
ROOF = ((52, 76, 70), (62, 62, 60), (76, 40, 52), (84, 14, 46), (88, -6, 42), (88, -22, 40), (86, -30, 32))


def paint_girdles(space: Space, frame: Frame) -> None:
    """Both shoulders, hip bones and femora."""
    for side in (1, -1):
        _paint_hip(space, frame, side)
        _paint_shoulder(space, frame, side)


def _paint_shoulder(space: Space, frame: Frame, side: int) -> None:
    """Clavicle, scapula as a thin plate with its spine, and the head of the humerus."""
    name = "left" if side > 0 else "right"
    hu = bone_hu(frame, space.draw, 0.9)
    lift = 18.0 if frame.habitus.arms == "up" else 0.0
    _, b, yc = frame.cavity(515)
    clavicle = spline(
        [
            (side * 24, yc - b - 8, 516),
            (side * 70, yc - b - 12, 530 + lift / 2),
            (side * 110, 0, 545 + lift),
            (side * 150, 18, 548 + lift),
        ],
        10.0,
    )
    paint_bone(space, space.path(clavicle, 6.0), LABEL[f"clavicle {name}"], 1.8, hu)
    label, shapes = LABEL[f"scapula {name}"], []
    top = spline(
        [(side * 92, 78, 528 + lift), (side * 118, 62, 535 + lift), (side * 142, 34, 530 + lift)], 9.0
    )
    tip = (side * 108.0, 98.0, 405.0 + 1.5 * lift)
    for x, y, z in top:
        middle = ((x + tip[0]) / 2 + side * 2, max((y + tip[1]) / 2 + 7, 0), (z + tip[2]) / 2)
        shapes.append(space.path(spline([(x, y, z), middle, tip], 16.0), 2.4))
    ridge = spline(
        [(side * 92, 92, 500 + lift), (side * 120, 84, 522 + lift), (side * 152, 50, 540 + lift)], 8.0
    )
    shapes.append(space.path(ridge, 4.0))
    shapes.append(space.path([top[-1], (side * 148, 26, 512 + lift)], [9.0, 12.0]))
    for shape in shapes:
        space.paint(shape, hu[0] * 0.9, label)
    space.paint((shapes[-1][0], shapes[-1][1] + 2), hu[1], None, inside=(label,))
    head = (side * 172.0, 18.0, 525.0 + 2 * lift)
    humerus = [head, (head[0] + side * 6, 18, head[2] + (90 if lift else -70))]
    box, distance = space.path(humerus, [23.0, 12.0], margin_mm=45.0)
    names = ("muscle", "subcutaneous fat", "skin", "arm left", "arm right", "background")
    around = tuple(LABEL[key] for key in names)
    thick = 22 * frame.habitus.muscle
    fat = thick + 5 + 5 * frame.habitus.fat
    for out, value, name_of in ((fat + 2, 25.0, "skin"), (fat, frame.tissues["fat"], "subcutaneous fat")):
        space.paint((box, distance - out), value, LABEL[name_of], inside=(LABEL["background"], LABEL["skin"]))
    space.paint(
        (box, distance - thick), frame.tissues["muscle"], LABEL["muscle"], inside=(LABEL["subcutaneous fat"],)
    )
    paint_bone(space, (box, distance), LABEL[f"humerus {name}"], 2.0, hu, inside=around)


def _wing(space: Space, side: int) -> Shape:
    """The iliac wing: a plate between its crest and the roof of the joint."""
    crest = spline([(side * x, y, z) for x, y, z in CREST], 5.0)
    base = spline([(side * x, y, z) for x, y, z in ROOF], 9.0)
    rods: list[tuple[list[tuple[float, ...]], list[float]]] = []
    for k, top in enumerate(crest):
        foot = base[min(len(base) - 1, round(k * (len(base) - 1) / (len(crest) - 1)))]
        middle = [(a + b) / 2 - c for a, b, c in zip(top, foot, (side * 7.0, 0.0, 0.0), strict=True)]
        line = spline([foot, middle, top], 24.0)
        radii = [6.5 - 2.4 * math.sin(math.pi * i / (len(line) - 1)) for i in range(len(line))]
        radii[-1] = 7.0
        rods.append((line, radii))
    return space.paths(rods)


def _paint_hip(space: Space, frame: Frame, side: int) -> None:
    name = "left" if side > 0 else "right"
    label, hu = LABEL[f"hip bone {name}"], bone_hu(frame, space.draw, 0.85)
    parts: list[tuple[Shape, float]] = [(_wing(space, side), 1.4)]
    ischium = spline(
        [(side * 84, 22, 40), (side * 80, 36, 8), (side * 66, 44, -30), (side * 58, 36, -52)], 10.0
    )
    parts.append(
        (space.path(ischium, [17 - 6 * abs(i / (len(ischium) - 1) - 0.2) for i in range(len(ischium))]), 2.2)
    )
    pubis = spline([(side * 82, -18, 30), (side * 56, -48, 14), (side * 20, -64, 2)], 10.0)
    parts.append((space.path(pubis, 11.0), 2.0))
    ramus = spline(
        [(side * 9, -62, -2), (side * 16, -52, -20), (side * 40, 0, -48), (side * 58, 34, -54)], 10.0
    )
    parts.append((space.path(ramus, 8.5), 1.8))
    head = (side * 88.0, -6.0, 6.0)
    cup = space.path([head, (head[0] - side * 0.1, head[1], head[2])], [33.0, 33.0])
    world = space.world(cup[0])
    center = space.true_points([head]).tolist()[0]
    outer = side * (world[0] - center[0]) - 0.9 * (world[2] - center[2])
    cup = (cup[0], torch.maximum(torch.maximum(cup[1], -(cup[1] + 33.0 - 27.0)), outer - 12))
    parts.append((cup, 1.8))
    for shape, _ in parts:
        space.paint(shape, hu[0], label)
    for (box, distance), cortex in parts:
        space.paint((box, distance + cortex), hu[1], None, inside=(label,))
    _paint_femur(space, frame, side, head)


def _paint_femur(space: Space, frame: Frame, side: int, head: tuple[float, float, float]) -> None:
    label, hu = LABEL["femur left" if side > 0 else "femur right"], bone_hu(frame, space.draw, 1.0)
    joint = space.path([head, (head[0] + side * 0.1, head[1], head[2])], [27.0, 27.0])
    space.paint(joint, 60.0, LABEL["muscle"])
    shapes = [
        space.path([head, (head[0] + side * 0.1, head[1], head[2])], [24.0, 24.0]),
        space.path([head, (head[0] + side * 44, head[1] + 10, head[2] - 26)], [16.0, 19.0]),
        space.path(
            [(head[0] + side * 46, 2, -14), (head[0] + side * 48, 6, -34), (head[0] + side * 40, 2, -120)],
            [17.0, 18.0, 14.0],
        ),
    ]
    for shape in shapes:
        space.paint(shape, hu[0] * 0.9, label)
    for (box, distance), cortex in zip(shapes, (1.8, 2.2, 4.5), strict=True):
        space.paint((box, distance + cortex), hu[1] + (90 if cortex == 1.8 else 0), None, inside=(label,))
