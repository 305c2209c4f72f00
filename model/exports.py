"""What other programs open: 3D Slicer markups, CSV, a NIfTI label map and a DICOM SR, from the JSON results.

The results in a scan's output folder are read back, so that a scan that was skipped because its results were
there is exported as well. Coordinates are (x, y, z) LPS mm throughout; Slicer's file names that frame itself.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from model.files import OutputError, whole, write_files
from model.geometry import image_of
from model.inputs import Inputs, Scan
from model.outputs import FileNames
from model.volume import InputError, Volume, read_volume

KINDS = {
    "slicer": "lesions.mrk.json",
    "csv": "lesions.csv",
    "nifti": "lesions.nii.gz",
    "sr": "lesions-sr.dcm",
}
"""The kinds of export, and the file that each writes into the scan's folder."""
SLICER_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
Point = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Detection:
    """One row of a scan's results. number: from 1, in the order of the points file.

    point_mm, lower_mm, upper_mm: (x, y, z) LPS. type: the most probable lesion type. organ: None if unknown.
    long_mm, short_mm: axial diameters.
    """

    number: int
    point_mm: Point
    probability: float
    type: str
    type_probabilities: dict[str, float]
    organ: str | None
    long_mm: float
    short_mm: float
    z_extent_mm: float
    lower_mm: Point
    upper_mm: Point
    above_operating_point: bool


@dataclasses.dataclass(frozen=True)
class Results:
    """All that was written for one scan. details: the details file as it is; likelihood: the scan's."""

    detections: tuple[Detection, ...]
    details: dict[str, Any]
    likelihood: float


