"""Lungs with lobes, vessels and airways; mediastinum, heart, oesophagus, thyroid."""

from __future__ import annotations

import torch

from resources.synthetic.body import SPINE, Frame
from resources.synthetic.organs import LABEL, LUNGS, ROOM
from resources.synthetic.shapes import Xyz, ellipsoid, interpolate, smooth_cut, smooth_union
from resources.synthetic.space import Box, Space, Waves
from resources.synthetic.vessels import Tree, grow, paint_tree, points_in, tube

MEDIASTINUM = (  # z, centre x, half width, half depth: the tissue between the lungs, above the heart too
    (280, 0, 32, 40), (340, 4, 29, 48), (380, 8, 25, 62), (420, 4, 24, 66), (455, 2, 30, 61),
    (475, 2, 33, 56),
    (495, 3, 34, 54), (520, 0, 33, 48), (545, 0, 30, 42), (600, 0, 30, 40),
)  # fmt: skip


def diaphragm(xyz: Xyz, frame: Frame, breath_mm: float) -> torch.Tensor:
    """Height of the diaphragm (reference mm) above or below each position: two domes and a tendon."""
    x, y, _ = xyz
    domes = []
    for cx, cy, top, rx, ry in ((-62, 2, 386, 80, 98), (66, 6, 374, 76, 96), (14, -28, 366, 80, 80)):
        r2 = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2
        fall = 82 + 34 * ((y - cy) / ry).clamp(-1, 1)
        domes.append(top + breath_mm - fall * r2**1.5)
    return -smooth_union(-smooth_union(-domes[0], -domes[1], 12.0).neg(), -domes[2], 12.0)


def paint_thorax(space: Space, frame: Frame, breath_mm: float) -> None:
    """Everything above the diaphragm but the great vessels' branches."""
    box = space.box((-170, -150, 230), (170, 150, 600))
    if any(part.stop <= part.start for part in box):
        return
    draw = space.draw
    waves = [space.waves(length, draw.generator) for length in (55.0, 30.0, 6.0)]
    spots, sunk = draw.uniform(0, 5), draw.uniform(0, 90)
    for part in space.slabs(box):
        _paint_lungs(space, frame, part, breath_mm, (waves, spots, sunk))
    _paint_heart(space, frame)


def _middle(space: Space, frame: Frame, box: Box, xyz: Xyz) -> torch.Tensor:
    """Signed distance of the mediastinum: before the spine, around the heart, behind the sternum."""
    z = space.axes_mm[0][box[0]] / space.scale[2]
    cx, wide, deep = (v[:, None, None] for v in interpolate(MEDIASTINUM, z))
    spine = interpolate(_spine_front(), z)[0][:, None, None]
    x, y, zz = xyz
    ahead = (y - (spine - deep * 0.62)) / deep
    narrow = 1 - 0.45 * (-ahead).clamp(0, 1) ** 2  # it comes to a point behind the sternum
    column = ((x - cx) / (wide * narrow)) ** 2 + ahead**2
    column = (column.sqrt() - 1) * wide
    heart = ellipsoid(xyz, (22, -24, 402), (67, 50, 49), (-36, 14, 0))
    front = torch.maximum(x.abs() - 7.0, torch.maximum(y + 5, 390 - zz))  # behind the sternum
    spinal = ((x / 30) ** 2 + ((y - spine - 16) / 24) ** 2).sqrt().sub(1).mul(24)
    both = smooth_union(smooth_union(column, heart, 14.0), front, 14.0)
    return smooth_union(both, spinal, 12.0)


def _spine_front() -> tuple[tuple[float, float], ...]:
    return tuple((z, y - 14.0) for z, y in SPINE)


