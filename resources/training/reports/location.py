"""Where in a scan an organ is: by its label map, else by how high it lies above or below the lungs' bases.

No network is asked. The lungs are found by their density; other organs lie within some distance of where
the lungs end. These distances are wide on purpose: they hold for a deep breath and for none, and are there to
say where a lesion can not be.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from resources.cases.cache import HU, ORGANS, CachedScan
from resources.cases.case import Case, Finding
from resources.cases.organs import Side, height_mm, place_values

Array = npt.NDArray[np.float64]
Where = tuple[str | None, Side, str | None]
"""Organ, side and lesion type of a finding."""

CELL_MM = 8.0
"""Densities are averaged over cubes of this edge: of lung, bowel gas and noise only lung is in between."""
LUNG_HU, TISSUE_HU = (-960.0, -500.0), -300.0
LUNG_CM2, EDGE_CM2 = 50.0, 10.0
"""Area of the lungs on a slice: of the largest at least, and where they are taken to begin and end."""
ENCLOSED = 0.7
"""Share of the lungs' largest slice that has tissue on three sides; less, and the scan cuts the body off."""
BODY_WIDTH_MM = 250.0
"""A narrower body is a limb or a cut-out, and its middle is no midline."""

INF = math.inf
ORGAN_SIGMA_MM, SLAB_SIGMA_MM, SIDE_SIGMA_MM, IMAGE_SIGMA_MM = 5.0, 30.0, 20.0, 10.0
"""How far outside its organ, its slab, its side or its image a lesion's centre may be."""
ELSEWHERE = 0.002
"""Likelihood of a place that does not fit: reports and label maps err too."""
SAME_SERIES = 0.7
"""How sure a number of an image counts the slices of this scan from the head, and not another series'."""


@dataclasses.dataclass(frozen=True)
class Lungs:
    """LPS z in mm where the lungs begin and end; None where that lies outside the scan."""

    base_mm: float | None
    apex_mm: float | None


@dataclasses.dataclass(frozen=True)
class LocationPrior:
    """What is known of one scan. extent_mm: z of its first and last slice, lower first.

    organs: by organ, side and lesion type of a finding, (n, 3) LPS mm of a share of its voxels, no place in
    it being farther than grain_mm from one; none where the label map knows the organ and the scan does not
    show it. images: by
    numbers as findings give them, z in mm from, to and how sure that is.
    """

    lungs: Lungs | None
    midline_mm: float | None
    extent_mm: tuple[float, float]
    organs: dict[Where, Array]
    images: dict[tuple[int, ...], tuple[float, float, float]]
    grain_mm: float = 0.0

    def slab_mm(self, organ: str | None, kind: str | None) -> tuple[float, float] | None:
        """z from, to (LPS) of an organ, or else of a lesion type, not cut to the scan; None: cannot tell."""
        if self.lungs is None:
            return None
        for name in (organ, kind):
            if name is None:
                continue
            low, high, known = -INF, INF, False
            ends = (self.lungs.base_mm, self.lungs.apex_mm)
            for end_mm, span in zip(ends, height_mm(name), strict=True):
                if end_mm is not None and span is not None:
                    low, high, known = max(low, end_mm + span[0]), min(high, end_mm + span[1]), True
            if known:
                return low, high
        return None

    def log_likelihood(self, finding: Finding, centers_mm: npt.ArrayLike) -> Array:
        """(n, 3) LPS mm -> (n,) log of how well places fit organ, side and image; 0: perfectly."""
        centers = np.asarray(centers_mm, np.float64).reshape(-1, 3)
        voxels = self.organs.get((finding.organ, finding.side, finding.type))
        if voxels is not None:
            apart = np.maximum(_apart_mm(voxels, centers) - self.grain_mm, 0) / ORGAN_SIGMA_MM
        else:
            slab = self.slab_mm(finding.organ, finding.type) or (-INF, INF)
            along = _outside(centers[:, 2], *slab) / SLAB_SIGMA_MM
            apart = np.hypot(along, self._wrong_side(finding.side, centers[:, 0]))
        result = np.log(np.maximum(np.exp(-0.5 * apart**2), ELSEWHERE))
        if finding.images in self.images:
            low, high, sure = self.images[finding.images]
            near = np.exp(-0.5 * (_outside(centers[:, 2], low, high) / IMAGE_SIGMA_MM) ** 2)
            result += np.log(np.maximum(sure * near + (1 - sure) * 0.1, ELSEWHERE))
        return np.asarray(result, np.float64)

    def _wrong_side(self, side: Side, x_mm: Array) -> Array:
        """By how many standard deviations a place lies beyond the midline; x grows to the patient's left."""
        if self.midline_mm is None or side not in ("left", "right"):
            return np.zeros_like(x_mm)
        beyond = x_mm - self.midline_mm if side == "right" else self.midline_mm - x_mm
        return np.maximum(beyond, 0) / SIDE_SIGMA_MM


