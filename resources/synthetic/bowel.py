"""Stomach and bowel with gas, fluid, stool or contrast; mesentery and normal lymph nodes."""

from __future__ import annotations

import math

import torch

from resources.synthetic.abdomen import mesenteric_roots
from resources.synthetic.body import Frame
from resources.synthetic.organs import LABEL, ROOM
from resources.synthetic.shapes import spline
from resources.synthetic.space import Shape, Space
from resources.synthetic.vessels import grow, paint_tree, points_in

GAS_HU = -960.0


def paint_bowel(space: Space, frame: Frame, breath_mm: float, oral: str) -> None:
    """Stomach, bowel and mesentery; oral: what the patient drank, "none", "water" or "positive" contrast."""
    _paint_colon(space, frame, oral)
    _paint_stomach(space, frame, breath_mm, oral)
    _paint_small_bowel(space, frame, oral)
    _paint_mesentery(space, frame)


def _fill(space: Space, shape: Shape, wall_mm: float, label: int, fluid_hu: float, gas_share: float) -> None:
    """A lumen with a level: gas lies in front (the patient is on the back), fluid behind."""
    box, distance = shape
    inner = distance + wall_mm
    lumen = inner < 0
    if not bool(lumen.any()):
        return
    space.paint((box, inner), fluid_hu, None, inside=(label,))
    if gas_share > 0:
        y = space.world(box)[1].expand_as(distance)
        rows = y[lumen]
        level = (
            float(rows.float().quantile(min(1.0, gas_share))) if len(rows) < 1_000_000 else float(rows.mean())
        )
        space.paint((box, torch.maximum(inner, y - level)), GAS_HU, None, inside=(label,))


def _paint_stomach(space: Space, frame: Frame, breath_mm: float, oral: str) -> None:
    draw, t = space.draw, frame.tissues
    size, drop = draw.uniform(0.62, 1.12), draw.uniform(-22, 12)
    lift = 0.6 * breath_mm
    way = spline(
        [
            (58, 26, 356 + lift, 30 * size),
            (64, 8, 335 + lift, 36 * size),
            (64, -22, 302 + drop, 32 * size),
            (48, -52, 268 + drop, 25 * size),
            (14, -58, 250 + drop, 19 * size),
            (-22, -44, 258 + drop / 2, 11),
        ],
        11.0,
    )
    box, d = space.path([p[:3] for p in way], [p[3] for p in way])
    if d.numel():
        folds = 1.8 * space.noise(box, 10.0, draw.generator)
        d = torch.maximum(d, frame.depth[box] + 4.0)
        label = LABEL["stomach"]
        space.paint((box, d), t["bowel wall"] + 6, label, inside=ROOM)
        fluid = {"none": draw.uniform(5, 40), "water": draw.normal(6, 4), "positive": draw.uniform(120, 330)}[
            oral
        ]
        food = 22 * space.noise(box, 9.0, draw.generator) if draw.chance(0.5) else 0.0
        inner = (box, d + folds)
        _fill(space, inner, draw.uniform(3.0, 6.0), label, fluid, draw.uniform(0.05, 0.5))
        if isinstance(food, torch.Tensor):
            space.hu[box] += food * ((space.label[box] == label) & (space.hu[box] > -200) & (d < -6))
    way = spline(
        [
            (-24, -44, 258 + drop / 2, 9),
            (-44, -26, 262, 12),
            (-52, 4, 246, 11),
            (-50, 12, 208, 11),
            (-14, 8, 192, 10),
            (20, 2, 200, 10),
            (32, -8, 222, 10),
        ],
        9.0,
    )
    box, d = space.path([p[:3] for p in way], [p[3] * 0.95 for p in way])
    if d.numel():
        label = LABEL["duodenum"]
        space.paint((box, d), t["bowel wall"], label, inside=ROOM)
        lumen = d + 1.4 * space.noise(box, 9.0, draw.generator)
        _fill(
            space,
            (box, lumen),
            draw.uniform(3.0, 6.0),
            label,
            draw.uniform(0, 30) if oral != "positive" else draw.uniform(60, 260),
            draw.choice((0.0, 0.0, 0.15)),
        )


