"""Where lesions of each type live, and what the place is called."""

from __future__ import annotations

import dataclasses
import math

import torch

from resources.synthetic.bowel import NODE_CHAINS
from resources.synthetic.draw import Draw
from resources.synthetic.lesion_shapes import Size
from resources.synthetic.organs import KEYS, LABEL, ORGANS, Organ, Side
from resources.synthetic.space import Space
from resources.synthetic.vessels import points_in


@dataclasses.dataclass(frozen=True)
class Site:
    """A kind of place. organs: names (of Organ) in which the centre lies; within: labels that may be covered.

    chains: names in NODE_CHAINS, for lymph nodes. weight: how often, beside others of the type. share: how
    much of the lesion has to lie within. limit_mm: largest long diameter.
    """

    organs: tuple[str, ...]
    weight: float
    share: float = 0.8
    limit_mm: float = 200.0
    chains: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    called: str | None = None


SITES: dict[str, tuple[Site, ...]] = {
    "liver": (Site(("liver",), 1, 0.82, beyond=("portal vein", "gall bladder")),),
    "lung": (Site(("lung",), 1, 0.78, 90, beyond=("pulmonary vessel", "bronchus", "mediastinum")),),
    "kidney": (Site(("kidney",), 1, 0.5, 100, beyond=("abdominal fat", "renal pelvis")),),
    "bone": (
        Site(("vertebra",), 3, 0.72, 45, beyond=("disc", "spinal canal")),
        Site(("rib",), 1.5, 0.3, 40, beyond=("muscle", "lung", "mediastinum")),
        Site(("hip bone",), 2, 0.55, 90, beyond=("muscle",)),
        Site(("sacrum",), 1.2, 0.7, 70, beyond=("muscle", "pelvic fat", "spinal canal")),
        Site(("femur", "humerus", "scapula", "sternum"), 1, 0.55, 50, beyond=("muscle",)),
    ),
    "abdomen": (
        Site(("abdominal fat",), 3.0, 0.6, 70,
             ("retroperitoneal", "mesenteric", "portal", "gastrohepatic", "retrocrural"),
             ("pancreas", "muscle", "psoas", "small bowel", "vein", "vena cava", "duodenum"), "lymph node"),
        Site(("pancreas",), 1.5, 0.45, 90,
             beyond=("abdominal fat", "duodenum", "portal vein", "stomach", "small bowel")),
        Site(("adrenal gland",), 1.2, 0.5, 70, beyond=("abdominal fat", "liver", "spleen", "kidney")),
        Site(("spleen",), 0.9, 0.8, 80),
        Site(("abdominal fat",), 1.3, 0.72, 200,
             beyond=("small bowel", "colon", "stomach", "muscle", "liver"), called="abdominal fat"),
        Site(("colon", "small bowel", "stomach", "duodenum"), 0.7, 0.45, 90, beyond=("abdominal fat",)),
    ),
    "mediastinum": (
        Site(("mediastinum",), 5, 0.55, 80,
             ("paratracheal", "subcarinal", "hilar right", "hilar left", "prevascular"),
             ("lung", "oesophagus", "vein", "pulmonary vessel", "bronchus", "heart"), "lymph node"),
        Site(("mediastinum",), 0.8, 0.6, 120, beyond=("lung", "heart", "vein"), called="mediastinum"),
        Site(("oesophagus",), 0.5, 0.3, 60, beyond=("mediastinum", "lung")),
    ),
    "soft tissue": (
        Site(("muscle", "psoas"), 2, 0.75, 150, beyond=("subcutaneous fat", "abdominal fat")),
        Site(("subcutaneous fat",), 1.5, 0.72, 90, beyond=("muscle", "skin")),
        Site(("subcutaneous fat", "muscle"), 1.2, 0.65, 50,
             ("axillary right", "axillary left", "cervical right", "cervical left", "inguinal right",
              "inguinal left"),
             ("muscle", "subcutaneous fat", "mediastinum", "vein", "pelvic fat"), "lymph node"),
        Site(("breast",), 0.7, 0.6, 60, beyond=("subcutaneous fat",)),
        Site(("thyroid",), 0.4, 0.4, 50, beyond=("muscle", "mediastinum", "abdominal fat")),
    ),
    "pelvis": (
        Site(("pelvic fat",), 3, 0.6, 80, ("iliac right", "iliac left"),
             ("muscle", "psoas", "vein", "artery", "small bowel", "colon"), "lymph node"),
        Site(("pelvic fat",), 1, 0.7, 200, beyond=("small bowel", "colon", "muscle", "bladder", "uterus"),
             called="pelvic fat"),
        Site(("ovary", "uterus"), 1, 0.3, 120,
             beyond=("pelvic fat", "small bowel", "colon", "abdominal fat")),
        Site(("bladder", "prostate", "rectum"), 1, 0.3, 70, beyond=("pelvic fat",)),
    ),
}  # fmt: skip
TYPE_WEIGHTS = {
    "lung": 0.22, "abdomen": 0.2, "liver": 0.16, "mediastinum": 0.15, "bone": 0.08, "pelvis": 0.08,
    "kidney": 0.06, "soft tissue": 0.07,
}  # fmt: skip
"""DeepLesion's shares, the rarer types drawn a little more often."""


