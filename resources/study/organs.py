"""How well the organ head knows where organs are: Dice of each class, and the organ named for true
detections.

    python -m resources.study.organs --cases CASES.jsonl --weights DIR [--abdomen ../shared/data/ct/abdomen]

Cases need organ maps. Dice (2 |A and B| / (|A| + |B|)) is over the voxels of the network's grid of all scans
together, with 95 % intervals by bootstrap over scans; voxels whose label has no class are left out. The organ
of a detection is right if it is one of those in which the lesion's organ, or its lymph node station, is to be
looked for. --abdomen: the unenhanced real trunk with TotalSegmentator's labels on 30 of its slices.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.config import WeightsError
from model.detector import Detector
from model.volume import InputError, Volume, read_volume
from resources.cases.case import Annotation, Case, CaseError, read_cases
from resources.cases.images import (
    Labels,
    check_same_grid,
    read_case_volume,
    read_labels,
    resample_labels,
)
from resources.cases.organs import Values, head_classes, head_table, place_values, totalsegmentator_values
from resources.cli import end_with
from resources.predict import WEIGHTS
from resources.study.steps import shown, store

ABDOMEN_SLICES = slice(82, 112)
"""Of example_ct.nii.gz: those that example_seg.nii.gz labels."""
BOOTSTRAPS, SEED = 1000, 0

Counts = npt.NDArray[np.int64]


def overlap(predicted: npt.NDArray[np.integer], wanted: npt.NDArray[np.integer], classes: int) -> Counts:
    """(classes, 3): voxels of each class in both maps, in the predicted and in the wanted one.

    wanted: -1 where unknown; these voxels count nowhere.
    """
    known = wanted >= 0
    predicted, wanted = predicted[known], wanted[known]
    both, a, b = (
        np.bincount(part, minlength=classes) for part in (wanted[predicted == wanted], predicted, wanted)
    )
    return np.stack([both, a, b], 1).astype(np.int64)


def dice(counts: Counts) -> dict[str, float | None]:
    """Of one class over n scans, counts (n, 3), with its interval; None where no map shows it."""

    def value(part: Counts) -> float:
        both, a, b = part.sum(-2).T
        return np.asarray(2 * both / np.maximum(1, a + b))  # type: ignore[return-value]

    if not counts[:, 2].any():
        return {"value": None, "lower": None, "upper": None}
    draws = np.random.default_rng(SEED).integers(0, len(counts), (BOOTSTRAPS, len(counts)))
    low, high = np.quantile(value(counts[draws]), (0.025, 0.975)).tolist()
    return {"value": float(value(counts)), "lower": low, "upper": high}


def compare(detector: Detector, volume: Volume, labels: Labels, values: Values) -> Counts:
    """The overlap of predicted and labelled classes on the network's grid."""
    grid, predicted = detector.organs(volume)
    truth = resample_labels(labels, grid.geometry).astype(np.int64)
    table = np.array(head_table(values, int(truth.max(initial=0))))
    return overlap(predicted.numpy().astype(np.int64), table[truth], len(head_classes()))


def abdomen(folder: Path) -> tuple[Volume, Labels]:
    """The real trunk, and its labels on its grid; label 0, which is also what nobody labelled, is unknown."""
    volume = read_volume(folder / "example_ct.nii.gz")
    part = read_labels(folder / "example_seg.nii.gz").values
    labels = np.zeros(volume.hu.shape, part.dtype)
    labels[ABDOMEN_SLICES] = part
    return volume, Labels(labels, volume.geometry)


def detections_right(detector: Detector, case: Case, volume: Volume) -> list[bool]:
    """Whether the organ is right of the surest detection within half the long diameter of each lesion's
    centre.

    Only lesions with a mask whose organ the case tells, and detections from the operating point up.
    """
    classes = {name: (number,) for number, name in enumerate(head_classes())}
    called = [x for x in detector.predict(volume).lesions if x.probability >= detector.operating_point]
    points = np.array([lesion.point_mm for lesion in called]).reshape(-1, 3)
    right = []
    for annotation, center_mm in lesions_in(case, volume):
        near = np.linalg.norm(points - center_mm, axis=1) < (annotation.long_mm or 0.0) / 2
        if near.any():
            organ = str(annotation.attributes["organ"])
            named = classes[called[int(near.argmax())].organ or ""]
            right.append(set(named) <= set(place_values(classes, organ, None, annotation.type)))
    return right


def lesions_in(case: Case, volume: Volume) -> list[tuple[Annotation, npt.NDArray[np.float64]]]:
    """Lesions with a mask and the name of their organ, and their centres in LPS mm (x, y, z)."""
    rows = []
    for path in sorted({a.mask for a in case.annotations if a.mask is not None}):
        labels = read_labels(Path(path))
        check_same_grid(Path(path), labels, volume.geometry)
        for a in case.annotations:
            if a.mask == path and a.status == "lesion" and isinstance(a.attributes.get("organ"), str):
                middle = np.argwhere(labels.values == a.label).mean(0)[::-1]
                rows.append((a, volume.index_to_world(middle)[0]))
    return rows


def measure(detector: Detector, cases: list[Case]) -> tuple[Counts, list[list[bool]]]:
    """Overlap (scans, classes, 3) of all cases with organ maps, and of each whether detections' organs are
    right.
    """
    counts, right = [], []
    for case in track(cases, description="Organs"):
        volume = read_case_volume(case)
        known = case.completeness
        assert known.organ_labels is not None
        labels = read_labels(Path(known.organ_labels))
        check_same_grid(Path(known.organ_labels), labels, volume.geometry)
        counts.append(compare(detector, volume, labels, known.organ_values))
        right.append(detections_right(detector, case, volume))
    return np.stack(counts), right


def text_of(title: str, counts: Counts) -> str:
    """A line for each class that the maps show."""
    lines = [f"{title}: {len(counts)} scans; Dice (95 % by bootstrap over scans)"]
    for number, name in enumerate(head_classes()):
        estimate = dice(counts[:, number])
        if estimate["value"] is not None:
            lines.append(f"  {name:<18}{shown(estimate)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.organs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cases", type=Path, help="a case list with organ maps")
    parser.add_argument("--abdomen", type=Path, help="folder with example_ct.nii.gz and example_seg.nii.gz")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of .safetensors files")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here too")
    options = parser.parse_args(arguments)
    if options.out is not None and None in (options.cases, options.abdomen):
        parser.error("--out: expected --cases and --abdomen with it, for its table has both")
    figures: dict[str, object] = {}
    try:
        detector = Detector.from_weights(options.weights)
        if options.cases is not None:
            cases = [c for c in read_cases(options.cases) if c.completeness.organ_labels is not None]
            if not cases:
                raise CaseError(f"{options.cases}: expected cases with organ maps, found none")
            counts, right = measure(detector, cases)
            print(text_of(str(options.cases), counts))
            flat = [one for scan in right for one in scan]
            print(f"  organ of true detections right: {sum(flat)} of {len(flat)}")
            figures["scans"] = len(counts)
            figures["cases"] = {n: dice(counts[:, i]) for i, n in enumerate(head_classes())}
            figures["detections"] = {"right": sum(flat), "of": len(flat)}
        if options.abdomen is not None:
            volume, labels = abdomen(options.abdomen)
            counts = compare(detector, volume, labels, totalsegmentator_values())[None]
            print(text_of(str(options.abdomen), counts))
            figures["abdomen"] = {n: dice(counts[:, i])["value"] for i, n in enumerate(head_classes())}
        if options.out is not None:
            store(options.out, options.weights, figures)
    except (CaseError, InputError, WeightsError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
