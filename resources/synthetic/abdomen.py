"""Liver, gall bladder, spleen, pancreas, adrenals, kidneys with ureters, bladder and pelvic organs."""

from __future__ import annotations

import torch

from resources.synthetic.body import Frame, block
from resources.synthetic.organs import LABEL, ROOM
from resources.synthetic.shapes import Xyz, capsule, ellipsoid, smooth_cut, smooth_union, spline
from resources.synthetic.space import Box, Space
from resources.synthetic.thorax import diaphragm
from resources.synthetic.vessels import grow, paint_tree, points_in

DIAPHRAGM_MM = 3.5


def paint_abdomen(space: Space, frame: Frame, breath_mm: float) -> None:
    """The solid organs of the abdomen."""
    shift = 0.8 * breath_mm
    absent = frame.habitus.absent
    for side, name in ((1, "kidney left"), (-1, "kidney right")):
        if name not in absent:
            _paint_kidney(space, frame, side, 0.4 * breath_mm)
    _paint_liver(space, frame, breath_mm)
    if "spleen" not in absent:
        _paint_spleen(space, frame, breath_mm)
    if "gall bladder" not in absent:
        _paint_gall_bladder(space, frame, shift)
    _paint_pancreas(space, frame, 0.3 * breath_mm)
    for side in (1, -1):
        _paint_adrenal(space, frame, side, 0.4 * breath_mm)


def _paint_liver(space: Space, frame: Frame, breath_mm: float) -> None:
    draw = space.draw
    box = space.box((-170, -150, 190), (110, 120, 425))
    if any(part.stop <= part.start for part in box):
        return
    edge = draw.normal(0, 12)  # how far down the lower edge comes
    lobe = draw.normal(62, 14)  # how far the left lobe reaches
    waves = space.waves(42.0, draw.generator)
    for part in space.slabs(box):
        distance = _liver_distance(space, frame, part, (breath_mm, edge, lobe), waves(part) * 4)
        space.paint((part, distance), frame.tissues["liver"], LABEL["liver"], inside=ROOM)
    _paint_liver_vessels(space, frame, breath_mm)


def _liver_distance(
    space: Space, frame: Frame, box: Box, sizes: tuple[float, float, float], bumps: torch.Tensor
) -> torch.Tensor:
    """Signed distance of the liver in a part. sizes: breath, lower edge and left lobe in mm."""
    breath_mm, edge, lobe = sizes
    xyz = space.reference(box)
    x, y, z = xyz
    z = z - 0.7 * breath_mm
    dome = (xyz[2] - diaphragm(xyz, frame, breath_mm) + DIAPHRAGM_MM) * 0.72
    under = 234 + edge + 0.60 * (x + 112) + 0.16 * (y + 10) + bumps
    behind = 0.72 * (y - 52) + 0.70 * (x + 42) + 0.05 * (z - 310)
    liver = smooth_cut(frame.depth[box] + 5.0, dome, 10.0)
    liver = smooth_cut(liver, (under - z) * 0.82, 20.0)
    liver = smooth_cut(liver, behind + bumps, 22.0)
    liver = smooth_cut(liver, x - lobe + bumps, 18.0)
    cleft = torch.maximum((x - 6 - 0.1 * y).abs() - 2.6, (z - 318 + 0.3 * (y + 60)))  # round ligament
    liver = torch.maximum(liver, -torch.maximum(cleft, -20.0 - y))
    porta = capsule(xyz, (-12, 2, 292 + 0.7 * breath_mm), (-46, -2, 303 + 0.7 * breath_mm), (12.0, 7.0))
    return smooth_cut(liver, -porta, 6.0)


def _paint_liver_vessels(space: Space, frame: Frame, breath_mm: float) -> None:
    draw, t, inside = space.draw, frame.tissues, (LABEL["liver"],)
    targets = points_in(space, inside, 110, draw)
    if not len(targets):
        return
    lift = 0.7 * breath_mm
    root = space.true_points([(-40.0, -3.0, 304.0 + lift)])[0].tolist()
    mix = 0.55 if abs(t["portal vein"] - t["liver"]) > 25 else 1.0
    tree = grow(root, targets[:60], 0.85, draw, 0.1)
    paint_tree(space, tree, t["portal vein"], LABEL["portal vein"], inside, (1.6, 7.0))
    paint_tree(space, tree, t["liver"] + mix * (t["portal vein"] - t["liver"]), None, inside, (0.0, 1.6))
    root = space.true_points([(-24.0, 12.0, 358.0 + lift)])[0].tolist()
    tree = grow(root, targets[60:], 0.9, draw, 0.06)
    paint_tree(space, tree, t["hepatic vein"], None, inside, (0.0, 6.0))