def _paint_lungs(
    space: Space, frame: Frame, box: Box, breath_mm: float, texture: tuple[list[Waves], float, float]
) -> None:
    """Lobes with fissures. texture: noise; how spotted the lungs are; HU by which their back is denser."""
    xyz = space.reference(box)
    (x, y, z), (waves, spots, sunk) = xyz, texture
    middle = _middle(space, frame, box, xyz)
    floor = (diaphragm(xyz, frame, breath_mm) - z) * 0.62
    taper = ((z - 512) / 8).clamp(min=0) ** 1.5
    wall = frame.depth[box] + 3.2 + taper
    chest = (z > 360 + 0.5 * y) & (wall < 0) & (floor < 0)
    part = space.label[box]
    part[chest & ((part == LABEL["abdominal fat"]) | (part == LABEL["pelvic fat"]))] = LABEL["mediastinum"]
    air = smooth_cut(smooth_cut(wall, floor, 9.0), -middle, 5.0)
    wave = waves[0](box) * 5.0
    oblique = z - (438 + 0.86 * (y + 2) + wave)
    flat = z - (444 + 0.08 * x + wave)
    density = frame.tissues["lung"] + 10 + 0.42 * y + 14 * waves[1](box) + spots * waves[2](box)
    right = x < 0
    allowed = (LABEL["mediastinum"], LABEL["abdominal fat"], LABEL["muscle"])
    space.paint((box, air), density, LABEL["lung right upper"], inside=allowed)
    lung = space.label[box] == LABEL["lung right upper"]
    upper = oblique > 0
    part = space.label[box]
    part[lung & right & upper & (flat < 0)] = LABEL["lung right middle"]
    part[lung & right & ~upper] = LABEL["lung right lower"]
    part[lung & ~right & upper] = LABEL["lung left upper"]
    part[lung & ~right & ~upper] = LABEL["lung left lower"]
    seam = torch.minimum(oblique.abs(), torch.where(right & upper, flat.abs(), 99.0))
    thin = (1 - seam / space.edge_mm).clamp_(0, 1) * lung
    space.hu[box] += thin * (70.0 * 1.6 / max(1.0, space.edge_mm))
    dependent = ((y - 52) / 30).clamp(0, 1) * sunk * (wall > -12)
    space.hu[box] += dependent * lung


def paint_lung_trees(space: Space, frame: Frame) -> None:
    """Trachea and bronchi with their walls, arteries beside them and veins between."""
    draw, t = space.draw, frame.tissues
    inside = LUNGS
    airways = ("muscle", "bronchus", "trachea", "pulmonary vessel")
    airway_room = (*ROOM, *LUNGS, *(LABEL[name] for name in airways))
    trees: list[Tree] = []
    for side in (1, -1):
        lobes = tuple(n for n in LUNGS if n in _side_lobes(side))
        for kind in ("artery", "vein"):
            hilum = (side * 34.0 + 5, 8.0 if kind == "artery" else 2.0, 462.0 if kind == "artery" else 440.0)
            targets = points_in(space, lobes, 560, draw)
            tree = grow(
                space.true_points([hilum])[0].tolist(), targets, draw.uniform(0.48, 0.62), draw, direct=0.22
            )
            hu = t["pulmonary artery"] if kind == "artery" else 0.9 * t["aorta"] + 4
            paint_tree(space, tree, 38.0 + 0.85 * (hu - 38), LABEL["pulmonary vessel"], inside, (1.3, 9.0))
            paint_tree(space, tree, 20.0 + 0.6 * (hu - 38), None, inside, (0.0, 1.3), 0.12)
        targets = points_in(space, lobes, 26, draw)
        root = space.true_points([(side * 36.0 + 3, 19.0, 459.0)])[0].tolist()
        trees.append(grow(root, targets, 0.85, draw, 0.06))
    windpipe = [(0.0, _ahead(frame, z), z) for z in (645.0, 600.0, 560.0, 520.0, 482.0)]
    stems = [
        [(0, _ahead(frame, 482), 482), (-16, 20, 472), (-34, 19, 459)],
        [(0, _ahead(frame, 482), 482), (20, 22, 470), (39, 20, 458)],
    ]
    size = draw.uniform(7.6, 9.6) * (0.88 if frame.habitus.sex == "female" else 1.0)
    for grow_mm, hu in ((1.5, 25.0), (0.0, -990.0)):
        tube(space, windpipe, [size + grow_mm] * 5, hu, LABEL["trachea"], airway_room)
        for stem in stems:
            tube(
                space, stem, [7.2 + grow_mm, 6.4 + grow_mm, 5.2 + grow_mm], hu, LABEL["bronchus"], airway_room
            )
        for tree in trees:
            wall = grow_mm * 0.75
            room, tree_hu = (*LUNGS, LABEL["bronchus"], *ROOM), -120.0 if grow_mm else hu
            paint_tree(space, tree, tree_hu, LABEL["bronchus"], room, (1.2, 5.5), wall)


