"""Are these voxels Hounsfield units? Judged by where air, lung, fat and soft tissue lie.

Values below -1024 are padding and count neither way. All shares are of the other voxels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

OFFSET = 1024
"""What some software adds to HU to store them as unsigned integers."""

MOST_HU = 32767
"""Nothing is denser; padding that was taken for a number without a sign is."""
_LOW, _HIGH = -1024, 3071
_SAMPLES = 1_000_000

Counts = npt.NDArray[np.float64]


def why_not_hu(voxels: npt.NDArray[Any]) -> str | None:
    """None if the voxels (z, y, x), signed or float, can be HU; else what was found instead.

    Only what noise cannot change is judged. A CT has voxels as light as air, lung or fat (at least 3 %), and
    some denser than lung (0.5 %); of these at least 35 % are as dense as fat and soft tissue, and those
    between soft tissue and bone are not much more frequent. The peak of soft tissue is as wide as tissues
    differ in an MR only in lungs, whose air proves the HU, or where neighbouring voxels differ as much.
    """
    values = _sample(voxels)
    counts = _histogram(values)
    if not counts.any():
        return f"padding only, all values below {_LOW}"
    light, body = _share(counts, _LOW, -400) + _share(counts, -150, -50), _share(counts, -400, _HIGH)
    found = f"values from {values.min():g} to {values.max():g}"
    if light < 0.03:
        return f"{found}, {light:.1%} of them like air, lung or fat"
    if body < 0.005:
        return f"{found}, {body:.1%} of them denser than lung"
    usual, above = _share(counts, -200, 300) / body, _share(counts, 200, 500) / 301
    if usual < 0.35 or above > 2 * _share(counts, -100, 100) / 201:
        return f"{found}, {usual:.1%} of the body like fat or soft tissue"
    smooth = _smoothed(counts)
    width = _half_width(smooth, _peak(smooth, -20, 200))
    if width > 150 and _share(counts, -960, -600) < 0.15 and width > 3 * _noise(voxels):
        return f"{found}, the peak of soft tissue {width} HU wide"
    return None


def _noise(voxels: npt.NDArray[Any]) -> float:
    """Standard deviation of the noise in the body, from what neighbours along x differ by."""
    step = max(1, round((voxels.size / _SAMPLES) ** (1 / 2)))
    rows = voxels[::step, ::step].astype(np.float32)
    left, right = rows[..., :-1], rows[..., 1:]
    apart = np.abs(right - left)[(left > -400) & (right > -400)]
    return float(np.median(apart)) / (0.6745 * math.sqrt(2)) if apart.size else 0.0


def why_no_offset(voxels: npt.NDArray[np.uint16]) -> str | None:
    """None if air, fat and soft tissue prove that the voxels (z, y, x) are HU + 1024; else what is missing.

    After subtraction there must be a peak of air near -1000, a narrow one of soft tissue at 0 to
    130 HU, one of fat at -130 to -70 HU with a valley between the two, and hardly anything between
    lung and fat or just above soft tissue. In an MR one tissue may well lie at 1024 + 50, but it is
    broader, and a second one does not fall into the place of fat with all others out of the way.
    """
    found = f"unsigned values from {voxels.min()} to {voxels.max()}"
    if voxels.max() > MOST_HU:
        return f"{found}, too high for HU"
    values = _sample(voxels).astype(np.int32) - OFFSET
    counts = _histogram(values)
    smooth = _smoothed(counts)
    air = _peak(smooth, -1023, -900)
    if _share(counts, -1023, -900) < 0.05 or not -1020 <= air <= -940:
        return f"{found} with no peak of air near {OFFSET - 1000}"
    soft, fat = _peak(smooth, -20, 200), _peak(smooth, -160, -40)
    height, fat_height = smooth[soft - _LOW], smooth[fat - _LOW]
    if not 0 <= soft <= 130 or _half_width(smooth, soft) > 60:
        return f"{found} with no narrow peak of soft tissue near {OFFSET + 50}"
    valley = smooth[fat - _LOW : soft - _LOW].min()
    if not -130 <= fat <= -70 or fat_height < 0.05 * height or valley > 0.8 * min(height, fat_height):
        return f"{found} with no peak of fat near {OFFSET - 100}"
    body = counts[-400 - _LOW :].sum()
    usual = counts[-200 - _LOW : 300 - _LOW].sum() / body
    below, above = (smooth[a - _LOW : b - _LOW].mean() / height for a, b in ((-400, -200), (200, 300)))
    if usual < 0.85 or below > 0.06 or above > 0.12:
        return f"{found} with peaks other than those of air, fat and soft tissue"
    return None


def _sample(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """About a million voxels, evenly spaced, the same ones each time."""
    step = max(1, round((voxels.size / _SAMPLES) ** (1 / 3)))
    return voxels[::step, ::step, ::step].ravel()


def _histogram(values: npt.NDArray[Any]) -> Counts:
    """Voxels per HU from -1024 to 3071; what is denser counts as 3071."""
    inside = np.minimum(values[values >= _LOW], _HIGH)
    indices = np.rint(inside).astype(np.int64) - _LOW
    return np.bincount(indices, minlength=_HIGH - _LOW + 1).astype(np.float64)


def _share(counts: Counts, low: int, high: int) -> float:
    return float(counts[low - _LOW : high + 1 - _LOW].sum() / counts.sum()) if counts.any() else 0.0


def _smoothed(counts: Counts) -> Counts:
    kernel = np.exp(-0.5 * (np.arange(-32, 33) / 8) ** 2)
    return np.convolve(counts, kernel / kernel.sum(), "same")


def _peak(smooth: Counts, low: int, high: int) -> int:
    return low + int(np.argmax(smooth[low - _LOW : high + 1 - _LOW]))


def _half_width(smooth: Counts, peak: int) -> int:
    """HU from the peak upwards to half its height: downwards, fat may join in."""
    return int(np.argmax(smooth[peak - _LOW :] < smooth[peak - _LOW] / 2))
