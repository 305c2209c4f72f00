"""Anatomy from a segmentation of a real person: resampled smoothly, deformed, its fine structure added.

A table (label, organ, tissue) says what each label of a map stands for; organ is a key of organs.ORGANS,
tissue a name in `tissue_hu` or one of FIXED_HU, or "bone", "kidney", "bowel", "heart", which get structure
of their own. Tables are at hand for TotalSegmentator's 117 classes, the SPL abdominal atlas and ICRP 110.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.geometry import image_of
from model.volume import InputError
from resources.cases.images import read_labels
from resources.synthetic.draw import Draw
from resources.synthetic.finish import add_detail
from resources.synthetic.mapfill import complete_body, name_by_place
from resources.synthetic.organs import KEYS, LABEL, tissue_hu
from resources.synthetic.scanner import Scanner, slab
from resources.synthetic.sites import COVERAGES_MM
from resources.synthetic.skeleton import LEVELS_MM
from resources.synthetic.space import Box, Space

TABLES = Path(__file__).parent / "label_tables"
TOTAL = "totalsegmentator.csv"
FINE_MM = 1.7
"""Finer maps are thinned out to about this."""
ONE_LEVEL_MM = 90.0
"""A vertebra with its processes is lower; what is higher are several under one label."""
FIXED_HU = {
    "background": -1000.0, "air": -990.0, "airway": -500.0, "skin": 20.0, "cortical": 820.0, "marrow": -40.0,
    "thymus": -20.0, "content": 25.0,
}  # fmt: skip


class LabelMapError(ValueError):
    """A label map or its table that cannot be used; the message is one line."""


@dataclasses.dataclass(frozen=True)
class MapSource:
    """file: name in the folder of maps. table: name in TABLES, or a path. enlarge: true size over header's.

    coverage: the part of the map that is taken. foot_mm: reference z of its first slice; None: told by its
    vertebrae, and where it names none the coverage begins there. Skin and fat are built around a map
    without skin. sex, arms: None where they are not known.
    """

    file: str
    table: str
    coverage: str
    sex: str | None = None
    enlarge: float = 1.0
    arms: str | None = None
    foot_mm: float | None = None


MAPS = {
    # By its header the atlas' liver holds 239 ml, a kidney 47 ml: lengths are about 1.65 times as large.
    "spl_abdomen": MapSource("spl_abdomen.nrrd", "spl_abdomen.csv", "abdomen", "male", 1.65, "up", 0.0),
    "icrp110_AF": MapSource("icrp110_AF_trunk.nii.gz", "icrp110.csv", "both", "female", 1.0, "down", 0.0),
    "icrp110_AM": MapSource("icrp110_AM_trunk.nii.gz", "icrp110.csv", "both", "male", 1.0, "down", 0.0),
}


@dataclasses.dataclass(frozen=True)
class PreparedMap:
    """codes: (z, y, x) uint8, index into `classes`: (organ label, tissue). spacing_mm: (x, y, z).

    foot_mm: reference z of the first slice.
    """

    codes: npt.NDArray[np.uint8]
    classes: tuple[tuple[int, str], ...]
    spacing_mm: tuple[float, float, float]
    foot_mm: float


def find_table(name: str) -> Path:
    """A table of TABLES by its name, or one's own by its path."""
    return TABLES / name if (TABLES / name).is_file() else Path(name)


def read_table(path: Path) -> dict[int, tuple[str, str]]:
    """label -> (organ, tissue). Raises LabelMapError naming the line."""
    rows: dict[int, tuple[str, str]] = {}
    made = ("bone", "kidney", "bowel", "heart", "spongiosa", "vessel")
    known = {*tissue_hu("none", Draw(0)), *FIXED_HU, *made}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            organ, tissue = row.get("organ") or "", row.get("tissue") or ""
            if not (row.get("label") or "").isdigit() or organ not in LABEL or tissue not in known:
                raise LabelMapError(
                    f"{path}, line {number}: expected a number and known names, found {list(row.values())}"
                )
            rows[int(row["label"] or 0)] = (organ, tissue)
    return rows


