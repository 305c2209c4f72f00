"""Exports read back by other programs, in scans that lie in space in every way."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from review.results import ORIENTATIONS, places, scan_of, write_results, write_volume

import process
from helpers import Series, last_line, read_results, validator_of, write_scan
from model.exports import KINDS, export_scan
from model.inputs import Scan
from model.outputs import FileNames
from model.volume import InputError, Volume

ROWS = (
    ("lung", (0.3, 0.5, 0.4), 0.91, 20.0),
    ("liver", (0.7, 0.4, 0.6), 0.8, 34.0),
    ("bone", (0.5, 0.6, 0.5), 0.2, 9.0),
)
NEAR_MM = 0.1


def exported(folder: Path, volume: Volume, scan: Scan, *kinds: str) -> list[Any]:
    """The points of the points file, after the export of results in this volume."""
    spots = places(volume, *(share for _, share, _, _ in ROWS))
    write_results(folder, [(name, mm, p, long) for (name, _, p, long), mm in zip(ROWS, spots, strict=True)])
    export_scan(scan, folder, FileNames(), kinds)
    return [
        p["point"] for p in json.loads((folder / "lesion-points.json").read_text(encoding="utf-8"))["points"]
    ]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_and_table_lie_where_the_results_say(orientation: str, tmp_path: Path) -> None:
    volume = scan_of(ORIENTATIONS[orientation])
    scan = Scan("s", write_volume(tmp_path / "s.mha", volume))
    points = exported(tmp_path / "out", volume, scan, "slicer", "csv", "nifti")

    markups = json.loads((tmp_path / "out" / KINDS["slicer"]).read_text(encoding="utf-8"))
    validator_of("slicer_markups.json").validate(markups)
    (markup,) = markups["markups"]
    sign = np.array([-1, -1, 1]) if markup["coordinateSystem"] == "RAS" else np.ones(3)
    found = [np.array(p["position"]) * sign for p in markup["controlPoints"]]
    assert np.abs(np.array(found) - points).max() < NEAR_MM
    assert [p["visibility"] for p in markup["controlPoints"]] == [True, True, False]

    with (tmp_path / "out" / KINDS["csv"]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = [[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in rows]
    assert np.abs(np.array(table) - points).max() < NEAR_MM
    assert [(row["type"], row["above_operating_point"]) for row in rows] == [
        ("lung", "true"), ("liver", "true"), ("bone", "false"),
    ]  # fmt: skip
    assert [float(row["long_mm"]) for row in rows] == [20, 34, 9]

    labels = sitk.ReadImage(str(tmp_path / "out" / KINDS["nifti"]))
    image = sitk.ReadImage(str(scan.path))
    assert labels.GetSize() == image.GetSize()
    assert np.allclose(labels.GetOrigin(), image.GetOrigin(), atol=1e-3)
    assert np.allclose(labels.GetDirection(), image.GetDirection(), atol=1e-5)
    assert [labels[labels.TransformPhysicalPointToIndex(p)] for p in points] == [1, 2, 0]
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    assert shapes.GetLabels() == (1, 2)
    for number, long_mm in ((1, 20.0), (2, 34.0)):  # balls of that diameter, on voxels of 3 to 4 mm
        assert np.linalg.norm(np.subtract(shapes.GetCentroid(number), points[number - 1])) < 1.0
        assert shapes.GetPhysicalSize(number) == pytest.approx(np.pi / 6 * long_mm**3, rel=0.1)


def write_series(folder: Path, direction: np.ndarray) -> Volume:
    """A DICOM series in this direction, and its place."""
    volume = Volume(scan_of(direction, (6, 40, 48)).hu, (0.8, 0.9, 2.5), (-10.0, 20.0, 30.5), direction)
    corners = volume.index_to_world([[0, 0, k] for k in range(6)])
    axes = "\\".join(f"{v:.6f}" for v in direction[:, :2].T.ravel())
    tags = {"0020|0037": axes, "0020|0052": "1.2.3.99", "0020|0011": "4"}
    series = Series(volume.hu, [(float(x), float(y), float(z)) for x, y, z in corners], tags=tags)
    series.write(folder)
    return volume


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_structured_report_lies_in_its_series(orientation: str, tmp_path: Path) -> None:
    volume = write_series(tmp_path / "ct", ORIENTATIONS[orientation])
    points = exported(tmp_path / "out", volume, Scan("ct", tmp_path / "ct"), "sr")
    report = pydicom.dcmread(tmp_path / "out" / KINDS["sr"])
    slices = [pydicom.dcmread(path) for path in (tmp_path / "ct").iterdir()]

    assert report.StudyInstanceUID == slices[0].StudyInstanceUID
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    evidence = {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
    assert evidence == {header.SOPInstanceUID for header in slices}

    def below(item: Any) -> list[Any]:
        return [item, *(deeper for child in item.get("ContentSequence", ()) for deeper in below(child))]

    items = below(report)
    bodies = [item for item in items if item.get("ValueType") == "SCOORD3D"]
    assert [body.GraphicType for body in bodies] == ["ELLIPSOID", "ELLIPSOID"]
    assert {body.ReferencedFrameOfReferenceUID for body in bodies} == {"1.2.3.99"}
    ends = np.array([body.GraphicData for body in bodies]).reshape(2, 6, 3)
    assert np.abs(ends.mean(1) - points[:2]).max() < NEAR_MM  # the third is below the operating point
    assert np.abs(np.ptp(ends, axis=1) - [[20.0] * 3, [34.0] * 3]).max() < NEAR_MM
    numbers = [
        float(item.MeasuredValueSequence[0].NumericValue) for item in items if item.get("ValueType") == "NUM"
    ]
    assert numbers == [20, 16, 91, 34, pytest.approx(27.2), 80]


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="no dsrdump here (apt-get install dcmtk)")
@pytest.mark.parametrize("rows", [ROWS, ()])
def test_dcmtk_reads_the_structured_report(rows: tuple[Any, ...], tmp_path: Path) -> None:
    volume = write_series(tmp_path / "ct", np.eye(3))
    spots = places(volume, *(share for _, share, _, _ in ROWS))
    write_results(
        tmp_path / "out", [(n, mm, p, long) for (n, _, p, long), mm in zip(rows, spots, strict=False)]
    )
    export_scan(Scan("ct", tmp_path / "ct"), tmp_path / "out", FileNames(), ["sr"])
    command = ["dsrdump", "+Pl", str(tmp_path / "out" / KINDS["sr"])]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert "Comprehensive 3D SR Document" in result.stdout
    assert result.stdout.count('"Measurement Group"') == (2 if rows else 1)
    assert "error" not in (result.stdout + result.stderr).lower()


def test_structured_report_needs_dicom(tmp_path: Path) -> None:
    volume = scan_of(np.eye(3))
    scan = Scan("s", write_volume(tmp_path / "s.mha", volume))
    with pytest.raises(InputError, match="expected a DICOM series for a structured report, found a file"):
        exported(tmp_path / "out", volume, scan, "csv", "sr")
    assert (tmp_path / "out" / KINDS["csv"]).exists()
    assert not list((tmp_path / "out").glob(".*"))


def test_process_exports_what_it_has_found(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_scan(tmp_path / "in" / f"{name}.mha")
    (tmp_path / "in" / "bad.mha").write_bytes(b"no scan")
    given = {"input": tmp_path / "in", "output": tmp_path / "out", "weights": weights, "device": "cpu"}
    options = [f"--{name}={value}" for name, value in given.items()]
    assert process.main([*options, "--export", "slicer,csv,nifti"]) == 1
    assert "1 of 3 scans failed" in last_line(capsys.readouterr().err)
    for name in ("a", "b"):
        points, _, _ = read_results(tmp_path / "out" / name)
        with (tmp_path / "out" / name / KINDS["csv"]).open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == len(points["points"]) > 0
        assert (tmp_path / "out" / name / KINDS["nifti"]).exists()
    with pytest.raises(SystemExit) as refused:
        process.main([*options, "--export", "csv,excel"])
    assert refused.value.code == 2
    assert "expected some of slicer,csv,nifti,sr, found 'csv,excel'" in last_line(capsys.readouterr().err)
