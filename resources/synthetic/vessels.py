"""Branching trees (arteries, veins, bronchi) grown towards points of an organ, and the great vessels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from resources.synthetic.body import Frame
from resources.synthetic.draw import Draw
from resources.synthetic.organs import LABEL, LUNGS, ROOM
from resources.synthetic.shapes import Point, spline
from resources.synthetic.space import Space

MURRAY = 2.6
"""Parent's radius to this power is the sum of its children's (Murray 1926: 3; airways and lungs less)."""

SHARES = {steps: np.arange(1, steps + 1, dtype=np.float32)[:, None] / steps for steps in (1, 2, 3)}
"""How far along a new branch each of its points lies."""


@dataclasses.dataclass(frozen=True)
class Tree:
    """points: (n, 3) true mm; parent: index of each point's parent, -1 for the root; radius: mm at each."""

    points: torch.Tensor
    parent: list[int]
    radius: list[float]


def grow(
    root: Point,
    targets: torch.Tensor,
    tip_mm: float,
    draw: Draw,
    tortuous: float = 0.12,
    direct: float = 0.35,
) -> Tree:
    """A tree from `root` to each of the targets (n, 3), true mm.

    Each target, nearest to the root first, is joined to the point of the tree that makes the way short
    (constrained constructive growth, after Schreiner and Buxbaum 1993, without its optimisation). `direct`
    weighs the way from the root to that point: the less, the more of a trunk branches share.
    """
    start = torch.tensor(tuple(root), dtype=torch.float32)
    order = (targets - start).norm(dim=1).argsort()
    points = np.empty((1 + 3 * len(targets), 3), np.float32)  # numpy: torch takes ten times longer
    points[0] = start.numpy()
    along = np.zeros(len(points), np.float32)
    parent, count = [-1], 1
    for target in targets[order].numpy():
        gap = torch.from_numpy(points[:count] - target).norm(dim=1).numpy()
        near = int((gap + direct * along[:count]).argmin())
        base, length = points[near], float(gap[near])
        steps = 1 if length < 12 else (2 if length < 30 else 3)
        bends = torch.randn((steps, 3), generator=draw.generator).numpy() * (0.5 * tortuous * length)
        bends[-1] = 0.0
        points[count : count + steps] = base + (target - base) * SHARES[steps] + bends
        for last in (near, *range(count, count + steps - 1)):
            along[count] = along[last] + np.float32(length / steps)
            parent.append(last)
            count += 1
    leaves = [0.0] * count
    for i in range(count - 1, -1, -1):
        leaves[i] = max(1.0, leaves[i])
        if parent[i] >= 0:
            leaves[parent[i]] += leaves[i]
    return Tree(torch.from_numpy(points[:count]), parent, [tip_mm * n ** (1 / MURRAY) for n in leaves])


def paint_tree(
    space: Space,
    tree: Tree,
    hu: float,
    label: int | None,
    inside: Sequence[int] | None = None,
    limits_mm: tuple[float, float] = (0.0, 99.0),
    grow_mm: float = 0.0,
) -> None:
    """Paints a tree's branches of a radius within the limits, each `grow_mm` thicker."""
    points = tree.points.tolist()
    ends, radii = [], []
    for i, j in enumerate(tree.parent):
        if j >= 0 and limits_mm[0] <= tree.radius[i] <= limits_mm[1]:
            first = min(tree.radius[j], 1.35 * tree.radius[i], limits_mm[1])
            ends.append((points[j], points[i]))
            radii.append((first + grow_mm, tree.radius[i] + grow_mm))
    for rod in space.rods(ends, radii):
        space.paint(rod, hu, label, inside)


