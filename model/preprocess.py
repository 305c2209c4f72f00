"""From a stored volume to the grid that the network sees. Training calls the same function.

The grid is axis-aligned in LPS, isotropic, and its voxel centres lie at whole multiples of the
spacing in world coordinates. So a scan gives the same voxels however it was stored: flipped,
transposed or (up to interpolation) on an oblique grid.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import torch

from model.body import cell_edge, cell_means, grow, outside
from model.geometry import Geometry, along_world, image_of
from model.volume import Volume

AIR_HU, TOP_HU = -1024, 3071
"""Stored values are clipped to this range: padding below air is air, and 12 bits are the scanner's."""
EMPTY_HU = -950
"""Cells of a lower mean are cut away at the sides of the grid."""
ALIGNED_RAD = 1e-4
"""Axes closer than this to the world's are taken as aligned (0.03 mm over 300 mm)."""
SNAP = 1e-3
"""Voxels by which an end of the scan may miss a grid point and still reach it."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """HU on the network's grid.

    hu: (z, y, x) int16. Voxel (i, j, k) lies at `(lower + (i, j, k)) * spacing_mm` in world mm, in
    (z, y, x) order; `lower` counts voxels from the world's origin and is a multiple of the stride.
    """

    hu: torch.Tensor
    lower: tuple[int, int, int]
    spacing_mm: float

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return along_world(self.lower, tuple(self.hu.shape), self.spacing_mm)

    def to_world(self, voxels_zyx: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(n, 3) voxel positions (z, y, x) -> (n, 3) LPS mm (x, y, z)."""
        return self.geometry.voxel_to_world(voxels_zyx)

    def from_world(self, points_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(n, 3) LPS mm (x, y, z) -> (n, 3) voxel positions (z, y, x)."""
        return self.geometry.world_to_voxel(points_mm)


def preprocess(volume: Volume, spacing_mm: float, stride: int) -> Grid:
    """Orients, resamples, masks and crops a volume to the body; every edge is a multiple of `stride`."""
    axes = _aligned_axes(volume.direction)
    if axes is None:
        volume = _straighten(volume, finest_mm=spacing_mm / 2)
        axes = _aligned_axes(volume.direction)
        assert axes is not None
    array, start_mm, step_mm = _to_lps(volume, axes)
    lower, hu = _resample(array, start_mm, step_mm, spacing_mm)
    return _crop(hu, lower, spacing_mm, stride)


def _aligned_axes(direction: npt.NDArray[np.float64]) -> list[tuple[int, int]] | None:
    """For each world axis x, y, z: (index axis, sign). None if the scan is oblique."""
    axes = []
    for world in range(3):
        index = int(np.argmax(np.abs(direction[world])))
        axes.append((index, 1 if direction[world, index] > 0 else -1))
    straight = np.zeros((3, 3))
    for world, (index, sign) in enumerate(axes):
        straight[world, index] = sign
    if len({index for index, _ in axes}) < 3 or np.abs(direction - straight).max() > ALIGNED_RAD:
        return None
    return axes


def _to_lps(
    volume: Volume, axes: list[tuple[int, int]]
) -> tuple[npt.NDArray[np.generic], list[float], list[float]]:
    """The array viewed as (z, y, x) in LPS, with the first voxel's mm and the spacing, both (z, y, x)."""
    size_xyz = volume.hu.shape[::-1]
    start_mm, step_mm = [], []
    for world, (index, sign) in enumerate(axes):
        step = volume.spacing_mm[index]
        first = volume.origin_mm[world]
        start_mm.append(first if sign > 0 else first - step * (size_xyz[index] - 1))
        step_mm.append(step)
    array = volume.hu.transpose([2 - axes[world][0] for world in (2, 1, 0)])
    flip = tuple(slice(None, None, axes[world][1]) for world in (2, 1, 0))
    return array[flip], start_mm[::-1], step_mm[::-1]


def _straighten(volume: Volume, finest_mm: float) -> Volume:
    """An oblique scan linearly interpolated on a grid along the world's axes that encloses it."""
    import SimpleITK as sitk

    corners = np.stack(np.meshgrid(*((-0.5, n - 0.5) for n in volume.hu.shape[::-1])), -1).reshape(-1, 3)
    corners_mm = volume.index_to_world(corners)
    step = np.maximum(np.min(np.abs(volume.spacing_mm)), finest_mm)
    low = np.ceil(corners_mm.min(0) / step) * step
    size = np.floor((corners_mm.max(0) - low) / step).astype(int) + 1
    resampled = sitk.Resample(
        image_of(volume.hu, volume.geometry), size.tolist(), sitk.Transform(), sitk.sitkLinear, low.tolist(),
        [float(step)] * 3, np.eye(3).ravel().tolist(), float(AIR_HU),
    )  # fmt: skip
    return dataclasses.replace(
        volume,
        hu=sitk.GetArrayFromImage(resampled),
        spacing_mm=(float(step),) * 3,
        origin_mm=(float(low[0]), float(low[1]), float(low[2])),
        direction=np.eye(3),
    )


def _weights(start_mm: float, step_mm: float, count: int, spacing_mm: float) -> tuple[int, torch.Tensor]:
    """First grid point and the (grid points, voxels) matrix that resamples one axis.

    A triangle filter as wide as the coarser of the two spacings: linear interpolation when refining,
    an anti-aliased average when coarsening. Rows sum to one.
    """
    low_mm, high_mm = start_mm - step_mm / 2, start_mm + step_mm * (count - 0.5)
    first = math.ceil(low_mm / spacing_mm - SNAP)
    last = max(first, math.floor(high_mm / spacing_mm + SNAP))
    grid_mm = np.arange(first, last + 1)[:, None] * spacing_mm
    voxel_mm = start_mm + step_mm * np.arange(count)[None]
    inside_mm = np.clip(grid_mm, voxel_mm[0, 0], voxel_mm[0, -1])
    weights = np.maximum(0.0, 1.0 - np.abs(inside_mm - voxel_mm) / max(step_mm, spacing_mm))
    return first, torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _resample(
    array: npt.NDArray[np.generic], start_mm: list[float], step_mm: list[float], spacing_mm: float
) -> tuple[list[int], torch.Tensor]:
    """(z, y, x) HU -> first grid index per axis and the float32 grid, a few slices at a time."""
    firsts, matrices = zip(
        *(_weights(a, b, n, spacing_mm) for a, b, n in zip(start_mm, step_mm, array.shape, strict=True)),
        strict=True,
    )
    along_z, along_y, along_x = matrices
    out = torch.zeros(len(along_z), len(along_y), len(along_x))
    slices = max(1, 2**23 // (array.shape[1] * array.shape[2]))
    for low in range(0, array.shape[0], slices):
        part = array[low : low + slices].copy()
        chunk = torch.from_numpy(part).to(torch.float32).clamp_(AIR_HU, TOP_HU)
        chunk = along_y @ (chunk @ along_x.T)
        share = along_z[:, low : low + slices]
        rows = torch.nonzero(share.any(1))[:, 0]
        if len(rows):
            band = slice(int(rows[0]), int(rows[-1]) + 1)
            out[band] += (share[band] @ chunk.flatten(1)).view(-1, *out.shape[1:])
    return list(firsts), out


def _crop(hu: torch.Tensor, lower: list[int], spacing_mm: float, stride: int) -> Grid:
    """Sets what lies outside the patient to air, cuts the grid to the rest and pads it to the stride."""
    edge = cell_edge(spacing_mm)
    hu = hu.round_()
    means = cell_means(hu, lower, edge)
    masked = outside(means, AIR_HU)
    dense = grow(~masked & (means > EMPTY_HU))
    bounds, source, target, cells = [], [], [], []
    for axis, (first, count) in enumerate(zip(lower, hu.shape, strict=True)):
        occupied = np.nonzero(dense.any(tuple({0, 1, 2} - {axis})))[0]
        base = first // edge
        low, high = (
            ((base + occupied[0]) * edge, (base + occupied[-1] + 1) * edge)
            if len(occupied)
            else (first, first + count)
        )
        low, high = max(first, int(low)), min(first + count, int(high))
        bounds.append((low // stride * stride, -(-high // stride) * stride))
        start, stop = max(bounds[-1][0], first), min(bounds[-1][1], first + count)
        source.append(slice(start - first, stop - first))
        target.append(slice(start - bounds[-1][0], stop - bounds[-1][0]))
        cells.append(torch.arange(start, stop) // edge - base)
    z, y, x = cells
    out = torch.full([high - low for low, high in bounds], AIR_HU, dtype=torch.int16)
    out[tuple(target)] = hu[tuple(source)].to(torch.int16)
    out[tuple(target)].masked_fill_(torch.from_numpy(masked)[z][:, y][:, :, x], AIR_HU)
    return Grid(out, (bounds[0][0], bounds[1][0], bounds[2][0]), spacing_mm)
