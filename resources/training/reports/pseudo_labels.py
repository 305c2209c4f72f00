"""Pseudo-labels of a scan, beyond its annotations: what the teacher proposes and what the report adds.

Those of all scans are renewed in rounds. A round's folder, WORK/pseudo_labels/ROUND, holds ID.json and ID.npz
a case; it is written aside and renamed, so a folder with its name is complete.
"""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.files import write_whole
from resources.cases.case import Point
from resources.cases.strict import CaseError, decode_object, encode

Sizes = tuple[float | None, float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A place at which the teacher sees a lesion, in the mean over its views.

    center_mm: LPS (x, y, z). size_mm: axial long and short diameter and z extent. types: probability of each
    type map, in the detector's order; `probability` is the highest. rounds: in how many rounds running,
    this one included, it has been seen.
    """

    center_mm: Point
    size_mm: tuple[float, float, float]
    types: tuple[float, ...]
    rounds: int = 1

    @property
    def probability(self) -> float:
        return max(self.types)


@dataclasses.dataclass(frozen=True)
class PseudoLesion:
    """A lesion that nobody drew. type: None if unknown; size_mm: long, short, z, None where unknown.

    verdict: "positive" counts in the loss with `weight`; "doubtful" is ignored. source: who is sure: the
    teacher alone, or the report, of which finding `finding` of the case was assigned to it.
    """

    center_mm: Point
    size_mm: Sizes
    type: str | None
    verdict: Literal["positive", "doubtful"]
    weight: float
    source: Literal["teacher", "report"]
    probability: float
    rounds: int
    finding: int | None = None


@dataclasses.dataclass(frozen=True)
class PseudoLabels:
    """All pseudo-labels of one scan. empty: (z, y, x) bool on the output grid of the cached scan (half its
    voxels on every axis), True where the teacher is sure that there is no lesion.
    """

    proposals: tuple[Proposal, ...]
    lesions: tuple[PseudoLesion, ...]
    empty: npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class _Stored:
    proposals: tuple[Proposal, ...] = ()
    lesions: tuple[PseudoLesion, ...] = ()


def write_pseudo_labels(folder: Path, case_id: str, pseudo_labels: PseudoLabels) -> None:
    """Writes FOLDER/ID.json and FOLDER/ID.npz, each aside and then renamed."""
    stored = _Stored(pseudo_labels.proposals, pseudo_labels.lesions)
    packed = io.BytesIO()
    np.savez_compressed(packed, empty=pseudo_labels.empty)
    for suffix, content in (
        (".npz", packed.getvalue()),
        (".json", json.dumps(encode(stored), allow_nan=False).encode()),
    ):
        write_whole(folder / f"{case_id}{suffix}", content)


def read_pseudo_labels(folder: Path, case_id: str) -> PseudoLabels:
    """Inverse of `write_pseudo_labels`. Raises CaseError."""
    stored = _read_stored(folder, case_id)
    try:
        with np.load(folder / f"{case_id}.npz", allow_pickle=False) as data:
            empty = np.asarray(data["empty"], bool)
    except (OSError, ValueError, KeyError) as error:
        raise CaseError(f"{folder / case_id}: expected pseudo-labels of a round, found: {error}") from None
    return PseudoLabels(stored.proposals, stored.lesions, empty)


def read_lesions(folder: Path, case_id: str) -> tuple[PseudoLesion, ...]:
    """The lesions alone, which is quicker. Raises CaseError."""
    return _read_stored(folder, case_id).lesions


def _read_stored(folder: Path, case_id: str) -> _Stored:
    try:
        text = (folder / f"{case_id}.json").read_text(encoding="utf-8")
        return decode_object(_Stored, json.loads(text))
    except (OSError, ValueError) as error:
        raise CaseError(f"{folder / case_id}: expected pseudo-labels of a round, found: {error}") from None