def points_in(space: Space, labels: Sequence[int], count: int, draw: Draw) -> torch.Tensor:
    """(n, 3) random true positions within the labelled voxels; empty where there are none."""
    mask = space.has(space.whole, labels)
    flat = mask.flatten().nonzero()[:, 0]
    if not len(flat):
        return torch.empty((0, 3))
    chosen = flat[torch.randint(0, len(flat), (count,), generator=draw.generator).to(flat.device)].cpu()
    _, ny, nx = space.label.shape
    index = torch.stack([chosen % nx, chosen // nx % ny, chosen // (nx * ny)], 1).float()
    jitter = torch.rand((count, 3), generator=draw.generator) - 0.5
    return (index + jitter) * torch.tensor(space.step_mm) + torch.tensor(space.lower_mm)


def tube(
    space: Space,
    points: Sequence[Point],
    radii: Sequence[float],
    hu: float,
    label: int | None,
    inside: Sequence[int] | None = None,
) -> None:
    """A smooth vessel through points, with a radius at each."""
    curve = spline([(*p, r) for p, r in zip(points, radii, strict=True)], 9.0)
    space.paint(space.path([p[:3] for p in curve], [max(0.4, p[3]) for p in curve]), hu, label, inside)


def paint_great_vessels(space: Space, frame: Frame) -> None:
    """Aorta and its branches, caval veins, iliac vessels, pulmonary trunk; calcified plaques with age."""
    t, draw = frame.tissues, space.draw
    wide = (
        draw.normal(1.0, 0.09)
        * (0.9 if frame.habitus.sex == "female" else 1.0)
        * (0.92 + 0.0016 * frame.habitus.age)
    )
    room = (*ROOM, LABEL["muscle"], LABEL["heart"], LABEL["psoas left"], LABEL["psoas right"])
    front = frame.before_spine
    descending = [
        (22, 30, 488),
        (23, front(450, 6), 450),
        (20, front(400, 8), 400),
        (12, front(340, 10), 340),
        (5, front(280, 11), 280),
        (4, front(220, 12), 220),
        (4, front(172, 12), 172),
    ]
    arch = [(6, -12, 428), (-14, -26, 458), (-13, -26, 485), (2, -11, 503), (17, 10, 503), *descending]
    radii = [15, 15, 14.5, 13.5, 13, 12.5, 12.5, 12, 11, 10, 9.2, 8.6]
    if draw.chance(0.04):
        radii[9:12] = [14, 18, 14]  # an aneurysm
    tube(space, arch, [r * wide for r in radii], t["aorta"], LABEL["aorta"], (*room, *LUNGS))
    for side in (1, -1):
        _paint_branches(space, frame, side, wide, room)
    cava = [
        (-14, 26, 148),
        (-18, front(200, 10), 200),
        (-20, front(250, 11), 250),
        (-24, 16, 305),
        (-25, 14, 345),
        (-22, 8, 385),
    ]
    tube(space, cava, [9, 10, 11, 11.5, 12, 12], t["vein"], LABEL["vena cava"], (*room, LABEL["liver"]))
    arteries: tuple[tuple[list[Point], list[float], float], ...] = (
        ([(5, front(278, 12), 278), (3, front(278, 30), 274), (26, -2, 282), (76, 28, 300)],
         [4, 3.4, 2.8, 2], 0.95),  # coeliac trunk and splenic artery
        ([(4, front(262, 12), 262), (2, front(250, 28), 248), (-4, -18, 205), (-10, -22, 165)],
         [3.8, 3.6, 3, 2], 0.95),  # superior mesenteric artery
        ([(3, -14, 276), (-18, -12, 284), (-34, -6, 298)], [2.4, 2.2, 1.8], 0.9),  # hepatic artery
    )  # fmt: skip
    for points, widths, share in arteries:
        tube(space, points, widths, t["aorta"] * share, LABEL["artery"], room)
    _paint_portal(space, frame)
    _paint_upper(space, frame, wide, room)
    _paint_plaques(space, frame, arch, [r * wide for r in radii])


def _paint_branches(space: Space, frame: Frame, side: int, wide: float, room: tuple[int, ...]) -> None:
    """Iliac and renal arteries and veins of one side."""
    t, front = frame.tissues, frame.before_spine
    iliac = [
        (4 + 2 * side, front(172, 12), 172),
        (side * 26, 22, 130),
        (side * 48, 14, 92),
        (side * 66, -28, 45),
        (side * 76, -58, 4),
        (side * 82, -58, -60),
    ]
    tube(
        space,
        iliac,
        [6.2 * wide, 5.5 * wide, 5 * wide, 4.6 * wide, 4.4 * wide, 4.2],
        t["aorta"] * 0.97,
        LABEL["artery"],
        room,
    )
    inner = [(side * 44, 18, 98), (side * 46, 45, 75), (side * 50, 55, 45)]
    tube(space, inner, [4, 3.5, 2.5], t["aorta"] * 0.95, LABEL["artery"], room)
    vein = [
        (-14, 24, 150),
        (side * 26 - 6, 32, 125),
        (side * 46, 26, 90),
        (side * 58, -20, 42),
        (side * 66, -52, 4),
        (side * 72, -50, -60),
    ]
    tube(space, vein, [8, 7, 6.5, 6, 5.5, 5.5], t["vein"], LABEL["vein"], room)
    renal = [(4, front(252, 12), 252), (side * 26, 28, 250), (side * 46, 38, 243)]
    tube(space, renal, [3.2, 3, 2.4], t["aorta"] * 0.96, LABEL["artery"], room)
    renal_vein = [
        (-18, front(245, 10), 245),
        (side * 24 - 4, 14 if side > 0 else 24, 245),
        (side * 46, 34, 240),
    ]
    tube(space, renal_vein, [5, 5, 4.2], t["vein"] * 1.0 + 6, LABEL["vein"], room)


def _paint_portal(space: Space, frame: Frame) -> None:
    veins: tuple[tuple[list[Point], list[float]], ...] = (
        ([(-14, -20, 165), (-15, -12, 210), (-15, -4, 252), (-24, 0, 280), (-38, -3, 303)],
         [4.5, 5, 6, 6.5, 6]),  # superior mesenteric and portal vein
        ([(-15, -4, 252), (20, -2, 266), (50, 12, 282), (80, 32, 300)], [4.8, 4.5, 4, 3.4]),  # splenic vein
    )  # fmt: skip
    for points, radii in veins:
        tube(space, points, radii, frame.tissues["portal vein"], LABEL["portal vein"], ROOM)


def _paint_upper(space: Space, frame: Frame, wide: float, room: tuple[int, ...]) -> None:
    """Branches of the arch, veins of the neck and shoulders, superior vena cava, pulmonary trunk."""
    t = frame.tissues
    artery, vein, blood = LABEL["artery"], LABEL["vein"], t["aorta"]
    room = (*room, LABEL["subcutaneous fat"])
    branches: tuple[tuple[list[Point], list[float]], ...] = (
        ([(-3, -14, 503), (-14, -6, 530), (-22, 4, 560), (-24, 2, 640)], [6, 5.5, 3.8, 3.6]),
        ([(-14, -6, 530), (-42, 2, 552), (-85, 0, 548), (-140, 10, 560)], [5, 4.5, 4.2, 3.6]),
        ([(6, -4, 505), (15, 0, 535), (24, 4, 565), (25, 2, 640)], [3.8, 3.6, 3.6, 3.5]),
        ([(15, 8, 505), (26, 12, 540), (50, 4, 553), (90, 0, 548), (140, 10, 560)], [4.8, 4.6, 4.4, 4, 3.6]),
    )
    for points, radii in branches:
        tube(space, points, [r * wide for r in radii], blood, artery, room)
    hu = t["upper vein"]
    cava = [(-27, -16, 512), (-27, -14, 480), (-27, -12, 440)]
    tube(space, cava, [9, 10, 10.5], hu, LABEL["vena cava"], room)
    for side in (1, -1):
        way = [(side * 135, -4, 552), (side * 88, -14, 540), (side * 36, -20, 535)]
        way += [(10, -32, 522), (-24, -19, 514)] if side > 0 else [(-28, -18, 520)]
        tube(space, way, [5.5, 6, 7, 7.5, 7.5][: len(way)], hu * (1.15 if side > 0 else 0.9), vein, room)
        jugular = [(side * 36, -18, 538), (side * 34, -2, 575), (side * 36, 2, 640)]
        tube(space, jugular, [6, 6, 5.5], hu * 0.8 + 8, vein, room)
    lung, label = t["pulmonary artery"], LABEL["pulmonary vessel"]
    trunk = [(16, -40, 432), (19, -30, 452), (20, -10, 467), (34, 8, 470), (44, 14, 464)]
    tube(space, trunk, [13, 13, 12, 10, 8], lung, label, (*room, *LUNGS))
    tube(space, [(18, -12, 466), (-6, -2, 463), (-30, 4, 460)], [10, 10, 8.5], lung, label, (*room, *LUNGS))


def _paint_plaques(space: Space, frame: Frame, way: Sequence[Point], radii: list[float]) -> None:
    """Calcium on the aortic wall, the more the older."""
    draw = space.draw
    count = max(0, round(draw.normal((frame.habitus.age - 52) * 0.7, 6)))
    for _ in range(min(count, 36)):
        i = draw.integer(3, len(way) - 1)
        j, t = max(3, i - 1), draw.uniform(0, 1)
        angle = draw.uniform(0, 2 * math.pi)
        r = radii[i] - 0.6
        center = [a + (b - a) * t for a, b in zip(way[j], way[i], strict=True)]
        center[0] += r * math.cos(angle)
        center[1] += r * math.sin(angle)
        size = draw.uniform(0.7, 2.2)
        end = (center[0] + draw.normal(0, 2), center[1] + draw.normal(0, 2), center[2] + draw.normal(0, 4))
        space.paint(
            space.path([center, end], [size, size * 0.7]),
            draw.uniform(300, 900),
            None,
            inside=(LABEL["aorta"], *ROOM),
        )
