"""What is written for each scan: a JSON file of the kinds "Multiple points", "Anything" and "Float".

Coordinates are (x, y, z) in LPS mm. Knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import MOST_POINTS
from model.files import remove_files

if TYPE_CHECKING:
    from model.detector import Detector, Lesion, Prediction

VERSION = "0.1.0"
SUMMARY = "summary.csv"


@dataclass(frozen=True)
class FileNames:
    """The files of the three output sockets; the likelihood is the scan's."""

    points: str = "lesion-points.json"
    details: str = "lesion-details.json"
    likelihood: str = "metastasis-likelihood.json"


def points_json(prediction: Prediction) -> dict[str, Any]:
    """The "Multiple points" file. Raises ValueError where the platform would refuse it."""
    return points_file((lesion.type, lesion.point_mm, lesion.probability) for lesion in prediction.lesions)


def points_file(rows: Iterable[tuple[str, Iterable[float], float]]) -> dict[str, Any]:
    """From (name, (x, y, z) in mm, probability), highest probability first. Raises ValueError."""
    points: list[dict[str, Any]] = [
        {"name": name, "point": [float(mm) for mm in place], "probability": float(probability)}
        for name, place, probability in rows
    ]
    for point in points:
        place, probability = point["point"], point["probability"]
        finite = len(place) == 3 and all(map(math.isfinite, place))
        if not finite or not 0 <= probability <= 1 or not isinstance(point["name"], str) or not point["name"]:
            raise ValueError(f"point: expected a name, three finite mm and 0 to 1, found {point}")
    order = [point["probability"] for point in points]
    if order != sorted(order, reverse=True) or len(order) > MOST_POINTS:
        raise ValueError(f"points: expected {MOST_POINTS} at most, the most probable first, found {order}")
    return {
        "type": "Multiple points",
        "version": {"major": 1, "minor": 0},
        "name": "lesions",
        "points": points,
    }


def details_json(
    prediction: Prediction, detector: Detector, read_s: float, read_from: dict[str, Any]
) -> dict[str, Any]:
    """The "Anything" file: what the points file has no room for, in the same order.

    read_s: seconds that reading took. read_from: `fingerprint` of the scan.
    """
    return {
        "points": [_lesion_json(lesion, detector.operating_point) for lesion in prediction.lesions],
        "operating_point": float(detector.operating_point),
        "scan_operating_point": float(detector.scan_operating_point),
        "scan_above_operating_point": bool(prediction.likelihood >= detector.scan_operating_point),
        "timings_s": {
            "read": float(read_s),
            **{stage: float(seconds) for stage, seconds in prediction.timings_s.items()},
        },
        "spacing_mm": float(prediction.spacing_mm),
        "tiles": prediction.tiles,
        "software_version": VERSION,
        "weights_version": detector.weights_version,
        "weights_digest": detector.weights_digest,
        "input": read_from,
        "warnings": list(prediction.warnings),
    }


def _lesion_json(lesion: Lesion, operating_point: float) -> dict[str, Any]:
    lower, upper = lesion.box_mm
    return {
        "box_mm": {"lower": [float(mm) for mm in lower], "upper": [float(mm) for mm in upper]},
        "long_mm": float(lesion.long_mm),
        "short_mm": float(lesion.short_mm),
        "z_extent_mm": float(lesion.z_extent_mm),
        "organ": lesion.organ,
        "type_probabilities": {name: float(value) for name, value in lesion.type_probabilities.items()},
        "above_operating_point": bool(lesion.probability >= operating_point),
    }


def likelihood_json(value: float) -> float:
    """The "Float" file of a scan's likelihood. Raises ValueError outside 0 to 1."""
    if not 0 <= float(value) <= 1:
        raise ValueError(f"likelihood: expected 0 to 1, found {value}")
    return float(value)


def remove_results(folder: Path, names: FileNames) -> None:
    """Removes the results of earlier scans, in sub-folders too. Raises OutputError."""
    remove_files(folder, (names.points, names.details, names.likelihood, SUMMARY))
