"""The one module that draws planes of CT for people: windows, planes through a point, grey pictures.

Planes are shown as radiologists look at them: the patient's right on the left of axial and coronal ones, the
front on the left of sagittal ones, the head up.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from model.volume import Volume

HU = npt.NDArray[np.int16]
Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

WINDOWS = {
    "soft tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "liver": (-5.0, 185.0),
}
"""Lower and upper HU of each window."""
PLANES = (("axial", 0, 1, False), ("coronal", 0, 2, True), ("sagittal", 1, 2, True))
"""Name, horizontal and vertical LPS axis, whether the vertical one points up. The number of a plane is also
the axis (0 z, 1 y, 2 x) of an array that it cuts."""
AROUND_MM, AIR_SHARE, BONE_SHARE = 25.0, 0.3, 0.1
"""Half the edge of the square, and the shares of air and of bone in it, that choose the window."""
AIR_HU = -1024


def window_of(around_hu: HU | Floats, type: str | None = None) -> str:
    """The window that suits a place, by HU within AROUND_MM of it and the type of the lesion there, if known.

    A nodule is looked at in the lung's window, though it is no air, and whatever its type: that may be wrong.
    """
    if (around_hu < -500).mean() > AIR_SHARE:
        return "lung"
    if type in ("bone", "liver"):
        return type
    return "bone" if (around_hu > 300).mean() > BONE_SHARE else "soft tissue"


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


def square(hu: HU, voxel_zyx: npt.ArrayLike, plane: int, reach: int) -> tuple[HU, tuple[float, float]]:
    """A plane of an array (z, y, x) along the patient's axes: (2 reach + 1, 2 reach + 1) HU around the voxel
    nearest to a place, air beyond the array; and where the place is in it (column, row).
    """
    voxel = np.asarray(voxel_zyx, np.float64)
    centre = np.rint(voxel).astype(int)
    shown = [axis for axis in range(3) if axis != plane]
    out = np.full((2 * reach + 1,) * 2, AIR_HU, np.int16)
    first = centre[shown] - reach
    row, column = (voxel[shown] - first).tolist()
    if 0 <= centre[plane] < hu.shape[plane]:
        sheet = np.take(hu, int(centre[plane]), plane)
        low, high = np.maximum(first, 0), np.minimum(first + 2 * reach + 1, sheet.shape)
        if (high > low).all():
            (top, left), (bottom, right) = low - first, high - first
            out[top:bottom, left:right] = sheet[low[0] : high[0], low[1] : high[1]]
    if PLANES[plane][3]:
        return out[::-1], (column, 2 * reach - row)
    return out, (column, row)


def plane_through(
    volume: Volume, centre_mm: Floats, plane: int, half_mm: float, pixels: int
) -> tuple[Floats, Floats, Floats]:
    """Offsets in mm (k,), LPS points (k, k, 3) and HU (k, k) of a square plane of any volume, interpolated.

    Rows run along the plane's vertical axis, upwards where that points up; air beyond the scan.
    """
    from scipy.ndimage import map_coordinates

    _, across, down, _ = PLANES[plane]
    offsets = np.linspace(-half_mm, half_mm, pixels)
    points = np.broadcast_to(centre_mm, (pixels, pixels, 3)).copy()
    points[..., across] += offsets[None]
    points[..., down] += offsets[:, None]
    index = volume.world_to_index(points.reshape(-1, 3))[:, ::-1].T
    hu = map_coordinates(volume.hu, index, np.float64, order=1, mode="constant", cval=AIR_HU)
    return offsets, points, hu.reshape(pixels, pixels)
