"""Real lung nodules, cut out of their scans so that they can be put into other lungs.

A nodule is kept as the share of tissue in each voxel: 0 is the lung around it, 1 soft tissue, more is
calcium. In another lung this share of each voxel is filled with tissue. So contrast follows the local lung,
vessels and pleura stay where they are, and no lung is carried over but a ring that fades out within RING_MM.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.volume import InputError, Volume
from resources.cases.axes import bounds, measure_axes
from resources.cases.case import Case
from resources.cases.images import check_same_grid, read_case_volume, read_labels

TISSUE_HU = 50.0
LUNG_HU = (-1000.0, -600.0)
FAR_HU = -500.0
"""Noise is measured where all of 5 x 5 pixels are darker: away from vessels and walls."""
RING_MM = 3.0
"""How far outside the mask a nodule fades out: its blurred edge, spicules and stumps of vessels."""
AROUND_MM = 15.0
"""How far from the mask the lung is measured."""
LEAST_LUNG = 50
"""Voxels of lung in that neighbourhood; with less, its attenuation is not known."""
WALL_RADIUS_MM, WALL_MM2 = 3.5, 300.0
"""Chest wall, diaphragm and mediastinum are wider than vessels and cover more of the crop."""
CONTACT = 0.08
"""Share of the mask's surface that borders on a wall from which a nodule counts as attached."""

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Wall:
    """What a nodule is attached to. towards: unit vector (x, y) in LPS; apart_mm: from the mask's centre."""

    towards: tuple[float, float]
    apart_mm: float


