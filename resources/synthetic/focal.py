"""Paints lesions and writes down what is true of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from resources.synthetic.draw import Draw
from resources.synthetic.lesion_shapes import Form, Size, draw_form, draw_size, place
from resources.synthetic.organs import LUNGS
from resources.synthetic.places import SITES, TYPE_WEIGHTS, Site, find_place, name_place
from resources.synthetic.space import Shape, Space
from resources.synthetic.truth import TrueLesion

Point3 = tuple[float, float, float]
TEXTURES: dict[str, dict[str, float]] = {
    "liver": {"hypodense": 4, "ring-enhancing": 1.5, "necrotic": 1.5, "hyperdense": 1.2, "calcified": 0.4},
    "lung": {
        "solid": 6,
        "ground-glass": 1.2,
        "part-solid": 1,
        "spiculated": 1.8,
        "cavitating": 0.6,
        "calcified": 0.2,
    },
    "kidney": {"solid": 4, "hypodense": 2, "necrotic": 2},
    "bone": {"lytic": 4, "sclerotic": 4, "mixed": 2},
    "lymph node": {"solid": 6, "necrotic": 2, "ring-enhancing": 0.5, "calcified": 0.3},
    "other": {"solid": 5, "hypodense": 3, "necrotic": 2.5, "ring-enhancing": 0.8, "calcified": 0.4},
}


SOLITARY = 0.4
"""Share of groups that are one lesion though more are to come."""
LARGEST_GROUP = {"kidney": 2, "abdomen": 6, "soft tissue": 3, "pelvis": 3}
"""Most lesions of a type that are found together; others have no limit."""


@dataclasses.dataclass
class Painter:
    """What lesion painting shares: the grid, the tissues, the lesion label map and what was painted."""

    space: Space
    tissues: dict[str, float]
    draw: Draw
    lesion_label: torch.Tensor
    found: list[TrueLesion] = dataclasses.field(default_factory=list)
    devices: list[tuple[Point3, float]] = dataclasses.field(default_factory=list)

    @property
    def taken(self) -> list[tuple[Point3, float]]:
        """Centre and size in mm of what no lesion may touch."""
        return [*self.devices, *((t.center_mm, max(t.long_mm, t.z_extent_mm)) for t in self.found)]


def plan_lesions(
    draw: Draw, count: int, types: dict[str, float] = TYPE_WEIGHTS
) -> list[tuple[str, list[Size]]]:
    """Groups of lesions of one type, solitary or alike: `count` lesions in all.

    Types with small groups are begun more often, so that of all lesions each type has its share.
    """
    groups: list[tuple[str, list[Size]]] = []
    left = count
    while left > 0:
        starts = {
            name: weight / _mean_group(left, LARGEST_GROUP.get(name, left)) for name, weight in types.items()
        }
        lesion_type = draw.weighted(starts)
        drawn = 1 if left == 1 or draw.chance(SOLITARY) else draw.integer(2, left)
        group = min(drawn, LARGEST_GROUP.get(lesion_type, left))
        common = float(torch.randn((), generator=draw.generator)) if group > 1 else None
        groups.append((lesion_type, [draw_size(draw, common) for _ in range(group)]))
        left -= group
    return groups


def _mean_group(left: int, largest: int) -> float:
    """Expected size of a group when `left` lesions are still to be drawn."""
    if left == 1:
        return 1.0
    several = sum(min(n, largest) for n in range(2, left + 1)) / (left - 1)
    return SOLITARY + (1 - SOLITARY) * several


def paint_lesions(painter: Painter, count: int, types: dict[str, float] = TYPE_WEIGHTS) -> None:
    """Paints `count` lesions where there is room, solitary or in groups that are alike.

    types: how often each type occurs beside the others; those that are not in it do not.
    """
    for number, (lesion_type, sizes) in enumerate(plan_lesions(painter.draw, count, types), 1):
        texture: str | None = None
        cluster = number if len(sizes) > 1 else None
        for size in sizes:
            room = find_room(painter, lesion_type, size, types)
            if room is None:
                continue
            name, site, center = room
            if name == lesion_type:
                texture = _paint_lesion(painter, name, site, (center, size), texture, cluster).texture
            else:  # it is of no group then
                _paint_lesion(painter, name, site, (center, size), None, None)


def find_room(
    painter: Painter, lesion_type: str, size: Size, types: dict[str, float] = TYPE_WEIGHTS
) -> tuple[str, Site, Point3] | None:
    """Type, kind of place and centre of a lesion of this size.

    Tries the wanted type, then others that have room for it, so that sizes keep their law.
    """
    draw = painter.draw
    others = dict(types)
    others.pop(lesion_type)
    order = [lesion_type]
    while others:
        order.append(draw.weighted(others))
        others.pop(order[-1])
    for name in order:
        weights = {str(i): site.weight for i, site in enumerate(SITES[name]) if size.long_mm <= site.limit_mm}
        while weights:
            key = draw.weighted(weights)
            weights.pop(key)
            site = SITES[name][int(key)]
            center = find_place(painter.space, site, size, painter.taken, draw)
            if center is not None:
                return name, site, center
    return None


def _kind(lesion_type: str, organ: str) -> str:
    if lesion_type in ("liver", "lung", "kidney", "bone"):
        return lesion_type
    return "lymph node" if organ == "lymph node" else "other"


def _paint_lesion(
    painter: Painter,
    lesion_type: str,
    site: Site,
    where: tuple[Point3, Size],
    texture: str | None,
    cluster: int | None,
) -> TrueLesion:
    draw, space = painter.draw, painter.space
    center, size = where
    organ, side, segment = name_place(space, site, center)
    kind = _kind(lesion_type, organ)
    texture = texture if texture in TEXTURES[kind] else draw.weighted(TEXTURES[kind])
    if size.long_mm < 12 and texture in ("necrotic", "cavitating", "ring-enhancing"):
        texture = "hypodense" if "hypodense" in TEXTURES[kind] else "solid"
    lobed = draw.uniform(0.02, 0.2) if organ == "lymph node" else draw.uniform(0.05, 0.5)
    form = draw_form(draw, size, lobed)
    paint_form(painter, form, center, kind, texture)
    tiny = size.long_mm < 5 and draw.chance(0.5)
    status = "doubtful" if tiny else "lesion"
    texture = "solid" if texture == "spiculated" else texture
    about: dict[str, Any] = {"texture": texture, "status": status, "cluster": cluster}
    return record(painter, form, where, type=lesion_type, organ=organ, side=side, segment=segment, **about)


def record(painter: Painter, form: Form, where: tuple[Point3, Size], **about: Any) -> TrueLesion:
    """Labels a lesion that is painted and keeps its truth. about: the other fields of TrueLesion."""
    center, size = where
    about |= {"long_mm": size.long_mm, "short_mm": size.short_mm, "z_extent_mm": size.z_extent_mm}
    contrast_hu = mark(painter, form, center)
    label = len(painter.found) + 1
    truth = TrueLesion(label=label, center_mm=center, contrast_hu=contrast_hu, **about)
    painter.found.append(truth)
    return truth


def mark(painter: Painter, form: Form, center: Point3) -> float:
    """Writes the label map; returns the mean HU inside minus that of a shell of 1 to 6 mm around."""
    box, distance = place(painter.space, form, center, margin_mm=7.0)
    inside = distance < 0
    hu = painter.space.hu[box]
    if not bool(inside.any()):
        inside = distance <= distance.min()
    painter.lesion_label[box].masked_fill_(inside, len(painter.found) + 1)
    shell = (distance > 1.0) & (distance < 6.0)
    if not bool(shell.any()):
        return 0.0
    return float(hu[inside].mean() - hu[shell].mean())


def lesion_hu(kind: str, texture: str, around: float, tissues: dict[str, float], draw: Draw) -> float:
    """Mean HU of a lesion's body; `around` is the mean of the tissue it lies in."""
    enhancement = max(0.0, tissues["liver"] - 55.0)  # 0 unenhanced, about 50 portal
    if kind == "bone":
        return {
            "lytic": draw.uniform(25, 85),
            "sclerotic": draw.uniform(480, 1000),
            "mixed": draw.uniform(250, 450),
        }[texture]
    if kind == "lung":
        return {"ground-glass": draw.uniform(-720, -480), "part-solid": draw.uniform(-650, -450)}.get(
            texture, draw.uniform(5, 55) + 0.5 * enhancement
        )
    if kind == "kidney":
        return _kidney_hu(texture, tissues, draw)
    gap = 12 + abs(draw.normal(0, 1)) * 22 + 0.35 * enhancement
    if texture in ("hypodense", "necrotic", "ring-enhancing") and kind == "liver":
        return max(around - gap, 12.0)
    if texture == "hyperdense":
        return around + gap
    base = 32.0 + draw.normal(0, 6) + enhancement * draw.uniform(0.3, 1.1)
    return base - 14.0 if texture == "hypodense" else base


