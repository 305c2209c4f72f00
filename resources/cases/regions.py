"""Where a scan is exhaustively annotated, so that what is not annotated there is no lesion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resources.cases.case import Completeness


def complete_at(
    completeness: Completeness, index_xyz: npt.ArrayLike, organs: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.bool_]:
    """(..., 3) index positions (x, y, z), voxel centres at whole numbers -> (...) whether all is annotated.

    organs: (..., k) organ labels of the k voxels that each position stands for; all of them have to be of a
    complete organ. Only needed for kind "organs". A slice reaches half a voxel up and down; the edges of a
    region belong to it.
    """
    index = np.asarray(index_xyz, np.float64)
    if completeness.kind in ("all", "none"):
        return np.full(index.shape[:-1], completeness.kind == "all")
    if completeness.slices is not None:
        level = np.floor(index[..., 2] + 0.5)
        return np.asarray((level >= completeness.slices[0]) & (level <= completeness.slices[1]))
    if completeness.region is not None:
        lower, upper = np.array(completeness.region)
        return np.asarray(((index >= lower) & (index <= upper)).all(-1))
    if organs is None:
        raise ValueError("organs: expected the organ labels of each position, found none")
    values = [value for organ in completeness.organs for value in completeness.organ_values[organ]]
    return np.asarray(np.isin(organs, values).all(-1))
