"""Benign findings that look like lesions, and are none."""

from __future__ import annotations

import math
from typing import Any

import torch

from resources.synthetic.focal import Painter, Point3, record
from resources.synthetic.lesion_shapes import Size, draw_form, place
from resources.synthetic.organs import BONES, LABEL, LUNGS
from resources.synthetic.places import SITES, Site, find_place, name_place
from resources.synthetic.space import Shape

MIMICS: tuple[tuple[str, str, Site, tuple[float, float], float], ...] = (
    ("cyst", "liver", Site(("liver",), 1, 0.9, beyond=("portal vein",)), (3, 45), 0.30),
    ("haemangioma", "liver", Site(("liver",), 1, 0.85, beyond=("portal vein",)), (6, 40), 0.10),
    ("cyst", "kidney", Site(("kidney",), 1, 0.3, beyond=("abdominal fat", "renal pelvis")), (4, 60), 0.40),
    ("angiomyolipoma", "kidney", Site(("kidney",), 1, 0.4, beyond=("abdominal fat",)), (4, 18), 0.05),
    ("bone island", "bone", Site(("vertebra", "hip bone", "sacrum", "femur"), 1, 0.7, beyond=("muscle",)),
     (3, 11), 0.30),
    ("vertebral haemangioma", "bone", Site(("vertebra",), 1, 0.75), (8, 22), 0.12),
    ("Schmorl node", "bone", Site(("vertebra",), 1, 0.35, beyond=("disc",)), (5, 12), 0.15),
    ("granuloma", "lung", Site(("lung",), 1, 0.9, beyond=("pulmonary vessel",)), (2.5, 7), 0.25),
    ("atelectasis", "lung", Site(("lung",), 1, 0.5, beyond=("liver", "abdominal fat", "spleen")),
     (20, 60), 0.25),
    ("scar", "lung", Site(("lung",), 1, 0.7, beyond=("mediastinum", "pulmonary vessel")), (6, 18), 0.15),
    ("accessory spleen", "abdomen", Site(("abdominal fat",), 1, 0.85), (6, 18), 0.06),
    ("adenoma", "abdomen", Site(("adrenal gland",), 1, 0.3, beyond=("abdominal fat", "liver")),
     (9, 28), 0.07),
    ("normal node", "abdomen", SITES["abdomen"][0], (4, 8), 0.8),
    ("normal node", "mediastinum", SITES["mediastinum"][0], (4, 8), 0.8),
    ("normal node", "pelvis", SITES["pelvis"][0], (4, 8), 0.5),
    ("lipoma", "soft tissue", Site(("muscle",), 1, 0.8, beyond=("subcutaneous fat",)), (10, 60), 0.10),
    ("injection granuloma", "soft tissue", Site(("subcutaneous fat",), 1, 0.9), (5, 15), 0.10),
    ("ovarian cyst", "pelvis",
     Site(("ovary",), 1, 0.2, beyond=("pelvic fat", "abdominal fat", "small bowel", "colon")),
     (12, 40), 0.12),
)  # fmt: skip
"""Name, lesion type, place, long diameter in mm (from, to), share of the scans that have it."""


def paint_mimics(painter: Painter) -> None:
    """Benign findings, each with its own frequency; cysts and nodes often come in numbers."""
    draw = painter.draw
    for name, lesion_type, site, (low, high), often in MIMICS:
        if not draw.chance(min(0.95, often)):
            continue
        number = draw.integer(1, 3) if name in ("cyst", "normal node", "bone island", "granuloma") else 1
        for _ in range(number):
            long_mm = math.exp(draw.uniform(math.log(low), math.log(high)))
            flat = 0.25 if name == "atelectasis" else draw.uniform(0.75, 1.0)
            size = Size(
                long_mm,
                long_mm * flat,
                long_mm * draw.uniform(0.7, 1.1) * (0.6 if name == "atelectasis" else 1),
            )
            center = find_place(painter.space, site, size, painter.taken, draw)
            if center is not None:
                _paint_mimic(painter, name, lesion_type, site, center, size)


