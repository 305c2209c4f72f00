"""Weak annotators: what readers leave of a scan whose every lesion is known.

DeepLesion's readers (Yan et al. 2018) mark few lesions, each with two axes on one slice, and only the
slices around the marks are kept. Others draw masks of some lesions, click points, or only dictate a report.
All geometry is in index space (x, y, z), voxel centres at whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from resources.cases.axes import PlaneAxes, measure_plane
from resources.cases.case import Annotation
from resources.synthetic.truth import TrueLesion, TrueScan

Labels = npt.NDArray[np.unsignedinteger]
Array = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]

MARKED_SHARE = (0.28, 0.45)
"""Share of lesions that DeepLesion's readers marked, by its two re-annotations."""
LONG_LAW = (math.log(20.0), 0.59)
"""Mean and standard deviation of log(long axis in mm) over ULS23's masks: 9.8 / 20 / 44.5 mm."""
CONTRAST_LAW = (math.log(110.0), 1.4)
"""The same for the absolute difference to the surroundings in HU, over lesions of synthetic bodies."""
SIZE_WEIGHT, CONTRAST_WEIGHT = 0.9, math.sqrt(1 - 0.9**2)
"""What size and contrast count in conspicuity; squares sum to 1, so that it is standard normal too."""
BOX_PADDING_PX = 5.0
STORED_MM = 30.0
"""DeepLesion keeps the slices within about this distance of a key slice, on either side."""
JITTER_PX, JITTER_SHARE, JITTER_MAX_SHARE = 0.5, 0.03, 0.1
"""Standard deviation of an end point's coordinates: pixels, but between these shares of the long axis."""
KEY_SLICE_TOLERANCE = 0.92
"""A reader takes any slice on which the long axis reaches this share of its greatest length."""
POINT_JITTER_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class View:
    """What one annotator left of one scan.

    slices: [first, last] index z of the slices that were kept; z of the annotations counts from the first
    of them.
    """

    slices: tuple[int, int]
    annotations: tuple[Annotation, ...] = ()


def measure_lesion(labels: Labels, value: int, spacing_mm: Spacing) -> list[PlaneAxes]:
    """Axes of a lesion of a label map (z, y, x) on each of its slices, in z order; empty if it has none."""
    boxes = find_objects((labels == value).astype(np.uint8))
    if not boxes:
        return []
    zs, ys, xs = boxes[0]
    offset = np.array([xs.start, ys.start], np.float64)
    axes = []
    for z in range(zs.start, zs.stop):
        plane = labels[z, ys, xs] == value
        if plane.any():
            here = measure_plane(plane, z, spacing_mm)
            axes.append(dataclasses.replace(here, long=here.long + offset, short=here.short + offset))
    return axes