@dataclasses.dataclass(frozen=True)
class Nodule:
    """A nodule by itself.

    share: (z, y, x) share of tissue, 0 at all borders; mask: 0 or 1 on the same grid; both have one empty
    slice more at either end, for crops end with the nodule. to_mm: (3, 3) from voxel offsets (x, y, z) to
    offsets in LPS mm; center: (x, y, z) voxel of the mask's centre. long_mm: its long axial diameter.
    fine_hu: (z, y, x) what a smooth lung does not explain, NaN elsewhere: noise.
    """

    id: str
    patient: str
    share: Array
    mask: Array
    to_mm: npt.NDArray[np.float64]
    center: npt.NDArray[np.float64]
    long_mm: float
    wall: Wall | None
    fine_hu: Array

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """(x, y, z)."""
        return np.linalg.norm(self.to_mm, axis=0)

    def noise_hu(self, voxels: tuple[int, int, int]) -> float:
        """Noise that is left where so many voxels (z, y, x) are averaged into one."""
        parts = [max(1, min(n, k)) for n, k in zip(self.fine_hu.shape, voxels, strict=True)]
        whole = tuple(slice(0, n // k * k) for n, k in zip(self.fine_hu.shape, parts, strict=True))
        shape = [v for n, k in zip(self.fine_hu[whole].shape, parts, strict=True) for v in (n // k, k)]
        means = self.fine_hu[whole].reshape(shape).mean((1, 3, 5))
        means = means[np.isfinite(means)]
        return float(1.4826 * np.median(np.abs(means))) if len(means) >= LEAST_LUNG else 0.0


def read_nodule(case: Case, number: int) -> Nodule:
    """The nodule of one of a case's masks. Raises InputError where there is too little lung around it."""
    annotation = case.annotations[number]
    assert annotation.mask is not None
    volume, labels = read_case_volume(case), read_labels(Path(annotation.mask))
    check_same_grid(Path(annotation.mask), labels, volume.geometry)
    return cut_out(volume, labels.values == annotation.label, (f"{case.id}:{number}", case.patient))


def cut_out(volume: Volume, mask: npt.NDArray[np.bool_], names: tuple[str, str]) -> Nodule:
    """The nodule of a mask (z, y, x) on a volume. names: its id and its patient's. Raises InputError."""
    from scipy import ndimage

    if not mask.any():
        raise InputError(f"{names[0]}: expected a mask of a nodule, found an empty one")
    sampling = volume.spacing_mm[::-1]
    hu = volume.hu.astype(np.float32)
    outside_mm = ndimage.distance_transform_edt(~mask, sampling=sampling)
    lung = (hu > LUNG_HU[0]) & (hu < LUNG_HU[1]) & (outside_mm > 1.5)
    near = lung & (outside_mm < AROUND_MM)
    if np.count_nonzero(near) < LEAST_LUNG:
        raise InputError(
            f"{names[0]}: expected {LEAST_LUNG} voxels of lung within {AROUND_MM:g} mm of the nodule, "
            f"found {np.count_nonzero(near)}"
        )
    level = float(np.median(hu[near]))
    share = (hu - level) / (TISSUE_HU - level)
    wall = _find_wall(hu, mask, volume)
    share *= _fading(share, mask, wall, outside_mm, sampling)
    lung &= ndimage.maximum_filter(hu, (1, 5, 5)) < FAR_HU
    fine = np.where(lung, hu - ndimage.uniform_filter(hu, (1, 5, 5)), np.nan).astype(np.float32)
    box = bounds(outside_mm <= RING_MM + max(volume.spacing_mm[:2]))
    share, kept = (np.pad(part[box].astype(np.float32), ((1, 1),) * 3) for part in (share, mask))
    start = np.array([part.start - 1 for part in box])
    center = np.argwhere(mask).mean(0)
    return Nodule(
        id=names[0],
        patient=names[1],
        share=share,
        mask=kept,
        to_mm=volume.direction * volume.spacing_mm,
        center=(center - start)[::-1],
        long_mm=measure_axes(mask[bounds(mask)], volume.spacing_mm).long_mm,
        wall=_attachment(mask, wall, center, volume),
        fine_hu=fine,
    )


def _find_wall(hu: Array, mask: npt.NDArray[np.bool_], volume: Volume) -> npt.NDArray[np.bool_]:
    """Tissue outside the mask too wide for vessels, (z, y, x)."""
    from scipy import ndimage

    sampling = volume.spacing_mm[1::-1]
    wall = np.zeros(mask.shape, bool)
    for plane, tissue in zip(wall, (hu > -400) & ~mask, strict=True):
        core = (
            ndimage.distance_transform_edt(np.pad(tissue, 1, mode="edge"), sampling=sampling) > WALL_RADIUS_MM
        )
        core = core[1:-1, 1:-1]
        if core.any():
            grown = ndimage.distance_transform_edt(~core, sampling=sampling) <= WALL_RADIUS_MM + 1
            plane[:] = grown & tissue
    area = wall.sum((1, 2)).max() * volume.spacing_mm[0] * volume.spacing_mm[1]
    return wall if area >= WALL_MM2 else np.zeros_like(wall)


def _fading(
    share: Array,
    mask: npt.NDArray[np.bool_],
    wall: npt.NDArray[np.bool_],
    outside_mm: npt.NDArray[np.float64],
    sampling: tuple[float, float, float],
) -> Array:
    """What is kept of each voxel, (z, y, x): 1 on the nodule and at its edge, 0 from RING_MM on.

    Nothing is kept of a wall and its blurred edge, nor of tissue in the ring that does not touch the nodule.
    """
    from scipy import ndimage

    start = min(1.0, max(sampling[1:]))
    ramp = np.clip((RING_MM - outside_mm) / (RING_MM - start), 0, 1)
    kept = ramp * ramp * (3 - 2 * ramp)
    parts, _ = ndimage.label((share > 0.3) & (outside_mm < RING_MM))
    touching = np.unique(parts[outside_mm <= 1.01 * max(sampling[1:])])
    kept[(parts > 0) & ~np.isin(parts, touching)] = 0
    if wall.any():
        kept[~mask & (ndimage.distance_transform_edt(~wall, sampling=sampling) <= 1.5)] = 0
    return kept.astype(np.float32)


def _attachment(
    mask: npt.NDArray[np.bool_],
    wall: npt.NDArray[np.bool_],
    center: npt.NDArray[np.float64],
    volume: Volume,
) -> Wall | None:
    """The wall that a nodule is attached to, by the share of its surface within slices."""
    from scipy import ndimage

    if not wall.any():
        return None
    sampling = volume.spacing_mm[::-1]
    reach = 1.6 * max(volume.spacing_mm[:2])
    surface = mask & ~ndimage.binary_erosion(mask, np.ones((1, 3, 3)), border_value=1)
    contact = surface & (ndimage.distance_transform_edt(~wall, sampling=sampling) <= reach)
    if not surface.any() or contact.sum() < CONTACT * surface.sum():
        return None
    beside = wall & (ndimage.distance_transform_edt(~mask, sampling=sampling) <= reach)
    offset = volume.direction @ ((np.argwhere(beside).mean(0) - center)[::-1] * volume.spacing_mm)
    flat = np.linalg.norm(offset[:2])
    if flat < 0.5:
        return None
    apart = ndimage.distance_transform_edt(~wall, sampling=sampling)[tuple(np.rint(center).astype(int))]
    return Wall((float(offset[0] / flat), float(offset[1] / flat)), float(apart))
