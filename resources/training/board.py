"""Curves and pictures of a run for TensorBoard: tensorboard --logdir WORK/board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.heads import split
from model.network import OUTPUT_STRIDE
from resources.review.planes import WINDOWS
from resources.training.data.batch import Batch

WANTED, SEEN, UNKNOWN = (1.0, 0.2, 0.1), (0.1, 0.9, 0.3), (0.2, 0.4, 1.0)
UNKNOWN_SHARE = 0.25

Floats = npt.NDArray[np.float32]


class Board:
    """Writes in one process; in others, without a folder, it does nothing.

    first_step: the run goes on here; what was written of this step and later ones is void.
    """

    def __init__(self, folder: Path | None, first_step: int):
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def scalars(self, values: dict[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, batch: Batch, output: torch.Tensor, step: int) -> None:
        """The first patch, with what was wanted and what the network said."""
        if self._writer is not None:
            self._writer.add_image("patch", draw_patch(batch, output), step, dataformats="HWC")

    def flush(self) -> None:
        """To the disk, as a checkpoint is: a run that goes on from there misses nothing."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def draw_patch(batch: Batch, output: torch.Tensor) -> Floats:
    """(y, 3 x, 3) RGB, 0 to 1: an axial slice of the batch's first patch; the same with the target in red and
    what nobody knows in blue; the same with the prediction in green.

    output: (b, channels, Z, Y, X) heads. The slice is that of the most positive cells, else the middle.
    """
    wanted = torch.maximum(batch.heat[0].amax(0), batch.any_heat[0] * (batch.any_weight[0] > 0))
    known = (batch.weight[0].amax(0) > 0) | (batch.any_weight[0] > 0)
    seen = torch.sigmoid(split(output[0]).heat.detach().float()).amax(0)
    share = wanted.flatten(1).sum(1)
    level = int(share.argmax()) if float(share.max()) > 0 else len(share) // 2
    low, high = WINDOWS["soft tissue"]
    hu = batch.hu[0, 0, level * OUTPUT_STRIDE].detach().float().cpu().numpy()
    gray = np.repeat(np.clip((hu - low) / (high - low), 0, 1)[..., None], 3, axis=2)
    target = _tinted(_tinted(gray, ~known[level] * UNKNOWN_SHARE, UNKNOWN), wanted[level], WANTED)
    return np.concatenate([gray, target, _tinted(gray, seen[level], SEEN)], axis=1).astype(np.float32)


def _tinted(picture: npt.NDArray, share: torch.Tensor, color: tuple[float, float, float]) -> npt.NDArray:
    """share: (Y, X) of the cells, how much of the colour covers the picture."""
    voxels = share.float().cpu().numpy().repeat(OUTPUT_STRIDE, 0).repeat(OUTPUT_STRIDE, 1)[..., None]
    return np.asarray(picture * (1 - 0.7 * voxels) + 0.7 * voxels * np.array(color, np.float32))
