"""Where a scan lies: from index and world to the scan's own mm, in which everything is matched."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.geometry import Geometry
from model.volume import InputError
from resources.cases.case import Case
from resources.cases.images import HEAD_TO_FEET, read_case_volume, read_header
from resources.evaluation import EvaluationError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The scan's own mm: (x, y, z) along its index axes, 0 at the centre of the first voxel.

    Boxes along the index axes are exact here. Boxes along the world's axes become their enclosing box, which
    is exact for every scan that is not tilted. known: whether there is an image, and so a size; a scan whose
    image is not there has the world as its frame.
    """

    place: Geometry
    known: bool = True

    @property
    def spacing_mm(self) -> Floats:
        return np.array(self.place.spacing_mm)

    def of_world(self, points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) LPS mm -> (n, 3)."""
        return self.of_index(self.place.world_to_index(points_mm))

    def to_world(self, points: npt.ArrayLike) -> Floats:
        """Inverse of `of_world`."""
        return self.place.index_to_world(self.to_index(points))

    def of_index(self, index_xyz: npt.ArrayLike) -> Floats:
        """(n, 3) index positions -> (n, 3)."""
        return np.asarray(index_xyz, np.float64).reshape(-1, 3) * self.spacing_mm

    def to_index(self, points: npt.ArrayLike) -> Floats:
        """Inverse of `of_index`."""
        return np.asarray(points, np.float64).reshape(-1, 3) / self.spacing_mm

    def of_world_boxes(self, boxes_mm: npt.ArrayLike) -> Floats:
        """(n, 6) boxes along the world's axes -> (n, 6) their enclosing boxes."""
        boxes = np.asarray(boxes_mm, np.float64).reshape(-1, 6)
        corners = np.stack([self.of_world(boxes[:, list(axes)]) for axes in product((0, 3), (1, 4), (2, 5))])
        return np.concatenate([corners.min(0), corners.max(0)], axis=1)

    def outside_mm(self, points: Floats) -> Floats:
        """(n,) mm by which points lie beyond the outermost voxels' edges; 0 where that is not known."""
        if not self.known:
            return np.zeros(len(points))
        lower, upper = -self.spacing_mm / 2, (np.array(self.place.size) - 0.5) * self.spacing_mm
        return np.linalg.norm(np.clip(lower - points, 0, None) + np.clip(points - upper, 0, None), axis=1)


def values_at(voxels: npt.NDArray[Any], index_xyz: Floats) -> npt.NDArray[Any]:
    """(z, y, x) voxels and (n, 3) index positions (x, y, z) -> (n,) the nearest voxels' values, 0 outside."""
    nearest = np.floor(index_xyz + 0.5).astype(np.intp)[:, ::-1]
    within = np.asarray(((nearest >= 0) & (nearest < voxels.shape)).all(1))
    z, y, x = np.where(within[:, None], nearest, 0).T
    return np.where(within, voxels[z, y, x], np.zeros((), voxels.dtype))


def needs_image(case: Case) -> bool:
    """Whether the truth can only be placed with the image's geometry."""
    return case.completeness.kind not in ("all", "none") or any(a.frame == "index" for a in case.annotations)


def place_of(case: Case) -> Geometry | None:
    """The scan's geometry; its voxels are not read where that can be avoided.

    None where the image is not there and not needed either. Raises EvaluationError.
    """
    source = case.image
    if source.spacing_mm is not None and source.size is not None and source.reader == "deeplesion":
        direction = np.array(source.direction or HEAD_TO_FEET).reshape(3, 3)
        return Geometry(source.size, source.spacing_mm, source.origin_mm or (0.0, 0.0, 0.0), direction)
    path = Path(source.path)
    if not path.exists():
        if needs_image(case):
            raise EvaluationError(f"case {case.id}: expected its image at {path}, found nothing")
        return None
    try:
        read = source.reader == "itk" and path.is_file()
        return read_header(path) if read else read_case_volume(case).geometry
    except (InputError, OSError) as error:
        raise EvaluationError(f"case {case.id}: {error}") from None