def _paint_mimic(
    painter: Painter, name: str, lesion_type: str, site: Site, center: Point3, size: Size
) -> None:
    draw, space, t = painter.draw, painter.space, painter.tissues
    organ, side, segment = name_place(space, site, center)
    form = draw_form(draw, size, 0.35 if name in ("atelectasis", "scar") else 0.06)
    box, d = place(space, form, center, margin_mm=7.0)
    if d.numel() == 0:
        return
    noise = space.noise(box, 4.0, draw.generator)
    if name == "haemangioma":
        _haemangioma(painter, (box, d), size)
    elif name == "vertebral haemangioma":
        space.paint((box, d), 30 + 110 * (noise > 0.2), None, soft_mm=1.5)
    elif name == "Schmorl node":
        space.paint((box, d - 1.5), 420.0, None, inside=BONES)
        space.paint((box, d), t["disc"], None)
    else:
        hu, soft = {
            "cyst": (draw.normal(5, 4), 0.0),
            "angiomyolipoma": (draw.normal(-55, 20), 0.5),
            "bone island": (draw.uniform(700, 1200), 0.5),
            "granuloma": (draw.uniform(250, 900), 0.0),
            "atelectasis": (draw.uniform(10, 45) + 0.4 * (t["liver"] - 50), 3.0),
            "scar": (draw.uniform(-350, 10), 2.0),
            "accessory spleen": (t["spleen"], 0.0),
            "adenoma": (draw.uniform(-8, 20) + 0.4 * (t["liver"] - 50), 0.0),
            "normal node": (t["node"], 0.0),
            "lipoma": (t["fat"], 0.0),
            "injection granuloma": (draw.uniform(40, 300), 0.5),
            "ovarian cyst": (draw.normal(9, 4), 0.0),
        }[name]
        space.paint(
            (box, d),
            hu + 2.0 * noise,
            None,
            soft_mm=soft,
            inside=LUNGS if name in ("atelectasis", "scar") else None,
        )
        if name == "normal node" and size.long_mm > 6:
            space.paint((box, d + 0.3 * size.short_mm), -20.0, None, soft_mm=1.0)  # the fat of its hilum
    about: dict[str, Any] = {"texture": name, "status": "benign"}
    record(painter, form, (center, size), type=lesion_type, organ=organ, side=side, segment=segment, **about)


def _haemangioma(painter: Painter, shape: Shape, size: Size) -> None:
    """Blood pool, filled from nodules at the rim: a little of it arterial, most of it later."""
    draw, space, t = painter.draw, painter.space, painter.tissues
    box, d = shape
    pool = 0.85 * t["vena cava"] if "vena cava" in t else 0.85 * t["vein"]
    if t["aorta"] < 70:  # unenhanced
        space.paint((box, d), t["liver"] - draw.uniform(12, 22), None)
        return
    space.paint((box, d), max(30.0, t["liver"] - draw.uniform(20, 40)), None)
    nodules = (0.35 - space.noise(box, max(3.5, 0.25 * size.long_mm), draw.generator)) * 3
    depth = 0.16 * size.long_mm if t["aorta"] > 220 else 0.34 * size.long_mm
    rim = torch.maximum(torch.maximum(nodules, d), -(d + depth))
    space.paint((box, rim), max(pool, 0.75 * t["aorta"]) if t["aorta"] > 220 else pool, None, soft_mm=1.0)


def paint_spurs(painter: Painter) -> None:
    """Osteophytes at the margins of discs of older patients: no focal finding, but dense and pointed."""
    space, draw = painter.space, painter.draw
    rows = space.has(space.whole, (LABEL["disc"],)).nonzero()
    if not len(rows):
        return
    edge_x = rows[:, 2].float().mean()
    beside = ("disc", "abdominal fat", "psoas left", "psoas right", "mediastinum")
    room = (*BONES, *(LABEL[name] for name in beside))
    for _ in range(draw.integer(0, 10)):
        z, y, x = rows[draw.integer(0, len(rows) - 1)].tolist()
        side = 1.0 if x > edge_x else -1.0
        p = [space.lower_mm[i] + space.step_mm[i] * v for i, v in enumerate((x, y, z))]
        start = (p[0] + side * draw.uniform(6, 16), p[1] - draw.uniform(0, 8), p[2] - 4)
        end = (start[0] + side * draw.uniform(2, 6), start[1] - 2, start[2] + draw.uniform(4, 9))
        r = draw.uniform(1.5, 3.2)
        rod = space.rod(start, end, (r, r * 0.6))
        space.paint(rod, draw.uniform(350, 700), None, inside=room)