def read_results(folder: Path, names: FileNames | None = None) -> Results:
    """The results in a scan's output folder. Raises InputError where they are missing, damaged or at odds."""
    names = names or FileNames()
    try:
        points, details, likelihood = (
            json.loads((folder / name).read_bytes())
            for name in (names.points, names.details, names.likelihood)
        )
        rows, sizes = points["points"], details["points"]
        if len(rows) != len(sizes):
            raise InputError(
                f"{folder}: expected as many points as details, found {len(rows)} and {len(sizes)}"
            )
        detections = tuple(
            _detection(number, point, size)
            for number, (point, size) in enumerate(zip(rows, sizes, strict=True), 1)
        )
        return Results(detections, details, float(likelihood))
    except OSError as error:
        raise InputError(f"{folder}: expected the results of a scan, found: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        found = f"{type(error).__name__} {' '.join(str(error).split())}"
        raise InputError(f"{folder}: expected the results of a scan, found: {found}") from None


def _detection(number: int, point: dict[str, Any], size: dict[str, Any]) -> Detection:
    return Detection(
        number=number,
        point_mm=_point(point["point"]),
        probability=float(point["probability"]),
        type=str(point["name"]),
        type_probabilities={str(name): float(value) for name, value in size["type_probabilities"].items()},
        organ=size.get("organ"),
        long_mm=float(size["long_mm"]),
        short_mm=float(size["short_mm"]),
        z_extent_mm=float(size["z_extent_mm"]),
        lower_mm=_point(size["box_mm"]["lower"]),
        upper_mm=_point(size["box_mm"]["upper"]),
        above_operating_point=size["above_operating_point"] is True,
    )


def _point(values: Sequence[float]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


def slicer_json(detections: Sequence[Detection]) -> dict[str, Any]:
    """A point list of 3D Slicer; detections below the operating point are in it, but hidden at first."""
    points = [
        {
            "id": str(d.number),
            "label": f"{d.number} {d.type} {d.probability:.2f}",
            "description": f"{d.organ or d.type}, {d.long_mm:.1f} x {d.short_mm:.1f} mm, probability "
            f"{d.probability:.3f}",
            "associatedNodeID": "",
            "position": list(d.point_mm),
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            "selected": d.above_operating_point,
            "locked": True,
            "visibility": d.above_operating_point,
            "positionStatus": "defined",
        }
        for d in detections
    ]
    markup = {
        "type": "Fiducial",
        "name": "lesions",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%d",
        "controlPoints": points,
    }
    return {"@schema": SLICER_SCHEMA, "markups": [markup]}


def csv_text(detections: Sequence[Detection]) -> str:
    """One row a detection, the most probable first."""
    corners = [f"{end}_{axis}_mm" for end in ("lower", "upper") for axis in "xyz"]
    columns = [
        "number", "x_mm", "y_mm", "z_mm", "probability", "type", "organ", "long_mm", "short_mm",
        "z_extent_mm", *corners, "above_operating_point",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for d in detections:
        place = [f"{mm:.3f}" for mm in d.point_mm]
        sizes = [f"{mm:.3f}" for mm in (d.long_mm, d.short_mm, d.z_extent_mm, *d.lower_mm, *d.upper_mm)]
        flag = str(d.above_operating_point).lower()
        writer.writerow([d.number, *place, f"{d.probability:.6f}", d.type, d.organ or "", *sizes, flag])
    return text.getvalue()


def label_map(detections: Sequence[Detection], volume: Volume) -> Any:
    """A uint8 image on the scan's grid: an ellipsoid that fills each box, with the detection's number.

    Only detections above the operating point. Where two overlap, the more probable one has the voxel. The
    voxel at the point itself is always labelled, however small the lesion.
    """
    labels = np.zeros(volume.hu.shape, np.uint8)
    size = np.array(volume.hu.shape[::-1])
    for d in sorted(detections, key=lambda d: d.number, reverse=True):
        if not d.above_operating_point:
            continue
        lower, upper = np.array(d.lower_mm), np.array(d.upper_mm)
        corners = np.array(np.meshgrid(*zip(lower, upper, strict=True))).reshape(3, -1).T
        index = volume.world_to_index(corners)
        first = np.clip(np.floor(index.min(0)).astype(int), 0, size - 1)
        last = np.clip(np.ceil(index.max(0)).astype(int), 0, size - 1)
        x, y, z = (np.arange(a, b + 1) for a, b in zip(first, last, strict=True))
        grid = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1)
        apart = (volume.index_to_world(grid) - (lower + upper) / 2) / ((upper - lower) / 2)
        inside = ((apart**2).sum(1) <= 1).reshape(grid.shape[:3])
        labels[z[0] : z[-1] + 1, y[0] : y[-1] + 1, x[0] : x[-1] + 1][inside] = d.number
        k, j, i = volume.geometry.nearest_voxel(d.point_mm)[0]
        labels[k, j, i] = d.number
    return image_of(labels, volume.geometry)


def export_scan(scan: Scan, folder: Path, names: FileNames, kinds: Sequence[str]) -> None:
    """Writes the exports of one scan beside its results. Raises InputError, OutputError."""
    results = read_results(folder, names)
    texts = {}
    if "slicer" in kinds:
        texts[KINDS["slicer"]] = json.dumps(slicer_json(results.detections), indent=1) + "\n"
    if "csv" in kinds:
        texts[KINDS["csv"]] = csv_text(results.detections)
    if texts:
        write_files(folder, texts)
    if "nifti" in kinds:
        import SimpleITK as sitk

        image = label_map(results.detections, read_volume(scan.path, scan.series))
        _write(folder / KINDS["nifti"], lambda part: sitk.WriteImage(image, str(part)), ".nii.gz")
    if "sr" in kinds:
        from model.structured_report import structured_report

        report = structured_report(scan, results)
        _write(folder / KINDS["sr"], lambda part: report.save_as(part))


def _write(path: Path, write: Callable[[Path], object], suffix: str = "") -> None:
    """Raises OutputError."""
    try:
        with whole(path, suffix) as part:
            write(part)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot be written: {' '.join(str(error).split())}") from error


@contextmanager
def exporting(inputs: Inputs, output: Path, names: FileNames, kinds: Sequence[str]) -> Iterator[None]:
    """Exports what the block has written, also where it raises InputError since some of the scans failed."""
    try:
        yield
    except InputError:
        export_all(inputs, output, names, kinds)
        raise
    export_all(inputs, output, names, kinds)


def export_all(inputs: Inputs, output: Path, names: FileNames, kinds: Sequence[str]) -> None:
    """The exports of all scans that have results. Raises InputError naming the first that failed."""
    failed: list[str] = []
    for scan in inputs.scans if kinds else ():
        folder = output if inputs.single else output / scan.case_id
        if not (folder / names.details).exists():
            continue
        try:
            export_scan(scan, folder, names, kinds)
        except InputError as error:
            failed.append(f"{scan.case_id}: {error}")
    if failed:
        raise InputError(f"export: {len(failed)} of {len(inputs.scans)} scans failed; the first: {failed[0]}")
