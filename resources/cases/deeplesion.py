"""DeepLesion (Yan et al. 2018): the official table DL_info.csv and the slices stored around its marks.

Conventions: `Key_slice_index` and `Slice_range` are 1-based PNG numbers; `Measurement_coordinates` are
two end points of the long axis, then two of the short one, in pixels; `Bounding_boxes` their minimum and
maximum padded by 5 pixels; `Lesion_diameters_Pixel_` are in pixels; z of `Spacing_mm_px_` is the slice
interval. A case is one stored stretch of slices; its z 0 is the first of them.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import math
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from model.config import LESION_TYPES
from resources.cases.case import Annotation, Attributes, Case, ImageSource, Point
from resources.cases.images import HEAD_TO_FEET
from resources.cases.strict import CaseError, refuse

COLUMNS = (
    "File_name", "Patient_index", "Study_index", "Series_ID", "Key_slice_index", "Measurement_coordinates",
    "Bounding_boxes", "Lesion_diameters_Pixel_", "Normalized_lesion_location", "Coarse_lesion_type",
    "Possibly_noisy", "Slice_range", "Spacing_mm_px_", "Image_size", "DICOM_windows", "Patient_gender",
    "Patient_age", "Train_Val_Test",
)  # fmt: skip
SPLITS = {1: "train", 2: "validation", 3: "test"}
PADDING_PX = 5.0
BOX_TOLERANCE_PX = 0.01
DIAMETER_TOLERANCE = 0.02
"""Share by which a diameter may differ from its end points' distance (half a pixel is always allowed)."""

Store = dict[str, tuple[Path, frozenset[int]]]
"""Where each series' slices are: path of the Images_png folder or zip, and the PNG numbers there."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One checked row. index: 0-based row of the table. ends: long, long, short, short (x, y) in pixels."""

    index: int
    series: str
    patient: int
    key_slice: int
    ends: tuple[tuple[float, float], ...]
    diameters_px: tuple[float, float]
    type: str | None
    noisy: bool
    slices: tuple[int, int]
    spacing_mm: Point
    size: tuple[int, int]
    sex: str
    age: float | None
    split: str


def read_table(path: Path) -> list[Row]:
    """All rows, each checked. Raises CaseError naming line, column, what was expected and found."""
    rows: list[Row] = []
    seen: dict[tuple[str, int, tuple[tuple[float, float], ...]], int] = {}
    splits: dict[int, str] = {}
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise CaseError(
                    f"{path}, line 1: expected the column {missing[0]}, found {reader.fieldnames}"
                )
            for index, fields in enumerate(reader):
                try:
                    row = _row(index, fields)
                    same = seen.setdefault((row.series, row.key_slice, row.ends), index)
                    if same != index:
                        refuse("Measurement_coordinates", "each lesion once", f"the one of line {same + 2}")
                    split = splits.setdefault(row.patient, row.split)
                    if split != row.split:
                        refuse(
                            "Train_Val_Test",
                            f"patient {row.patient} in one split",
                            f"{split} and {row.split}",
                        )
                except CaseError as error:
                    raise CaseError(f"{path}, line {index + 2}: {error}") from None
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"{path}: expected the table of DeepLesion, found: {error}") from None
    return rows


def _numbers(fields: dict[str, str], name: str, count: int) -> tuple[float, ...]:
    text = fields[name] or ""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        refuse(name, f"{count} numbers" if count > 1 else "a number", text or "nothing")
    return values


def _whole(fields: dict[str, str], name: str, count: int = 1) -> tuple[int, ...]:
    values = _numbers(fields, name, count)
    if any(value != int(value) for value in values):
        refuse(name, "whole numbers", fields[name])
    return tuple(int(value) for value in values)


