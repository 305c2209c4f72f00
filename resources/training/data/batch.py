"""What the network is trained on: patches, and what is known of every cell of them and who says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

FULL, WEAK, UNMARKED, TEACHER, REPORT_POSITIVE, REPORT_NEGATIVE = range(6)
"""Who says what is wanted in a cell: complete annotation or a mask; a RECIST mark, box or point; nobody; the
teacher; a finding that was assigned to a proposal; a report that clears the place."""
SPEAKERS = ("full", "weak", "unmarked", "teacher", "report_positive", "report_negative")
"""Their names in the configuration, in the order of their numbers."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """b patches of (z, y, x) voxels, (Z, Y, X) output cells each, t lesion types.

    hu: (b, 1, z, y, x) float32. heat: (b, t, Z, Y, X) 0..1, exactly 1 in the cells of lesions; weight: the
    same shape, 0 where nothing is known; said_by: int8, the same shape, FULL to REPORT_NEGATIVE. any_heat,
    any_weight, any_said_by: (b, Z, Y, X), the same for the maximum over the type maps, in which lesions of
    unknown type are, and which counts only where `any_weight` > 0. geometry: (b, 6, Z, Y, X) offset (z, y, x)
    in cells and log(size / size_scale_mm) of long, short, z; geometry_weight: the same shape, 0 where not
    measured; geometry_said_by: (b, Z, Y, X). organs: int8 (b, Z, Y, X) class of the organ head, -1 where the
    map has none. trust: (b, speakers + 1) weight in the loss that each patch's source gives SPEAKERS and
    organs. names: id of the case of each patch.
    """

    hu: torch.Tensor
    heat: torch.Tensor
    weight: torch.Tensor
    said_by: torch.Tensor
    any_heat: torch.Tensor
    any_weight: torch.Tensor
    any_said_by: torch.Tensor
    geometry: torch.Tensor
    geometry_weight: torch.Tensor
    geometry_said_by: torch.Tensor
    organs: torch.Tensor
    trust: torch.Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in dataclasses.fields(self)
            if field.name != "names"
        }
        return dataclasses.replace(self, **moved)


def collate(patches: Sequence[Batch]) -> Batch:
    """One batch of several, in their order. Raises ValueError of none."""
    if not patches:
        raise ValueError("collate: expected at least one patch, found none")
    joined = {
        field.name: torch.cat([getattr(patch, field.name) for patch in patches])
        for field in dataclasses.fields(Batch)
        if field.name != "names"
    }
    return Batch(**joined, names=tuple(name for patch in patches for name in patch.names))
