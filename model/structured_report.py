"""A DICOM structured report (TID 1500) of a scan's detections that refers to the slices it was made from.

Each detection above the operating point is a volumetric ROI measurement group (TID 1411) in a Comprehensive
3D SR: an ellipsoid in the slices' frame of reference, long and short axial diameter, certainty in percent.
Without any, one group states the certainty that the scan shows a lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.config import LESION_TYPES
from model.exports import Detection, Results
from model.inputs import Scan
from model.outputs import VERSION
from model.volume import InputError

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
SITES = {
    "bone": "Bone",
    "abdomen": "Abdomen",
    "mediastinum": "Mediastinum",
    "liver": "Liver",
    "lung": "Lung",
    "kidney": "Kidney",
    "soft tissue": "SoftTissue",
    "pelvis": "Pelvis",
}
"""SNOMED CT concept (pydicom's keyword) of the place that a lesion type names."""
assert tuple(SITES) == LESION_TYPES


def read_headers(folder: Path, series: str | None = None) -> list[Any]:
    """The headers of a DICOM series, one pydicom data set a slice, along the normal of the slices.

    series: its UID; None: the only one. Raises InputError.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    headers = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_file() or path.name.upper() == "DICOMDIR":
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError):
            continue
        placed = "ImagePositionPatient" in header and "ImageOrientationPatient" in header
        if placed and series in (None, str(header.get("SeriesInstanceUID", ""))):
            headers.append(header)
    if not headers:
        raise InputError(f"{folder}: expected a DICOM series, found no slice with a position")
    rows, columns = np.array(headers[0].ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(rows, columns)
    return sorted(headers, key=lambda header: float(np.dot(header.ImagePositionPatient, normal)))


def structured_report(scan: Scan, results: Results) -> Any:
    """The report as a highdicom data set. Raises InputError where the scan is no DICOM series."""
    from highdicom.sr import Comprehensive3DSR
    from pydicom.uid import generate_uid

    if not scan.path.is_dir():
        raise InputError(f"{scan.path}: expected a DICOM series for a structured report, found a file")
    headers = read_headers(scan.path, scan.series)
    for name in NEEDED:
        if not str(headers[0].get(name, "")):
            raise InputError(f"{scan.path}: expected {name} for a structured report, found none")
    complete_study(headers)
    chosen = [d for d in results.detections if d.above_operating_point]
    seed = [str(headers[0].SeriesInstanceUID), VERSION, str(results.details.get("weights_version"))]
    report = Comprehensive3DSR(
        evidence=headers,
        content=_content([_group(headers, d, seed) for d in chosen] or [_nothing(results, seed)], seed),
        series_instance_uid=generate_uid(entropy_srcs=[*seed, "series"]),
        series_number=_report_number(headers[0]),
        sop_instance_uid=generate_uid(entropy_srcs=[*seed, "report"]),
        instance_number=1,
        manufacturer="ct-lesion-detector",
        is_complete=False,
        is_verified=False,
    )
    report.SeriesDescription = "CT lesion detector, not a medical device"
    return report


def complete_study(headers: Sequence[Any]) -> None:
    """Adds the study's attributes of type 2 that a slice lacks as empty ones, as the standard allows."""
    for header in headers:
        for name in (
            "AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex",
            "ReferringPhysicianName", "StudyDate", "StudyID", "StudyTime",
        ):  # fmt: skip
            if name not in header:
                setattr(header, name, "")


def _report_number(header: Any) -> int:
    """A series number beside the source's, so that a workstation lists the report after it."""
    number = header.get("SeriesNumber")
    return (0 if number in (None, "") else int(number)) * 100 + 99


def _content(groups: Sequence[Any], seed: list[str]) -> Any:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    device = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["ct-lesion-detector", VERSION]),
        name="ct-lesion-detector",
        model_name=f"{VERSION}, weights {seed[-1]}"[:64],
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _nothing(results: Results, seed: list[str]) -> Any:
    """The group of a report without detections: how certain it is that the scan shows any lesion."""
    from highdicom.sr import Measurement, MeasurementsAndQualitativeEvaluations, TrackingIdentifier
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    certainty = round(100 * results.likelihood, 2)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[*seed, "scan"]), identifier="scan"
        ),
        finding_type=codes.SCT.Lesion,
        measurements=[Measurement(codes.DCM.CertaintyOfFinding, certainty, codes.UCUM.Percent)],
    )


def _group(headers: Sequence[Any], detection: Detection, seed: list[str]) -> Any:
    from highdicom.sr import (
        FindingSite,
        GraphicTypeValues3D,
        Measurement,
        SourceImageForSegmentation,
        TrackingIdentifier,
        VolumeSurface,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    lower, upper = np.array(detection.lower_mm), np.array(detection.upper_mm)
    centre, half = np.array(detection.point_mm), (upper - lower) / 2
    ends = np.array([centre + sign * half * axis for axis in np.eye(3) for sign in (-1, 1)])
    heights = [float(np.dot(h.ImagePositionPatient, _normal(headers[0]))) for h in headers]
    nearest = headers[int(np.argmin(np.abs(np.array(heights) - centre @ _normal(headers[0]))))]
    surface = VolumeSurface(
        GraphicTypeValues3D.ELLIPSOID,
        ends,
        frame_of_reference_uid=str(headers[0].FrameOfReferenceUID),
        source_images=[SourceImageForSegmentation(str(nearest.SOPClassUID), str(nearest.SOPInstanceUID))],
    )
    mm = codes.UCUM.Millimeter
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[*seed, str(detection.number)]),
            identifier=f"lesion {detection.number}",
        ),
        referenced_volume_surface=surface,
        finding_type=codes.SCT.Lesion,
        finding_sites=[FindingSite(getattr(codes.SCT, SITES[detection.type]))],
        measurements=[
            Measurement(codes.SCT.LongAxis, round(detection.long_mm, 2), mm),
            Measurement(codes.SCT.ShortAxis, round(detection.short_mm, 2), mm),
            Measurement(
                codes.DCM.CertaintyOfFinding, round(100 * detection.probability, 2), codes.UCUM.Percent
            ),
        ],
    )


def _normal(header: Any) -> np.ndarray:
    rows, columns = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    return np.cross(rows, columns)
