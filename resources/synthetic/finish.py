"""Fine structure that label maps lack: vessels, bronchi, pyramids, chambers, bowel content, marbling."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from resources.synthetic.organs import LABEL, LUNGS
from resources.synthetic.space import Box, Space
from resources.synthetic.vessels import grow, paint_tree, points_in


def add_detail(space: Space, tissues: dict[str, float]) -> None:
    """Adds structure to every organ that has some, on the painted label map."""
    _lungs(space, tissues)
    _liver(space, tissues)
    for side in ("left", "right"):
        _kidney(space, tissues, side)
    for name in ("stomach", "colon", "small bowel", "duodenum", "rectum"):
        _hollow(space, name)
    _heart(space, tissues)
    _muscle(space, tissues)
    _strands(space, tissues)


def bounds(mask: torch.Tensor) -> Box | None:
    """The part of the grid that holds a mask, with four voxels around it."""
    slices, pad = [], 4
    for axis, other in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        rows = mask.any(other[1]).any(other[0]).nonzero()[:, 0]
        if not len(rows):
            return None
        slices.append(slice(max(0, int(rows.min()) - pad), min(mask.shape[axis], int(rows.max()) + pad + 1)))
    return slices[0], slices[1], slices[2]


def _depth(mask: torch.Tensor, space: Space, reach_mm: float) -> torch.Tensor:
    """0 outside to 1 deep inside a mask, 0.5 at its surface: a box blur of about `reach_mm`."""
    value = mask.float()[None, None]
    sizes = [2 * max(0, round(reach_mm / mm / 2)) + 1 for mm in reversed(space.step_mm)]
    for _ in range(2):
        value = F.avg_pool3d(value, sizes, stride=1, padding=[s // 2 for s in sizes])
    return value[0, 0]


def _lungs(space: Space, t: dict[str, float]) -> None:
    draw = space.draw
    lung = space.has(space.whole, LUNGS)
    box = bounds(lung)
    if box is None:
        return
    y = space.world(box)[1]
    space.hu[box] += lung[box] * (0.4 * y + 14 * space.noise(box, 28.0, draw.generator))
    for side in ("left", "right"):
        lobes = [LABEL[k] for k in LABEL if k.startswith(f"lung {side}")]
        mask = space.has(space.whole, lobes)
        part = bounds(mask)
        if part is None:
            continue
        rows = mask[part].nonzero().float()
        middle = rows.mean(0)
        inward = rows[:, 2].amin() if side == "left" else rows[:, 2].amax()
        index = [inward + part[2].start, middle[1] + part[1].start, middle[0] + part[0].start]
        hilum = [space.lower_mm[i] + space.step_mm[i] * float(v) for i, v in enumerate(index)]
        for hu, tip in ((t["pulmonary artery"], 0.48), (0.9 * t["aorta"] + 4, 0.45)):
            tree = grow(hilum, points_in(space, lobes, 240, draw), tip, draw)
            paint_tree(space, tree, 38 + 0.8 * (hu - 38), LABEL["pulmonary vessel"], lobes, (1.3, 7.0))
            paint_tree(space, tree, 10.0, None, lobes, (0.0, 1.3), 0.1)
        tree = grow(hilum, points_in(space, lobes, 22, draw), 0.85, draw, 0.06)
        for wall, hu in ((0.9, -150.0), (0.0, -985.0)):
            paint_tree(space, tree, hu, LABEL["bronchus"], (*lobes, LABEL["bronchus"]), (1.2, 5.0), wall)


def _liver(space: Space, t: dict[str, float]) -> None:
    draw, inside = space.draw, (LABEL["liver"],)
    targets = points_in(space, inside, 120, draw)
    if not len(targets):
        return
    middle = targets.mean(0)
    porta = (middle + torch.tensor([18.0, 6.0, -16.0])).tolist()
    crest = (middle + torch.tensor([22.0, 22.0, 42.0])).tolist()
    tree = grow(porta, targets[:65], 0.85, draw, 0.1)
    paint_tree(space, tree, 0.75 * t["portal vein"] + 0.25 * t["liver"], None, inside, (0.0, 6.0))
    tree = grow(crest, targets[65:], 0.9, draw, 0.06)
    paint_tree(space, tree, t["hepatic vein"], None, inside, (0.0, 6.0))


def _kidney(space: Space, t: dict[str, float], side: str) -> None:
    mask = space.label == LABEL[f"kidney {side}"]
    box = bounds(mask)
    if box is None or abs(t["cortex"] - t["medulla"]) < 8:
        return
    deep = _depth(mask[box], space, 9.0)
    lobes = space.noise(box, 9.0, space.draw.generator)
    space.paint(
        (box, (0.80 + 0.08 * lobes - deep) * 20),
        t["medulla"],
        None,
        inside=(LABEL[f"kidney {side}"],),
        soft_mm=1.5,
    )


def _hollow(space: Space, name: str) -> None:
    """A lumen with gas in front, fluid or stool behind, inside a wall of 2 to 4 mm."""
    draw, label = space.draw, LABEL[name]
    mask = space.label == label
    box = bounds(mask)
    if box is None:
        return
    deep = _depth(mask[box], space, 5.0)
    inner = (0.72 - deep) * 12
    generator = draw.generator
    field = space.noise(box, 26.0, generator)
    fluid = 18 + 8 * space.noise(box, 9.0, generator)
    if draw.chance(0.3):
        fluid = torch.where(field > 0.0, draw.uniform(110, 300), fluid)
    space.paint((box, inner), fluid, None, inside=(label,), soft_mm=0.5)
    y = space.world(box)[1]
    front = (y - float(space.axes_mm[1].mean())) / 60.0
    gassy = {"stomach": 0.6, "colon": 0.7, "rectum": 1.2}.get(name, 1.6)
    gas = torch.maximum(inner + 0.5, (gassy + 0.8 * front + 0.5 * field) * 8)
    space.paint((box, gas), -960.0, None, inside=(label,))
    if name in ("colon", "rectum"):
        lumps = 0.75 * space.noise(box, 5.0, generator) + 0.55 * space.noise(box, 11.0, generator)
        space.paint(
            (box, torch.maximum(inner, (0.9 - lumps) * 4)), -820.0, None, inside=(label,), soft_mm=1.5
        )
        space.hu[box] += (space.label[box] == label) * (space.hu[box] > -200) * lumps * 22


def _heart(space: Space, t: dict[str, float]) -> None:
    """Chambers in a heart that the map has as one label (all of it myocardium so far)."""
    mask = space.label == LABEL["heart"]
    box = bounds(mask)
    if box is None or float(space.hu[mask].std()) > 25:
        return
    deep = _depth(mask[box], space, 16.0)
    septum = (space.noise(box, 55.0, space.draw.generator).abs() - 0.12) * 20
    chambers = torch.maximum((0.74 - deep) * 30, -septum)
    space.paint((box, chambers), 0.9 * t["aorta"], None, inside=(LABEL["heart"],), soft_mm=1.0)


def _muscle(space: Space, t: dict[str, float]) -> None:
    box = space.whole
    inside = (LABEL["muscle"], LABEL["psoas left"], LABEL["psoas right"])
    streaks = space.noise(box, (8.0, 8.0, 20.0), space.draw.generator)
    level = 2.3 - 0.012 * (t["age"] - 30)
    space.paint((box, (level - streaks) * 4.0), t["fat"] + 55, None, inside=inside, soft_mm=3.0)
    septa = (space.noise(box, 30.0, space.draw.generator).abs() - 0.03) * 30
    space.paint((box, septa), t["fat"] + 40, None, inside=inside, soft_mm=0.5)


def _strands(space: Space, t: dict[str, float]) -> None:
    """Thin vessels and strands in the fat of the cavities."""
    draw, fat = space.draw, (LABEL["abdominal fat"], LABEL["pelvic fat"], LABEL["mediastinum"])
    for p in points_in(space, fat, 500, draw).tolist():
        q = [c + draw.normal(0, 9) for c in p]
        r = draw.uniform(0.5, 1.3)
        space.paint(space.rod(p, q, (r, r * 0.6)), max(20.0, 0.5 * t["vein"]), None, inside=fat)