def _paint_spleen(space: Space, frame: Frame, breath_mm: float) -> None:
    draw, t = space.draw, frame.tissues
    box = space.box((20, -60, 220), (160, 125, 420))
    if any(part.stop <= part.start for part in box):
        return
    xyz = space.reference(box)
    size = draw.normal(1.0, 0.1)
    bumps = space.noise(box, 30.0, draw.generator) * 3.0
    lift = 0.6 * breath_mm
    d = ellipsoid(xyz, (98, 46, 322 + lift), (44, 50 * size, 55 * size), (8, 0, -18))
    d = smooth_cut(d, frame.depth[box] + 5.0, 5.0)
    d = smooth_cut(d, -(frame.depth[box] + 42 * size + bumps), 14.0)
    d = smooth_cut(d, (xyz[2] - diaphragm(xyz, frame, breath_mm) + DIAPHRAGM_MM) * 0.7, 6.0)
    hu = torch.full_like(d, t["spleen"])
    if t["aorta"] > 220:  # arterial: bands of red pulp
        hu = hu + 26 * space.noise(box, 9.0, draw.generator)
    space.paint((box, d), hu, LABEL["spleen"], inside=ROOM)


def _paint_gall_bladder(space: Space, frame: Frame, shift: float) -> None:
    draw, t = space.draw, frame.tissues
    if draw.chance(0.12):
        return  # taken out
    size = draw.normal(1.0, 0.22)
    center = (-52.0, -48.0, 262.0 + shift)
    reach = (24 * size, 24 * size, 44 * size)
    box = space.box(*block(center, reach))
    xyz = space.reference(box)
    d = ellipsoid(xyz, center, (15 * size, 15 * size, 31 * size), (0, 12, 24))
    room = (*ROOM, LABEL["liver"])
    space.paint((box, d - 1.2), t["bowel wall"], LABEL["gall bladder"], inside=room)
    space.paint((box, d), t["gall bladder"], None, inside=(LABEL["gall bladder"],))
    if draw.chance(0.12):
        for _ in range(draw.integer(1, 5)):
            r = draw.uniform(2, 6)
            stone = (center[0] + draw.normal(0, 4), center[1] + 13 * size - r, center[2] + draw.normal(0, 8))
            space.paint(
                (box, ellipsoid(xyz, stone, (r, r, r))),
                draw.choice((90.0, 250.0, 600.0)),
                None,
                inside=(LABEL["gall bladder"],),
            )