def _kidney_hu(texture: str, tissues: dict[str, float], draw: Draw) -> float:
    """From the parenchyma and not from what lies around, which is often fat.

    Renal masses have 15 to 51 HU unenhanced, and take up less than the parenchyma: papillary carcinomas 41 to
    95 HU in the portal and 18 to 91 in the nephrographic phase ("Prevalence of low-attenuation homogeneous
    papillary renal cell carcinoma mimicking renal cysts on CT", AJR), clear-cell ones more.
    """
    uptake = max(0.0, 0.5 * (tissues["cortex"] + tissues["medulla"]) - 27.0)
    share = draw.uniform(0.0, 0.25) if texture == "hypodense" else draw.uniform(0.1, 0.65)
    return min(50.0, max(15.0, draw.normal(32.0, 7.0))) + share * uptake


def paint_form(painter: Painter, form: Form, center: Point3, kind: str, texture: str) -> None:
    """Paints one form in a texture at a place, with an edge from sharp to infiltrating."""
    draw, space, size = painter.draw, painter.space, form.size
    box, d = place(space, form, center, margin_mm=10.0)
    if d.numel() == 0:
        return
    here = space.hu[box]
    core = d < 0
    soft_around = here[core & (here > -200)] if bool((core & (here > -200)).any()) else here
    around = float(soft_around.median())
    hu = lesion_hu(kind, texture, around, painter.tissues, draw)
    radius = 0.25 * (size.long_mm + size.short_mm)
    soft = draw.choice((0.0, 0.0, 0.5, 1.5, 3.0)) * min(1.0, radius / 8)
    uneven = space.noise(box, max(4.0, 0.45 * radius), draw.generator) * draw.uniform(2, 8)
    if texture == "sclerotic" or texture == "mixed":
        uneven = uneven * 14
    if texture == "part-solid":
        space.paint((box, d), hu + 6 * uneven, None, soft_mm=2.5)
        space.paint((box, d + 0.45 * radius), draw.uniform(-50, 40), None, soft_mm=1.0)
    elif texture == "ground-glass":
        space.paint((box, d), torch.maximum(here, hu + 7 * uneven), None, soft_mm=2.5)
    else:
        space.paint((box, d), hu + uneven, None, soft_mm=soft)
    _paint_core(painter, (box, d), hu, texture, radius)
    if texture == "spiculated":
        _spicules(painter, center, form, hu)