def location_prior(case: Case, scan: CachedScan) -> LocationPrior:
    """Where the organs are that a case's current findings name, from the cached scan."""
    hu = np.asarray(scan.array[HU])
    wanted = {(f.organ, f.side, f.type) for f in case.findings if f.time == "current" and f.organ is not None}
    organs: dict[Where, Array] = {}
    if case.completeness.organ_values:
        labels = np.asarray(scan.array[ORGANS])[::2, ::2, ::2]
        for where in sorted(wanted, key=repr):
            values = place_values(case.completeness.organ_values, *where)
            if values:
                organs[where] = scan.grid.coarsened(2).voxel_to_world(np.argwhere(np.isin(labels, values)))
    low = scan.grid.origin_mm[2]
    numbers = {f.images for f in case.findings if f.images}
    images = {n: place for n in sorted(numbers) if (place := image_mm(case, scan, n)) is not None}
    extent = (low, low + (scan.shape[0] - 1) * scan.spacing_mm)
    lungs, midline = find_lungs(hu, scan.lower[0], scan.spacing_mm), find_midline(hu, scan)
    return LocationPrior(lungs, midline, extent, organs, images, math.sqrt(3) * scan.spacing_mm)


def image_mm(case: Case, scan: CachedScan, images: tuple[int, ...]) -> tuple[float, float, float] | None:
    """z from, to in LPS mm of the images that a finding names, and how sure that is; None if not given.

    DeepLesion's numbers are those of its files. Elsewhere images are numbered from 1 at the head, as most
    scanners do; a number that the scan does not reach is of another series.
    """
    place = scan.place
    x, y, count = place.size
    if case.image.reader == "deeplesion" and case.image.slices is not None:
        index, sure = [number - case.image.slices[0] for number in images], 1.0
    else:
        up = place.direction[2, 2] > 0
        index, sure = [count - number if up else number - 1 for number in images], SAME_SERIES
        if not all(0 <= i < count for i in index):
            return None
    if not index:
        return None
    levels = place.index_to_world([((x - 1) / 2, (y - 1) / 2, i) for i in index])[:, 2]
    half = place.spacing_mm[2] / 2
    return float(levels.min()) - half, float(levels.max()) + half, sure


def find_lungs(hu: npt.NDArray[np.int16], lower_z: int, spacing_mm: float) -> Lungs | None:
    """The lungs' base and apex in LPS mm from the air profile of (z, y, x) HU; None where there are none.

    Lung is what is of its density in cubes of 8 mm, 24 mm wide, with tissue on three of four sides in the
    plane: this leaves out gas, a mattress and the edge of the body. Base and apex are where its area falls
    below 10 cm^2; not seen where that is within two cubes of where the scan ends.
    """
    from scipy import ndimage

    mean, edge = _cubes(hu, spacing_mm)
    tissue = mean > TISSUE_HU
    sides = np.zeros(mean.shape, int)
    for axis in (1, 2):
        sides += np.maximum.accumulate(tissue, axis)
        sides += np.flip(np.maximum.accumulate(np.flip(tissue, axis), axis), axis)
    dense = (mean > LUNG_HU[0]) & (mean < LUNG_HU[1])
    square = np.ones((1, 3, 3), bool)
    area, loose = (
        ndimage.binary_opening(dense & (sides >= least), square).sum((1, 2)) * (edge * spacing_mm / 10) ** 2
        for least in (3, 2)
    )
    if not len(area) or area.max() < LUNG_CM2 or area.max() < ENCLOSED * loose[area.argmax()]:
        return None
    shown = np.flatnonzero(tissue.any((1, 2)))
    first = last = int(area.argmax())
    while first > 0 and area[first - 1] >= EDGE_CM2:
        first -= 1
    while last < len(area) - 1 and area[last + 1] >= EDGE_CM2:
        last += 1
    low, high = ((lower_z + edge * i - 0.5) * spacing_mm for i in (first, last + 1))
    return Lungs(low if first - shown[0] >= 2 else None, high if shown[-1] - last >= 2 else None)


def find_midline(hu: npt.NDArray[np.int16], scan: CachedScan) -> float | None:
    """LPS x in mm of the middle of the body; None where it is too narrow to be a trunk."""
    mean, edge = _cubes(hu, scan.spacing_mm)
    x = np.nonzero(mean > TISSUE_HU)[2]
    if not len(x):
        return None
    low, high = np.quantile(x, [0.02, 0.98])
    if (high - low) * edge * scan.spacing_mm < BODY_WIDTH_MM:
        return None
    return float(scan.grid.coarsened(edge).voxel_to_world((0, 0, np.median(x)))[0, 0])


def _cubes(hu: npt.NDArray[np.int16], spacing_mm: float) -> tuple[npt.NDArray[np.float32], int]:
    """Mean HU of cubes of about CELL_MM, and their edge in voxels."""
    edge = max(1, round(CELL_MM / spacing_mm))
    z, y, x = (n // edge for n in hu.shape)
    cut = hu[: z * edge, : y * edge, : x * edge].reshape(z, edge, y, edge, x, edge)
    return np.asarray(cut.mean((1, 3, 5), dtype=np.float32)), edge


def _apart_mm(voxels: Array, centers: Array) -> Array:
    """Distance from each centre to the nearest voxel; infinite without any."""
    from scipy.spatial import cKDTree

    if not len(voxels):
        return np.full(len(centers), INF)
    return np.asarray(cKDTree(voxels).query(centers)[0], np.float64)


def _outside(z_mm: Array, low: float, high: float) -> Array:
    """How far a height lies outside an interval."""
    return np.maximum(0.0, np.maximum(low - z_mm, z_mm - high))
