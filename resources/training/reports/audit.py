"""The audit log of a round: every lesion that was mined, and pictures of some, for people to judge.

A round's folder holds audit.jsonl, one line a mined lesion, and audit.png, a sheet of some of them, from the
surest to the least sure. Nothing here knows the truth.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.files import whole, write_whole
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, Point
from resources.cases.lesions import LONG_MM, SHORT_RATIO, Z_RATIO
from resources.review.planes import AROUND_MM, WINDOWS, square, window_of
from resources.training.reports.pseudo_labels import PseudoLesion, Sizes

EDGE_MM = (120.0, 260.0)
"""A picture is three times as wide as the lesion, but within these."""
GAP_MM = 2.0
"""Between a lesion and its outline, which must not hide its edge."""
ABREAST = 2
"""Lesions side by side on the sheet."""
LESION_IN, TITLE_IN = (6.8, 2.65), 0.4
"""Inches of a lesion's three planes, and above all."""
EDGES = (("R", "A"), ("R", "S"), ("A", "S"))
"""What lies to the left and above on each of the planes."""


@dataclasses.dataclass(frozen=True)
class Mined:
    """One line of the log: a pseudo-labelled lesion that nobody drew.

    place_mm: LPS (x, y, z). slice: nearest index z of the case's own image, from 0. size_mm: axial long and
    short diameter and z extent, None where unknown. finding, span: number of the finding that was assigned
    to it, and its place in the report's text.
    """

    case: str
    place_mm: Point
    slice: int
    size_mm: Sizes
    type: str | None
    probability: float
    rounds: int
    weight: float
    source: Literal["teacher", "report"]
    finding: int | None
    span: tuple[int, int] | None


def mined_of(case: Case, scan: CachedScan, lesions: Iterable[PseudoLesion]) -> list[Mined]:
    """The lines of one case: of its lesions those with a positive verdict, in their order."""
    mined = []
    for lesion in lesions:
        if lesion.verdict != "positive":
            continue
        level = float(scan.place.world_to_index(lesion.center_mm)[0, 2])
        mined.append(
            Mined(
                case=case.id,
                place_mm=lesion.center_mm,
                slice=round(level),
                size_mm=lesion.size_mm,
                type=lesion.type,
                probability=lesion.probability,
                rounds=lesion.rounds,
                weight=lesion.weight,
                source=lesion.source,
                finding=lesion.finding,
                span=None if lesion.finding is None else case.findings[lesion.finding].span,
            )
        )
    return mined


def write_log(path: Path, lines: Iterable[Mined]) -> None:
    """JSON Lines, UTF-8, every key on every line."""
    text = "".join(json.dumps(dataclasses.asdict(line), ensure_ascii=False) + "\n" for line in lines)
    write_whole(path, text)


def chosen(lines: Sequence[Mined], most: int) -> list[int]:
    """Numbers of the lesions that are drawn: at most `most`, evenly from the surest to the least sure.

    Does not depend on the order of the lines.
    """
    order = sorted(range(len(lines)), key=lambda i: (-lines[i].probability, lines[i].case, lines[i].place_mm))
    if len(order) <= most:
        return order
    return [order[round(step * (len(order) - 1) / max(1, most - 1))] for step in range(most)]


def draw_sheet(path: Path, mined: Sequence[tuple[Mined, CachedScan]], title: str) -> None:
    """A PNG of each lesion cut axially, coronally and sagittally through its centre, its outline dashed.

    As radiologists look: the patient's right on the left, the front on the left of sagittal planes.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    abreast = min(ABREAST, len(mined))
    rows = math.ceil(len(mined) / abreast)
    size = (LESION_IN[0] * abreast, LESION_IN[1] * rows + TITLE_IN)
    figure, panels = plt.subplots(
        rows, 3 * abreast, figsize=size, squeeze=False, facecolor="black", layout="constrained"
    )
    figure.suptitle(title, color="white", fontsize=10)
    for panel in panels.flat:
        panel.set_axis_off()
    for number, (lesion, scan) in enumerate(mined):
        row, column = divmod(number, abreast)
        own = panels[row, 3 * column : 3 * column + 3]
        own[1].set_title(_caption(lesion), color="white", fontsize=7.5)
        for plane, panel in enumerate(own):
            _draw_plane(panel, lesion, scan, plane)
    with whole(path, ".png") as part:
        figure.savefig(part, dpi=100, facecolor="black")
    plt.close(figure)


def _caption(lesion: Mined) -> str:
    known = any(mm is not None for mm in lesion.size_mm)
    size = " x ".join("?" if mm is None else f"{mm:.0f}" for mm in lesion.size_mm) if known else "?"
    source = "teacher" if lesion.finding is None else f"report, finding {lesion.finding}"
    return (
        f"{lesion.case}, slice {lesion.slice}: {lesion.type or 'unknown type'} {lesion.probability:.2f}\n"
        f"{size} mm; seen in {lesion.rounds} rounds; {source}"
    )


def _draw_plane(panel: Any, lesion: Mined, scan: CachedScan, plane: int) -> None:
    from matplotlib.patches import Ellipse

    left, above = EDGES[plane]
    wide_mm, high_mm = extent = _extent_mm(lesion)
    edge_mm = min(EDGE_MM[1], max(EDGE_MM[0], 3 * max(extent)))
    image, place = crop(scan, lesion.place_mm, plane, edge_mm)
    around = crop(scan, lesion.place_mm, 0, 2 * AROUND_MM)[0]
    low, high = WINDOWS[window_of(around, lesion.type)]
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
    style: dict[str, Any] = {"fill": False, "edgecolor": "#ffd400", "lw": 0.9, "ls": (0, (3, 3))}
    height_mm = wide_mm if plane == 0 else high_mm
    size = [(mm + 2 * GAP_MM) / scan.spacing_mm for mm in (wide_mm, height_mm)]
    panel.add_patch(Ellipse(place, *size, **style))
    rows, columns = image.shape
    text: dict[str, Any] = {"color": "#9ad1ff", "fontsize": 7, "ha": "center", "va": "center"}
    text["bbox"] = {"facecolor": "black", "alpha": 0.5, "pad": 0.8, "linewidth": 0}
    panel.text(columns * 0.04, rows * 0.5, left, **text)
    panel.text(columns * 0.5, rows * 0.05, above, **text)
    bar = 20 / scan.spacing_mm
    panel.plot([columns * 0.95 - bar, columns * 0.95], [rows * 0.95] * 2, color="#9ad1ff", linewidth=1.5)
    if plane == 0:
        panel.text(columns * 0.95 - bar / 2, rows * 0.91, "2 cm", **text)


def _extent_mm(lesion: Mined) -> tuple[float, float]:
    """In the plane and along z. How the axes lie is not known, so all directions get the long diameter."""
    long_mm = lesion.size_mm[0] or LONG_MM[1]
    return long_mm, lesion.size_mm[2] or Z_RATIO[0.50] * math.sqrt(SHORT_RATIO) * long_mm


def crop(
    scan: CachedScan, place_mm: Point, plane: int, edge_mm: float
) -> tuple[npt.NDArray[np.int16], tuple[float, float]]:
    """A square of HU (rows, columns) around a place, on a plane by its number in PLANES, and where the place
    is in it (column, row); air beyond the scan.
    """
    voxel = scan.grid.world_to_voxel(place_mm)[0]
    return square(np.asarray(scan.array[HU]), voxel, plane, round(edge_mm / scan.spacing_mm / 2))
