"""Unevenness within tissues, and metal."""

from __future__ import annotations

import torch

from resources.synthetic.draw import Draw
from resources.synthetic.organs import BONES, LABEL, LUNGS, ROOM
from resources.synthetic.shapes import Point
from resources.synthetic.space import Space

METAL_HU = 3000.0


def paint_texture(space: Space, draw: Draw) -> None:
    """Slow and fine unevenness of soft tissue, fat and lung, and the grain of trabecular bone."""
    slow, fine, grain = (space.waves(length, draw.generator) for length in (24.0, 7.0, 3.6))
    a, b, c = draw.uniform(1.5, 3.5), draw.uniform(2.0, 4.0), draw.uniform(14, 30)
    threads = draw.uniform(30, 90)
    strands = {  # septa and small vessels in fat, fat in muscle
        ROOM: threads,
        (LABEL["subcutaneous fat"],): 0.45 * threads,
        (LABEL["muscle"], LABEL["psoas left"], LABEL["psoas right"]): -draw.uniform(5, 25),
    }
    for box in space.slabs(space.whole):
        hu, lung = space.hu[box], space.has(box, LUNGS)
        bone = space.has(box, BONES) & (hu > 70)
        air = (hu < -400) & ~lung
        broad, small = slow(box), fine(box)
        hu += (broad * a + small * b) * torch.where(air, 0.0, torch.where(lung, 3.5, 1.0))
        hu += grain(box) * c * bone
        apart = torch.maximum(small.abs() / 0.5, broad.abs() / 0.6)  # of two sheets, which meet in threads
        thread = (1 - apart).clamp_(min=0)
        for labels, change in strands.items():
            hu += thread * change * space.has(box, labels)


def paint_metal(space: Space, draw: Draw) -> None:
    """A hip prosthesis, screws in the lumbar spine, wires in the sternum, or clips beneath the liver."""
    keys = {"femur left": 1.0, "femur right": 1.0, "L4": 1.0, "sternum": 1.0, "gall bladder": 1.0}
    there = {key: weight for key, weight in keys.items() if bool((space.label == LABEL[key]).any())}
    if not there:
        return
    key = draw.weighted(there)
    place = (space.label == LABEL[key]).nonzero().float()
    x, y, z = (space.lower_mm[i] + space.step_mm[i] * float(place[:, 2 - i].mean()) for i in range(3))
    rods: list[tuple[Point, Point, float]] = []
    if key.startswith("femur"):
        out = 1.0 if key.endswith("left") else -1.0
        hx, hy, hz = space.true_points([(out * 88.0, -6.0, 6.0)])[0].tolist()
        stem, tip = (hx + out * 40, hy + 8, hz - 28), (hx + out * 38, hy + 8, hz - 120)
        rods = [((hx, hy, hz), (hx + 0.5, hy, hz), 15.0), ((hx, hy, hz), stem, 7.0), (stem, tip, 7.0)]
    elif key == "L4":
        for side in (-1, 1):
            rods.append(((x + side * 17, y + 26, z), (x + side * 9, y - 14, z), 2.6))
            rods.append(((x + side * 18, y + 30, z - 40), (x + side * 18, y + 30, z + 40), 2.8))
    elif key == "sternum":
        rods = [((x - 9, y - 7, z + 28 * k), (x + 9, y - 7, z + 28 * k + 2), 0.9) for k in (-1, 0, 1)]
    else:
        rods = [((x, y + 4 * k, z + 3 * k), (x + 2, y + 4 * k + 1, z + 3 * k + 2), 0.8) for k in range(3)]
    for start, end, radius in rods:
        space.paint(space.rod(start, end, (radius, radius)), METAL_HU, None)
