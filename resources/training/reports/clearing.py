"""What a report clears: the cells of organs that it calls free of lesions, and whole type maps.

Only current findings speak; what is resolved or was seen before says nothing of this scan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.config import LESION_TYPES
from resources.cases.case import Case, Finding
from resources.cases.lesions import LONG_MM, Z_RATIO
from resources.cases.organs import (
    BACKGROUND,
    Values,
    canonical,
    exact_values,
    place_values,
    region,
    type_of,
)

REACH_PER_SIZE = Z_RATIO[0.975] / 2
"""How far from its centre a lesion reaches, as a share of its largest reported diameter."""
DEFAULT_REACH_MM = REACH_PER_SIZE * LONG_MM[2] / 2
WHOLE = ("liver", "kidney", "lung", "bone")
"""Types whose territory is one organ, which has the type's name. Where that organ is clear, no lesion of the
type is anywhere (a report that has a pleural lesion, which counts as lung, tells of it). The territories of
the other types (abdomen, mediastinum, soft tissue, pelvis) are many organs and the spaces between them, of
which no report speaks one by one."""
Mask = npt.NDArray[np.bool_]


def current_findings(case: Case) -> tuple[list[Finding], list[Finding]]:
    """What the report says there is, or may be, and what it says there is not; neither benign nor of old."""
    current = [f for f in case.findings if f.time == "current" and f.character != "benign"]
    return (
        [f for f in current if f.presence != "absent"],
        [f for f in current if f.presence == "absent"],
    )


def cleared_types(case: Case) -> frozenset[str]:
    """Types of which the whole scan has no lesion by its report; no organ map is needed.

    The report clears the whole scan, or the organ that is all of the type's territory (both sides of it),
    and neither another finding nor a mark can be of that type.
    """
    reported, absent = current_findings(case)
    marked = {a.type for a in case.annotations if a.status == "lesion"}
    return frozenset(
        type
        for type in LESION_TYPES
        if type not in marked
        if not any(_may_be(finding, type) for finding in reported)
        if _denied(type, absent)
    )


def _may_be(finding: Finding, type: str) -> bool:
    if finding.type is not None:
        return finding.type == type
    return finding.organ is None or _whole_type(finding.organ) in (None, type)


def _whole_type(organ: str) -> str | None:
    """The type of WHOLE that every lesion of an organ has."""
    lesion_type = type_of(organ)
    return lesion_type if lesion_type in WHOLE else None


def _denied(type: str, absent: list[Finding]) -> bool:
    relevant = [f for f in absent if f.type in (None, type)]
    return any(f.organ is None for f in relevant) or (type in WHOLE and _denied_organ(type, relevant))


def _denied_organ(name: str, absent: list[Finding]) -> bool:
    """Whether findings deny lesions in all of an organ, by its name or that of what it lies in."""
    sides = {f.side for f in absent if f.organ is not None and name in region(f.organ)}
    return bool(sides & {None, "both"}) or {"left", "right"} <= sides


def cleared_by_report(
    case: Case, organs: npt.NDArray[np.int16], cells: list[tuple[int, int, int]], cell_mm: float
) -> Mask:
    """Cells that the findings call free of lesions, marked ones aside.

    organs: (z, y, x, n) labels of the voxels in each cell; cells: where marked lesions have their centres. An
    organ is clear if the report says so, or if it reports no more lesions there than are marked. "No
    lesions" of no organ clears only what no other finding can speak of. Lesions that are reported and not
    marked may reach out of their organ, so what is near that organ is not clear.
    """
    values = _by_side(case.completeness.organ_values)
    reported, absent = current_findings(case)
    absent = [f for f in absent if f.organ is not None or f.type is None]
    everywhere = any(f.organ is None for f in absent)
    if any(f.organ is None for f in reported):
        return np.zeros(organs.shape[:3], bool)
    places = [set(place_values(values, f.organ or "", f.side, f.type)) for f in reported]
    denied = {v for f in absent if f.organ is not None for v in _denied_values(values, f)}
    clear: list[int] = []
    zones: list[tuple[Mask, float]] = []
    elsewhere = [f for f, place in zip(reported, places, strict=True) if not place]
    for name, own_values in values.items():
        mentioned = [f for f, place in zip(reported, places, strict=True) if place & set(own_values)]
        marked = sum(bool(np.isin(organs[cell], own_values).any()) for cell in cells)
        open_ones = [] if _accounted(mentioned, marked) else mentioned
        open_ones += [f for f in elsewhere if f.type in WHOLE and f.type == type_of(name)]
        if open_ones:
            reach_mm = max(map(finding_reach_mm, open_ones))
            zones.append((np.asarray(np.isin(organs, own_values).any(-1)), reach_mm))
            continue
        rest = everywhere and not any(_may_lie_in(f, name) for f in elsewhere)
        if mentioned or rest or denied.issuperset(own_values):
            clear += own_values
    mapped = np.isin(organs, [value for own_values in values.values() for value in own_values])
    free = np.asarray(np.isin(organs, clear).all(-1))
    if elsewhere:
        zones.append((np.asarray(~mapped.all(-1)), max(map(finding_reach_mm, elsewhere))))
    elif everywhere:
        free |= (np.isin(organs, clear) | ~mapped).all(-1)
    for zone, reach_mm in zones:
        free &= ~_within(zone, reach_mm, cell_mm)
    return free


def _within(zone: Mask, reach_mm: float, cell_mm: float) -> Mask:
    """Cells nearer to a zone than the reach and a cell's diagonal."""
    from scipy import ndimage

    if not zone.any():
        return zone
    nearer: Mask = ndimage.distance_transform_edt(~zone) * cell_mm <= reach_mm + 2 * cell_mm
    return nearer


def _accounted(reported: list[Finding], marked: int) -> bool:
    """Whether as many lesions are marked as are reported."""
    counts = [f.count for f in reported if isinstance(f.count, int)]
    return len(counts) == len(reported) and marked >= sum(counts)


def finding_reach_mm(finding: Finding) -> float:
    """How far from its centre the largest lesion of a finding may reach."""
    return REACH_PER_SIZE * max(finding.sizes_mm) if finding.sizes_mm else DEFAULT_REACH_MM


def _by_side(values: Values) -> dict[str, tuple[int, ...]]:
    """The map's classes, without those that it has for each side too, and without the air around the body."""
    sided = {canonical(name)[0] for name in values if canonical(name)[1] is not None}
    return {n: own for n, own in values.items() if n not in sided and canonical(n)[0] != BACKGROUND}


def _denied_values(values: Values, finding: Finding) -> tuple[int, ...]:
    """The map's values of the organ that "no lesion" speaks of: of all vertebrae if it says spine.

    What is said of lymph nodes says nothing of the organs around them.
    """
    assert finding.organ is not None
    return exact_values(values, finding.organ, finding.side)


def _may_lie_in(finding: Finding, name: str) -> bool:
    """Whether a lesion reported of no organ of the map can be in the organ `name`: "abdomen", the spleen."""
    if finding.type is None:
        return True
    return finding.type not in WHOLE and _whole_type(name) is None