def key_slice(axes: Sequence[PlaneAxes]) -> PlaneAxes:
    """The slice with the longest long axis; the middle one of those equally long."""
    greatest = max(a.long_mm for a in axes)
    best = [a for a in axes if a.long_mm >= greatest - 1e-6]
    return best[len(best) // 2]


def key_images(scan: TrueScan, labels: Labels, spacing_mm: Spacing) -> dict[int, int]:
    """Label -> number of the key image, counted from 1 at the head; labels (z, y, x) run to the head."""
    measured = {lesion.label: measure_lesion(labels, lesion.label, spacing_mm) for lesion in scan.lesions}
    return {value: labels.shape[0] - key_slice(axes).z for value, axes in measured.items() if axes}


def marking_probabilities(lesions: Sequence[TrueLesion], share: float) -> Array:
    """(n,) probability that DeepLesion's readers mark each lesion.

    Size and contrast become quantiles of the laws above, so that large and conspicuous lesions are marked
    more often while the mean over lesions that follow the laws is `share` (at most one half).
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"share: expected 0 to 0.5, found {share}")
    shares = []
    for lesion in lesions:
        size = (math.log(lesion.long_mm) - LONG_LAW[0]) / LONG_LAW[1]
        contrast = (math.log(max(abs(lesion.contrast_hu), 1.0)) - CONTRAST_LAW[0]) / CONTRAST_LAW[1]
        score = SIZE_WEIGHT * size + CONTRAST_WEIGHT * contrast
        shares.append(share * (1 + math.erf(score / math.sqrt(2))))  # 2 share times the normal's quantile
    return np.array(shares, np.float64)


def deeplesion_view(scan: TrueScan, labels: Labels, spacing_mm: Spacing, seed: int) -> list[View]:
    """The stored stretches of slices with their marks; none where no lesion was marked.

    They have no lesion type, as DeepLesion's training rows. Marks whose slices overlap are in one stretch.
    The padded 2D box is in the attributes, in pixels.
    """
    random = np.random.default_rng(seed)
    lesions = [lesion for lesion in scan.lesions if lesion.status == "lesion"]
    probabilities = marking_probabilities(lesions, random.uniform(*MARKED_SHARE))
    marks = []
    for lesion, drawn in zip(lesions, random.uniform(size=len(lesions)) < probabilities, strict=True):
        axes = measure_lesion(labels, lesion.label, spacing_mm) if drawn else []
        if axes:
            marks.append((lesion, jittered(axes, labels.shape, random)))
    around = round(STORED_MM / spacing_mm[2])
    ranges = [(max(0, a.z - around), min(len(labels) - 1, a.z + around)) for _, a in marks]
    return [
        View(
            (first, last),
            tuple(_recist(lesion, a, first, spacing_mm) for lesion, a in marks if first <= a.z <= last),
        )
        for first, last in _merged(ranges)
    ]


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def jittered(axes: Sequence[PlaneAxes], shape: tuple[int, ...], random: np.random.Generator) -> PlaneAxes:
    """A reader's marks: one of the slices that look largest, end points a little off, inside the image."""
    greatest = max(a.long_mm for a in axes)
    good = [a for a in axes if a.long_mm >= KEY_SLICE_TOLERANCE * greatest]
    chosen = good[int(random.integers(len(good)))]
    length_px = float(np.linalg.norm(chosen.long[1] - chosen.long[0]))
    sigma = max(min(JITTER_PX, JITTER_MAX_SHARE * length_px), JITTER_SHARE * length_px)
    limit = np.array([shape[2] - 1, shape[1] - 1], np.float64)
    long, short = (
        np.clip(ends + random.normal(0, sigma, (2, 2)), 0, limit) for ends in (chosen.long, chosen.short)
    )
    return dataclasses.replace(chosen, long=long, short=short)


def _recist(lesion: TrueLesion, axes: PlaneAxes, first: int, spacing_mm: Spacing) -> Annotation:
    ends = sorted(
        (axes.long, axes.short), key=lambda e: -float(np.linalg.norm((e[1] - e[0]) * spacing_mm[:2]))
    )
    long_mm, short_mm = (float(np.linalg.norm((e[1] - e[0]) * spacing_mm[:2])) for e in ends)
    level = float(axes.z - first)
    (a, b), (c, d) = (((*e[0].tolist(), level), (*e[1].tolist(), level)) for e in ends)
    left, top = (np.min(ends, axis=(0, 1)) - BOX_PADDING_PX).tolist()
    right, bottom = (np.max(ends, axis=(0, 1)) + BOX_PADDING_PX).tolist()
    return Annotation(
        "recist",
        None,
        long=(a, b),
        short=(c, d),
        long_mm=long_mm,
        short_mm=short_mm,
        attributes={
            "truth_label": float(lesion.label),
            "box_left_px": left,
            "box_top_px": top,
            "box_right_px": right,
            "box_bottom_px": bottom,
        },
    )


def mask_view(
    scan: TrueScan, labels: Labels, spacing_mm: Spacing, seed: int, path: str, share: float
) -> View:
    """Masks of a share of the lesions, as labels of the label image at `path`."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, found {share}")
    drawn = np.random.default_rng(seed).uniform(size=len(scan.lesions)) < share
    annotations = []
    for lesion, chosen in zip(scan.lesions, drawn, strict=True):
        axes = measure_lesion(labels, lesion.label, spacing_mm) if chosen else []
        if axes and lesion.status == "lesion":
            key = key_slice(axes)
            annotations.append(
                Annotation(
                    "mask",
                    lesion.type,
                    mask=path,
                    label=lesion.label,
                    long_mm=key.long_mm,
                    short_mm=key.short_mm,
                    z_extent_mm=(axes[-1].z - axes[0].z + 1) * spacing_mm[2],
                    attributes={"texture": lesion.texture, "organ": lesion.organ},
                )
            )
    return View((0, len(labels) - 1), tuple(annotations))


def point_view(scan: TrueScan, labels: Labels, seed: int) -> View:
    """A click into each of the lesions, near its centre, always on a voxel of the lesion."""
    random = np.random.default_rng(seed)
    annotations = []
    for lesion in scan.lesions:
        random.uniform()  # not used; without it the points of a seed would be others than they were
        jitter = random.normal(0, POINT_JITTER_SHARE, 3)
        voxels = np.argwhere(labels == lesion.label)
        if lesion.status == "lesion" and len(voxels):
            wanted = voxels.mean(0) + jitter * (np.ptp(voxels, axis=0) + 1)
            z, y, x = voxels[np.linalg.norm(voxels - wanted, axis=1).argmin()].tolist()
            annotations.append(
                Annotation(
                    "point",
                    lesion.type,
                    point=(float(x), float(y), float(z)),
                    attributes={"truth_label": float(lesion.label)},
                )
            )
    return View((0, len(labels) - 1), tuple(annotations))


def report_view(labels: Labels) -> View:
    """Nothing but a report: the whole scan, no mark, nothing known to be complete."""
    return View((0, len(labels) - 1))
