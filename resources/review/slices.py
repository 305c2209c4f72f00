"""The one module that draws CT for people: reduced copies, projections, and planes through a point."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.preprocess import AIR_HU, Grid, preprocess
from model.volume import Volume

HU = npt.NDArray[np.int16]
Grey = npt.NDArray[np.uint8]

WINDOWS = {
    "soft tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "liver": (-5.0, 185.0),
}
"""Lower and upper HU of each window."""
PLANES = (("axial", 0, 1, False), ("coronal", 0, 2, True), ("sagittal", 1, 2, True))
"""Name, horizontal and vertical LPS axis, whether the vertical one points up: as radiologists look at CT."""
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


def grey_of(hu: npt.NDArray[np.generic], window: tuple[float, float]) -> Grey:
    """HU as 0 (lower end of the window and below) to 255."""
    lower, upper = window
    scaled = (hu.astype(np.float32) - lower) * (255 / (upper - lower))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def encoded(grey: Grey, kind: str, size: tuple[int, int] | None = None) -> bytes:
    """A grey picture (rows, columns) as "png" or "jpeg", resized to (width, height) if given."""
    from PIL import Image

    image = Image.fromarray(grey)
    if size is not None:
        image = image.resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 80} if kind == "jpeg" else {"optimize": True}))
    return stream.getvalue()


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
    found = []
    for name, across, through in (("coronal", 0, 1), ("sagittal", 1, 0)):
        flat = hu.max(2 - through)[::-1]
        size = (
            max(1, round((high[across] - low[across]) / PROJECTION_MM)),
            max(1, round((high[2] - low[2]) / PROJECTION_MM)),
        )
        png = encoded(grey_of(flat, PROJECTION_HU), "png", size)
        edges = (float(low[across]), float(high[across]), float(high[2]), float(low[2]))
        found.append(Projection(name, png, across, 2, edges, size))
    return found


def square(grid: Grid, centre_mm: npt.ArrayLike, plane: int, half_mm: float) -> HU:
    """HU (rows, columns) of a square plane through a point, edge 2 * half_mm; air outside the grid.

    plane: number in PLANES. Nearest voxels of the grid; rows and columns as radiologists look at them.
    """
    _, across, down, up = PLANES[plane]
    centre = np.rint(grid.from_world(np.asarray(centre_mm, np.float64).reshape(1, 3))[0]).astype(int)
    reach = max(1, round(half_mm / grid.spacing_mm))
    hu, through = grid.hu.numpy(), 3 - across - down
    level = int(centre[2 - through])
    out = np.full((2 * reach + 1,) * 2, AIR_HU, np.int16)
    if not 0 <= level < hu.shape[2 - through]:
        return out
    sheet = np.take(hu, level, 2 - through)
    first = np.array([centre[2 - down] - reach, centre[2 - across] - reach])
    low = np.maximum(first, 0)
    high = np.minimum(first + 2 * reach + 1, sheet.shape)
    if (high > low).all():
        a, b = low - first, high - first
        out[a[0] : b[0], a[1] : b[1]] = sheet[low[0] : high[0], low[1] : high[1]]
    return out[::-1] if up else out


def window_of(hu: HU) -> str:
    """The window that suits the middle of a plane: lung, bone or soft tissue."""
    middle = [n // 2 for n in hu.shape]
    reach = max(1, min(hu.shape) // 10)
    near = hu[middle[0] - reach : middle[0] + reach + 1, middle[1] - reach : middle[1] + reach + 1]
    median = float(np.median(near))
    if median < -400:
        return "lung"
    return "bone" if median > 250 else "soft tissue"


def thumbnail(grid: Grid, centre_mm: npt.ArrayLike, pixels: int = 96, half_mm: float = 35.0) -> bytes:
    """JPEG of the axial plane around a point, in the window that suits it."""
    hu = square(grid, centre_mm, 0, half_mm)
    return encoded(grey_of(hu, WINDOWS[window_of(hu)]), "jpeg", (pixels, pixels))