def _paint_core(painter: Painter, shape: Shape, hu: float, texture: str, radius: float) -> None:
    draw, space = painter.draw, painter.space
    box, d = shape
    bumps = space.noise(box, max(3.0, 0.6 * radius), draw.generator) * 0.12 * radius
    wall = radius * draw.uniform(0.2, 0.5)
    if texture == "necrotic":
        space.paint((box, d + wall + bumps), draw.uniform(8, 26), None, soft_mm=min(4.0, 0.2 * radius))
    elif texture == "cavitating":
        space.paint((box, d + wall + bumps), -930.0, None)
    elif texture == "ring-enhancing":
        ring = (d + 0.18 * radius).abs() - max(1.2, 0.14 * radius)
        bright = hu + draw.uniform(30, 60) + 0.3 * max(0.0, painter.tissues["liver"] - 55)
        space.paint((box, ring), bright, None, soft_mm=1.0)
    elif texture == "calcified":
        grains = (1.1 - space.noise(box, max(2.5, 0.3 * radius), draw.generator)) * 2.0
        space.paint((box, torch.maximum(grains, d + 0.5)), draw.uniform(180, 600), None, soft_mm=1.0)


def _spicules(painter: Painter, center: Point3, form: Form, hu: float) -> None:
    draw, space = painter.draw, painter.space
    long_mm = form.size.long_mm
    for _ in range(draw.integer(8, 18)):
        direction = torch.randn(3, generator=draw.generator)
        direction = direction / direction.norm()
        reach = 0.42 * long_mm + min(14.0, 0.5 * long_mm) * draw.uniform(0.3, 1.0)
        end = [c + reach * float(u) for c, u in zip(center, direction, strict=True)]
        start = [c + 0.25 * form.size.short_mm * float(u) for c, u in zip(center, direction, strict=True)]
        rod = space.rod(start, end, (0.09 * form.size.short_mm, 0.25))
        space.paint(rod, hu - 100, None, inside=LUNGS)


def finished(found: list[TrueLesion]) -> tuple[TrueLesion, ...]:
    """Lesions first, mimics after them; label values stay those of the map."""
    order = {"lesion": 0, "doubtful": 1, "benign": 2}
    return tuple(sorted(found, key=lambda t: (order[t.status], t.label)))
