"""Reduced copies of a scan for the browser, their projections, and thumbnails."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.preprocess import Grid, preprocess
from model.volume import Volume
from resources.review.planes import AROUND_MM, WINDOWS, encoded, grey_of, square, window_of

PROJECTION_HU = (-200.0, 900.0)
PROJECTION_MM = 2.0
MOST_VOXELS = 10_000_000
"""Of a reduced copy: what a browser without a graphics card shows within a few seconds."""
FINEST_MM, COARSE_MM = 0.8, 4.0
STEP_HU = 4
"""Values of a reduced copy are multiples of this, far below the noise of CT: it halves the file."""


def reduced_copy(volume: Volume, most_voxels: int = MOST_VOXELS) -> Grid:
    """A scan along the patient's axes, cropped to the body, with voxels no finer than they have to be.

    The spacing is isotropic: the scan's own in the plane, or what keeps the copy below `most_voxels`.
    Values are rounded to STEP_HU.
    """
    coarse = preprocess(volume, COARSE_MM, 1)
    body_mm3 = coarse.hu.numel() * COARSE_MM**3
    spacing = max(FINEST_MM, min(volume.spacing_mm), (body_mm3 / most_voxels) ** (1 / 3))
    grid = preprocess(volume, round(spacing + 0.005, 2), 1)
    hu = (grid.hu.float() / STEP_HU).round().mul(STEP_HU).to(grid.hu.dtype)
    return dataclasses.replace(grid, hu=hu)


def nifti_of(grid: Grid) -> bytes:
    """A grid as a compressed NIfTI file; its voxels run to the right-anterior-superior (RAS) corner."""
    import SimpleITK as sitk

    z, y, x = grid.hu.shape
    image = sitk.GetImageFromArray(np.ascontiguousarray(grid.hu.numpy()[:, ::-1, ::-1]))
    image.SetSpacing([grid.spacing_mm] * 3)
    image.SetOrigin(grid.to_world(np.array([[0, y - 1, x - 1]]))[0].tolist())
    image.SetDirection([-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        sitk.WriteImage(image, str(path), useCompression=True)
        return path.read_bytes()


@dataclasses.dataclass(frozen=True)
class Projection:
    """A maximum-intensity projection as PNG. across, down: LPS axes of its columns and rows.

    edges_mm: (left, right, top, bottom) LPS mm of the picture's edges; size: (width, height) in pixels.
    """

    name: str
    png: bytes
    across: int
    down: int
    edges_mm: tuple[float, float, float, float]
    size: tuple[int, int]


def projections(grid: Grid) -> list[Projection]:
    """Coronal and sagittal maximum-intensity projection, patient's right and front on the left."""
    hu = grid.hu.numpy()
    low = grid.to_world(np.full((1, 3), -0.5))[0]
    high = grid.to_world(np.array([hu.shape]) - 0.5)[0]
    slices = []
    for name, across, through in (("coronal", 0, 1), ("sagittal", 1, 0)):
        flat = hu.max(2 - through)[::-1]
        size = (
            max(1, round((high[across] - low[across]) / PROJECTION_MM)),
            max(1, round((high[2] - low[2]) / PROJECTION_MM)),
        )
        png = encoded(grey_of(flat, PROJECTION_HU), "png", size)
        edges = (float(low[across]), float(high[across]), float(high[2]), float(low[2]))
        slices.append(Projection(name, png, across, 2, edges, size))
    return slices


def thumbnail(grid: Grid, centre_mm: npt.ArrayLike, pixels: int = 96, half_mm: float = 35.0) -> bytes:
    """JPEG of the axial plane around a point, in the window that suits it."""
    voxel = grid.from_world(np.asarray(centre_mm, np.float64).reshape(1, 3))[0]
    shown, around = (
        square(grid.hu.numpy(), voxel, 0, max(1, round(mm / grid.spacing_mm)))[0]
        for mm in (half_mm, AROUND_MM)
    )
    return encoded(grey_of(shown, WINDOWS[window_of(around)]), "jpeg", (pixels, pixels))
