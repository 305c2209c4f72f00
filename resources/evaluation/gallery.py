"""Where a model fails: the surest false positives and the largest missed lesions, in three planes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from model.volume import InputError, Volume
from resources.cases.images import read_case_volume
from resources.evaluation.evaluation import Evaluation, Model
from resources.evaluation.matching import PRIMARY
from resources.evaluation.outcomes import Truth
from resources.review.planes import AROUND_MM, PLANES, WINDOWS, plane_through, window_of

HALF_MM = 45.0
PIXELS = 151
"""Of a picture along an edge."""


@dataclass(frozen=True)
class Failure:
    """kind: "false positive" or "missed lesion". point_mm: LPS. png: three planes, or why not: `note`."""

    kind: str
    case: int
    prediction: int
    lesion: int
    caption: str
    point_mm: npt.NDArray[np.float64]
    png: bytes | None = None
    note: str = ""


def failures(evaluation: Evaluation, model: Model, most: int) -> list[Failure]:
    """Up to `most` of each kind, the worst first: by probability, and by size. Without pictures."""
    table, scans = model.tables[PRIMARY.name], model.predictions.scans
    shown = []
    fresh = np.flatnonzero(~table.false_duplicate)
    for row in fresh[np.argsort(-table.false_score[fresh], kind="stable")][:most]:
        case, number = int(table.false_case[row]), int(table.false_prediction[row])
        name = scans[case].types[number] or "lesion"
        caption = f"{evaluation.truths[case].case.id}: called {name} at {table.false_score[row]:.3f}"
        shown.append(Failure("false positive", case, number, -1, caption, scans[case].points_mm[number]))
    point = model.predictions.operating_point
    missed = np.flatnonzero(table.lesion_score < (np.finfo(float).tiny if point is None else point))
    lesions = [evaluation.truths[table.lesion_case[i]].lesions[table.lesion_number[i]] for i in missed]
    size = np.nan_to_num(np.array([lesion.measured[0] for lesion in lesions], np.float64), nan=0.0)
    for place in np.argsort(-size, kind="stable")[:most]:
        row = missed[place]
        case, lesion = int(table.lesion_case[row]), lesions[place]
        long_mm = f"{size[place]:.0f} mm" if size[place] > 0 else "of unknown size"
        score = table.lesion_score[row]
        how = f"found at {score:.3f} only" if np.isfinite(score) else "not found at any probability"
        caption = f"{evaluation.truths[case].case.id}: {lesion.annotation.type or 'lesion'}, {long_mm}, {how}"
        centre = evaluation.truths[case].frame.to_world(lesion.centre_mm)[0]
        shown.append(Failure("missed lesion", case, -1, int(table.lesion_number[row]), caption, centre))
    return shown


def with_pictures(
    evaluation: Evaluation, model: Model, found: list[Failure], tell: Callable[[str], None]
) -> list[Failure]:
    """The same with pictures; each image is read once, one at a time. Order as given."""
    drawn: dict[int, Failure] = {}
    for case in sorted({failure.case for failure in found}):
        truth = evaluation.truths[case]
        volume, note = None, "the image is not there"
        if truth.has_image:
            try:
                volume = read_case_volume(truth.case)
            except (InputError, OSError) as error:
                note = str(error).replace(truth.case.image.path, Path(truth.case.image.path).name)
        for place, failure in enumerate(found):
            if failure.case == case:
                png = None if volume is None else picture(volume, truth, model, failure)
                drawn[place] = Failure(**{**failure.__dict__, "png": png, "note": "" if png else note})
        tell(truth.case.id)
    return [drawn[place] for place in range(len(found))]


def picture(volume: Volume, truth: Truth, model: Model, failure: Failure, half_mm: float = HALF_MM) -> bytes:
    """PNG of three planes through a failure, with true lesions and predictions outlined.

    half_mm: half the edge of each plane; the window is chosen by the nearest 5 cm all the same.
    """
    scan = model.predictions.scans[failure.case]
    planes = [plane_through(volume, failure.point_mm, plane, half_mm, PIXELS) for plane in range(len(PLANES))]
    window = window_of(plane_through(volume, failure.point_mm, 0, AROUND_MM, PIXELS)[2])
    figure = Figure(figsize=(7.2, 2.6), facecolor="black")
    figure.subplots_adjust(0.003, 0.005, 0.997, 0.925, 0.02)  # a constrained layout takes much longer
    for axis, (name, across, down, up), (offsets, points, hu) in zip(
        figure.subplots(1, 3), PLANES, planes, strict=True
    ):
        lower, upper = WINDOWS[window]
        edges = (offsets[0], offsets[-1], offsets[0], offsets[-1])
        axis.imshow(hu, cmap="gray", vmin=lower, vmax=upper, origin="lower", extent=edges)
        place = truth.frame.of_world(points.reshape(-1, 3))
        for lesion in truth.lesions:
            inside = lesion.contains(place, truth.frame).reshape(hu.shape)
            colour = "#00e5ff" if lesion.annotation.status == "lesion" else "#7f7f7f"
            if inside.any():
                axis.contour(offsets, offsets, inside, [0.5], colors=colour, linewidths=0.9)
        if scan.boxes_mm is not None:
            _draw_boxes(axis, scan.boxes_mm, failure, across, down)
        if failure.prediction >= 0:
            axis.plot(0, 0, "+", color="#ffb000", markersize=7)
        axis.set(xlim=(-half_mm, half_mm), ylim=(-half_mm, half_mm) if up else (half_mm, -half_mm))
        axis.set_title(f"{name}, {window} window" if name == "axial" else name, color="white", fontsize=7)
        axis.axis("off")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def _draw_boxes(axis: Any, boxes: npt.NDArray[np.float64], failure: Failure, across: int, down: int) -> None:
    """Predicted boxes that the plane cuts; the one in question solid, the others dashed."""
    through = 3 - across - down
    here = failure.point_mm
    for number, box in enumerate(boxes):
        if box[through] <= here[through] <= box[through + 3]:
            left, right = box[across] - here[across], box[across + 3] - here[across]
            low, high = box[down] - here[down], box[down + 3] - here[down]
            style = "-" if number == failure.prediction else "--"
            axis.plot(
                [left, right, right, left, left],
                [low, low, high, high, low],
                style,
                color="#ffb000",
                linewidth=0.9,
            )
