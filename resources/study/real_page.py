"""A page of every detection in whole scans above the operating point, for people to judge what it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from model.files import write_whole
from resources.cases.images import read_case_volume
from resources.evaluation.evaluation import Evaluation, Model
from resources.evaluation.gallery import Failure, picture
from resources.study.real_data import WHOLE

NEAR_MM, FAR_MM = 45.0, 190.0
"""Half the edge of the planes: what it is, and where it lies."""
COLOURS = 128
"""Of the pictures, which are kept small."""


def detections_of(evaluation: Evaluation, rule: str) -> list[tuple[str, Failure]]:
    """Whole scans' detections above the operating point, the surest first in each scan, and what became of
    each; then the lesions that none of them found.
    """
    model = evaluation.models[0]
    point = model.predictions.operating_point or 0.0
    entries = []
    for number, truth in enumerate(evaluation.truths):
        if truth.case.source != WHOLE:
            continue
        scan, outcome = model.predictions.scans[number], model.outcomes[number][rule]
        above = np.flatnonzero(scan.probability >= point)
        for i in above[np.argsort(-scan.probability[above], kind="stable")]:
            size = "" if scan.sizes_mm is None else " x ".join(f"{mm:.0f}" for mm in scan.sizes_mm[i]) + " mm"
            caption = f"{scan.types[i]}, p = {scan.probability[i]:.3f}, {size}"
            entries.append(
                (outcome.fates[i], Failure(outcome.fates[i], number, int(i), -1, caption, scan.points_mm[i]))
            )
        hit = {int(lesion) for lesion in outcome.found[above]}
        for place, lesion in enumerate(truth.lesions):
            if place not in hit:
                centre = truth.frame.to_world(lesion.centre_mm)[0]
                caption = f"{lesion.annotation.type}, {lesion.measured[0]:.0f} mm"
                entries.append(
                    ("missed lesion", Failure("missed lesion", number, -1, place, caption, centre))
                )
    return entries


def write_page(
    path: Path, evaluation: Evaluation, rule: str, heading: str, tell: Callable[[str], None]
) -> None:
    """One self-contained HTML file. Raises InputError, OSError."""
    rows: dict[str, list[dict[str, Any]]] = {
        truth.case.id: [] for truth in evaluation.truths if truth.case.source == WHOLE
    }
    model, volume, opened = only_above(evaluation.models[0]), None, -1
    for number, (fate, failure) in enumerate(detections_of(evaluation, rule), 1):
        truth = evaluation.truths[failure.case]
        if failure.case != opened:
            volume, opened = read_case_volume(truth.case), failure.case
            tell(truth.case.id)
        assert volume is not None
        index = volume.world_to_index(failure.point_mm)[0]
        views = [picture(volume, truth, model, failure, half) for half in (NEAR_MM, FAR_MM)]
        rows[truth.case.id].append(
            {
                "number": number,
                "fate": fate,
                "caption": failure.caption,
                "place": ", ".join(f"{mm:.0f}" for mm in failure.point_mm),
                "slice": round(float(index[2])),
                "views": [base64.b64encode(smaller(view)).decode() for view in views],
            }
        )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("real_page.html.j2").render(heading=heading, rule=rule, scans=rows)
    write_whole(path, text)


def only_above(model: Model) -> Model:
    """The model without the boxes of detections below its operating point, which would hide the picture."""
    point = model.predictions.operating_point or 0.0
    scans = tuple(
        scan
        if scan.boxes_mm is None
        else replace(scan, boxes_mm=np.where(scan.probability[:, None] >= point, scan.boxes_mm, np.nan))
        for scan in model.predictions.scans
    )
    return replace(model, predictions=replace(model.predictions, scans=scans))


def smaller(png: bytes) -> bytes:
    """The picture with few colours: a third of the size."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS).save(stream, "png", optimize=True)
    return stream.getvalue()
