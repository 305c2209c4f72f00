"""One synthetic scan from a seed: anatomy, lesions, scanner, and all that is true of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.volume import Volume
from resources.synthetic.background import background_space, background_tissues, blend, read_background
from resources.synthetic.body import draw_habitus, paint_table
from resources.synthetic.devices import paint_devices
from resources.synthetic.draw import Draw
from resources.synthetic.focal import Painter, finished, paint_lesions
from resources.synthetic.labelmap import MAPS, TOTAL, MapSource, paint_label_map
from resources.synthetic.mimics import paint_mimics, paint_spurs
from resources.synthetic.organs import ORGANS
from resources.synthetic.patient import paint_patient
from resources.synthetic.places import TYPE_WEIGHTS
from resources.synthetic.scanner import DENSE_HU, Scanner, acquire, slab
from resources.synthetic.sites import COVERAGES_MM, SITES, SiteHabits, draw_count, draw_scanner
from resources.synthetic.space import Space
from resources.synthetic.texture import paint_metal, paint_texture
from resources.synthetic.truth import TrueScan

FIELD_MM = (384.0, 320.0)
"""Least width and depth of the field of view, (x, y)."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What to make. None: drawn after the site's habits. spacing_mm: (x, y, z).

    shape: voxels (z, y, x), for grids that have to have a size; coverage then only says where they begin.
    background: a real CT into which lesions are put; organ_labels: its label map, with the name of its table.
    label_map: a body of one's own, of whose classes label_table tells; coverage is the part taken of it.
    types: of the lesions, in the proportions they have among all.
    """

    seed: int
    site: str = "A"
    spacing_mm: tuple[float, float, float] | None = None
    coverage: str | None = None
    phase: str | None = None
    anatomy: str | None = None
    lesion_count: int | None = None
    shape: tuple[int, int, int] | None = None
    background: str | None = None
    organ_labels: str | None = None
    label_table: str | None = None
    types: tuple[str, ...] | None = None
    label_map: str | None = None

    @property
    def type_weights(self) -> dict[str, float]:
        return {name: TYPE_WEIGHTS[name] for name in self.types or TYPE_WEIGHTS}


@dataclasses.dataclass(frozen=True)
class SyntheticScan:
    """volume: HU (int16). lesions, organs: label maps on its grid, (z, y, x), uint8."""

    volume: Volume
    lesions: npt.NDArray[np.uint8]
    organs: npt.NDArray[np.uint8]
    truth: TrueScan


@torch.inference_mode()  # the many small steps are quicker so
def make_scan(order: Order, maps: Path | None = None, device: str = "cpu") -> SyntheticScan:
    """The scan of an order; the same order gives the same scan on the same kind of device.

    maps: folder of the label maps of real people, for anatomies other than "procedural"; where an order
    names none and the folder is not given, the body is procedural. Raises InputError, LabelMapError.
    """
    habits, draw = SITES[order.site], Draw(order.seed)
    if order.background is not None:
        return _on_real(order, draw, device)
    anatomy = order.anatomy or draw.weighted(habits.anatomy)
    if order.label_map is not None:
        anatomy, maps = Path(order.label_map).name, Path()
    elif maps is None and order.anatomy is None:
        anatomy = "procedural"
    phase = order.phase or draw.weighted(habits.phases)
    scanner = draw_scanner(habits, draw, order.spacing_mm)
    count = order.lesion_count if order.lesion_count is not None else draw_count(habits, draw)
    coverage = order.coverage or draw.weighted(habits.coverages)
    body, scan_draw = draw.fork(), draw.fork()
    if anatomy == "procedural":
        space, tissues, person = _procedural(order, habits, (scanner, coverage, phase), body, device)
    else:
        source = MAPS[anatomy] if order.label_map is None else own_map(order)
        space, tissues, person = paint_label_map(source, maps, (scanner, phase), body, device)
        coverage = source.coverage
    painter = Painter(space, tissues, draw.fork(), torch.zeros_like(space.label))
    paint_spurs(painter)
    if habits.devices and anatomy == "procedural":
        devices = paint_devices(painter, habits.devices, str(person.get("absent", "")).split(", "))
        person |= {"devices": ", ".join(devices)} if devices else {}
        scanner = dataclasses.replace(scanner, metal=bool((space.hu > DENSE_HU).any()))
    paint_mimics(painter)
    paint_lesions(painter, count, order.type_weights)
    if scanner.metal and not habits.devices:
        paint_metal(space, painter.draw)
    paint_table(space, painter.draw)
    paint_texture(space, painter.draw)
    facts: dict[str, str | float] = {
        "site": order.site, "seed": float(order.seed), "phase": phase, "anatomy": anatomy,
        "coverage": coverage,
    }  # fmt: skip
    return _scan(painter, scanner, scan_draw, facts | person)


def own_map(order: Order) -> MapSource:
    """Where an order's label map is, and how to read it."""
    return MapSource(order.label_map or "", order.label_table or TOTAL, order.coverage or "both")


