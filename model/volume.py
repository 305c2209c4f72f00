"""A CT volume in Hounsfield units and in its place. `model.reading` reads the files, in a child process."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import InputError as InputError
from model.geometry import Geometry
from model.reading.child import Answer, read


@dataclasses.dataclass(frozen=True)
class Volume:
    """HU on a regular grid.

    hu: (z, y, x), any signed integer or float type, finite. spacing_mm and origin_mm: (x, y, z), the
    origin being the centre of voxel (0, 0, 0) in LPS. direction: (3, 3) orthonormal, its columns the world
    directions of the index axes x, y, z. warnings: what had to be assumed.
    """

    hu: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        z, y, x = self.hu.shape
        return Geometry((x, y, z), self.spacing_mm, self.origin_mm, self.direction)

    def index_to_world(self, index_xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(n, 3) index positions (x, y, z), 0-based -> (n, 3) LPS mm."""
        return self.geometry.index_to_world(index_xyz)

    def world_to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of `index_to_world`."""
        return self.geometry.world_to_index(points_mm)


def read_volume(path: Path, series: str | None = None) -> Volume:
    """A MetaImage, NRRD, NIfTI or DICOM file, or a folder with a DICOM series (series: its UID).

    Raises InputError where it is no CT in three dimensions with sound geometry.
    """
    return volume_of(read("scan", path, series))


def volume_of(answer: Answer) -> Volume:
    """What a child read as a scan."""
    place = answer.geometry
    assert answer.voxels is not None
    return Volume(answer.voxels, place.spacing_mm, place.origin_mm, place.direction, answer.warnings)