def labels_of(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(number for key, number in LABEL.items() if ORGANS[key].name in names)


def find_place(
    space: Space, site: Site, size: Size, taken: list[tuple[tuple[float, float, float], float]], draw: Draw
) -> tuple[float, float, float] | None:
    """A centre (true mm) at which enough of a lesion of this size lies in its organ; None if none is found.

    taken: centres and long diameters of lesions that are there already.
    """
    centers = _candidates(space, site, draw)
    if not len(centers):
        return None
    mine, within = labels_of(site.organs), labels_of((*site.organs, *site.beyond))
    if site.called is not None:
        within = (*within, LABEL["lymph node"])
    ball = torch.randn((48, 3), generator=draw.generator)
    ball = ball / ball.norm(dim=1, keepdim=True) * torch.rand((48, 1), generator=draw.generator) ** (1 / 3)
    radii = torch.tensor([(size.long_mm + size.short_mm) / 4] * 2 + [size.z_extent_mm / 2])
    labels = _labels_at(space, centers[:, None] + ball * radii)
    organ, allowed = (
        torch.isin(labels, torch.tensor(n, dtype=torch.uint8)).float().mean(1) for n in (mine, within)
    )
    core = _labels_at(space, centers[:, None])[:, 0]
    small = size.long_mm < 25
    good = (allowed > (0.9 if small else 0.78)) & (organ > site.share * (1.0 if small else 0.8))
    if site.chains == ():
        good &= torch.isin(core, torch.tensor(mine, dtype=torch.uint8))
    good &= _clear(space, centers, size, taken)
    places = good.nonzero()[:, 0]
    if not len(places):
        return None
    x, y, z = centers[int(places[draw.integer(0, len(places) - 1)])].tolist()
    return x, y, z


def _candidates(space: Space, site: Site, draw: Draw) -> torch.Tensor:
    """(n, 3) random true positions of the site."""
    if site.chains:
        rows = []
        for _ in range(160):
            x, y, z, spread = NODE_CHAINS[draw.choice(site.chains)]
            rows.append(
                (x + draw.normal(0, spread), y + draw.normal(0, spread), z + draw.normal(0, 1.3 * spread))
            )
        return space.true_points(rows)
    return points_in(space, labels_of(site.organs), 320, draw)


def _labels_at(space: Space, points_mm: torch.Tensor) -> torch.Tensor:
    """Labels (uint8) at true positions (..., 3); background outside the grid."""
    index = ((points_mm - torch.tensor(space.lower_mm)) / torch.tensor(space.step_mm)).round().long()
    size = torch.tensor(list(reversed(space.label.shape)))
    inside = ((index >= 0) & (index < size)).all(-1)
    index = index.clamp(min=0).minimum(size - 1)
    x, y, z = index.to(space.device).unbind(-1)
    return torch.where(inside.to(space.device), space.label[z, y, x], 0).cpu()


def _clear(
    space: Space, centers: torch.Tensor, size: Size, taken: list[tuple[tuple[float, float, float], float]]
) -> torch.Tensor:
    """Which centres keep a lesion off the others and off the edge of the grid."""
    lower = torch.tensor(space.lower_mm)
    upper = lower + torch.tensor(space.step_mm) * (torch.tensor(list(reversed(space.hu.shape))) - 1)
    reach = torch.tensor([size.long_mm / 2] * 2 + [size.z_extent_mm / 2]) + 2.0
    good = ((centers - reach > lower) & (centers + reach < upper)).all(1)
    longest_mm = max(size.long_mm, size.z_extent_mm)
    for other, long_mm in taken:
        good &= (centers - torch.tensor(other)).norm(dim=1) > 0.5 * (longest_mm + long_mm) + 2.0
    return good


def name_place(
    space: Space, site: Site, center_mm: tuple[float, float, float]
) -> tuple[str, Side | None, str | None]:
    """Organ, side and segment of a lesion as a report would name them."""
    label = int(_labels_at(space, torch.tensor([center_mm]))[0])
    here = ORGANS[KEYS[label]]
    x, y, z = (c / s for c, s in zip(center_mm, space.scale, strict=True))
    half: Side = "left" if x > 0 else "right"
    if site.called == "lymph node":
        chain = min(site.chains, key=lambda name: math.dist((x, y, z), NODE_CHAINS[name][:3]))
        station = chain.removesuffix(" right").removesuffix(" left")
        paired = chain != station or station == "paratracheal"
        return "lymph node", half if paired else None, station
    if site.called is not None:
        front = y < -60 and 80 < z < 270
        return site.called, None, "omental" if front and site.called == "abdominal fat" else None
    if here.name == "liver":
        return "liver", None, f"segment {liver_segment(space, center_mm)}"
    if here.name == "pancreas":
        return "pancreas", None, "head" if x < -12 else ("body" if x < 45 else "tail")
    if here.name == "kidney":
        return "kidney", here.side, _pole(space, here, center_mm)
    if here.name == "muscle":
        return "muscle", half, muscle_region(y, z)
    if here.name == "subcutaneous fat":
        return (
            here.name,
            half,
            "gluteal"
            if z < 90 and y > 20
            else ("chest wall" if z > 330 else ("back" if y > 0 else "abdominal wall")),
        )
    return here.name, here.side, here.segment


def muscle_region(y: float, z: float) -> str:
    if z < 110:
        return "gluteal" if y > 0 else "groin"
    if y > 35:
        return "paraspinal"
    return "chest wall" if z > 320 else "abdominal wall"


def _pole(space: Space, organ: Organ, center_mm: tuple[float, float, float]) -> str:
    mask = space.label == LABEL[f"{organ.name} {organ.side}"]
    rows = mask.flatten(1).any(1).nonzero()[:, 0]
    low, high = (float(space.axes_mm[0][int(i)]) for i in (rows.min(), rows.max()))
    t = (center_mm[2] - low) / max(1.0, high - low)
    return "upper pole" if t > 0.65 else ("lower pole" if t < 0.35 else "interpolar")


def liver_segment(space: Space, center_mm: tuple[float, float, float]) -> int:
    """Couinaud's segment, from the place relative to the liver's own extent."""
    mask = space.label == LABEL["liver"]
    spans = []
    for axis, dims in enumerate(((0, 1), (0, 2), (1, 2))):
        rows = mask.any(dims[1]).any(dims[0]).nonzero()[:, 0]
        mm = space.axes_mm[2 - axis]
        spans.append((float(mm[int(rows.min())]), float(mm[int(rows.max())])))
    x, y, z = ((c - low) / max(1.0, high - low) for c, (low, high) in zip(center_mm, spans, strict=True))
    upper = z > 0.55
    if x > 0.74:
        return 2 if upper else 3
    if x > 0.55:
        return 1 if y > 0.62 else 4
    if y < 0.52:
        return 8 if upper else 5
    return 7 if upper else 6