def _row(index: int, fields: dict[str, str]) -> Row:
    name = re.fullmatch(r"(\d{6})_(\d{2})_(\d{2})_(\d{3})\.png", fields["File_name"] or "")
    if name is None:
        refuse("File_name", "patient_study_series_slice.png", fields["File_name"] or "nothing")
    numbers = [_whole(fields, column)[0] for column in COLUMNS[1:5]]
    if numbers != [int(part) for part in name.groups()]:
        refuse("File_name", f"{COLUMNS[1]} to {COLUMNS[4]} to agree ({numbers})", fields["File_name"])
    patient, _, _, key_slice = numbers
    coordinates = _numbers(fields, "Measurement_coordinates", 8)
    ends = tuple((coordinates[i], coordinates[i + 1]) for i in range(0, 8, 2))
    columns, rows = _whole(fields, "Image_size", 2)
    slices = _whole(fields, "Slice_range", 2)
    spacing = _numbers(fields, "Spacing_mm_px_", 3)
    _numbers(fields, "DICOM_windows", 2)
    code = _whole(fields, "Coarse_lesion_type")[0]
    split = _whole(fields, "Train_Val_Test")[0]
    if not all(0.05 <= mm <= 20 for mm in spacing):
        refuse("Spacing_mm_px_", "0.05 to 20 mm", fields["Spacing_mm_px_"])
    if not 1 <= slices[0] <= key_slice <= slices[1]:
        refuse("Key_slice_index", f"a slice within Slice_range {slices}", key_slice)
    if code != -1 and not 1 <= code <= len(LESION_TYPES):
        refuse("Coarse_lesion_type", f"-1 or 1 to {len(LESION_TYPES)}", code)
    if split not in SPLITS:
        refuse("Train_Val_Test", "1, 2 or 3", split)
    noisy = _whole(fields, "Possibly_noisy")[0] != 0
    diameters = _numbers(fields, "Lesion_diameters_Pixel_", 2)
    if not noisy:
        _check_marks(fields, ends, diameters, (columns, rows), spacing)
    return Row(
        index=index,
        series=fields["File_name"][:12],
        patient=patient,
        key_slice=key_slice,
        ends=ends,
        diameters_px=(diameters[0], diameters[1]),
        type=None if code == -1 else LESION_TYPES[code - 1],
        noisy=noisy,
        slices=(slices[0], slices[1]),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        size=(columns, rows),
        sex=fields["Patient_gender"],
        age=_age(fields),
        split=SPLITS[split],
    )


def _age(fields: dict[str, str]) -> float | None:
    text = (fields["Patient_age"] or "").strip()
    return None if text.lower() in ("", "nan") else _numbers(fields, "Patient_age", 1)[0]


def _check_marks(
    fields: dict[str, str],
    ends: tuple[tuple[float, float], ...],
    diameters: tuple[float, ...],
    size: tuple[int, int],
    spacing: tuple[float, ...],
) -> None:
    """Marks lie in the image, diameters are in pixels and fit them, the box encloses them by 5 pixels."""
    if not all(-0.5 <= v <= n - 0.5 for end in ends for v, n in zip(end, size, strict=True)):
        refuse("Measurement_coordinates", f"points inside {size} pixels", fields["Measurement_coordinates"])
    for name, found, (a, b) in zip(("long", "short"), diameters, (ends[:2], ends[2:]), strict=True):
        marked = math.dist(a, b)
        if abs(found - marked) > max(0.5, DIAMETER_TOLERANCE * marked):
            unit = " (it seems to be in mm)" if abs(found - marked * spacing[0]) < 0.05 * found else ""
            refuse(
                "Lesion_diameters_Pixel_", f"a {name} diameter of {marked:.4g} pixels", f"{found:.4g}{unit}"
            )
    low = [min(end[i] for end in ends) - PADDING_PX for i in range(2)]
    high = [max(end[i] for end in ends) + PADDING_PX for i in range(2)]
    box = _numbers(fields, "Bounding_boxes", 4)
    for edge, wanted, limit in zip(box, [*low, *high], [*size, *size], strict=True):
        allowed = (wanted, min(max(wanted, 0.0), limit), min(max(wanted, 0.0), limit - 1.0))
        if not any(abs(edge - value) <= BOX_TOLERANCE_PX for value in allowed):
            shown = ", ".join(f"{value:g}" for value in (*low, *high))
            refuse("Bounding_boxes", f"the end points padded by 5 pixels ({shown})", fields["Bounding_boxes"])


