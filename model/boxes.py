"""Geometry of boxes and points in numpy. Boxes are (n, 6): lower corner, then upper corner, any frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def check_corner_boxes(boxes: npt.ArrayLike) -> Array:
    """(n, 6) float64; ValueError where an upper corner lies below a lower one or a value is not finite."""
    array = np.asarray(boxes, np.float64).reshape(-1, 6)
    bad = ~np.isfinite(array).all(1) | (array[:, 3:] < array[:, :3]).any(1)
    if bad.any():
        raise ValueError(f"boxes: expected finite lower <= upper corners, found {array[bad][0].tolist()}")
    return array


def volume_of_corner_boxes(boxes: Array) -> Array:
    """(n, 6) -> (n,)."""
    return np.asarray(np.prod(boxes[:, 3:] - boxes[:, :3], axis=1), np.float64)


def _intersection(first: Array, second: Array) -> Array:
    lower = np.maximum(first[:, None, :3], second[None, :, :3])
    upper = np.minimum(first[:, None, 3:], second[None, :, 3:])
    return np.asarray(np.prod(np.clip(upper - lower, 0, None), axis=2), np.float64)


def iou_of_corner_boxes(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """(n, 6), (m, 6) -> (n, m) intersection over union; 0 where both boxes are empty."""
    a, b = check_corner_boxes(first), check_corner_boxes(second)
    shared = _intersection(a, b)
    union = volume_of_corner_boxes(a)[:, None] + volume_of_corner_boxes(b)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def iobb_of_corner_boxes(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Array:
    """(n, 6), (m, 6) -> (n, m) intersection over the predicted box (Yan et al., LENS 2020)."""
    a, b = check_corner_boxes(predicted), check_corner_boxes(true)
    shared = _intersection(a, b)
    size = np.broadcast_to(volume_of_corner_boxes(a)[:, None], shared.shape)
    return np.divide(shared, size, out=np.zeros_like(shared), where=size > 0)


def distances(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """(n, 3), (m, 3) -> (n, m) Euclidean distances."""
    a, b = np.asarray(first, np.float64).reshape(-1, 3), np.asarray(second, np.float64).reshape(-1, 3)
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2), np.float64)


def suppress(points_mm: npt.ArrayLike, reach_mm: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Indices that stay when each point, best first, silences later points nearer than its reach.

    points_mm: (n, 3) sorted by score, highest first. reach_mm: (n,) radius of each point.
    """
    points = np.asarray(points_mm, np.float64).reshape(-1, 3)
    reach = np.asarray(reach_mm, np.float64).reshape(-1)
    alive = np.ones(len(points), bool)
    for i in range(len(points)):
        if alive[i]:
            near = np.linalg.norm(points - points[i], axis=1) < reach[i]
            near[: i + 1] = False
            alive &= ~near
    return np.flatnonzero(alive)
