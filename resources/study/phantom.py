"""Phantoms: blocks of tissue with balls, which are lesions, among rods, which are none. Seconds to learn.

Two organs lie side by side. Balls and rods have the same range of thickness and contrast, so a section does
not tell one from the other, and noise and texture hide the faintest.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from resources.cases.case import Annotation, Case, Completeness, Finding, ImageSource, write_cases

SHAPE = (40, 48, 48)
SPACING_MM = 4.0
AIR, TISSUE, EDGE = -1000.0, 40.0, 4
"""HU outside and inside; voxels of air at the sides (y and x)."""
ORGANS = {"liver": (1, "liver", (EDGE, 24)), "spleen": (2, "abdomen", (24, 48 - EDGE))}
"""Label, lesion type, and x from, to."""
RADIUS, CONTRAST_HU = (1.6, 3.4), (25.0, 90.0)
"""Of balls and rods; radius in voxels."""
MARKED = 0.35
"""Share of the balls with a RECIST mark in the view of DeepLesion."""
RODS, MOST_LESIONS = (4, 9), 4
NO_LESION = 1 / 3
NOISE_HU, TEXTURE_HU = 14.0, 10.0

Split = Literal["train", "validation", "test"]
Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Ball:
    organ: str
    center: Array
    radius: float


def draw_balls(random: np.random.Generator, count: int) -> list[Ball]:
    """Up to `count` balls, no two nearer than 3 voxels to each other; each lies in one organ."""
    found: list[Ball] = []
    for _ in range(30 * count):
        organ, radius = str(random.choice(list(ORGANS))), random.uniform(*RADIUS)
        low, high = ORGANS[organ][2]
        inner = np.array([[0.0, SHAPE[0]], [EDGE, SHAPE[1] - EDGE], [low, high]]) + [radius + 1, -radius - 2]
        center = random.uniform(inner[:, 0], inner[:, 1])
        apart = [np.linalg.norm(center - ball.center) - ball.radius - radius for ball in found]
        if len(found) < count and all(gap > 3 for gap in apart):
            found.append(Ball(organ, center, radius))
    return found


def paint(random: np.random.Generator, balls: list[Ball]) -> tuple[Array, npt.NDArray[np.uint8]]:
    """HU and the number of the ball, from 1, of each voxel (z, y, x). Rods run through the whole block, not
    through balls.
    """
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).astype(float)
    hu, labels = np.full(SHAPE, TISSUE), np.zeros(SHAPE, np.uint8)
    for _ in range(int(random.integers(*RODS))):
        point, along = random.uniform(0, SHAPE), random.normal(0, 1, 3)
        along /= np.linalg.norm(along)
        from_axis = np.linalg.norm(np.cross(grid - point, along), axis=-1)
        rod, contrast = from_axis < random.uniform(*RADIUS), random.uniform(*CONTRAST_HU)
        hu[rod] = TISSUE + contrast
    for number, ball in enumerate(balls, 1):
        from_center = np.linalg.norm(grid - ball.center, axis=-1)
        hu[from_center < ball.radius + 2] = TISSUE
        hu[from_center < ball.radius] = TISSUE + random.uniform(*CONTRAST_HU)
        labels[from_center < ball.radius] = number
    coarse = random.normal(0, TEXTURE_HU, [n // 4 for n in SHAPE])
    hu += coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2) + random.normal(0, NOISE_HU, SHAPE)
    hu[:, :EDGE], hu[:, -EDGE:], hu[:, :, :EDGE], hu[:, :, -EDGE:] = AIR, AIR, AIR, AIR
    return hu, labels


def findings_of(balls: list[Ball]) -> tuple[Finding, ...]:
    """What a report says: of each organ how many lesions there are and how large the largest is, or none."""
    found = []
    for organ, (_, type, _) in ORGANS.items():
        own = [2 * ball.radius * SPACING_MM for ball in balls if ball.organ == organ]
        absent: dict[str, Any] = {"count": None, "presence": "absent"}
        found.append(
            Finding(type, organ, count=len(own), sizes_mm=(max(own),))
            if own
            else Finding(None, organ, **absent)
        )
    return tuple(found)


def mask_of(ball: Ball, path: str, label: int) -> Annotation:
    mm = 2 * ball.radius * SPACING_MM
    kind = ORGANS[ball.organ][1]
    return Annotation("mask", kind, mask=path, label=label, long_mm=mm, short_mm=mm, z_extent_mm=mm)


def recist_of(ball: Ball) -> Annotation:
    """Both axes on the slice nearest to a ball's centre."""
    z, y, x = ball.center.tolist()
    z, r, mm = float(round(z)), ball.radius, 2 * ball.radius * SPACING_MM
    long, short = ((x - r, y, z), (x + r, y, z)), ((x, y - r, z), (x, y + r, z))
    kind = ORGANS[ball.organ][1]
    return Annotation("recist", kind, long=long, short=short, long_mm=mm, short_mm=mm)


def write_phantom(folder: Path, seed: int, split: Split, view: str, lesions: int | None) -> Case:
    """Writes image, lesions and organs; the case as `view` knows it: "full" (a mask of each ball, all
    complete), "report" (nothing but what a report says) or "deeplesion" (marks on some balls besides).
    lesions: None: drawn, a third without.
    """
    random = np.random.default_rng(seed)
    few = 0 if random.uniform() < NO_LESION else int(random.integers(1, MOST_LESIONS + 1))
    balls = draw_balls(random, few if lesions is None else lesions)
    hu, labels = paint(random, balls)
    organs = np.zeros(SHAPE, np.uint8)
    for value, _, (low, high) in ORGANS.values():
        organs[:, EDGE:-EDGE, low:high] = value
    name = f"phantom-{seed:07d}"
    files = {kind: folder / f"{name}_{kind}.mha" for kind in ("image", "lesions", "organs")}
    write_image(files["image"], hu.round().astype(np.int16))
    write_image(files["lesions"], labels)
    write_image(files["organs"], organs)
    marked = random.uniform(size=len(balls)) < MARKED if view == "deeplesion" else np.zeros(len(balls), bool)
    marks = tuple(recist_of(ball) for ball, chosen in zip(balls, marked, strict=True) if chosen)
    masks = tuple(mask_of(ball, str(files["lesions"]), label) for label, ball in enumerate(balls, 1))
    full = view == "full"
    known = Completeness(
        "all" if full else "none",
        organ_labels=str(files["organs"]),
        organ_values={organ: (value,) for organ, (value, _, _) in ORGANS.items()},
    )
    image = ImageSource(str(files["image"]), size=SHAPE[::-1])
    findings = () if full else findings_of(balls)
    return Case(name, name, "phantom", split, image, masks if full else marks, known, findings)


def write_image(path: Path, array: npt.NDArray[np.generic]) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing([SPACING_MM] * 3)
    sitk.WriteImage(image, str(path), True)


def write_phantoms(
    folder: Path, first: int, count: int, split: Split, view: str, lesions: int | None = None
) -> None:
    """FOLDER/cases.jsonl with the phantoms of `count` seeds from `first` on."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first, first + count)
    write_cases(folder / "cases.jsonl", [write_phantom(folder, s, split, view, lesions) for s in seeds])
