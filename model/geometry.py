"""Where a grid of voxels lies in the world: size, spacing, origin, direction."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE_MM = 0.1
"""How far a corner of a grid may lie from where a file says it lies, and two statements from each other."""
LONGEST_MM = 4000.0
"""No scan is longer; a file that says so has the wrong unit."""
FARTHEST_MM = 100_000.0
"""No scan lies farther from the world's origin."""
FINEST_MM = 0.05
"""No clinical CT is finer; a file that says so has the wrong unit."""
UNIT = 1e-3
"""By how much the length of a direction vector may miss 1."""

Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A regular grid with right angles.

    size: voxels (x, y, z). spacing_mm, origin_mm: (x, y, z), the origin being the centre of voxel (0, 0, 0)
    in LPS. direction: (3, 3) orthonormal, its columns the world directions of the index axes x, y, z.
    """

    size: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    direction: npt.NDArray[np.float64]

    def index_to_world(self, index_xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(n, 3) index positions (x, y, z), 0-based -> (n, 3) LPS mm."""
        scaled = np.asarray(index_xyz, np.float64).reshape(-1, 3) * self.spacing_mm
        return scaled @ self.direction.T + self.origin_mm

    def world_to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of `index_to_world`."""
        shifted = np.asarray(points_mm, np.float64).reshape(-1, 3) - self.origin_mm
        return shifted @ self.direction / self.spacing_mm

    def voxel_to_world(self, voxel_zyx: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(n, 3) positions (z, y, x) in an array of the voxels -> (n, 3) LPS mm (x, y, z)."""
        return self.index_to_world(np.asarray(voxel_zyx, np.float64).reshape(-1, 3)[:, ::-1])

    def world_to_voxel(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of `voxel_to_world`."""
        return np.ascontiguousarray(self.world_to_index(points_mm)[:, ::-1])

    def nearest_voxel(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """(n, 3) LPS mm -> (n, 3) array indices (z, y, x) of the nearest voxels, at the border for what is
        outside.
        """
        voxel = np.floor(self.world_to_voxel(points_mm) + 0.5).astype(np.intp)
        return np.asarray(np.clip(voxel, 0, np.array(self.size[::-1]) - 1))

    def coarsened(self, stride: int) -> Geometry:
        """The grid of cells of `stride` voxels along each axis; what is left over at the end is in none."""
        x, y, z = (n // stride for n in self.size)
        first_mm = _triple(self.index_to_world([[(stride - 1) / 2] * 3])[0])
        return Geometry((x, y, z), _triple(np.multiply(self.spacing_mm, stride)), first_mm, self.direction)

    def contains(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(n, 3) LPS mm -> (n,) whether a point lies within the outermost voxels."""
        index = self.world_to_index(points_mm)
        return np.asarray(((index >= -0.5) & (index <= np.array(self.size) - 0.5)).all(1))


def along_world(lower: tuple[int, int, int], shape: tuple[int, ...], spacing_mm: float) -> Geometry:
    """An isotropic grid along the world's axes whose voxel centres lie at whole multiples of the spacing.

    lower: the first voxel, (z, y, x), counted from the world's origin. shape: voxels (z, y, x).
    """
    z, y, x = shape
    first = (lower[2] * spacing_mm, lower[1] * spacing_mm, lower[0] * spacing_mm)
    return Geometry((x, y, z), (spacing_mm,) * 3, first, np.eye(3))


def right_angled(
    size: tuple[int, int, int],
    spacing_mm: npt.ArrayLike,
    axes: npt.ArrayLike,
    origin_mm: npt.ArrayLike,
) -> Geometry:
    """The grid with right angles that is closest to what a file says.

    axes: (3, 3), its columns the unit vectors of the index axes x, y, z, as rounded in the file or slightly
    sheared. The middle of the grid stays where it is. Raises ValueError, with what was expected and found,
    where a corner would lie more than `TOLERANCE_MM` from its place, or where the numbers make no grid.
    """
    spacing, columns = np.asarray(spacing_mm, np.float64), np.asarray(axes, np.float64).reshape(3, 3)
    origin = np.asarray(origin_mm, np.float64)
    if not (np.isfinite(spacing).all() and np.isfinite(origin).all()) or not (spacing > 0).all():
        raise ValueError(
            f"expected a positive spacing and a finite origin, found {numbers(spacing)} mm and "
            f"{numbers(origin)} mm"
        )
    if np.abs(origin).max() > FARTHEST_MM:
        raise ValueError(f"expected an origin within {FARTHEST_MM:g} mm, found {numbers(origin)} mm")
    extent = spacing * size
    if extent.max() > LONGEST_MM:
        raise ValueError(f"expected at most {LONGEST_MM:g} mm in length, found {numbers(extent)} mm")
    if spacing.min() < FINEST_MM:
        raise ValueError(
            f"expected a spacing of at least {FINEST_MM:g} mm, found {numbers(spacing)} (in another unit?)"
        )
    unlike = f"expected a direction matrix of orthogonal unit vectors, found {numbers(columns.ravel())}"
    if not np.isfinite(columns).all() or np.abs(np.linalg.norm(columns, axis=0) - 1).max() > UNIT:
        raise ValueError(unlike)
    if np.abs(columns.T @ columns - np.eye(3)).max() < 1e-12:
        return Geometry(size, _triple(spacing), _triple(origin), columns)
    left, _, right = np.linalg.svd(columns)
    direction = left @ right
    middle = spacing * (np.array(size) - 1) / 2
    moved = origin + (columns - direction) @ middle
    corners = np.array(list(itertools.product(*((0, n - 1) for n in size)))) * spacing
    apart = np.linalg.norm(corners @ (columns - direction).T + origin - moved, axis=1).max()
    if apart > TOLERANCE_MM:
        raise ValueError(f"{unlike}: a corner would lie {apart:.2f} mm from its place")
    return Geometry(size, _triple(spacing), _triple(moved), direction)


def image_of(voxels: npt.NDArray[Any], place: Geometry) -> Any:
    """The voxels (z, y, x) of a grid as an image of SimpleITK, in its place."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing([float(mm) for mm in place.spacing_mm])
    image.SetOrigin([float(mm) for mm in place.origin_mm])
    tiny = np.abs(place.direction) < 1e-12  # of such a number, far below one, ITK's resampling makes only air
    image.SetDirection(np.where(tiny, 0.0, place.direction).ravel().tolist())
    return image


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    x, y, z = values.tolist()
    return x, y, z


def numbers(values: npt.ArrayLike) -> str:
    """For people."""
    return "(" + ", ".join(f"{value:g}" for value in np.asarray(values).tolist()) + ")"
