"""Three hospitals. A is for training and testing; B only for testing: other patients, scanners and habits.

C differs from A as real scans differ from synthetic ones: devices, worn spines, organs that were taken out.
It is for weak training, validation and testing, with seeds of its own for each.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import field

from resources.synthetic.draw import Draw
from resources.synthetic.scanner import Scanner

COVERAGES_MM = {
    "chest": (325.0, 600.0),
    "abdomen": (-45.0, 395.0),
    "both": (-45.0, 600.0),
    "upper abdomen": (165.0, 395.0),
}
"""Reference z from which to which a scan goes."""


@dataclasses.dataclass(frozen=True)
class SiteHabits:
    """Weights of what a hospital does. slices_mm: slice thickness; in_plane_mm: from, to.

    no_lesion: share of scans without one; mean_lesions: of the others. larger: its patients' fat over the
    mean. anatomy: weights of procedural bodies and of label maps by name. Of procedural
    bodies alone: arms_up: share of the patients; breasts: size, from, to; oral: weights of what patients
    drank; worn: largest wear of the spine, 0 to 1; absent: share of the patients without each organ;
    devices: share of the scans with each of those in devices.py.
    """

    name: str
    slices_mm: dict[float, float]
    in_plane_mm: tuple[float, float]
    phases: dict[str, float]
    coverages: dict[str, float]
    kernel_mm: tuple[float, float]
    sharpen: tuple[float, float]
    noise_hu: tuple[float, float]
    no_lesion: float
    mean_lesions: float
    larger: float
    anatomy: dict[str, float]
    round_field: float
    arms_up: float = 0.85
    breasts: tuple[float, float] = (0.7, 1.25)
    oral: dict[str, float] = field(default_factory=lambda: {"none": 0.5, "water": 0.2, "positive": 0.3})
    worn: float = 0.0
    absent: dict[str, float] = field(default_factory=dict)
    devices: dict[str, float] = field(default_factory=dict)


SITES = {
    "A": SiteHabits(
        name="A", slices_mm={0.75: 1, 1.0: 3, 1.5: 1, 2.0: 2, 2.5: 1, 3.0: 2, 5.0: 5},
        in_plane_mm=(0.62, 0.95),
        phases={"none": 2, "arterial": 1.5, "portal": 5.5, "excretory": 1},
        coverages={"chest": 3, "abdomen": 4, "both": 2.5, "upper abdomen": 0.5},
        kernel_mm=(0.45, 0.85), sharpen=(0.0, 0.7), noise_hu=(6, 17), no_lesion=0.33, mean_lesions=4.5,
        larger=1.0, anatomy={"procedural": 0.75, "spl_abdomen": 0.25}, round_field=0.3,
    ),
    "B": SiteHabits(
        name="B", slices_mm={1.25: 3, 2.5: 2, 3.75: 2, 4.0: 2, 5.0: 1}, in_plane_mm=(0.7, 1.05),
        phases={"none": 3.5, "arterial": 2, "portal": 2.5, "excretory": 2},
        coverages={"chest": 4, "abdomen": 2.5, "both": 3.5},
        kernel_mm=(0.35, 0.65), sharpen=(0.3, 1.2), noise_hu=(9, 23), no_lesion=0.5, mean_lesions=3.0,
        larger=1.25, anatomy={"procedural": 0.5, "icrp110_AF": 0.25, "icrp110_AM": 0.25}, round_field=0.8,
    ),
    "C": SiteHabits(
        name="C", slices_mm={1.0: 1, 1.5: 2, 2.0: 3, 3.0: 4, 5.0: 1}, in_plane_mm=(0.68, 1.0),
        phases={"none": 3, "arterial": 2.5, "portal": 3, "excretory": 1.5},
        coverages={"chest": 2.5, "abdomen": 2.5, "both": 4, "upper abdomen": 1},
        kernel_mm=(0.6, 1.1), sharpen=(0.0, 0.3), noise_hu=(10, 26), no_lesion=0.5, mean_lesions=4.0,
        larger=1.15, anatomy={"procedural": 1}, round_field=0.5, arms_up=0.45, breasts=(0.6, 1.6),
        oral={"none": 0.25, "water": 0.1, "positive": 0.65}, worn=1.0,
        absent={
            "gall bladder": 0.22, "spleen": 0.05, "kidney left": 0.05, "kidney right": 0.05, "uterus": 0.25,
            "prostate": 0.1, "breast left": 0.06, "breast right": 0.06,
        },
        devices={
            "port": 0.15, "central line": 0.12, "pacemaker": 0.07, "electrodes": 0.2, "sternal wires": 0.1,
            "breast implants": 0.06, "nasogastric tube": 0.12, "biliary stent": 0.08, "abdominal drain": 0.12,
            "ureteric stent": 0.08, "caval filter": 0.03, "bladder catheter": 0.12, "clips": 0.15,
            "spinal screws": 0.08, "hip prosthesis": 0.12,
        },
    ),
}  # fmt: skip


def draw_scanner(habits: SiteHabits, draw: Draw, spacing_mm: tuple[float, float, float] | None) -> Scanner:
    """A scanner's settings; the spacing (x, y, z) is drawn where it is not given.

    Thin slices are noisier, though less than by their photons, for tubes give them more; wide pixels average.
    Set by the noise of DeepLesion's key slices; resources.synthetic.realism compares.
    """
    if spacing_mm is None:
        plane = draw.uniform(*habits.in_plane_mm)
        thick = float(draw.weighted({str(mm): weight for mm, weight in habits.slices_mm.items()}))
        spacing_mm = (plane, plane, thick)
    thin = (3.0 / max(0.75, spacing_mm[2])) ** 0.27
    wide = (0.8 / max(0.8, spacing_mm[0])) ** 0.5
    sharp = draw.uniform(0, 1)
    low, high = habits.noise_hu
    return Scanner(
        spacing_mm=spacing_mm,
        kernel_mm=habits.kernel_mm[1] + (habits.kernel_mm[0] - habits.kernel_mm[1]) * sharp,
        sharpen=habits.sharpen[0] + (habits.sharpen[1] - habits.sharpen[0]) * sharp * draw.uniform(0.4, 1),
        noise_hu=math.exp(draw.uniform(math.log(low), math.log(high))) * thin * wide * (0.85 + 0.4 * sharp),
        grain=sharp,
        motion_mm=draw.uniform(1.5, 5) if draw.chance(0.15) else 0.0,
        metal=draw.chance(0.06),
        field_mm=None if not draw.chance(habits.round_field) else 0.0,
    )


def draw_count(habits: SiteHabits, draw: Draw) -> int:
    """How many lesions: none in a set share, else at least one, falling geometrically; at most 25."""
    if draw.chance(habits.no_lesion):
        return 0
    return min(25, 1 + int(-(habits.mean_lesions - 1) * math.log(draw.uniform(1e-4, 1))))
