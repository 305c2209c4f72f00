"""What is true of a synthetic scan: every lesion, every mimic, and what lies within the field of view."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TrueLesion:
    """One lesion or mimic.

    label: its value in the scan's lesion label map (unsigned integers, (z, y, x), on the scan's grid), from
    1 on. type: one of model.config.LESION_TYPES. organ: canonical lower-case English ("liver", "lung",
    "vertebra", "adrenal gland", "lymph node", ...). segment: the finer place where known ("right upper
    lobe", "segment 7", "L3", "retroperitoneal"). center_mm: LPS (x, y, z). long_mm, short_mm, z_extent_mm:
    nominal axial long and short diameter and z extent. texture: "solid", "ground-glass", "necrotic",
    "ring-enhancing", "calcified", "lytic", "sclerotic", "hypodense", ...; of a mimic, what it is ("cyst",
    "haemangioma", "bone island", ...). contrast_hu: mean HU inside minus surroundings. status: benign is a
    mimic. cluster: lesions reported together ("multiple") share it.
    """

    label: int
    type: str
    organ: str
    side: Literal["left", "right"] | None
    segment: str | None
    center_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float
    z_extent_mm: float
    texture: str
    contrast_hu: float
    status: Literal["lesion", "benign", "doubtful"]
    cluster: int | None = None


@dataclasses.dataclass(frozen=True)
class TrueScan:
    """A scan's truth.

    lesions: those of status lesion first, then doubtful ones and mimics. organs: those that lie (nearly)
    whole within the field of view. attributes: sex, site, phase, slice_mm, spacing_mm, coverage, seed, ...
    """

    lesions: tuple[TrueLesion, ...]
    organs: tuple[str, ...]
    attributes: dict[str, str | float]