@functools.lru_cache(maxsize=2)
def prepare_map(source: MapSource, folder: Path) -> PreparedMap:
    """Reads a map, in LPS, and translates its labels. Raises LabelMapError."""
    import SimpleITK as sitk

    path = folder / source.file
    try:
        labels = read_labels(path)
    except InputError as error:
        raise LabelMapError(str(error)) from None
    image = sitk.DICOMOrient(image_of(labels.values, labels.geometry), "LPS")
    values = sitk.GetArrayFromImage(image)
    stride = [max(1, round(FINE_MM / (mm * source.enlarge))) for mm in image.GetSpacing()]
    values = values[:: stride[2], :: stride[1], :: stride[0]]
    x, y, z = (mm * source.enlarge * n for mm, n in zip(image.GetSpacing(), stride, strict=True))
    table = read_table(find_table(source.table))
    unknown = sorted(set(np.unique(values).tolist()) - {0, *table})
    if unknown:
        raise LabelMapError(f"{path}: expected labels of {source.table}, found {unknown[:5]}")
    classes: list[tuple[int, str]] = [(LABEL["background"], "background")]
    translate = np.zeros(int(values.max()) + 1, np.uint8)
    for label, (organ, tissue) in table.items():
        if label <= values.max():
            pair = (LABEL[organ], tissue)
            if pair not in classes:
                classes.append(pair)
            translate[label] = classes.index(pair)
    codes = translate[values]
    foot_mm = source.foot_mm
    if foot_mm is None:
        codes, foot_mm = _stand(codes, classes, z, COVERAGES_MM[source.coverage])
        if not codes.any():
            raise LabelMapError(f"{path}: expected organs in the part called {source.coverage}, found none")
    if LABEL["skin"] not in {classes[code][0] for code in np.unique(codes)}:
        codes, classes = complete_body(codes, classes, (x, y, z))
    return PreparedMap(codes, tuple(classes), (x, y, z), foot_mm)


def _stand(
    codes: npt.NDArray[np.uint8],
    classes: list[tuple[int, str]],
    step_mm: float,
    coverage: tuple[float, float],
) -> tuple[npt.NDArray[np.uint8], float]:
    """The slices of a coverage (reference z, from, to), and the reference z of the first of them."""
    feet = []
    for code, (label, _) in enumerate(classes):
        if KEYS[label] in LEVELS_MM:
            rows = np.nonzero((codes == code).any((1, 2)))[0]
            whole = len(rows) > 0 and rows[0] > 0 and rows[-1] < len(codes) - 1
            if whole and np.ptp(rows) * step_mm < ONE_LEVEL_MM:
                feet.append(LEVELS_MM[KEYS[label]] - float(rows.mean()) * step_mm)
    foot_mm = float(np.median(feet)) if feet else coverage[0]
    first, last = (math.floor((mm - foot_mm) / step_mm) for mm in coverage)
    first = max(0, first)
    return codes[first : max(first, last + 1)], foot_mm + first * step_mm


def paint_label_map(
    source: MapSource, folder: Path | None, plan: tuple[Scanner, str], draw: Draw, device: str
) -> tuple[Space, dict[str, float], dict[str, str | float]]:
    """A new grid with the map's body on it; plan: scanner and phase. Returns grid, tissues, facts."""
    if folder is None:
        raise LabelMapError(f"anatomy: expected the folder that holds {source.file}, found none given")
    prepared = prepare_map(source, folder)
    scanner, phase = plan
    step = (*scanner.spacing_mm[:2], scanner.spacing_mm[2] / slab(scanner.spacing_mm[2]))
    scale = (draw.normal(1, 0.06), draw.normal(1, 0.07), draw.normal(1, 0.05))
    extent = [
        n * mm * s
        for n, mm, s in zip(reversed(prepared.codes.shape), prepared.spacing_mm, scale, strict=True)
    ]
    lift = prepared.foot_mm * scale[2]
    depth = round(extent[2] * draw.uniform(0.55, 0.97) / scanner.spacing_mm[2]) * slab(scanner.spacing_mm[2])
    shape = (depth, round((extent[1] + 30) / step[1]), round(min(extent[0], 500.0) / step[0]))
    bottom = draw.uniform(0, 1) * max(0.0, extent[2] - depth * step[2])
    lower = (-(shape[2] - 1) / 2 * step[0], -(shape[1] - 1) / 2 * step[1], bottom + lift)
    space = Space(shape, step, lower, draw, scale, warp_mm=16.0, device=device)
    tissues = tissue_hu(phase, draw) | {"age": draw.uniform(35, 80)}
    tissues |= {"vessel": 0.5 * (tissues["aorta"] + tissues["vein"]), "spongiosa": draw.normal(130, 30)}
    tissues |= {name: hu for name, hu in FIXED_HU.items() if name not in tissues}
    tissues |= {
        "bone": tissues["spongiosa"],
        "kidney": tissues["cortex"],
        "bowel": tissues["bowel wall"],
        "heart": tissues["myocardium"],
    }
    _resample(space, prepared, tissues)
    name_by_place(space)
    add_detail(space, tissues)
    person = {"sex": source.sex, "age": round(tissues["age"]), "arms": source.arms}
    return space, tissues, {name: value for name, value in person.items() if value is not None}


