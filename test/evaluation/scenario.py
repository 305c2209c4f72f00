"""Small truths and predictions whose answers can be counted on paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resources.cases.case import Annotation, Case, Completeness, ImageSource
from resources.evaluation.matching import Candidates, Targets

Box = Sequence[float]


def candidates(rows: Iterable[tuple[Box, float]]) -> Candidates:
    """From (box, probability); the point is the box's centre."""
    rows = list(rows)
    boxes = np.array([box for box, _ in rows], float).reshape(-1, 6)
    points = (boxes[:, :3] + boxes[:, 3:]) / 2
    return Candidates(points, np.array([probability for _, probability in rows], float), boxes)


def targets(boxes: Iterable[Box], found: Candidates, excluded: Sequence[int] = ()) -> Targets:
    """Lesions that fill their boxes; the key slice is the middle one and 1 mm thick."""
    array = np.array(list(boxes), float).reshape(-1, 6)
    lower, upper = array[:, :3], array[:, 3:]
    points = found.points_mm[:, None]
    middle = (lower + upper)[:, 2] / 2
    return Targets(
        centres_mm=(lower + upper) / 2,
        radii_mm=(upper - lower)[:, :2].max(1, initial=0) / 2,
        boxes_mm=array,
        key_boxes_mm=array[:, [0, 1, 3, 4]],
        key_z_mm=np.stack([middle - 0.5, middle + 0.5], 1),
        key_pad_mm=np.zeros((len(array), 2)),
        inside=((points >= lower) & (points <= upper)).all(2),
        sized=np.full(len(array), True),
        excluded=np.isin(np.arange(len(array)), excluded),
    )


def ball(x: float, y: float = 0, z: float = 0, diameter: float = 10, **more: Any) -> Annotation:
    """A lesion around a point, in LPS mm."""
    return Annotation("point", frame="mm", point=(x, y, z), long_mm=diameter, **more)


def case(
    name: str, *annotations: Annotation, patient: str = "", complete: str = "all", **attributes: Any
) -> Case:
    """A case whose image is not there."""
    return Case(
        name,
        patient or name,
        "made",
        "test",
        ImageSource(f"images/{name}.mha"),
        annotations,
        Completeness(complete),  # type: ignore[arg-type]
        attributes=attributes,
    )


def write_prediction(
    folder: Path, points: Iterable[tuple[Sequence[float], float]], likelihood: float = 0.5, **details: Any
) -> None:
    """The three files of process.py; each point gets a box of 10 mm edges."""
    rows = sorted(points, key=lambda row: -row[1])
    folder.mkdir(parents=True)
    named = [{"name": "liver", "point": list(point), "probability": p} for point, p in rows]
    head = {"type": "Multiple points", "version": {"major": 1, "minor": 0}, "name": "lesions"}
    (folder / "lesion-points.json").write_text(json.dumps(head | {"points": named}), encoding="utf-8")
    lesions = [
        {
            "box_mm": {"lower": [v - 5 for v in point], "upper": [v + 5 for v in point]},
            "long_mm": 10.0,
            "short_mm": 10.0,
            "z_extent_mm": 10.0,
            "type_probabilities": {"liver": p},
            "above_operating_point": p >= 0.5,
        }
        for point, p in rows
    ]
    points_of = {"operating_point": 0.5, "scan_operating_point": 0.5, "weights_version": "made"}
    (folder / "lesion-details.json").write_text(
        json.dumps(points_of | {"points": lesions} | details), encoding="utf-8"
    )
    (folder / "metastasis-likelihood.json").write_text(json.dumps(likelihood), encoding="utf-8")
