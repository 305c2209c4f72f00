"""A batch of 5 x 5 x 5 cells in which nobody says anything, to be filled by hand."""

from __future__ import annotations

import dataclasses

import torch

from resources.training.data.batch import SPEAKERS, UNMARKED, Batch

CELLS = (5, 5, 5)


def silent(patches: int = 1, types: int = 2, cells: tuple[int, int, int] = CELLS, **changes: object) -> Batch:
    """All weights are 0, all heat is 0, and the speaker of every cell is nobody."""
    shape = (patches, *cells)
    batch = Batch(
        hu=torch.zeros(patches, 1, *(2 * n for n in cells)),
        heat=torch.zeros(patches, types, *cells),
        weight=torch.zeros(patches, types, *cells),
        said_by=torch.full((patches, types, *cells), UNMARKED, dtype=torch.int8),
        any_heat=torch.zeros(shape),
        any_weight=torch.zeros(shape),
        any_said_by=torch.full(shape, UNMARKED, dtype=torch.int8),
        geometry=torch.zeros(patches, 6, *cells),
        geometry_weight=torch.zeros(patches, 6, *cells),
        geometry_said_by=torch.full(shape, UNMARKED, dtype=torch.int8),
        organs=torch.full(shape, -1, dtype=torch.int8),
        trust=torch.ones(patches, len(SPEAKERS) + 1),
        names=tuple(f"case {i}" for i in range(patches)),
    )
    return dataclasses.replace(batch, **changes)  # type: ignore[arg-type]