def _resample(space: Space, prepared: PreparedMap, tissues: dict[str, float]) -> None:
    """Each class's membership is smoothed, sampled and weighed; the largest names the voxel."""
    best = torch.full(space.hu.shape, 1e-3, device=space.device)
    total = torch.full_like(best, 1e-6)
    mean = total * -1000.0
    centre = [  # where reference x, y, z are 0, from the map's first voxel
        mm * (n - 1) / 2 for mm, n in zip(prepared.spacing_mm, reversed(prepared.codes.shape), strict=True)
    ]
    centre[2] = -prepared.foot_mm
    wobble = space.draw.fork()
    organs = torch.zeros_like(space.label)
    for code, (label, tissue) in enumerate(prepared.classes):
        voxels = np.nonzero(prepared.codes == code) if code else ()
        if code and not len(voxels[0]):
            continue
        crop, start = _smoothed(prepared, code, voxels)
        ends = [s + n for s, n in zip(start, crop.shape, strict=True)]
        corners = [
            [(v[i] - 0.5) * prepared.spacing_mm[2 - i] - centre[2 - i] for i in (2, 1, 0)]
            for v in (start, ends)
        ]
        box = space.box(corners[0], corners[1])
        if any(part.stop <= part.start for part in box):
            continue
        share = _sampled(space, box, crop, (prepared.spacing_mm, centre, start))
        weight = share**4 * (2.0 if tissue == "cortical" else 1.0)  # thin shells survive the smoothing
        hu = tissues[tissue] + (wobble.normal(0, 2.0) if code else 0.0)
        total[box] += weight
        mean[box] += weight * hu
        wins = share > best[box]
        best[box] = torch.where(wins, share, best[box])
        organs[box].masked_fill_(wins, label)
        if tissue == "bone":  # cortical where the share falls off
            mean[box] += weight * ((0.93 - share) / 0.3).clamp(0, 1) * (620.0 - hu)
    space.hu = mean / total
    space.label = organs


def _smoothed(prepared: PreparedMap, code: int, voxels: tuple) -> tuple[torch.Tensor, list[int]]:
    """A class's mask, blurred by about a voxel of the map, in its own bounding box; where that begins."""
    pad = 3
    if voxels:
        start = [max(0, int(axis.min()) - pad) for axis in voxels]
        stop = [int(axis.max()) + pad + 1 for axis in voxels]
    else:
        start, stop = [0, 0, 0], list(prepared.codes.shape)
    part = prepared.codes[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] == code
    mask = torch.from_numpy(part.astype(np.float32))[None, None]
    for axis, mm in enumerate(reversed(prepared.spacing_mm)):
        sigma = min(1.1, max(0.5, 1.9 / mm))
        kernel = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
        size = [7 if other == axis else 1 for other in range(3)]
        pads = [n // 2 for n in reversed(size) for _ in range(2)]
        padded = F.pad(mask, pads, mode="replicate" if min(mask.shape[2:]) > 3 else "constant")
        mask = F.conv3d(padded, (kernel / kernel.sum()).reshape(1, 1, *size))
    return mask[0, 0], start


def _sampled(space: Space, box: Box, crop: torch.Tensor, place: tuple) -> torch.Tensor:
    """A blurred mask on a part of the grid."""
    spacing, centre, start = place
    result = []
    for first in range(box[0].start, box[0].stop, 32):
        part = (slice(first, min(first + 32, box[0].stop)), box[1], box[2])
        x, y, z = space.reference(part)
        index = [
            (x + centre[0]) / spacing[0] - start[2],
            (y + centre[1]) / spacing[1] - start[1],
            (z + centre[2]) / spacing[2] - start[0],
        ]
        grid = torch.stack(
            [2 * v / max(1, n - 1) - 1 for v, n in zip(index, reversed(crop.shape), strict=True)], -1
        )
        result.append(F.grid_sample(crop.to(space.device)[None, None], grid[None], align_corners=True)[0, 0])
    return torch.cat(result)
