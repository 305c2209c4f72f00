"""Organ labels, and the mean attenuation of tissues in each phase of contrast."""

from __future__ import annotations

import dataclasses
from typing import Literal

from resources.synthetic.draw import Draw

Side = Literal["left", "right"]
PHASES = ("none", "arterial", "portal", "excretory")
VERTEBRAE = ("C6", "C7", *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)))


@dataclasses.dataclass(frozen=True)
class Organ:
    """What one value of the organ label map stands for."""

    name: str
    side: Side | None = None
    segment: str | None = None


def _organs() -> dict[str, Organ]:
    table = {name: Organ(name) for name in ("background", "skin", "subcutaneous fat", "muscle")}
    table |= {name: Organ(name) for name in ("abdominal fat", "mediastinum", "pelvic fat")}
    for side, lobes in (("right", ("upper", "middle", "lower")), ("left", ("upper", "lower"))):
        table |= {f"lung {side} {lobe}": Organ("lung", side, f"{side} {lobe} lobe") for lobe in lobes}  # type: ignore[arg-type]
    single = (
        "trachea", "bronchus", "oesophagus", "heart", "aorta", "vena cava", "pulmonary vessel", "artery",
        "vein", "portal vein", "liver", "gall bladder", "spleen", "pancreas", "stomach", "duodenum",
        "small bowel", "colon", "rectum", "bladder", "prostate", "uterus", "lymph node", "thyroid", "pleura",
        "spinal canal", "disc", "sacrum", "sternum", "costal cartilage", "table",
    )  # fmt: skip
    table |= {name: Organ(name) for name in single}
    table |= {level: Organ("vertebra", None, level) for level in VERTEBRAE}
    for side in ("left", "right"):
        paired = (
            "adrenal gland", "kidney", "renal pelvis", "ureter", "psoas", "breast", "clavicle", "scapula",
            "humerus", "hip bone", "femur", "ovary", "arm",
        )  # fmt: skip
        table |= {f"{name} {side}": Organ(name, side) for name in paired}  # type: ignore[arg-type]
        table |= {f"rib {side} {i}": Organ("rib", side, f"{side} rib {i}") for i in range(1, 13)}  # type: ignore[arg-type]
    return table


ORGANS = _organs()
LABEL = {key: number for number, key in enumerate(ORGANS)}
KEYS = tuple(ORGANS)
LUNGS = tuple(LABEL[key] for key in KEYS if key.startswith("lung "))
BONES = tuple(
    number
    for key, number in LABEL.items()
    if ORGANS[key].name
    in ("vertebra", "rib", "sacrum", "sternum", "clavicle", "scapula", "humerus", "hip bone", "femur")
)
ROOM = (LABEL["abdominal fat"], LABEL["pelvic fat"], LABEL["mediastinum"])
"""Fat of the body's cavities: where organs and vessels may be painted."""

_HU = {  # none, arterial, portal, excretory: means over patients
    "aorta": (42, 300, 155, 115), "vein": (39, 65, 140, 115), "upper vein": (41, 260, 150, 115),
    "portal vein": (39, 85, 168, 118), "liver": (50, 66, 108, 86), "hepatic vein": (40, 60, 150, 112),
    "spleen": (43, 115, 120, 92), "cortex": (28, 185, 185, 135), "medulla": (25, 70, 160, 145),
    "urine": (6, 6, 9, 700), "bladder": (5, 5, 6, 120), "pancreas": (30, 95, 92, 66),
    "muscle": (46, 54, 60, 60), "bowel wall": (36, 75, 85, 66), "myocardium": (40, 95, 112, 92),
    "thyroid": (95, 170, 150, 125), "adrenal gland": (18, 60, 66, 45), "uterus": (42, 70, 100, 96),
    "prostate": (38, 60, 75, 70), "node": (38, 62, 85, 72), "gall bladder": (6, 6, 7, 8),
    "disc": (72, 74, 76, 76), "cord": (24, 27, 30, 30), "cartilage": (98, 98, 100, 100),
    "gland": (30, 42, 55, 50), "pulmonary artery": (41, 290, 150, 115),
}  # fmt: skip
_SPREAD = {"aorta": 0.16, "upper vein": 0.2, "pulmonary artery": 0.2, "urine": 0.3, "bladder": 0.5}


def tissue_hu(phase: str, draw: Draw) -> dict[str, float]:
    """Mean HU of each tissue of one patient in a phase of PHASES; enhancement varies as a whole too."""
    column, vigour = PHASES.index(phase), draw.normal(1.0, 0.12)
    tissues = {}
    for name, means in _HU.items():
        enhancement = (means[column] - means[0]) * vigour * draw.normal(1.0, _SPREAD.get(name, 0.07))
        tissues[name] = means[0] + draw.normal(0, 3.0) + enhancement
    tissues["fat"] = draw.normal(-104, 4)
    tissues["cavity fat"] = tissues["fat"] + draw.uniform(0, 8)
    tissues["liver"] += draw.choice((0, 0, 0, 0, -14, -28)) + draw.normal(0, 3)  # steatosis
    tissues["lung"] = draw.normal(-862, 22)
    return tissues
