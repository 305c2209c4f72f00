"""How well lesions stand out, in DeepLesion's key slices and in synthetic scans.

    python -m resources.synthetic.conspicuity --table ../shared/data/deeplesion/DL_info_excerpt.csv \
        --images ../shared/data/deeplesion --cases build/a/cases.jsonl

Of each lesion the slice of its mark (synthetic: the slice that shows most of it), averaged to pixels of
about 2 mm: the contrast is the median HU inside minus that of a ring of 2 to 7 mm around; the noise is that
of the slice's soft tissue (likeness.noise_sd). Inside is the ellipse on the RECIST axes, or the mask.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.volume import InputError
from resources.cases.case import read_cases
from resources.cases.deeplesion import Row, convert, find_slices, read_table
from resources.cases.images import read_case_volume, read_labels
from resources.cases.strict import CaseError
from resources.cli import end_with
from resources.synthetic.likeness import Sample, noise_sd

PIXEL_MM = 2.0
RING_MM = (2.0, 7.0)
SOFT_HU = (20.0, 130.0)
Plane = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Seen:
    """A lesion in a slice: contrast to its surroundings and noise, both in HU."""

    type: str
    contrast: float
    noise: float


def seen(lesion_type: str, hu: Plane, inside: Mask, others: Mask, pixel_mm: float) -> Seen | None:
    """hu, inside, others (further lesions): (y, x). None for a lesion without a whole pixel or a ring."""
    from scipy import ndimage
    from skimage.measure import block_reduce

    block = max(1, round(PIXEL_MM / pixel_mm))
    hu = block_reduce(hu.astype(np.float32), block, np.mean)
    inside, others = (block_reduce(m.astype(np.float32), block, np.mean) >= 0.5 for m in (inside, others))
    distance = ndimage.distance_transform_edt(~inside) * block * pixel_mm
    ring = (distance > RING_MM[0]) & (distance < RING_MM[1]) & ~others
    if not inside.any() or not ring.any():
        return None
    sample = Sample("", hu[None], (block * pixel_mm, block * pixel_mm, 1.0))
    return Seen(lesion_type, float(np.median(hu[inside]) - np.median(hu[ring])), noise_sd(sample, *SOFT_HU))


def ellipse(row: Row) -> Mask:
    """The pixels (y, x) of the ellipse on a row's two axes."""
    from skimage import draw

    ends = np.array(row.ends)
    x, y = ends.mean(0)
    along = ends[1] - ends[0]
    mask = np.zeros(row.size[::-1], np.bool_)
    radii = (row.diameters_px[1] / 2, row.diameters_px[0] / 2)  # rows, columns before the turn
    mask[draw.ellipse(y, x, *radii, mask.shape, rotation=-math.atan2(along[1], along[0]))] = True
    return mask


def key_slices(table: Path, images: Path) -> Iterator[tuple[Plane, list[Row]]]:
    """HU (y, x) of the key slices of a DeepLesion table that are there, each with its rows.
    Raises CaseError, InputError.
    """
    rows = read_table(table)
    cases, _ = convert(rows, find_slices(images, {row.series for row in rows}))
    for case in cases:
        assert case.image.slices is not None
        first, last = case.image.slices
        volume = read_case_volume(case)
        here = [r for r in rows if r.series == case.image.series and first <= r.key_slice <= last]
        for key in sorted({r.key_slice for r in here}):
            yield volume.hu[key - first], [r for r in here if r.key_slice == key]


def real_lesions(table: Path, images: Path) -> Iterator[Seen]:
    """Of all rows of a DeepLesion table whose key slices are there. Raises CaseError, InputError."""
    for hu, rows in key_slices(table, images):
        for row in rows:
            same = [ellipse(r) for r in rows if r is not row]
            others = np.any(same, 0) if same else np.zeros(row.size[::-1], np.bool_)
            row_seen = seen(row.type or "unknown", hu, ellipse(row), others, row.spacing_mm[0])
            if row_seen is not None:
                yield row_seen


def synthetic_lesions(path: Path) -> Iterator[Seen]:
    """Of all lesions with masks of a file of cases. Raises CaseError, InputError."""
    for case in read_cases(path):
        marked = [a for a in case.annotations if a.kind == "mask" and a.status == "lesion"]
        if not marked:
            continue
        assert marked[0].mask is not None
        volume, labels = read_case_volume(case), read_labels(Path(marked[0].mask)).values
        for annotation in marked:
            mask = labels == annotation.label
            z = int(mask.sum((1, 2)).argmax())
            others = (labels[z] > 0) & ~mask[z]
            row_seen = seen(annotation.type or "unknown", volume.hu[z], mask[z], others, volume.spacing_mm[0])
            if row_seen is not None:
                yield row_seen


def describe(title: str, lesions: Iterable[Seen]) -> list[str]:
    """A line for each type: 10th, 50th and 90th percentile of the contrast's size, and over the noise."""
    groups: dict[str, list[Seen]] = collections.defaultdict(list)
    for lesion in lesions:
        groups[lesion.type].append(lesion)
    lines = [f"{title:<14}  lesions   contrast, HU (10/50/90 %)   noise   contrast to noise (10/50/90 %)"]
    for name, group in sorted(groups.items()):
        size = np.array([abs(lesion.contrast) for lesion in group])
        noise = np.array([lesion.noise for lesion in group])
        low, middle, high = np.percentile(size, (10, 50, 90))
        ratio = np.nanpercentile(size / noise, (10, 50, 90))
        lines.append(
            f"{name:<14} {len(group):8d}   {low:7.0f} {middle:7.0f} {high:7.0f} {np.nanmedian(noise):12.1f}"
            f"   {ratio[0]:8.1f} {ratio[1]:7.1f} {ratio[2]:7.1f}"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.synthetic.conspicuity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--table", type=Path, help="DL_info.csv")
    parser.add_argument("--images", type=Path, help="its slices, as resources.cases deeplesion takes them")
    parser.add_argument("--cases", type=Path, help="synthetic scans with masks")
    chosen = parser.parse_args(arguments)
    if (chosen.table is None) != (chosen.images is None):
        parser.error("expected --table and --images together, found one of them")
    if chosen.table is None and chosen.cases is None:
        parser.error("expected --table and --images, or --cases, or all, found none")
    try:
        if chosen.table is not None:
            print(*describe("DeepLesion", real_lesions(chosen.table, chosen.images)), sep="\n")
        if chosen.cases is not None:
            print(*describe("synthetic", synthetic_lesions(chosen.cases)), sep="\n")
    except (CaseError, InputError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
