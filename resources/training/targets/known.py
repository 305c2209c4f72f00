"""What is known of a whole scan on the network's cells, worked out once and kept on disk beside the cache."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.files import whole
from model.network import OUTPUT_STRIDE
from resources.cases import geometry
from resources.cases.cache import ORGANS, CachedScan
from resources.cases.case import Case
from resources.cases.organs import head_table
from resources.training.data import batch
from resources.training.reports import clearing
from resources.training.targets import states
from resources.training.targets.draw import Known, Lesions, lesions_of
from resources.training.targets.states import States, locate, states_of

FOLDER = ".states"
OUTSIDE = 0
"""Code of a cell outside the scan: never learnt."""


@dataclasses.dataclass(frozen=True)
class KnownScan:
    """code: uint8 (z, y, x) of each cell, see `pack`. classes: int8, the same shape, class of the organ head,
    -1 where the map has none. lesions: in voxels of the scan.
    """

    code: torch.Tensor
    classes: torch.Tensor
    lesions: Lesions


def pack(cell_states: States) -> npt.NDArray[np.uint8]:
    """State, whether the weight is 0, and who says so in one number; OUTSIDE is: ignored, weight 0."""
    code = 1 + (cell_states.state + 1) + 3 * cell_states.said_by.astype(np.int16)
    ignored = (cell_states.state == states.IGNORED) & (cell_states.weight == 0)
    return np.where(ignored, OUTSIDE, code).astype(np.uint8)


def unpack(code: torch.Tensor) -> Known:
    """State, weight and said_by of packed cells; inverse of `pack`."""
    value = code.to(torch.int16) - 1
    said_by = torch.where(value < 0, batch.UNMARKED, value.div(3, rounding_mode="floor"))
    state = torch.where(value < 0, states.IGNORED, value % 3 - 1)
    weight = torch.where(said_by == batch.REPORT_NEGATIVE, states.REPORT_WEIGHT, 1.0)
    return state.to(torch.int8), torch.where(value < 0, 0.0, weight), said_by.to(torch.int8)


@functools.cache
def _version() -> str:
    """Of the code that decides what is known."""
    sources = [inspect.getsource(module) for module in (batch, clearing, geometry, states)]
    return hashlib.sha256("".join(sources).encode()).hexdigest()


def known_of(case: Case, scan: CachedScan, folder: Path, types: tuple[str, ...]) -> KnownScan:
    """What is known of a scan: read from FOLDER/.states/ID.b2nd, which is made where it is missing or old.

    Where nothing can be written it is worked out each time.
    """
    path = folder / FOLDER / f"{case.id}.b2nd"
    digest = hashlib.sha256(f"{_version()} {scan.digest}".encode()).hexdigest()
    stored = _read(path, digest)
    if stored is None:
        organs = np.asarray(scan.array[ORGANS])[::OUTPUT_STRIDE, ::OUTPUT_STRIDE, ::OUTPUT_STRIDE]
        stored = np.stack([pack(states_of(case, scan)).astype(np.int16), organs])
        with contextlib.suppress(OSError):
            _write(path, stored, digest)
    lesions = lesions_of(locate(case, scan), scan, types)
    labels = torch.from_numpy(stored[1].astype(np.int64))
    table = head_table(case.completeness.organ_values, max(0, int(labels.max())))
    classes = torch.tensor(table, dtype=torch.int8)[labels]
    return KnownScan(torch.from_numpy(stored[0].astype(np.uint8)), classes, lesions)


def _read(path: Path, digest: str) -> npt.NDArray[np.int16] | None:
    import blosc2

    if not path.exists():
        return None
    try:
        array = blosc2.open(str(path), mode="r")
        return np.asarray(array[:]) if array.schunk.vlmeta["digest"] == digest else None
    except (RuntimeError, OSError, KeyError, ValueError):
        return None


def _write(path: Path, array: npt.NDArray[np.int16], digest: str) -> None:
    import blosc2

    settings = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=5, nthreads=1)
    with whole(path) as part:
        stored = blosc2.asarray(array, urlpath=str(part), mode="w", cparams=settings)
        stored.schunk.vlmeta["digest"] = digest
        del stored
