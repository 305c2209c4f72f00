"""Where a scan lies: from index and world to the scan's own mm, in which everything is matched."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.volume import InputError, Volume, read_volume
from resources.cases.case import Case
from resources.evaluation import EvaluationError

Floats = npt.NDArray[np.float64]
DEEPLESION_DIRECTION = np.diag([1.0, 1.0, -1.0])
"""DeepLesion's slices run from head to feet."""


@dataclass(frozen=True)
class Frame:
    """The scan's own mm: (x, y, z) along its index axes, 0 at the centre of the first voxel.

    Boxes along the index axes are exact here. Boxes along the world's axes become their enclosing box, which
    is exact for every scan that is not tilted. size: voxels (x, y, z), None if not known. A scan whose image
    is not there has the world as its frame.
    """

    spacing_mm: Floats
    origin_mm: Floats
    direction: Floats
    size: tuple[int, int, int] | None

    def of_world(self, points_mm: npt.ArrayLike) -> Floats:
        """(n, 3) LPS mm -> (n, 3)."""
        return (np.asarray(points_mm, np.float64).reshape(-1, 3) - self.origin_mm) @ self.direction

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
        """(n,) how far points lie beyond the outermost voxels' edges;

        0 inside or if the size is not known.
        """
        if self.size is None:
            return np.zeros(len(points))
        lower, upper = -self.spacing_mm / 2, (np.array(self.size) - 0.5) * self.spacing_mm
        return np.linalg.norm(np.clip(lower - points, 0, None) + np.clip(points - upper, 0, None), axis=1)


def needs_image(case: Case) -> bool:
    """Whether the truth can only be placed with the image's geometry."""
    return case.completeness.kind not in ("all", "none") or any(a.frame == "index" for a in case.annotations)


def frame_of(case: Case) -> Frame | None:
    """The frame of a case; None where the image is not there and not needed. Raises EvaluationError."""
    source = case.image
    if source.spacing_mm is not None and source.size is not None:
        usual = DEEPLESION_DIRECTION if source.reader == "deeplesion" else np.eye(3)
        direction = np.array(source.direction).reshape(3, 3) if source.direction else usual
        return Frame(
            np.array(source.spacing_mm), np.array(source.origin_mm or (0, 0, 0)), direction, source.size
        )
    path = Path(source.path)
    if not path.exists():
        if needs_image(case):
            raise EvaluationError(f"case {case.id}: expected its image at {path}, found nothing")
        return None
    if source.reader == "itk" and path.is_file():
        return _frame_of_header(path)
    return frame_of_volume(volume_of(case))


def frame_of_volume(volume: Volume) -> Frame:
    depth, height, width = volume.hu.shape
    return Frame(
        np.array(volume.spacing_mm), np.array(volume.origin_mm), volume.direction, (width, height, depth)
    )


def volume_of(case: Case) -> Volume:
    """The image of a case. Raises EvaluationError."""
    if case.image.reader == "deeplesion":
        raise EvaluationError(f"case {case.id}: expected an image that ITK reads, found DeepLesion's slices")
    try:
        return read_volume(Path(case.image.path), case.image.series)
    except (InputError, OSError) as error:
        raise EvaluationError(f"case {case.id}: {error}") from None


def _frame_of_header(path: Path) -> Frame:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise EvaluationError(f"{path}: expected a CT image, found a file that ITK cannot read") from None
    size, dimension = reader.GetSize(), reader.GetDimension()
    spacing, origin = np.array(reader.GetSpacing()[:3]), np.array(reader.GetOrigin()[:3])
    direction = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    if dimension < 3 or not (np.isfinite(spacing).all() and spacing.min() > 0 and np.isfinite(origin).all()):
        raise EvaluationError(
            f"{path}: expected 3 dimensions with a sound geometry, found {size}, {spacing} mm"
        )
    return Frame(spacing, origin, direction, (size[0], size[1], size[2]))
