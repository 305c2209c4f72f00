"""A CT in formats that SimpleITK does not write: NIfTI-2, and DICOM with all slices in one file."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")


def write_nifti2(path: Path, image: sitk.Image) -> Path:
    """int16 voxels, with a sform only, which holds the affine in doubles."""
    header = bytearray(544)
    affine = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.diag([-1, -1, 1]) @ np.column_stack([affine, image.GetOrigin()])
    struct.pack_into("<i8s2h", header, 0, 540, b"n+2\0\r\n\x1a\n", 4, 16)
    struct.pack_into("<8q", header, 16, 3, *image.GetSize(), 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, *image.GetSpacing(), 0, 0, 0, 0)
    struct.pack_into("<q2d", header, 168, 544, 1.0, 0.0)
    struct.pack_into("<2i", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, *affine.ravel())
    struct.pack_into("<i", header, 500, 2)
    path.write_bytes(header + voxels_of(image).astype("<i2").tobytes())
    return path


def write_enhanced(path: Path, image: sitk.Image) -> Dataset:
    """An Enhanced CT object: a frame for each slice, its position in the frame's functional groups."""
    voxels = voxels_of(image)
    x, y, _ = image.GetSpacing()
    columns = np.array(image.GetDirection()).reshape(3, 3)[:, :2].T
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ENHANCED_CT
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID("1.2.3.1")
    data.StudyInstanceUID, data.SeriesInstanceUID = UID("1.2.2"), UID("1.2.3")
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.NumberOfFrames, data.Rows, data.Columns = voxels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[repr(y)[:16], repr(x)[:16]])]
    orientation = [f"{value:.10g}" for value in columns.ravel()]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation)]
    scale = _item(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    shared.PixelValueTransformationSequence = [scale]
    data.SharedFunctionalGroupsSequence = [shared]
    places = [image.TransformIndexToPhysicalPoint((0, 0, z)) for z in range(len(voxels))]
    data.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[f"{mm:.10g}" for mm in place])])
        for place in places
    ]
    data.PixelData = (voxels + 1024).astype("<u2").tobytes()
    data["PixelData"].VR = "OW"
    data.save_as(path, enforce_file_format=True)
    return data


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def voxels_of(image: sitk.Image) -> npt.NDArray[Any]:
    return sitk.GetArrayFromImage(image)