def find_slices(images: Path, series: Iterable[str]) -> Store:
    """Slices of these series in a folder Images_png, in a zip, or in a folder of zips, as distributed.

    Only names are read. Raises CaseError where there is nothing, or a series is in two archives.
    """
    wanted = set(series)
    if (images / "Images_png").is_dir():
        images = images / "Images_png"
    archives = [images] if images.is_file() else sorted(images.glob("*.zip")) if images.is_dir() else []
    places: Store = {}
    for archive in archives:
        for name, numbers in _in_archive(archive).items():
            if name in places:
                refuse(f"{archive}", f"series {name} in one archive", f"it in {places[name][0].name} too")
            if name in wanted:
                places[name] = (archive, numbers)
    if not archives:
        for name in sorted(wanted):
            folder = images / name
            if folder.is_dir():
                slices = (p for p in folder.iterdir() if re.fullmatch(r"\d{3}\.png", p.name))
                places[name] = (images, frozenset(int(p.stem) for p in slices if p.stat().st_size))
    if not places:
        refuse(f"{images}", "a folder Images_png or zip files with slices of these series", "none")
    return places


def _in_archive(archive: Path) -> dict[str, frozenset[int]]:
    numbers_of: dict[str, set[int]] = collections.defaultdict(set)
    try:
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                match = re.fullmatch(r"Images_png/(\d{6}_\d{2}_\d{2})/(\d{3})\.png", info.filename)
                if match and info.file_size:
                    numbers_of[match[1]].add(int(match[2]))
    except (OSError, zipfile.BadZipFile) as error:
        raise CaseError(f"{archive}: expected a zip of Images_png, found: {error}") from None
    return {name: frozenset(numbers) for name, numbers in numbers_of.items()}


def convert(rows: list[Row], store: Store) -> tuple[list[Case], dict[str, int]]:
    """Cases of all rows whose key slice is stored, and how many rows were dropped for which reason."""
    dropped = {"noisy": 0, "key slice not stored": 0}
    groups: dict[tuple[str, tuple[int, int]], list[Row]] = collections.defaultdict(list)
    for row in rows:
        if row.noisy:
            dropped["noisy"] += 1
        else:
            groups[row.series, row.slices].append(row)
    cases: list[Case] = []
    for (series, (first, last)), members in sorted(groups.items()):
        path, stored = store.get(series, (Path(), frozenset()))
        for low, high in _stretches(number for number in stored if first <= number <= last):
            inside = [row for row in members if low <= row.key_slice <= high]
            if inside:
                cases.append(_case(path, series, (low, high), inside))
        dropped["key slice not stored"] += sum(row.key_slice not in stored for row in members)
    return cases, dropped


def _stretches(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    ordered = sorted(numbers)
    start = 0
    for i in range(1, len(ordered) + 1):
        if i == len(ordered) or ordered[i] != ordered[i - 1] + 1:
            yield ordered[start], ordered[i - 1]
            start = i


def _case(path: Path, series: str, slices: tuple[int, int], rows: list[Row]) -> Case:
    row = rows[0]
    for other in rows:
        if (other.spacing_mm, other.size) != (row.spacing_mm, row.size):
            refuse(
                f"series {series}", "one spacing and image size", f"{other.spacing_mm} and {row.spacing_mm}"
            )
    attributes: Attributes = {"sex": row.sex} | ({} if row.age is None else {"age": row.age})
    return Case(
        id=f"{series}_{slices[0]:03d}-{slices[1]:03d}",
        patient=patient_name(row.patient),
        source="DeepLesion",
        split=row.split,  # type: ignore[arg-type]
        image=ImageSource(
            str(path),
            "deeplesion",
            series,
            size=(*row.size, slices[1] - slices[0] + 1),
            spacing_mm=row.spacing_mm,
            direction=HEAD_TO_FEET,
            slices=slices,
        ),
        annotations=tuple(_annotation(r, slices[0]) for r in rows),
        attributes=attributes,
    )


def patient_name(number: int) -> str:
    """The same in every data set that was made from DeepLesion, so that no patient is in two splits."""
    return f"DeepLesion-{number:06d}"


def _annotation(row: Row, first: int) -> Annotation:
    a, b, c, d = ((x, y, float(row.key_slice - first)) for x, y in row.ends)
    long_mm, short_mm = (math.dist(*ends) for ends in (_in_mm(row, 0), _in_mm(row, 2)))
    return Annotation(
        "recist",
        row.type,
        long=(a, b),
        short=(c, d),
        long_mm=max(long_mm, short_mm),
        short_mm=min(long_mm, short_mm),
        attributes={"row": float(row.index)},
    )


def _in_mm(row: Row, start: int) -> list[tuple[float, float]]:
    return [(x * row.spacing_mm[0], y * row.spacing_mm[1]) for x, y in row.ends[start : start + 2]]
