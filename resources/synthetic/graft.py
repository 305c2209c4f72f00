"""Nodules put into other lungs: where the lungs are, where a nodule fits, and how it is blended in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from model.volume import Volume
from resources.cases.axes import bounds
from resources.synthetic.nodules import FAR_HU, TISSUE_HU, Nodule

CLOSED_MM = 5.0
"""Vessels up to twice as thick are within the lungs."""
COARSE_MM = 3.0
"""Lungs are known on voxels with edges up to this, where the scan's own are smaller."""
CORE_MM, GROWN_MM, CORE_ML, GAS_HU = 6.0, 7.2, 20.0, -940.0
"""Lung has its density over so large a part that lies so far within; bowel gas has it at its edge alone."""
AIR_HU, WITHIN = -970.0, 0.9
"""Where so much of its sides is no air, a scan is a crop within the body, and lungs may reach the sides."""
SUBSAMPLES = 6
LEAST_RISE_HU, LEAST_INSIDE = 120.0, (0.85, 0.5)
"""By how much a nodule has to brighten its voxels, lest it is not seen; and how much of its mask has to lie
within the lungs, of a free one and of one at a wall."""
AIRWAY_HU = -955.0
"""Where the median of what is dark around a nodule is lower, it is in the trachea, in bowel or a bulla."""
DEEPER = 0.85
"""A nodule at a wall is put so much closer to it than it was to its own, lest lung shows between them."""

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Lungs:
    """The lungs of a scan with their vessels, on every step-th voxel (z, y, x) of it from the first.

    inside: (z, y, x). depth_mm: to the nearest voxel that is no lung; 0 outside.
    """

    inside: Mask
    depth_mm: npt.NDArray[np.float32]
    step: tuple[int, int, int]
    volume: Volume

    @property
    def ml(self) -> float:
        return float(self.inside.sum() * np.prod(self.volume.spacing_mm) * np.prod(self.step) / 1000)

    def holds(self, box: tuple[slice, ...]) -> Mask:
        """Which voxels of a box of the scan lie within the lungs."""
        index = [
            np.minimum(np.arange(part.start, part.stop) // s, n - 1)
            for part, s, n in zip(box, self.step, self.inside.shape, strict=True)
        ]
        return self.inside[np.ix_(*index)]

    def voxel(self, flat: int) -> npt.NDArray[np.float64]:
        """(x, y, z) voxel of the scan at a flat index of `inside`."""
        coarse = np.array(np.unravel_index(flat, self.inside.shape))
        return (coarse * self.step + (np.array(self.step) - 1) / 2)[::-1]

    def outward(self, flat: int) -> npt.NDArray[np.float64]:
        """(3,) LPS unit vector from a flat index of `inside` to the nearest wall; 0 where there is none."""
        z, y, x = (int(index) for index in np.unravel_index(flat, self.inside.shape))
        slope = []
        for axis, place in enumerate((z, y, x)):
            low, high = max(0, place - 1), min(self.inside.shape[axis] - 1, place + 1)
            ends = [[z, y, x], [z, y, x]]
            ends[0][axis], ends[1][axis] = low, high
            apart = (high - low) * self.step[axis] * self.volume.spacing_mm[2 - axis]
            rise = float(self.depth_mm[tuple(ends[1])] - self.depth_mm[tuple(ends[0])])
            slope.append(rise / apart if apart else 0.0)
        world = -self.volume.direction @ np.array(slope[::-1])
        length = float(np.linalg.norm(world))
        return world / length if length > 0.2 else np.zeros(3)


def lungs_of(volume: Volume, lung: Mask | None) -> Lungs:
    """The lungs of a scan. lung: (z, y, x) from its label map; without one they are found by density."""
    step = tuple(max(1, int(COARSE_MM / mm)) for mm in volume.spacing_mm[::-1])
    few = tuple(slice(s // 2, None, s) for s in step)
    sampling = tuple(s * mm for s, mm in zip(step, volume.spacing_mm[::-1], strict=True))
    lungs = _by_density(volume.hu[few], sampling) if lung is None else lung[few]
    inside, depth = np.zeros(lungs.shape, bool), np.zeros(lungs.shape, np.float32)
    if lungs.any():
        from scipy import ndimage

        box = _around(lungs, sampling)
        inside[box] = _closed(lungs[box], sampling)
        depth[box] = ndimage.distance_transform_edt(inside[box], sampling=sampling)
    return Lungs(inside, depth, step, volume)  # type: ignore[arg-type]


def _around(mask: Mask, sampling: tuple[float, ...]) -> tuple[slice, ...]:
    """The box of a mask and of what a closing can reach."""
    margins = [int(CLOSED_MM / mm) + 2 for mm in sampling]
    return tuple(
        slice(max(0, part.start - m), part.stop + m) for part, m in zip(bounds(mask), margins, strict=True)
    )


def _by_density(hu: npt.NDArray[Any], sampling: tuple[float, ...]) -> Mask:
    """Wide parts of the body between air and tissue in attenuation, with their narrow recesses."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(hu.astype(np.float32), [2.0 / mm for mm in sampling])
    sides = np.concatenate([smooth[:, [0, -1]].ravel(), smooth[:, :, [0, -1]].ravel()])
    if (sides > AIR_HU).mean() > WITHIN:
        body = np.ones(hu.shape, bool)
    else:
        body = np.stack([ndimage.binary_fill_holes(largest_part(plane)) for plane in hu > -300])
    dense = ndimage.binary_opening(body & (smooth > AIR_HU) & (smooth < -500), np.ones((1, 3, 3)))
    if not dense.any() or dense.all():
        return dense
    parts, count = ndimage.label(ndimage.distance_transform_edt(dense, sampling=sampling) > CORE_MM)
    numbers = np.arange(1, count + 1)
    ml = np.bincount(parts.ravel(), minlength=count + 1)[1:] * np.prod(sampling) / 1000
    gas = ndimage.median(hu, parts, numbers) < GAS_HU if count else ml > 0
    core = np.isin(parts, numbers[(ml > CORE_ML) & ~gas])
    if not core.any():
        return core
    return dense & (ndimage.distance_transform_edt(~core, sampling=sampling) <= GROWN_MM)


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask of any dimensions; all of an empty one."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()) if count else mask


def _closed(mask: Mask, sampling: tuple[float, ...]) -> Mask:
    """Closing by a ball of CLOSED_MM; at the ends of the scan the lungs go on."""
    from scipy import ndimage

    if not mask.any() or mask.all():
        return mask
    grown = ndimage.distance_transform_edt(~mask, sampling=sampling) <= CLOSED_MM
    return grown if grown.all() else ndimage.distance_transform_edt(grown, sampling=sampling) > CLOSED_MM


@dataclasses.dataclass(frozen=True)
class Pose:
    """center_mm: (3,) LPS of the nodule's centre. turn: (3, 3) from its own offsets in mm to the scan's."""

    center_mm: npt.NDArray[np.float64]
    turn: Matrix


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A nodule on the voxels of a scan. box: where, (z, y, x). share: of tissue; mask: of each voxel."""

    box: tuple[slice, slice, slice]
    share: npt.NDArray[np.float32]
    mask: npt.NDArray[np.float32]
    voxels: tuple[int, int, int]


def draw_turn(
    nodule: Nodule, outward: npt.NDArray[np.float64], scale: float, random: np.random.Generator
) -> Matrix:
    """A random mirror image and turn about the body's axis; to within 20 degrees of the wall if attached."""
    mirror = np.diag([random.choice([-1.0, 1.0]), 1.0, random.choice([-1.0, 1.0])])
    angle = float(random.uniform(-np.pi, np.pi))
    if nodule.wall is not None:
        here = mirror[:2, :2] @ nodule.wall.towards
        angle = float(np.arctan2(outward[1], outward[0]) - np.arctan2(here[1], here[0]) + angle / 9)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ mirror * scale


def render(nodule: Nodule, volume: Volume, pose: Pose) -> Rendered | None:
    """The nodule as a scan with these voxels averages it, cut off where the scan ends; None outside it."""
    from scipy import ndimage

    matrix = pose.turn @ nodule.to_mm  # nodule voxels -> mm
    size = np.array(nodule.share.shape[::-1])
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), -1).reshape(-1, 3)
    ends = volume.world_to_index((corners - nodule.center) @ matrix.T + pose.center_mm)
    low = np.maximum(0, np.floor(ends.min(0))).astype(int)
    high = np.minimum(np.array(volume.hu.shape[::-1]) - 1, np.ceil(ends.max(0))).astype(int)
    if (low > high).any():
        return None
    to_nodule = np.linalg.inv(matrix) @ (volume.direction * volume.spacing_mm)  # scan voxels -> nodule voxels
    parts = np.clip(np.ceil(np.abs(to_nodule).max(0) - 0.01), 1, SUBSAMPLES).astype(int)
    fine = [
        (np.arange((b - a + 1) * k) + 0.5) / k - 0.5 + a for a, b, k in zip(low, high, parts, strict=True)
    ]
    start = volume.world_to_index(pose.center_mm)[0]
    grid = np.meshgrid(*(axis - s for axis, s in zip(fine, start, strict=True)), indexing="ij")
    places = np.tensordot(to_nodule, np.stack(grid), 1) + nodule.center[:, None, None, None]
    shape = [v for n, k in zip(high - low + 1, parts, strict=True) for v in (n, k)]
    share, mask = (
        ndimage.map_coordinates(values, places[::-1], order=1, mode="constant", prefilter=False)
        .reshape(shape)
        .mean((1, 3, 5))
        .T
        for values in (nodule.share, nodule.mask)
    )
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
    voxels = tuple(int(n) for n in np.maximum(1, np.rint(np.abs(to_nodule).max(1)))[::-1])
    return Rendered(box, share, mask, voxels)  # type: ignore[arg-type]


def fits(
    rendered: Rendered, attached: bool, lungs: Lungs, taken: Mask, hu: npt.NDArray[np.int16]
) -> Mask | None:
    """The lesion's voxels in the box, all in lungs; None where it would not be seen or is misplaced.

    hu, taken: (z, y, x) of the scan; taken are other lesions and their neighbourhood.
    """
    whole = rendered.mask >= 0.5
    lesion = whole & lungs.holds(rendered.box)
    if not lesion.any() or lesion.sum() < LEAST_INSIDE[attached] * whole.sum():
        return None
    if (taken[rendered.box] & (rendered.share > 0.02)).any():
        return None
    around = hu[rendered.box]
    dark = around[around < FAR_HU]
    if not len(dark) or np.median(dark) < AIRWAY_HU:
        return None
    rise = rendered.share[lesion] * np.clip(TISSUE_HU - around[lesion], 0, None)
    return lesion if rise.mean() >= LEAST_RISE_HU else None


def blend(hu: npt.NDArray[np.int16], rendered: Rendered, nodule: Nodule, noise_hu: float) -> None:
    """Fills each voxel's share with tissue, in place; what is no nodule is not touched.

    hu: (z, y, x) of the scan. Where the nodule is smoother than the scan, as large voxels make it, the scan's
    noise is left in place.
    """
    from scipy import ndimage

    z, y, x = rendered.box
    wide = slice(max(0, y.start - 2), y.stop + 2), slice(max(0, x.start - 2), x.stop + 2)
    around = hu[z, wide[0], wide[1]].astype(np.float32)
    inner = slice(y.start - wide[0].start, None), slice(x.start - wide[1].start, None)
    smooth = ndimage.uniform_filter(around, (1, 5, 5), mode="nearest")[:, inner[0], inner[1]]
    shape = rendered.share.shape
    before = hu[rendered.box].astype(np.float32)
    fine = np.clip(before - smooth[:, : shape[1], : shape[2]], -2.5 * noise_hu, 2.5 * noise_hu)
    noise = nodule.noise_hu(rendered.voxels)
    left = np.sqrt(max(0.0, 1 - (noise / noise_hu) ** 2)) if noise_hu > 0 else 0.0
    share = rendered.share
    filled = np.minimum(share, 1)
    change = filled * np.clip(TISSUE_HU - before, 0, None) + np.maximum(share - 1, 0) * (TISSUE_HU + 850)
    change += left * np.clip(filled, 0, 1) * fine
    touched = np.abs(share) > 1e-3
    after = np.clip(np.rint(before + change), -1024, 3071)
    hu[rendered.box] = np.where(touched, after, before).astype(np.int16)


def noise_of(volume: Volume, lungs: Lungs) -> float:
    """Noise of the lungs in HU: what a smooth lung does not explain, by its median."""
    from scipy import ndimage

    if not lungs.inside.any():
        return 0.0
    levels = np.flatnonzero(lungs.inside.any((1, 2)))
    residues = []
    for level in levels[:: max(1, len(levels) // 12)]:
        z = min(int(level) * lungs.step[0] + lungs.step[0] // 2, len(volume.hu) - 1)
        plane = volume.hu[z].astype(np.float32)
        box = (slice(z, z + 1), slice(0, plane.shape[0]), slice(0, plane.shape[1]))
        lung = lungs.holds(box)[0] & (ndimage.maximum_filter(plane, 5) < FAR_HU)
        residues.append((plane - ndimage.uniform_filter(plane, 5))[lung])
    values = np.abs(np.concatenate(residues))
    return 1.4826 * float(np.median(values)) if len(values) else 0.0
