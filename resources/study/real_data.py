"""The real scans of the benchmark as cases: which patients are for training, validation and testing.

The data are a folder with split.tsv (id, patient, split), lidc/{images,labels} (LIDC-IDRI nodules, each
with little around it) and scans/{images,labels}, scans/scans.csv (whole scans, some with a mask or a box). A
patient is for testing where split.tsv says so. Of the rest, validation takes VALIDATION_SCANS and, of the
patients with crops alone, a share of VALIDATION_SHARE by a hash of the name. No other place decides this.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from resources.cases import inhouse
from resources.cases.axes import measure_axes
from resources.cases.case import Annotation, Case, Completeness, ImageSource, write_cases
from resources.cases.images import check_same_grid, read_header, read_labels
from resources.cases.patients import Split, split_of
from resources.cases.strict import CaseError

CROPS, WHOLE = "LIDC-IDRI crops", "whole scans"
"""The source of a case."""
VALIDATION_SCANS = ("lungdx-a0001", "cmb-crc-01068", "cptac-c3l-00189")
"""A chest with an annotated lesion (a box), a chest with contrast, an abdomen with contrast. Training keeps
the chest with a mask, the slabs, the trunk from head to thighs and a liver."""
VALIDATION_SHARE = 0.2
"""Of the patients with crops alone: about 60 of 254."""
FIFTH, MARKED = 0.2, 0.5
"""In the study: share of the patients who have masks, and of the others' lesions that are marked."""
LESION_TYPE = "lung"
"""All masks of these data are of nodules and tumours of the lung."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of split.tsv, with the split that is used here."""

    id: str
    patient: str
    split: Split


def read_split(data: Path) -> list[Row]:
    """Every scan and crop of the data with its patient and split. Raises CaseError."""
    path = data / "split.tsv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"{path}: expected a table of ids, patients and splits, found: {error}") from None
    for number, row in enumerate(lines, 2):
        if set(row) != {"id", "patient", "split"} or row["split"] not in ("train", "test"):
            raise CaseError(f"{path}, line {number}: expected id, patient and train or test, found {row}")
    whole = {row["patient"] for row in lines if not _is_crop(data, row["id"])}
    rows = []
    for row in lines:
        split: Split = "test" if row["split"] == "test" else "train"
        if split == "train" and _for_validation(row["id"], row["patient"], whole):
            split = "validation"
        rows.append(Row(row["id"], row["patient"], split))
    return rows


def _is_crop(data: Path, name: str) -> bool:
    return (data / "lidc" / "images" / f"{name}.mha").exists()


def _for_validation(name: str, patient: str, whole: set[str]) -> bool:
    if patient in whole:
        return name in VALIDATION_SCANS
    return split_of(patient, VALIDATION_SHARE, 0.0) == "validation"


def read_case(data: Path, row: Row) -> Case:
    """One scan or crop; other lesions may be unmarked (completeness "none"). Raises CaseError, InputError.

    Voxels of the scan are not read, so it may be one that the reader refuses. A mask is one lesion, even if
    it is in pieces: label 1 of a crop is what at least two of four readers marked of one nodule.
    """
    crop = _is_crop(data, row.id)
    folder = data / ("lidc" if crop else "scans")
    image, mask = folder / "images" / f"{row.id}.mha", folder / "labels" / f"{row.id}.mha"
    place = read_header(image)
    x, y, z = place.size
    annotations: tuple[Annotation, ...] = ()
    if crop or mask.exists():
        labels = read_labels(mask)
        check_same_grid(mask, labels, place)
        axes = measure_axes(labels.values == 1, place.spacing_mm)
        annotations = (
            Annotation(
                "mask",
                LESION_TYPE,
                mask=str(mask),
                label=1,
                long_mm=axes.long_mm,
                short_mm=axes.short_mm,
                z_extent_mm=axes.z_extent_mm,
            ),
        )
    source = CROPS if crop else WHOLE
    return Case(row.id, row.patient, source, row.split, ImageSource(str(image), size=(x, y, z)), annotations)


def with_boxes(data: Path, cases: Iterable[Case]) -> list[Case]:
    """The cases with the marks of scans.csv added; its column "split" is not used. Raises CaseError."""
    table = data / "scans" / "scans.csv"
    settings = inhouse.Settings(WHOLE, None, data, None, 0.0, 0.0)
    marks = {case.id: case.annotations for case in inhouse.convert(table, settings)}
    return [
        dataclasses.replace(case, annotations=case.annotations + marks.get(case.id, ())) for case in cases
    ]


def false_positives_count(cases: Iterable[Case]) -> list[Case]:
    """The cases with whole scans as if they were exhaustively annotated.

    They are not, so the false positives counted are an upper bound. Crops stay as they are: a detection
    beside their nodule counts neither way.
    """
    return [
        dataclasses.replace(case, completeness=Completeness("all")) if case.source == WHOLE else case
        for case in cases
    ]


def of_fifth(cases: Iterable[Case], inside: bool) -> list[Case]:
    """The cases of a fifth of the patients, by a hash of their names, or those of the others."""
    return [case for case in cases if _drawn(case.patient, FIFTH) == inside]


def with_marks(case: Case) -> Case:
    """RECIST marks in place of masks, as if half of the lesions had been overlooked, by a hash of the name.

    Raises CaseError.
    """
    marks = []
    for number, annotation in enumerate(case.annotations):
        if not _drawn(f"{case.id} {number}", MARKED):
            continue
        assert annotation.mask is not None
        labels = read_labels(Path(annotation.mask))
        axes = measure_axes(labels.values == annotation.label, read_header(Path(case.image.path)).spacing_mm)
        long, short = (
            ((float(a[0]), float(a[1]), float(axes.key.z)), (float(b[0]), float(b[1]), float(axes.key.z)))
            for a, b in (axes.key.long, axes.key.short)
        )
        marks.append(
            Annotation(
                "recist",
                annotation.type,
                long=long,
                short=short,
                long_mm=axes.long_mm,
                short_mm=axes.short_mm,
            )
        )
    return dataclasses.replace(case, annotations=tuple(marks))


def _drawn(name: str, share: float) -> bool:
    return split_of(f"study {name}", share, 0.0) == "validation"


def write_lists(cases: list[Case], out: Path) -> dict[str, int]:
    """Writes case lists into a folder; the number of cases of each.

    SPLIT.jsonl: all cases of a split; SPLIT-crops, SPLIT-marked and SPLIT-unmarked: its crops, its whole
    scans with and without a lesion marked; benchmark-validation and benchmark-test: all, with
    `false_positives_count`, for measuring.
    """
    lists: dict[str, list[Case]] = {}
    for split in ("train", "validation", "test"):
        chosen = [case for case in cases if case.split == split]
        whole = [case for case in chosen if case.source == WHOLE]
        lists[split] = chosen
        lists[f"{split}-crops"] = [case for case in chosen if case.source == CROPS]
        lists[f"{split}-marked"] = [case for case in whole if case.annotations]
        lists[f"{split}-unmarked"] = [case for case in whole if not case.annotations]
        if split != "train":
            lists[f"benchmark-{split}"] = false_positives_count(chosen)
    for name, chosen in lists.items():
        write_cases(out / f"{name}.jsonl", chosen)
    return {name: len(chosen) for name, chosen in lists.items()}