def _ahead(frame: Frame, z: float) -> float:
    return frame.spine_y(z) - 30.0


def _side_lobes(side: int) -> tuple[int, ...]:
    name = "lung left" if side > 0 else "lung right"
    return tuple(number for key, number in LABEL.items() if key.startswith(name))


def _paint_heart(space: Space, frame: Frame) -> None:
    """Myocardium and four chambers in the fat of the pericardium."""
    t, draw = frame.tissues, space.draw
    room = (LABEL["mediastinum"], LABEL["abdominal fat"], LABEL["heart"], *LUNGS)
    box = space.box((-75, -110, 335), (115, 60, 475))
    if any(part.stop <= part.start for part in box):
        return
    xyz = space.reference(box)
    s = draw.normal(1.0, 0.05)
    space.paint(
        (box, ellipsoid(xyz, (22, -24, 402), (65 * s, 48 * s, 48 * s), (-36, 14, 0))),
        t["cavity fat"],
        LABEL["mediastinum"],
        inside=room,
    )
    left = ellipsoid(xyz, (45, -30, 398), (48 * s, 35 * s, 35 * s), (-40, 18, 0))
    right = ellipsoid(xyz, (6, -46, 398), (44 * s, 27 * s, 38 * s), (-24, 18, 0))
    atrium_r = ellipsoid(xyz, (-28, -16, 406), (27 * s, 29 * s, 37 * s), (20, 0, 0))
    atrium_l = ellipsoid(xyz, (6, 12, 428), (37 * s, 19 * s, 23 * s), (-6, 0, 0))
    rough = 1.6 * space.noise(box, 9.0, draw.generator)
    whole = smooth_union(smooth_union(left, right, 9.0), smooth_union(atrium_r, atrium_l, 6.0), 6.0)
    label = LABEL["heart"]
    space.paint((box, whole), t["myocardium"], label, inside=room)
    blood_l, blood_r = t["aorta"], 0.6 * t["pulmonary artery"] + 0.4 * t["upper vein"]
    wall = draw.uniform(8.5, 12.5)
    for distance, hu in (
        (left + wall + rough * 1.3, blood_l),
        (torch.maximum(right + 4.5 + rough, -(left - 1.0)), blood_r),
        (torch.maximum(atrium_r + 2.5 + rough, -(right - 2.0)), 0.5 * blood_r + 0.5 * t["vein"]),
        (torch.maximum(atrium_l + 2.0 + rough * 0.5, -(left - 2.0)), blood_l),
    ):
        space.paint((box, distance), hu, None, inside=(label,))
    for z in (442, 420):  # veins into the left atrium
        for side in (1, -1):
            tube(
                space,
                [(side * 28 + 8, 15, 430), (side * 46 + 5, 18, z)],
                [7, 5.5],
                blood_l,
                LABEL["pulmonary vessel"],
                (*LUNGS, *ROOM),
            )


def paint_gullet(space: Space, frame: Frame) -> None:
    """Oesophagus, with a little gas at times; thyroid."""
    t, draw = frame.tissues, space.draw
    way = [
        (-1.0 if z > 420 else 4.0, frame.spine_y(z) - 13 - (8 if z > 400 else 14), float(z))
        for z in (640, 580, 530, 480, 430, 390, 355)
    ]
    way += [(16, 18, 335), (34, 16, 328)]
    room = (*ROOM, LABEL["muscle"], LABEL["heart"])
    tube(space, way, [6.5] * 5 + [7.5] * 4, t["bowel wall"], LABEL["oesophagus"], room)
    for i in range(5):
        if draw.chance(0.45):
            tube(
                space,
                way[i : i + 2],
                [draw.uniform(1.0, 3.2)] * 2,
                draw.choice((-900.0, -900.0, 5.0)),
                None,
                (LABEL["oesophagus"],),
            )
    for side in (1, -1):
        center, size = (side * 17, 0.0, 578.0), draw.normal(1, 0.15)
        box = space.box([c - 30 for c in center], [c + 30 for c in center])
        lobe = ellipsoid(space.reference(box), center, (8 * size, 9 * size, 21 * size))
        space.paint((box, lobe), t["thyroid"], LABEL["thyroid"], inside=(*ROOM, LABEL["muscle"]))
