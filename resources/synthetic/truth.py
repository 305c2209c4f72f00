"""What is true of a synthetic scan: its lesions and what it shows."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TrueLesion:
    """One focal finding.

    label: its value in the scan's lesion label map (z, y, x), 1..n. type: one of model.config.LESION_TYPES.
    organ: canonical lower-case English organ ("liver", "lung", "kidney", "vertebra", "lymph node", ...).
    segment: finer place where known ("right upper lobe", "segment 7", "L3", "retroperitoneal").
    center_mm: LPS (x, y, z). long_mm, short_mm, z_extent_mm: nominal diameters: axial long and short axis
    and extent along z. texture: "solid", "ground-glass", "necrotic", ...; for a mimic its name.
    contrast_hu: mean HU inside minus surroundings. status: benign is a mimic (cyst, bone island, ...).
    cluster: lesions reported together ("multiple") share it.
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
    """All that is true of one scan.

    lesions: those of status lesion first; mimics follow with status benign. organs: those that lie (nearly)
    whole within the field of view. attributes: sex, site, phase, slice_mm, spacing_mm, coverage, seed, ...
    """

    lesions: tuple[TrueLesion, ...]
    organs: tuple[str, ...]
    attributes: dict[str, str | float]

    @property
    def absent(self) -> tuple[str, ...]:
        """Labels of the organs that were taken out, "kidney left" say."""
        return tuple(filter(None, str(self.attributes.get("absent", "")).split(", ")))
