"""What label maps leave out: skin, fat and lungs; sides, levels and lobes of pooled labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from resources.synthetic.organs import KEYS, LABEL, ORGANS, VERTEBRAE
from resources.synthetic.space import Space

SKIN_MM, FAT_MM, WALL_MM = 2.0, 17.0, 11.0
NAMED_SHARE = 0.5
"""Of the wall, that a map fills which names its muscles; in others all is muscle that is nothing else."""
ARMS = ("humerus", "arm")


def complete_body(
    codes: npt.NDArray[np.uint8], classes: list[tuple[int, str]], spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.uint8], list[tuple[int, str]]]:
    """Fills a map of organs alone: fat between them, and around them muscle, fat and skin.

    Where it names no lung, lungs are made above the highest of them. Arms outside the trunk are left out.
    """
    classes = [
        *classes,
        (LABEL["abdominal fat"], "cavity fat"),
        (LABEL["subcutaneous fat"], "fat"),
        (LABEL["skin"], "skin"),
        (LABEL["muscle"], "muscle"),
    ]
    inner, outer, skin, flesh = range(len(classes) - 4, len(classes))
    rows, columns = (np.nonzero((codes > 0).any((0, axis)))[0] for axis in (2, 1))
    pad = round((FAT_MM + 16) / spacing_mm[0])
    codes = codes[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    codes = np.pad(codes, ((0, 0), (pad, pad), (pad, pad)))
    arms = np.isin(codes, [n for n, (label, _) in enumerate(classes) if ORGANS[KEYS[label]].name in ARMS])
    inside = _outside_mm((codes > 0) & ~arms, spacing_mm[0])
    codes[arms & (inside >= 0)] = 0
    empty = codes == 0
    y = np.linspace(-1, 1, codes.shape[1])[None, :, None]
    fat_mm = FAT_MM * (1 + 0.25 * y)
    codes[empty & (inside < fat_mm + SKIN_MM)] = skin
    codes[empty & (inside < fat_mm)] = outer
    codes[empty & (inside < 0)] = inner
    wall = (inside < 0) & (inside >= -WALL_MM)
    muscles = [n for n, (_, tissue) in enumerate(classes) if tissue == "muscle"]
    if wall.any() and np.isin(codes[wall], muscles).mean() < NAMED_SHARE:
        codes[empty & wall] = flesh
    return _fill_chest(codes, classes, empty & (inside < -9.0), spacing_mm[0])


def _outside_mm(trunk: npt.NDArray[np.bool_], step_mm: float) -> npt.NDArray[np.float32]:
    """Smoothed distance in mm from the hull around each slice's organs, negative inside."""
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    hull = np.stack([convex_hull_image(plane) if plane.sum() > 50 else plane for plane in trunk])
    smooth = ndimage.gaussian_filter(hull.astype(np.float32), (2.0, 3.0, 3.0)) > 0.5
    edt = ndimage.distance_transform_edt
    distance = np.stack([-edt(plane) + edt(~plane) for plane in smooth]) * step_mm
    return ndimage.gaussian_filter(distance.astype(np.float32), (2.0, 2.0, 2.0))


def _fill_chest(
    codes: npt.NDArray[np.uint8], classes: list[tuple[int, str]], free: npt.NDArray[np.bool_], step_mm: float
) -> tuple[npt.NDArray[np.uint8], list[tuple[int, str]]]:
    """What is free above the organs of the belly becomes mediastinal fat and, if there is none yet, lung."""
    from scipy import ndimage

    own_lungs = any(KEYS[classes[code][0]].startswith("lung") for code in np.unique(codes))
    organs = [
        n
        for n, (label, _) in enumerate(classes)
        if KEYS[label] in ("liver", "spleen", "stomach", "colon", "kidney left", "kidney right")
    ]
    below = np.isin(codes, organs)
    height = np.where(below.any(0), codes.shape[0] - 1 - below[::-1].argmax(0), -1).astype(np.float32)
    reach = round(28 / step_mm)
    top = ndimage.gaussian_filter(ndimage.maximum_filter(height, reach), reach / 3)
    z = np.arange(codes.shape[0])[:, None, None]
    ribs = np.isin(codes, [n for n, (label, _) in enumerate(classes) if ORGANS[KEYS[label]].name == "rib"])
    first = int(np.nonzero(ribs.any((1, 2)))[0].min()) if ribs.any() else codes.shape[0]
    free = free & (z > np.maximum(top + 2, first + 0.35 * (codes.shape[0] - first)))
    x = np.arange(codes.shape[2])[None, None, :] - codes.shape[2] / 2
    middle = (np.abs(x) * step_mm < 30) | own_lungs
    count = len(classes)
    codes[free & ~middle & (x < 0)] = count
    codes[free & ~middle & (x >= 0)] = count + 1
    codes[free & middle] = count + 2
    made = ("lung right lower", "lung"), ("lung left lower", "lung"), ("mediastinum", "cavity fat")
    return codes, [*classes, *((LABEL[name], tissue) for name, tissue in made)]


