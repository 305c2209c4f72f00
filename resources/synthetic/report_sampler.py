"""Truths without images, for texts alone: lesions, mimics and field of view of an imagined scan."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Literal

from resources.synthetic.truth import TrueLesion, TrueScan

CHEST = ("lung", "heart", "mediastinum", "oesophagus", "thyroid")
ABDOMEN = ("liver", "gall bladder", "spleen", "pancreas", "adrenal gland", "kidney", "stomach", "bladder")
LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "left lower lobe")
CHEST_LEVELS = tuple(f"T{n}" for n in range(1, 13))
ABDOMEN_LEVELS = ("T10", "T11", "T12", *(f"L{n}" for n in range(1, 6)))
CHEST_NODES = ("mediastinal", "paratracheal", "subcarinal", "hilar")
ABDOMEN_NODES = ("retroperitoneal", "para-aortic", "mesenteric", "portal", "coeliac")
PELVIC_NODES = ("iliac", "inguinal")


@dataclasses.dataclass(frozen=True)
class Home:
    """Where lesions of an organ are, what they look like, and their long axis (median and log spread)."""

    type: str
    organ: str
    segments: tuple[str, ...]
    sided: bool
    textures: tuple[str, ...]
    long_mm: tuple[float, float]
    mimics: tuple[str, ...] = ()


HOMES = {
    "chest": (
        Home("lung", "lung", LOBES, True, ("solid", "solid", "ground-glass"), (9, 0.6), ("granuloma",)),
        Home("mediastinum", "lymph node", CHEST_NODES, False, ("solid", "necrotic"), (17, 0.4)),
        Home("soft tissue", "lymph node", ("axillary",), True, ("solid",), (18, 0.35)),
        Home("bone", "vertebra", CHEST_LEVELS, False, ("lytic", "sclerotic"), (14, 0.5), ("bone island",)),
        Home("bone", "rib", (), True, ("lytic", "sclerotic"), (13, 0.5), ("bone island",)),
    ),
    "abdomen": (
        Home(
            "liver",
            "liver",
            tuple(f"segment {n}" for n in range(1, 9)),
            False,
            ("hypodense", "ring-enhancing", "necrotic", "hyperdense"),
            (18, 0.7),
            ("cyst", "haemangioma"),
        ),
        Home("kidney", "kidney", (), True, ("solid", "hypodense"), (20, 0.6), ("cyst", "angiomyolipoma")),
        Home("abdomen", "spleen", (), False, ("hypodense",), (14, 0.6), ("cyst",)),
        Home("abdomen", "pancreas", ("head", "body", "tail"), False, ("hypodense",), (20, 0.5)),
        Home("abdomen", "adrenal gland", (), True, ("solid",), (17, 0.4), ("adenoma",)),
        Home("abdomen", "lymph node", ABDOMEN_NODES, False, ("solid", "necrotic"), (18, 0.4)),
        Home("abdomen", "abdominal fat", (), False, ("solid",), (14, 0.5)),
        Home("pelvis", "lymph node", PELVIC_NODES, True, ("solid",), (17, 0.4)),
        Home("bone", "vertebra", ABDOMEN_LEVELS, False, ("lytic", "sclerotic"), (14, 0.5), ("bone island",)),
        Home("bone", "hip bone", (), True, ("lytic", "sclerotic"), (18, 0.5), ("bone island",)),
    ),
    "both": (
        Home("soft tissue", "subcutaneous fat", (), True, ("solid",), (15, 0.5)),
        Home("soft tissue", "muscle", (), True, ("solid", "necrotic"), (22, 0.5), ("lipoma",)),
    ),
}


def sample_scan(seed: int | str) -> TrueScan:
    """A random truth; the same seed gives the same one. About a third of the scans have no lesion."""
    draw = random.Random(f"truth {seed}")
    coverage = draw.choices(("chest", "abdomen", "both"), (25, 35, 40))[0]
    homes = [*HOMES["both"]]
    organs: list[str] = []
    for part, inside in (("chest", CHEST), ("abdomen", ABDOMEN)):
        if coverage in (part, "both"):
            homes += HOMES[part]
            organs += inside
    lesions: list[TrueLesion] = []
    for cluster in range(draw.choices(range(6), (33, 25, 18, 12, 8, 4))[0]):
        count = draw.choices((1, 2, 3, 4, 7), (66, 12, 10, 7, 5))[0]
        home = draw.choice(homes)
        status: Literal["lesion", "doubtful"] = "doubtful" if draw.random() < 0.08 else "lesion"
        count = count if status == "lesion" else 1
        for _ in range(count):
            lesions.append(_lesion(home, draw, status, cluster if count > 1 else None))
    for _ in range(draw.randint(0, 4)):
        home = draw.choice([home for home in homes if home.mimics])
        lesions.append(_lesion(home, draw, "benign", None))
    ordered = sorted(lesions, key=lambda lesion: ("lesion", "doubtful", "benign").index(lesion.status))
    numbered = tuple(dataclasses.replace(m, label=n) for n, m in enumerate(ordered, 1))
    attributes: dict[str, str | float] = {
        "coverage": coverage,
        "phase": draw.choice(("none", "portal", "portal")),
        "slice_mm": draw.choice((1.0, 3.0, 5.0)),
    }
    return TrueScan(numbered, tuple(organs), attributes)


def imagined_lesion(organ: str, draw: random.Random) -> TrueLesion:
    """A lesion of an organ of HOMES that is in no scan."""
    homes = [home for part in HOMES.values() for home in part if home.organ == organ]
    return _lesion(draw.choice(homes), draw, "lesion", None)


def _lesion(
    home: Home, draw: random.Random, status: Literal["lesion", "benign", "doubtful"], cluster: int | None
) -> TrueLesion:
    segment = draw.choice(home.segments) if home.segments and draw.random() < 0.9 else None
    side: Literal["left", "right"] | None = draw.choice(("left", "right")) if home.sided else None
    if segment in LOBES:
        side = "left" if segment.startswith("left") else "right"
    if home.organ == "rib":
        segment = f"{side} rib {draw.randint(1, 12)}"
    median, spread = home.long_mm if status == "lesion" else (9.0, 0.5)
    long_mm = min(max(median * math.exp(draw.gauss(0, spread)), 3.0), 120.0)
    return TrueLesion(
        label=0,
        type=home.type,
        organ=home.organ,
        side=side,
        segment=segment,
        center_mm=(draw.uniform(-150, 150), draw.uniform(-100, 100), draw.uniform(-300, 300)),
        long_mm=long_mm,
        short_mm=long_mm * draw.uniform(0.55, 0.95),
        z_extent_mm=long_mm * draw.uniform(0.6, 1.3),
        texture=draw.choice(home.mimics if status == "benign" else home.textures),
        contrast_hu=draw.uniform(20, 100) * draw.choice((-1, 1)),
        status=status,
        cluster=cluster,
    )