def _paint_colon(space: Space, frame: Frame, oral: str) -> None:
    """From the caecum to the anus, with haustra; stool, gas or contrast by stretches."""
    draw, t = space.draw, frame.tissues
    sag = draw.uniform(-50, 25)
    wide = draw.normal(1.0, 0.14)
    way = [
        (-86, -34, 112, 27), (-96, -14, 150, 25), (-101, 4, 196, 23), (-94, 4, 236, 21), (-82, -38, 236, 21),
        (-52, -76, 214 + sag * 0.7, 21), (-5, -88, 206 + sag, 20), (42, -80, 226 + sag * 0.6, 20),
        (82, -46, 272, 19), (106, 8, 312, 18), (109, 26, 272, 16), (106, 26, 220, 15), (100, 10, 160, 14),
        (88, -20, 118, 14), (62, -34, 92, 14), (28, -24, 100 + draw.uniform(-10, 30), 15),
        (4, 12, 104, 15), (-10, 44, 86, 15), (-2, 60, 62, 17), (0, 62, 28, 18), (0, 48, -4, 14),
        (0, 34, -36, 8),
    ]  # fmt: skip
    curve = spline(way, 5.0)
    phase = draw.uniform(0, 6)
    radii = [
        p[3] * wide * (1 + 0.13 * math.sin(i * 0.95 + phase) + 0.08 * draw.normal())
        for i, p in enumerate(curve)
    ]
    anterior = draw.uniform(0.25, 0.75)
    pieces = 14
    step = len(curve) / pieces
    for k in range(pieces):
        first, last = int(k * step), min(len(curve), int((k + 1) * step) + 2)
        box, d = space.path([p[:3] for p in curve[first:last]], radii[first:last])
        if d.numel() == 0:
            continue
        d = torch.maximum(d + 1.5 * space.noise(box, 15.0, draw.generator), frame.depth[box] + 3.5)
        label = LABEL["rectum" if k >= pieces - 2 else "colon"]
        room = (*ROOM, label, LABEL["colon"])
        space.paint((box, d), t["bowel wall"], label, inside=room)
        middle = curve[(first + last) // 2]
        front = middle[1] < -30
        content = draw.weighted(
            {"gas": 0.55 if front else 0.2, "stool": 0.45, "collapsed": 0.25 if k > 7 else 0.08}
        )
        wall = draw.uniform(2.0, 3.2)
        if content == "collapsed":
            _fill(space, (box, d), max(wall, 0.62 * float(radii[first])), label, 15.0, 0.0)
            continue
        stool = draw.uniform(20, 60) if oral != "positive" else draw.uniform(60, 380)
        _fill(space, (box, d), wall, label, stool, anterior if content == "gas" else 0.0)
        _bubbles(space, (box, d + wall), label, draw.uniform(0.4, 1.3) if content == "stool" else 1.8)


def _bubbles(space: Space, shape: Shape, label: int, level: float) -> None:
    """Stool: lumps with pockets of gas of all sizes."""
    box, inner = shape
    generator = space.draw.generator
    field = 0.75 * space.noise(box, 5.0, generator) + 0.55 * space.noise(box, 11.0, generator)
    inside = (space.label[box] == label) & (inner < 0)
    space.hu[box] += inside * (space.hu[box] > -300) * field * 30
    space.paint((box, torch.maximum(inner, (level - field) * 4)), -820.0, None, inside=(label,), soft_mm=1.5)


def _paint_small_bowel(space: Space, frame: Frame, oral: str) -> None:
    """Loops: tubes around the curves on which two smooth random fields both vanish.

    Such curves (Kac-Rice) fill a space evenly, are closed or leave it, and never end inside it.
    """
    draw, t = space.draw, frame.tissues
    box = space.box((-112, -118, 48), (112, 40, 262))
    if any(part.stop <= part.start for part in box):
        return
    wave = draw.uniform(23, 28)
    fields = []
    for _ in range(2):
        f = space.noise(box, wave, draw.generator)
        slope = (
            [g / s for g, s in zip(torch.gradient(f), reversed(space.step_mm), strict=True)]
            if min(f.shape) > 1
            else [f]
        )
        fields.append(f / sum(g * g for g in slope).sqrt().clamp(min=0.55 / wave))  # type: ignore[union-attr]
    radius = draw.uniform(10.5, 13.0) + 2.0 * space.noise(box, 50.0, draw.generator)
    distance = (fields[0] ** 2 + fields[1] ** 2).sqrt() - radius
    x, y, z = space.reference(box)
    hull = torch.maximum(
        ((x / 108) ** 2 + ((y + 36) / 70) ** 2 + ((z - 150) / 100) ** 2).sqrt().sub(1) * 60,
        frame.depth[box] + 4,
    )
    distance = torch.maximum(distance, hull)
    label = LABEL["small bowel"]
    space.paint((box, distance), t["bowel wall"] + 4, label, inside=ROOM)
    content = space.noise(box, 36.0, draw.generator)
    feather = 1.3 * space.noise(box, 4.5, draw.generator)
    fluid = torch.full_like(distance, draw.uniform(8, 26)) + 6 * space.noise(box, 12.0, draw.generator)
    if oral == "positive":
        fluid = torch.where(content > -0.4, draw.uniform(130, 300), fluid)
    lumen = distance + 3.2 + feather + 4.0 * (content < -1.2)
    space.paint((box, lumen), fluid, None, inside=(label,), soft_mm=1.5)
    gas = torch.maximum(lumen + 1.0, (draw.uniform(1.7, 2.9) - content - 0.012 * (-38 - y)) * 12)
    space.paint((box, gas), GAS_HU, None, inside=(label,))


def _paint_mesentery(space: Space, frame: Frame) -> None:
    """Vessels that fan out into the fat, thin strands, and normal lymph nodes along the great vessels."""
    draw, t = space.draw, frame.tissues
    fat = (LABEL["abdominal fat"],)
    for root in mesenteric_roots(space):
        targets = points_in(space, (LABEL["abdominal fat"], LABEL["small bowel"], LABEL["colon"]), 240, draw)
        if not len(targets):
            return
        reach = (targets - torch.tensor(root)).norm(dim=1)
        center = space.true_points([(0.0, -40.0, 180.0)])[0]
        near = (reach < 115) & ((targets - center).abs() < torch.tensor([95.0, 60.0, 95.0])).all(1)
        tree = grow(root, targets[near][:70], 0.7, draw, 0.2)
        hu = draw.choice((t["vein"], t["aorta"] * 0.8)) if t["aorta"] < 200 else t["aorta"] * 0.7
        paint_tree(space, tree, max(hu, t["vein"]), None, fat, (0.0, 3.0))
    cavities = (LABEL["abdominal fat"], LABEL["pelvic fat"])
    for p in points_in(space, cavities, 260, draw).tolist():
        r = draw.uniform(0.4, 0.9)
        strand = space.rod(p, [c + draw.normal(0, 7) for c in p], (r, r * 0.6))
        space.paint(strand, 10.0, None, inside=cavities)


NODE_CHAINS = {  # reference x, y, z, spread in mm
    "retroperitoneal": (0, 12, 210, 22), "mesenteric": (-5, -30, 200, 25), "iliac right": (-58, 0, 70, 16),
    "iliac left": (58, 0, 70, 16), "inguinal right": (-78, -78, -10, 14),
    "inguinal left": (78, -78, -10, 14),
    "paratracheal": (-16, 0, 505, 12), "subcarinal": (0, 22, 462, 12), "hilar right": (-36, 12, 458, 10),
    "hilar left": (38, 12, 460, 10),
    "axillary right": (-128, 10, 510, 18), "axillary left": (128, 10, 510, 18),
    "prevascular": (4, -45, 490, 14), "cervical right": (-34, 14, 590, 12),
    "cervical left": (34, 14, 590, 12),
    "retrocrural": (6, 40, 310, 8), "portal": (-30, 6, 280, 10), "gastrohepatic": (20, -20, 300, 12),
}  # fmt: skip


def paint_nodes(space: Space, frame: Frame) -> None:
    """Normal lymph nodes: ovals of 3 to 8 mm in the fat along the vessels."""
    draw = space.draw
    for x, y, z, spread in NODE_CHAINS.values():
        for _ in range(draw.integer(1, 4)):
            center = (
                x + draw.normal(0, spread),
                y + draw.normal(0, 0.6 * spread),
                z + draw.normal(0, spread),
            )
            short = draw.uniform(1.3, 3.6)
            end = [c + draw.normal(0, 0.9 * short) for c in center]
            space.paint(
                space.path([center, end], [short, short * 0.9]),
                frame.tissues["node"],
                LABEL["lymph node"],
                inside=(*ROOM, LABEL["subcutaneous fat"]),
            )
