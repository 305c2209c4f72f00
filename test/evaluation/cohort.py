"""A cohort with predictions in files, without images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from resources.cases.case import Annotation, Case, Completeness, ImageSource, write_cases
from resources.evaluation.predictions import DETAILS, LIKELIHOOD, POINTS

TYPES = ("liver", "lung", "bone", "kidney")


def make_cohort(folder: Path, scans: int, predictions: int, seed: int = 0, skill: float = 0.75) -> Path:
    """Writes truth.jsonl and the folder `predictions` of a made cohort; returns the truth's path.

    Half of the scans hold 1 to 6 lesions, each found with probability `skill`. No images.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(scans):
        count = int(rng.integers(1, 7)) if rng.random() < 0.5 else 0
        places, diameters = rng.uniform(-150, 150, (count, 3)), rng.lognormal(np.log(16), 0.5, count)
        annotations = tuple(
            Annotation(
                "box3d",
                type=str(rng.choice(TYPES)),
                frame="mm",
                lower=tuple((place - mm / 2).tolist()),
                upper=tuple((place + mm / 2).tolist()),
            )
            for place, mm in zip(places, diameters, strict=True)
        )
        attributes: dict[str, str | float | bool] = {
            "sex": str(rng.choice(["F", "M"])),
            "site": str(rng.choice(["A", "B", "C"])),
            "slice_thickness_mm": float(rng.choice([1.0, 2.5, 5.0])),
        }
        name = f"scan{number:05}"
        source = ImageSource(str(folder / f"{name}.mha"))
        made = Case(
            name, name, "made", "test", source, annotations, Completeness("all"), attributes=attributes
        )
        cases.append(made)
        _write_prediction(folder / "predictions" / name, places, diameters, predictions, skill, rng)
    write_cases(folder / "truth.jsonl", cases)
    return folder / "truth.jsonl"


def _write_prediction(
    folder: Path,
    places: np.ndarray,
    diameters: np.ndarray,
    count: int,
    skill: float,
    rng: np.random.Generator,
) -> None:
    found = np.flatnonzero(rng.random(len(places)) < skill)
    points = np.concatenate(
        [places[found] + rng.normal(0, 1.5, (len(found), 3)), rng.uniform(-150, 150, (count, 3))]
    )
    sizes = np.concatenate(
        [diameters[found] * rng.lognormal(0, 0.15, len(found)), rng.lognormal(np.log(12), 0.4, count)]
    )
    probability = np.concatenate([rng.beta(4, 2, len(found)), rng.beta(0.6, 6, count)]).clip(0.01, 0.999)
    order = np.argsort(-probability)[:count]
    likelihood = float(probability.max(initial=0.01))
    rows = [
        {
            "box_mm": {
                "lower": (points[i] - sizes[i] / 2).tolist(),
                "upper": (points[i] + sizes[i] / 2).tolist(),
            },
            "long_mm": float(sizes[i]),
            "short_mm": float(sizes[i]),
            "z_extent_mm": float(sizes[i]),
            "type_probabilities": {"liver": float(probability[i])},
            "above_operating_point": bool(probability[i] >= 0.5),
        }
        for i in order
    ]
    listed = [
        {"name": "liver", "point": points[i].tolist(), "probability": float(probability[i])} for i in order
    ]
    head = {"type": "Multiple points", "version": {"major": 1, "minor": 0}, "name": "lesions"}
    details = {"points": rows, "operating_point": 0.5, "scan_operating_point": 0.7, "weights_version": "made"}
    folder.mkdir(parents=True)
    for name, content in ((POINTS, head | {"points": listed}), (DETAILS, details), (LIKELIHOOD, likelihood)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