def _paint_pancreas(space: Space, frame: Frame, shift: float) -> None:
    draw, t = space.draw, frame.tissues
    size = draw.normal(1.0, 0.12) * (1.1 - 0.003 * max(0.0, frame.habitus.age - 40))
    way = spline(
        [
            (-34, 0, 214 + shift, 11),
            (-32, -4, 236 + shift, 14),
            (-10, -18, 252 + shift, 9.5),
            (22, -14, 264 + shift, 10.5),
            (52, 6, 280 + shift, 10),
            (80, 26, 292 + shift, 8),
        ],
        8.0,
    )
    box, d = space.path([p[:3] for p in way], [p[3] * size for p in way])
    if d.numel() == 0:
        return
    d = d + 2.6 * space.noise(box, 8.0, draw.generator)
    space.paint((box, d), t["pancreas"], LABEL["pancreas"], inside=ROOM)
    fat = (1.7 - 0.016 * (frame.habitus.age - 30) - space.noise(box, 5.0, draw.generator)) * 2.2
    space.paint((box, torch.maximum(fat, d)), -70.0, None, inside=(LABEL["pancreas"],), soft_mm=2.5)
    duct = [p[:3] for p in way[len(way) // 3 :]]
    space.paint(space.path(duct, draw.uniform(0.6, 1.6)), 12.0, None, inside=(LABEL["pancreas"],))


def _paint_adrenal(space: Space, frame: Frame, side: int, shift: float) -> None:
    """An inverted Y: a body and two limbs, thin sheets that run along z."""
    draw, t = space.draw, frame.tissues
    x, y, z = (34.0, 22.0, 286.0 + shift) if side > 0 else (-33.0, 32.0, 292.0 + shift)
    thin = draw.normal(2.3, 0.3)
    limbs = [((x, y, z), (x - side * 3, y + 20, z - 3)), ((x, y, z), (x + side * 11, y + 18, z - 5))]
    for dz in (-8.0, -3.0, 2.0, 7.0, 12.0):
        for a, b in limbs:
            far = 1.0 if dz < 8 else 0.6
            end = [p + (q - p) * far for p, q in zip(a, b, strict=True)]
            shape = space.path([(a[0], a[1], a[2] + dz), (end[0], end[1], end[2] + dz)], [thin * 1.25, thin])
            space.paint(
                shape,
                t["adrenal gland"],
                LABEL["adrenal gland left" if side > 0 else "adrenal gland right"],
                inside=(*ROOM, LABEL["liver"]),
            )


def _paint_kidney(space: Space, frame: Frame, side: int, shift: float) -> None:
    """Fat of the renal bed, cortex with pyramids, sinus fat, pelvis and ureter."""
    draw, t = space.draw, frame.tissues
    name = "left" if side > 0 else "right"
    center = (
        side * (67.0 + draw.normal(0, 2)),
        frame.spine_y(245) + 7,
        (248.0 if side > 0 else 234.0) + shift,
    )
    size = draw.normal(1.0, 0.07)
    box = space.box(*block(center, (62, 62, 92)))
    if any(part.stop <= part.start for part in box):
        return
    xyz = space.reference(box)
    turn = (side * 38.0, side * 9.0, 10.0)
    pad = 5 + 6 * frame.habitus.visceral
    bed = ellipsoid(xyz, center, (30 * size + pad, 28 * size + pad, 58 * size + 1.4 * pad), turn)
    bed = torch.maximum(bed, frame.depth[box] + 4)
    around = (*ROOM, LABEL["muscle"])
    space.paint((box, bed - 1.2), t["fat"] + 55, LABEL["abdominal fat"], inside=around, soft_mm=0.5)
    space.paint((box, bed), t["fat"], LABEL["abdominal fat"], inside=around)
    bumps = space.noise(box, 16.0, draw.generator) * 0.9
    kidney = ellipsoid(xyz, center, (30 * size, 27 * size, 57 * size), turn) + bumps
    inner = (center[0] - side * 19 * size, center[1] - 17 * size, center[2])
    sinus = ellipsoid(xyz, inner, (15 * size, 12 * size, 25 * size), turn) + 2.2 * bumps
    label = LABEL[f"kidney {name}"]
    body = smooth_cut(kidney, -sinus, 4.0)
    space.paint((box, body), t["cortex"], label, inside=ROOM)
    core = ellipsoid(xyz, center, (21 * size, 18.5 * size, 49 * size), turn)
    column = (xyz[2] - center[2]) / (8.5 * size)
    pyramid = torch.maximum(
        core, (torch.sin(column * 3.1416) + 0.35 * space.noise(box, 14.0, draw.generator) - 0.65) * 5
    )
    space.paint((box, pyramid), t["medulla"], None, inside=(label,), soft_mm=1.0)
    _paint_pelvis_of_kidney(space, frame, side, (inner, center, size))


def _paint_pelvis_of_kidney(space: Space, frame: Frame, side: int, place: tuple) -> None:
    draw, t = space.draw, frame.tissues
    inner, center, size = place
    name = "left" if side > 0 else "right"
    room = (*ROOM, LABEL[f"kidney {name}"])
    wide = draw.uniform(0.7, 1.25) * (2.0 if draw.chance(0.03) else 1.0)
    label = LABEL[f"renal pelvis {name}"]
    hub = (inner[0] + side * 3, inner[1] + 4, inner[2] - 3)
    for dz in (-30, -14, 2, 18, 32):
        calyx = (
            center[0] + side * 2 + draw.normal(0, 2),
            center[1] + draw.normal(0, 4),
            center[2] + dz * size,
        )
        space.paint(space.path([hub, calyx], [2.4 * wide, 2.6 * wide]), t["urine"], label, room)
    down = spline(
        [
            hub,
            (side * 38, hub[1] - 4, center[2] - 32),
            (side * 36, 16, 170),
            (side * 42, 12, 110),
            (side * 52, 40, 60),
            (side * 22, 6, 30),
        ],
        14.0,
    )
    space.paint(space.path(down[:3], [5.0 * wide, 4.0 * wide, 2.6]), t["urine"], label, room)
    space.paint(
        space.path(down, 1.9),
        t["urine"] * (0.6 if draw.chance(0.7) else 0.1) + 8,
        LABEL[f"ureter {name}"],
        (*ROOM,),
    )
    for _ in range(draw.integer(1, 3) if draw.chance(0.08) else 0):
        stone = (center[0] + draw.normal(0, 4), center[1] + draw.normal(0, 4), center[2] + draw.normal(0, 18))
        r = draw.uniform(1, 4)
        space.paint(
            space.path([stone, (stone[0] + 0.5, *stone[1:])], [r, r]),
            draw.uniform(400, 1200),
            None,
            inside=room,
        )


def paint_pelvis(space: Space, frame: Frame) -> None:
    """Bladder, prostate and seminal vesicles or uterus and ovaries, floor and side walls of the pelvis."""
    draw, t = space.draw, frame.tissues
    box = space.box((-110, -110, -80), (110, 120, 120))
    if any(part.stop <= part.start for part in box):
        return
    xyz: Xyz = space.reference(box)
    _paint_pelvic_muscles(space, frame)
    fill = draw.uniform(0.55, 1.25)
    center = (draw.normal(0, 4), -34.0, 22.0 + 20 * fill)
    bladder = ellipsoid(xyz, center, (38 * fill**0.6, 29 * fill**0.7, 26 * fill), (0, 0, 14), 2.3)
    bladder = bladder + 1.8 * space.noise(box, 30.0, draw.generator)
    room = (LABEL["pelvic fat"], LABEL["abdominal fat"])
    space.paint(
        (box, bladder - draw.uniform(2.0, 4.0)), 0.5 * t["muscle"] + 10, LABEL["bladder"], inside=room
    )
    layer = ((xyz[1] - center[1]) / 20).clamp(-1, 1)  # contrast settles at the back
    urine = t["bladder"] + (layer * 0.5 * t["bladder"] if t["bladder"] > 60 else 0.0)
    space.paint((box, bladder), urine, None, inside=(LABEL["bladder"],))
    if {"prostate", "uterus"} & set(frame.habitus.absent):
        return
    if frame.habitus.sex == "male":
        size = 0.85 + 0.006 * max(0.0, frame.habitus.age - 40) + draw.uniform(-0.1, 0.25)
        gland = ellipsoid(xyz, (0, -14, 2), (22 * size, 16 * size, 18 * size), (0, 0, 0), 2.2)
        space.paint((box, gland), t["prostate"], LABEL["prostate"], inside=room)
        for side in (1, -1):
            space.paint(
                space.path([(side * 3, 8, 20), (side * 26, 16, 28)], [5.0, 5.5]), 22.0, None, inside=room
            )
    else:
        size = draw.normal(1.0, 0.15) * (0.75 if frame.habitus.age > 55 else 1.0)
        womb = smooth_union(
            ellipsoid(xyz, (3, -10, 74), (25 * size, 23 * size, 24 * size), (0, 0, 40)),
            capsule(xyz, (2, 2, 62), (0, 18, 32), (15 * size, 12 * size)), 10.0)  # fmt: skip
        space.paint(
            (box, womb + 1.2 * space.noise(box, 16.0, draw.generator)),
            t["uterus"],
            LABEL["uterus"],
            inside=room,
        )
        space.paint(
            (box, ellipsoid(xyz, (3, -10, 74), (9 * size, 3, 9 * size), (0, 0, 40))),
            t["uterus"] - 22,
            None,
            inside=(LABEL["uterus"],),
        )
        space.paint(space.path([(0, 18, 32), (0, 8, -30)], [11.0, 8.0]), 35.0, None, inside=room)
        for side in (1, -1):
            ovary = ellipsoid(xyz, (side * 44, 16, 72), (9, 11, 14))
            space.paint((box, ovary), 26.0, LABEL["ovary left" if side > 0 else "ovary right"], inside=room)


def _paint_pelvic_muscles(space: Space, frame: Frame) -> None:
    hu, muscle = frame.tissues["muscle"], LABEL["muscle"]
    bulk = frame.habitus.muscle
    for side in (1, -1):
        ways = (
            ([(side * 78, 14, 34), (side * 66, -18, 10), (side * 52, -38, -8)], 9.0),  # obturator internus
            ([(side * 72, 26, 6), (side * 62, 10, -18), (side * 46, -20, -30)], 8.0),
            ([(side * 34, 84, 56), (side * 70, 62, 46), (side * 104, 40, 34)], 9.0),  # piriformis
            ([(side * 60, 34, -6), (side * 22, 42, -26), (side * 6, 46, -32)], 4.0),  # levator
            ([(side * 52, -10, -16), (side * 18, 8, -34), (side * 7, 34, -38)], 4.0),
        )
        for points, radius in ways:
            shape = space.path(spline(points, 10.0), radius * bulk)
            space.paint(shape, hu, muscle, inside=(LABEL["pelvic fat"],))
        for k in range(6):  # iliacus on the inner face of the wing
            t = k / 5
            top = (side * (70 + 50 * t), 44 - 84 * t, 140.0 - 10 * t)
            foot = (side * (72 + 12 * t), 22 - 52 * t, 62.0)
            shape = space.path(spline([top, foot], 12.0), 7.0 * bulk)
            space.paint(shape, hu, muscle, inside=ROOM)


def mesenteric_roots(space: Space) -> list[list[float]]:
    """True positions from which vessels fan out into the mesentery."""
    return space.true_points([(-6.0, -22.0, 205.0), (8.0, -24.0, 235.0), (6.0, -10.0, 150.0)]).tolist()
