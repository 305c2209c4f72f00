"""Whole validation scans through the code of inference, and how much of their lesions is found.

What the network says of a scan is written to a file of its own, so several processes share the scans, and a
validation that was killed goes on.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import torch

from model.detector import DEFAULT_MEMORY_GB, candidates_of, maps_of
from model.files import whole
from model.network import CenterNet3D
from model.preprocess import Grid
from resources.cases.cache import HU, open_scan
from resources.cases.case import Case, read_cases
from resources.cases.strict import CaseError
from resources.evaluation.evaluation import Settings, prepare
from resources.evaluation.matching import PRIMARY
from resources.evaluation.measures import lesion_measures
from resources.evaluation.outcomes import Table, Truth, outcomes_of, table_of
from resources.evaluation.predictions import Prediction
from resources.training.config import TrainingConfig, Validation
from resources.training.progress import tracked


@dataclasses.dataclass(frozen=True)
class Held:
    """The validation scans. truths: lesions in place. folder: of their cache."""

    truths: list[Truth]
    folder: Path


def open_held(config: TrainingConfig, trained: list[Case]) -> Held | None:
    """None if the run has no validation. Raises CaseError, EvaluationError.

    trained: cases that are trained on, whose patients must not be here.
    """
    settings: Validation | None = config.validation
    if settings is None:
        return None
    cases = [case for case in read_cases(Path(settings.cases)) if case.split in ("validation", None)]
    if not cases:
        raise CaseError(f"{settings.cases}: expected cases of the split validation, found none")
    both = sorted({case.patient for case in cases} & {case.patient for case in trained})
    if both:
        raise CaseError(f"{settings.cases}: expected patients that are not trained on, found {both[0]}")
    held = Held(prepare(cases, Settings(), lambda _: None), Path(settings.cache))
    marks = [mark.annotation for truth in held.truths for mark in truth.lesions]
    lesions = sum(mark.status == "lesion" for mark in marks)
    judged = sum(truth.judged for truth in held.truths)
    if not lesions or not judged:
        raise CaseError(
            f"{settings.cases}: expected lesions and exhaustively annotated scans, found {lesions} "
            f"and {judged}"
        )
    for case in cases:
        scan, detector = open_scan(held.folder / f"{case.id}.b2nd"), config.network.detector
        if scan.spacing_mm != detector.spacing_mm or any(n % detector.stride for n in scan.shape):
            raise CaseError(
                f"{held.folder}: {case.id}: expected voxels of {detector.spacing_mm:g} mm in multiples of "
                f"{detector.stride}, found {scan.spacing_mm:g} mm and {scan.shape}"
            )
    return held


def predict_scans(network: CenterNet3D, held: Held, out: Path, rank: int, ranks: int) -> None:
    """Writes OUT/ID.npz of every `ranks`-th scan that is not there yet: the candidates' points_mm (n, 3) LPS
    and probability (n,), which is not calibrated.

    network: averaged, eval, unfused. Raises CaseError and NotFiniteError.
    """
    device = network.out.weight.device
    half = torch.float16 if device.type == "cuda" else torch.float32
    fused = copy.deepcopy(network).fuse().to(device, half)
    memory_bytes = int(DEFAULT_MEMORY_GB[device.type] * 1e9)
    paths = {truth.case.id: out / f"{truth.case.id}.npz" for truth in held.truths[rank::ranks]}
    missing = [name for name, path in paths.items() if not path.exists()]
    for name in tracked(missing, "Validation", quiet=rank > 0):
        cached = held.folder / f"{name}.b2nd"
        scan = open_scan(cached)
        grid = Grid(torch.from_numpy(np.asarray(scan.array[HU])), scan.lower, scan.spacing_mm)
        with torch.inference_mode():
            maps, _ = maps_of(fused, grid, memory_bytes, str(cached))
            candidates = candidates_of(maps, grid, scan.place)
        points_mm = grid.to_world(candidates.voxel)
        with whole(paths[name]) as part, part.open("wb") as file:
            np.savez_compressed(file, points_mm=points_mm, probability=candidates.probability)


def read_candidates(held: Held, out: Path) -> list[Prediction]:
    """What `predict_scans` wrote, in the order of the scans. Raises CaseError."""
    predictions = []
    for truth in held.truths:
        path = out / f"{truth.case.id}.npz"
        try:
            with np.load(path, allow_pickle=False) as data:
                points, probability = data["points_mm"], data["probability"]
        except (OSError, ValueError, KeyError) as error:
            raise CaseError(f"{path}: expected candidates of a validation, found: {error}") from None
        top = float(probability.max(initial=0.0))
        predictions.append(Prediction(points, probability, ("",) * len(points), None, None, top))
    return predictions


def match_all(held: Held, predictions: list[Prediction]) -> Table:
    """Which lesions are found and which candidates are false, by the primary rule of the evaluation."""
    pairs = zip(held.truths, predictions, strict=True)
    outcomes = [outcomes_of(truth, scan, [PRIMARY])[PRIMARY.name] for truth, scan in pairs]
    return table_of(PRIMARY, held.truths, predictions, outcomes)


def score(held: Held, out: Path) -> dict[str, float]:
    """CPM, and sensitivity at the rates of false positives that it is the mean of."""
    table = match_all(held, read_candidates(held, out))
    measured = lesion_measures(table, None)(np.ones((1, table.cases), np.int64))
    return {name: float(v[0]) for name, v in measured.items() if name == "cpm" or "sensitivity_at" in name}
