"""Results of a scan as process.py writes them, from places and sizes that a test names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from helpers import phantom
from model.config import LESION_TYPES
from model.volume import Volume

Row = tuple[str, tuple[float, float, float], float, float]
"""Type, place in LPS mm, probability, long diameter; the short one is 0.8 of it, the z extent as long."""
OPERATING_POINT = 0.5


def write_results(folder: Path, rows: Sequence[Row], likelihood: float = 0.9) -> None:
    """The three files, most probable first."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(rows, key=lambda row: -row[2])
    points = [{"name": name, "point": list(mm), "probability": p} for name, mm, p, _ in rows]
    details = [_detail(name, mm, p, long_mm) for name, mm, p, long_mm in rows]
    files: dict[str, Any] = {
        "lesion-points.json": {
            "type": "Multiple points",
            "version": {"major": 1, "minor": 0},
            "name": "lesions",
            "points": points,
        },
        "lesion-details.json": {
            "points": details,
            "operating_point": OPERATING_POINT,
            "scan_operating_point": 0.5,
            "scan_above_operating_point": likelihood >= 0.5,
            "timings_s": {},
            "spacing_mm": 2.0,
            "tiles": 1,
            "software_version": "0.1.0",
            "weights_version": "test",
            "input": {},
            "warnings": [],
        },
        "metastasis-likelihood.json": likelihood,
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")


def _detail(name: str, mm: tuple[float, float, float], probability: float, long_mm: float) -> dict[str, Any]:
    reach = np.full(3, long_mm / 2)
    return {
        "box_mm": {"lower": (np.array(mm) - reach).tolist(), "upper": (np.array(mm) + reach).tolist()},
        "long_mm": long_mm,
        "short_mm": 0.8 * long_mm,
        "z_extent_mm": long_mm,
        "type_probabilities": {t: probability if t == name else 0.001 for t in LESION_TYPES},
        "above_operating_point": probability >= OPERATING_POINT,
    }


ORIENTATIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "feet first": np.diag([1.0, 1.0, -1.0]),
    "oblique": np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    @ np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]),
}
"""Direction matrices of scans."""


def scan_of(direction: np.ndarray, shape: tuple[int, int, int] = (24, 60, 70)) -> Volume:
    """A phantom of 3.5 x 3 x 4 mm voxels somewhere in space."""
    return Volume(phantom(shape), (3.5, 3.0, 4.0), (-80.0, 40.0, 300.0), direction)


def write_volume(path: Path, volume: Volume) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(volume.hu)
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.origin_mm)
    image.SetDirection(volume.direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def places(volume: Volume, *fractions: tuple[float, float, float]) -> list[tuple[float, float, float]]:
    """LPS mm of places told as shares of the scan's edges (x, y, z)."""
    index = np.array(fractions) * (np.array(volume.hu.shape[::-1]) - 1)
    return [(float(x), float(y), float(z)) for x, y, z in volume.index_to_world(index)]