def _on_real(order: Order, draw: Draw, device: str) -> SyntheticScan:
    """Lesions alone, in a real scan. Where it has no organ labels, places are told as far as HU show them."""
    background = read_background(order.background or "", order.organ_labels, order.label_table)
    space = background_space(background, draw.fork(), device)
    count = order.lesion_count if order.lesion_count is not None else draw_count(SITES[order.site], draw)
    painter = Painter(space, background_tissues(space, draw), draw.fork(), torch.zeros_like(space.label))
    before = space.hu.clone()
    paint_lesions(painter, count, order.type_weights)
    if background.guessed:
        painter.found = [dataclasses.replace(lesion, segment=None) for lesion in painter.found]
    stored = blend(before, space)
    organs = space.label.cpu().numpy()
    facts: dict[str, str | float] = {
        "site": order.site, "seed": float(order.seed), "anatomy": "real", "slice_mm": space.step_mm[2],
        "spacing_mm": space.step_mm[0], "background": Path(order.background or "").name,
    }  # fmt: skip
    volume = dataclasses.replace(background.volume, hu=stored.cpu().numpy())
    truth = TrueScan(finished(painter.found), whole_organs(organs), facts)
    return SyntheticScan(volume, painter.lesion_label.cpu().numpy(), organs, truth)


def _procedural(
    order: Order, habits: SiteHabits, plan: tuple[Scanner, str, str], draw: Draw, device: str
) -> tuple[Space, dict[str, float], dict[str, str | float]]:
    scanner, coverage, phase = plan
    habitus = draw_habitus(draw, habits)
    step = (*scanner.spacing_mm[:2], scanner.spacing_mm[2] / slab(scanner.spacing_mm[2]))
    low, high = (mm * habitus.scale[2] for mm in COVERAGES_MM[coverage])
    low, high = low + draw.uniform(-20, 15), high + draw.uniform(-15, 20)
    if order.shape is not None:
        shape = (order.shape[0] * slab(scanner.spacing_mm[2]), *order.shape[1:])
    else:
        wide = [max(mm, mm * (0.86 + 0.14 * habitus.fat) * habitus.scale[0]) for mm in FIELD_MM]
        wide[0] += 90 if habitus.arms == "down" else 0
        counts = [round((high - low) / scanner.spacing_mm[2]) * slab(scanner.spacing_mm[2])]
        counts += [round(mm / s) for mm, s in zip(reversed(wide), reversed(step[:2]), strict=True)]
        shape = (counts[0], counts[1], counts[2])
    lower = (
        -(shape[2] - 1) / 2 * step[0] + draw.normal(0, 5),
        -(shape[1] - 1) / 2 * step[1] + 2 + draw.normal(0, 4),
        low,
    )
    space = Space(shape, step, lower, draw, habitus.scale, warp_mm=10.0, device=device)
    tissues = paint_patient(space, habitus, phase, habits.oral)
    person: dict[str, str | float] = {"sex": habitus.sex, "age": round(habitus.age), "arms": habitus.arms}
    person |= {"absent": ", ".join(habitus.absent)} if habitus.absent else {}
    person |= {"worn": round(habitus.worn, 2)} if habitus.worn else {}
    return space, tissues, person


def _scan(painter: Painter, scanner: Scanner, draw: Draw, facts: dict[str, str | float]) -> SyntheticScan:
    """What the scanner stores of the painted body, with the label maps on the stored grid."""
    space, layers = painter.space, slab(scanner.spacing_mm[2])
    if scanner.field_mm is not None:
        width = space.hu.shape[2] * scanner.spacing_mm[0]
        scanner = dataclasses.replace(scanner, field_mm=width * draw.uniform(0.97, 1.06))
    stored = acquire(space.hu, (space.step_mm[0], space.step_mm[1], space.step_mm[2]), scanner, draw)
    organs = space.label[layers // 2 :: layers][: len(stored)].cpu().numpy()
    lesions = _stored_lesions(painter, layers, len(stored))
    x, y, z = space.lower_mm
    origin = (x, y, z + space.step_mm[2] * (layers - 1) / 2)
    volume = Volume(stored.cpu().numpy(), scanner.spacing_mm, origin, np.eye(3))
    facts |= {"slice_mm": scanner.spacing_mm[2], "spacing_mm": scanner.spacing_mm[0]}
    facts |= {"noise_hu": round(scanner.noise_hu, 1), "metal": float(scanner.metal)}
    truth = TrueScan(finished(painter.found), whole_organs(organs), facts)
    return SyntheticScan(volume, lesions, organs, truth)


def _stored_lesions(painter: Painter, layers: int, depth: int) -> npt.NDArray[np.uint8]:
    """The lesion label map on the stored slices: of each slice its middle layer.

    A lesion too thin for any middle layer is marked in the slice that holds it.
    """
    fine = painter.lesion_label.cpu().numpy()[: depth * layers]
    coarse = fine[layers // 2 :: layers].copy()
    present = _counts(coarse)
    for lesion in painter.found:
        if not present[lesion.label]:
            z, y, x = np.nonzero(fine == lesion.label)
            coarse[z // layers, y, x] = lesion.label
    return coarse


def _counts(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(256,) voxels of each label; by slices, for bincount makes eight bytes of each voxel."""
    counts = np.zeros(256, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    return counts


def whole_organs(organs: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Names of the organs of a label map of which (nearly) nothing is cut off by its first or last slice."""
    total, cut = _counts(organs), _counts(organs[[0, -1]])
    seen: dict[str, list[int]] = {}
    for number, organ in enumerate(ORGANS.values()):
        counts = seen.setdefault(organ.name, [0, 0])
        counts[0] += int(total[number])
        counts[1] += int(cut[number])
    known = ("background", "skin", "table", "arm")
    return tuple(
        n for n, (all_of, edge) in seen.items() if n not in known and all_of > 20 and edge <= 0.004 * all_of
    )
