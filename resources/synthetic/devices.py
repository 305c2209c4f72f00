"""Lines, tubes, stents and implants of a procedural body.

None has an organ label: each bears that of its place. What is dense enough for
streaks (see scanner.metal_streaks) is painted at METAL_HU.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from resources.synthetic.body import SPINE
from resources.synthetic.draw import Draw
from resources.synthetic.focal import Painter
from resources.synthetic.organs import LABEL
from resources.synthetic.shapes import Point, ellipsoid, interpolate_at, spline
from resources.synthetic.skeleton import LEVELS_MM
from resources.synthetic.space import Space
from resources.synthetic.texture import METAL_HU

LEAD_HU = 2400.0
"""Wires too thin for streaks."""
CAVA = [(-28.0, -18.0, 520.0), (-27.0, -14.0, 480.0), (-27.0, -12.0, 436.0)]
BEDS = {
    "gall bladder": (-48, -38, 270), "spleen": (84, 42, 312), "kidney left": (42, 26, 246),
    "kidney right": (-42, 28, 238), "uterus": (34, 4, 64), "prostate": (22, 0, 10),
    "breast left": (95, -62, 470), "breast right": (-95, -62, 470), "aorta": (12, 14, 190),
    "iliac": (52, 16, 70), "heart": (-8, -62, 440),
}  # fmt: skip
"""Where clips may be, by what was operated on, in reference mm."""


class Tube(NamedTuple):
    """points: true mm. lumen: HU of a bore of half the radius; None for a solid one."""

    points: Sequence[Point]
    radius: float
    hu: float
    lumen: float | None = None


class Solid(NamedTuple):
    """A box with round edges.

    center, radii: true mm. inside: labels to which it is held, if any. lean: degrees by which its top
    is tilted to the back.
    """

    center: Point
    radii: Point
    hu: float
    inside: tuple[int, ...] | None = None
    lean: float = 0.0


def paint_devices(painter: Painter, shares: dict[str, float], absent: Sequence[str]) -> tuple[str, ...]:
    """Draws and paints a body's devices; returns the names of those within the field of view.

    shares: of the scans, by name. absent: organs taken out, which leave clips at times. Lesions painted
    afterwards will touch no device.
    """
    space, draw = painter.space, painter.draw
    wanted = [name for name, share in shares.items() if draw.chance(share)]
    parts = {name: _in_chest(space, draw, name) or _in_belly(space, draw, name) for name in wanted}
    beds = [organ for organ in absent if organ in BEDS and draw.chance(0.7)]
    beds += [draw.choice(("aorta", "iliac", "heart"))] if "clips" in wanted else []
    if beds:
        parts["clips"] = [clip for bed in beds for clip in _clips(space, draw, BEDS[bed])]
    return tuple(name for name, pieces in parts.items() if _paint(painter, pieces))


def _paint(painter: Painter, pieces: Sequence[Tube | Solid]) -> bool:
    """Whether anything of a device lies on the grid."""
    space, painted = painter.space, 0
    for piece in pieces:
        if isinstance(piece, Solid):
            lower, upper = ([c + s * max(piece.radii) for c in piece.center] for s in (-1, 1))
            box = space.box(lower, upper, world=True)
            shape = box, ellipsoid(space.world(box), piece.center, piece.radii, (0, 0, -piece.lean), 4.0)
            space.paint(shape, piece.hu, None, piece.inside)
            painted += int((shape[1] < 0).sum())
            x, y, z = piece.center
            painter.devices.append(((x, y, z), 2 * max(piece.radii)))
            continue
        ends = list(itertools.pairwise(piece.points))
        bore = [] if piece.lumen is None else [(0.5 * piece.radius, piece.lumen)]
        for radius, hu in ((piece.radius, piece.hu), *bore):
            for rod in space.rods(ends, [(radius, radius)] * len(ends)):
                space.paint(rod, hu)
                painted += int((rod[1] < 0.5).sum())
        painter.devices += [((p[0], p[1], p[2]), 2 * piece.radius) for p in piece.points]
    return painted > 0


def _in_chest(space: Space, draw: Draw, name: str) -> list[Tube | Solid]:
    """The parts of what is put into chest and neck; none for other names."""
    side = draw.choice((1, -1))
    cava = CAVA if side < 0 else [(10.0, -32.0, 522.0), *CAVA[1:]]
    shoulder = [(side * 60.0, -18.0, 537.0), (side * 36.0, -20.0, 535.0), *cava]
    if name == "central line":
        neck = [(side * 34.0, 0.0, 640.0), (side * 34.0, -2.0, 575.0), (side * 36.0, -18.0, 538.0), *cava]
        arm = [(side * 140.0, -4.0, 553.0), (side * 88.0, -14.0, 541.0), *shoulder[1:]]
        return [
            Tube(_curve(space, draw.choice((neck, arm))), draw.uniform(0.9, 1.5), draw.uniform(500, 1500))
        ]
    if name in ("port", "pacemaker"):
        radii = (13.0, 5.5, 13.0) if name == "port" else (23.0, 4.5, 20.0)
        low, (x, y, z), high = (
            _beneath_skin(space, (side * 74.0, -60.0, 495.0 + dz), radii[1] + 7) for dz in (-15, 0, 15)
        )
        lean = math.degrees(math.atan2(high[1] - low[1], high[2] - low[2]))
        start = [(x, y, z), _beneath_skin(space, (side * 84.0, -50.0, 530.0), 12.0)]
        case = Solid((x, y, z), radii, METAL_HU, None, lean)
        if name == "port":
            return [case, Tube([*start, *_curve(space, shoulder)], 1.3, draw.uniform(600, 1500))]
        atrium = [*shoulder, (-26.0, -30.0, 414.0)]
        ventricle = [*shoulder, (-22.0, -34.0, 402.0), (8.0, -50.0, 392.0), (36.0, -58.0, 384.0)]
        return [case, *(Tube([*start, *_curve(space, way)], 1.0, LEAD_HU) for way in (atrium, ventricle))]
    if name == "electrodes":
        places = [
            (side * x + draw.normal(0, 8), -60.0, z)
            for x, z in ((75.0, 505.0), (-75.0, 505.0), (70.0, 380.0))
        ]
        pads = [Solid(_beneath_skin(space, place, -1.0), (7.0, 1.5, 7.0), 700.0) for place in places]
        ends = [
            [(x + (0.0 - x) * t, -60.0, z + (560.0 - z) * t) for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
            for x, _, z in places
        ]
        wires = [Tube([_beneath_skin(space, p, -3.0) for p in line], 0.7, LEAD_HU) for line in ends]
        return [*pads, *wires]
    if name == "sternal wires":
        return [loop for z in range(365, 525, 26) for loop in _wire(space, float(z))]
    if name == "breast implants":
        labels = [LABEL[f"breast {one}"] for one in ("left", "right")]
        found = [(label, (space.label == label).nonzero().float()) for label in labels]
        hu = draw.uniform(10, 110)  # saline to silicone
        return [
            Solid(
                _true_of(space, rows.mean(0) + torch.tensor([0.0, 6.0 / space.step_mm[1], 0.0])),
                (46.0, 20.0, 46.0),
                hu,
                (label,),
            )
            for label, rows in found
            if len(rows)
        ]
    return []


def _in_belly(space: Space, draw: Draw, name: str) -> list[Tube | Solid]:
    """The parts of what is put into the abdomen, the pelvis and the bones; none for other names."""
    side = draw.choice((1, -1))
    soft = draw.uniform(350, 900)
    if name == "nasogastric tube":
        gullet = _midline(space, ("oesophagus",))
        stomach = _curve(
            space, [(44.0, 14.0, 335.0), (58.0, 2.0, 305.0), (54.0, -24.0, 280.0), (36.0, -46.0, 262.0)]
        )
        return [Tube([*gullet, *stomach], draw.uniform(1.6, 2.4), soft, -700.0)] if gullet else []
    if name == "biliary stent":
        way = _curve(
            space, [(-42.0, -3.0, 304.0), (-30.0, -2.0, 284.0), (-32.0, 2.0, 260.0), (-46.0, 6.0, 226.0)]
        )
        if draw.chance(0.5):
            return [Tube(way, draw.uniform(3.5, 4.8), 1100.0, draw.choice((15.0, -800.0)))]
        return [Tube(way, 1.7, soft, 10.0)]
    if name == "abdominal drain":
        goal, z = draw.choice(
            (((-66.0, -50.0, 226.0), 215.0), ((96.0, 0.0, 170.0), 165.0), ((6.0, 22.0, 96.0), 120.0))
        )
        out = side if abs(goal[0]) < 50 else math.copysign(1, goal[0])
        way = [(out * 215.0, -70.0, z - 50), (out * 172.0, -40.0, z), (out * 118.0, -22.0, z), goal]
        return [Tube([*_curve(space, way), *_coil(space, goal, 10.0)], draw.uniform(1.8, 2.6), soft, 0.0)]
    if name == "ureteric stent":
        one = "left" if side > 0 else "right"
        ureter, pelvis = _midline(space, (f"ureter {one}",)), _midline(space, (f"renal pelvis {one}",))
        if not (ureter and pelvis):
            return []
        bladder = _curve(space, [(side * 14.0, -12.0, 30.0)])
        top = [
            (x + 8 * math.cos(a), y, z + 8 * math.sin(a))
            for x, y, z in pelvis[:1]
            for a in (4.0, 2.8, 1.6, 0.4, -0.8)
        ]
        return [Tube([*top, *(p for p in ureter if p[2] < pelvis[0][2] - 12), *bladder], 1.2, soft + 300)]
    if name == "caval filter":
        apex, *feet = space.true_points(
            [
                (-19.0, 3.0, 243.0),
                *((-19 + 10 * math.cos(a), 3 + 10 * math.sin(a), 214.0) for a in range(0, 6)),
            ]
        ).tolist()
        return [Tube([apex, foot], 0.5, METAL_HU) for foot in feet]
    if name == "bladder catheter":
        middle = _midline(space, ("bladder",))
        if not middle:
            return []
        x, y, z = middle[len(middle) // 2]
        tube = Tube([(x, y, z), *_curve(space, [(0.0, -20.0, 6.0), (0.0, -26.0, -45.0)])], 2.6, 260.0, 5.0)
        return [Solid((x, y, z), (12.0, 12.0, 12.0), 90.0), Solid((x, y, z), (10.5, 10.5, 10.5), 3.0), tube]
    if name == "spinal screws":
        return _screws(space, draw)
    return _hip(space, side) if name == "hip prosthesis" else []


def _screws(space: Space, draw: Draw) -> list[Tube | Solid]:
    """Two screws through the pedicles of each of two to four lumbar vertebrae, joined by rods."""
    first = draw.integer(0, 2)
    levels = [LEVELS_MM[f"L{i}"] for i in range(1, 6)][first : first + draw.integer(2, 4)]
    parts: list[Tube | Solid] = []
    for side in (1, -1):
        backs = [(side * 17.0, _spine_y(z) + 33, z + 4) for z in levels]
        fronts = [(side * 9.0, _spine_y(z) - 8, z + 2) for z in levels]
        heads = space.true_points(backs).tolist()
        parts += [
            Tube([a, b], 2.8, METAL_HU)
            for a, b in zip(heads, space.true_points(fronts).tolist(), strict=True)
        ]
        parts += [Tube(heads, 2.8, METAL_HU), *(Tube([head, head], 5.5, METAL_HU) for head in heads)]
    return parts


def _hip(space: Space, side: int) -> list[Tube | Solid]:
    """Cup, liner, head, neck and stem."""
    x, y, z = space.true_points([(side * 88.0, -6.0, 6.0)])[0].tolist()
    cup = [(x - side * 2, y, z + 1), (x - side * 2, y, z + 1)]
    neck, foot, tip = (
        (x + side * 34, y + 8, z - 24),
        (x + side * 42, y + 9, z - 40),
        (x + side * 39, y + 8, z - 140),
    )
    parts = [Tube(cup, 27.0, METAL_HU), Tube([(x + side * 3, y, z - 3)] * 2, 23.5, 80.0)]
    return [
        *parts,
        Tube([(x, y, z)] * 2, 15.0, METAL_HU),
        Tube([(x, y, z), neck, foot], 6.5, METAL_HU),
        Tube([foot, tip], 7.5, METAL_HU),
    ]


def _wire(space: Space, z: float) -> list[Tube]:
    """A wire around the sternum at a reference height, its twisted end in front; none where none is."""
    _, _, height = space.true_points([(0.0, -80.0, z)])[0].tolist()
    row = round((height - space.lower_mm[2]) / space.step_mm[2])
    if not 0 <= row < len(space.label):
        return []
    found = (space.label[row] == LABEL["sternum"]).nonzero().float()
    if len(found) < 4:
        return []
    (y0, x0), (y1, x1) = found.amin(0).tolist(), found.amax(0).tolist()
    left, right = (
        space.lower_mm[0] + space.step_mm[0] * v for v in (x0 + 0.2 * (x1 - x0), x1 - 0.2 * (x1 - x0))
    )
    front, back = (space.lower_mm[1] + space.step_mm[1] * v for v in (y0, y1))
    ring = [
        (left, front - 1, height),
        (right, front - 1, height + 1),
        (right, back + 1, height),
        (left, back + 1, height),
    ]
    knot = [((left + right) / 2, front - 1, height), ((left + right) / 2 + 2, front - 3, height + 7)]
    return [Tube([*ring, ring[0]], 0.7, METAL_HU), Tube(knot, 0.9, METAL_HU)]


def _clips(space: Space, draw: Draw, bed: Point) -> list[Tube]:
    """Two to six clips around a place in reference mm."""
    x, y, z = space.true_points([bed])[0].tolist()
    clips = []
    for _ in range(draw.integer(2, 6)):
        start = [c + draw.normal(0, 9) for c in (x, y, z)]
        clips.append(Tube([start, [c + draw.normal(0, 2.5) for c in start]], 0.9, METAL_HU))
    return clips


def _spine_y(z: float) -> float:
    return interpolate_at(SPINE, z)[0]


def _curve(space: Space, points: Sequence[Point]) -> list[Point]:
    """True points along a smooth curve through points in reference mm."""
    return list(space.true_points(spline(points, 8.0) if len(points) > 1 else points).tolist())


def _coil(space: Space, center: Point, radius: float) -> list[Point]:
    """The pigtail of a drain: most of a circle, true mm."""
    x, y, z = space.true_points([center])[0].tolist()
    turns = [k * math.pi / 5 for k in range(1, 9)]
    return [(x + radius * math.sin(a), y + radius * (1 - math.cos(a)), z) for a in turns]


def _true_of(space: Space, row: torch.Tensor) -> Point:
    """True x, y, z of a voxel's index (z, y, x)."""
    return [space.lower_mm[i] + space.step_mm[i] * float(row[2 - i]) for i in range(3)]


def _midline(space: Space, keys: Sequence[str], step_mm: float = 12.0) -> list[Point]:
    """True points through the middle of organs, from the top down; none where they are too short."""
    rows = (
        torch.isin(space.label, torch.tensor([LABEL[key] for key in keys], dtype=torch.uint8))
        .nonzero()
        .float()
    )
    if not len(rows):
        return []
    layers = max(1, round(step_mm / space.step_mm[2]))
    groups = (rows[:, 0] / layers).long()
    points = [_true_of(space, rows[groups == k].mean(0)) for k in groups.unique().flip(0).tolist()]
    return points if len(points) > 1 else []


def _beneath_skin(space: Space, point: Point, depth_mm: float) -> Point:
    """The true place of a reference point, moved to a depth beneath the skin before it (negative: above)."""
    x, y, z = space.true_points([point])[0].tolist()
    column, row = (round((v - space.lower_mm[i]) / space.step_mm[i]) for i, v in ((0, x), (2, z)))
    if 0 <= row < len(space.label) and 0 <= column < space.label.shape[2]:
        body = (space.label[row, :, column] != LABEL["background"]).nonzero()
        y = space.lower_mm[1] + space.step_mm[1] * int(body[0]) + depth_mm if len(body) else y
    return x, y, z