def name_by_place(space: Space) -> None:
    """Names pooled labels, in place: sides by x, vertebrae and ribs by height, lobes by fissures."""
    for name in ("rib", "humerus", "clavicle", "femur", "hip bone", "scapula", "arm"):
        keys = [key for key in KEYS if ORGANS[key].name == name]
        here = space.has(space.whole, [LABEL[k] for k in keys])
        if bool(here.any()) and name == "rib":
            _number_ribs(space, here)
        elif bool(here.any()):
            _name_sides(space, here, f"{name} left", f"{name} right")
    _split_levels(space, "L1", VERTEBRAE[-5:])
    _split_levels(space, "T1", VERTEBRAE[2:14])
    for side in ("left", "right"):
        _split_lobes(space, side)
    fat = space.has(space.whole, (LABEL["abdominal fat"],))
    rows = space.has(space.whole, (LABEL["sacrum"], LABEL["hip bone left"])).flatten(1).any(1).nonzero()
    if len(rows):
        top = int(rows.max()) * 0.75 + int(rows.min()) * 0.25
        below = torch.arange(space.label.shape[0], device=space.device)[:, None, None] < top
        space.label[fat & below] = LABEL["pelvic fat"]


def _name_sides(space: Space, mask: torch.Tensor, left: str, right: str) -> None:
    x = space.axes_mm[2][None, None, :]
    space.label[mask & (x > 0)] = LABEL[left]
    space.label[mask & (x <= 0)] = LABEL[right]


def _name_levels(space: Space, mask: torch.Tensor, names: Sequence[str], span: torch.Tensor) -> None:
    """Names a mask's voxels by height: the slices of `span`, a mask too, in equal parts from the top down."""
    rows = span.flatten(1).any(1).nonzero()[:, 0]
    low, high = int(rows.min()), int(rows.max()) + 1
    index = torch.arange(space.label.shape[0], device=space.device)
    rank = ((high - 1 - index) * len(names) // max(1, high - low)).clamp(0, len(names) - 1)
    values = torch.tensor([LABEL[name] for name in names], dtype=torch.uint8, device=space.device)[rank]
    space.label = torch.where(mask, values[:, None, None], space.label)


def _split_levels(space: Space, pooled: str, levels: tuple[str, ...]) -> None:
    """A region's vertebrae under one label become single ones of equal height."""
    if any(bool((space.label == LABEL[level]).any()) for level in levels if level != pooled):
        return
    mask = space.label == LABEL[pooled]
    if bool(mask.any()):
        _name_levels(space, mask, levels, mask)


def _number_ribs(space: Space, here: torch.Tensor) -> None:
    """Side by x. Pooled ribs are numbered by height along the cage; that is right to one or two."""
    numbered = False
    for n in range(2, 13):
        left, right = f"rib left {n}", f"rib right {n}"
        mask = space.has(space.whole, (LABEL[left], LABEL[right]))
        if bool(mask.any()):
            numbered = True
            _name_sides(space, mask, left, right)
    if not numbered:
        x = space.axes_mm[2][None, None, :]
        for side, half in (("left", x > 0), ("right", x <= 0)):
            _name_levels(space, here & half, [f"rib {side} {n}" for n in range(1, 13)], here)


def _split_lobes(space: Space, side: str) -> None:
    """Lobes by oblique and horizontal planes in the lung's own box, where the map has one lung."""
    keys = [k for k in KEYS if k.startswith(f"lung {side}")]
    there = [k for k in keys if bool((space.label == LABEL[k]).any())]
    if there != [f"lung {side} lower"]:
        return
    mask = space.label == LABEL[there[0]]
    rows = mask.nonzero().float()
    low, high = rows.amin(0), rows.amax(0)
    z, y, _ = (
        (torch.arange(n, device=space.device) - low[i]) / (high[i] - low[i]).clamp(min=1)
        for i, n in enumerate(mask.shape)
    )
    upper = z[:, None, None] > 0.22 + 0.52 * y[None, :, None]
    space.label[mask & upper] = LABEL[f"lung {side} upper"]
    if side == "right":
        space.label[mask & upper & (z[:, None, None] < 0.5)] = LABEL["lung right middle"]
