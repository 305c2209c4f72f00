"""DICOM folders: which files are CT images of which series, and what is passed over. Reads no pixels.

The attributes are those of DICOM PS3.3, A.3 (CT Image), A.38 (Enhanced CT) and C.7.6.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from model.errors import InputError
from model.geometry import Geometry
from model.reading.dicom_pixels import check_bytes, damage, fill, kind_of, read_dataset
from model.reading.dicom_place import Frame, frames_of, place
from model.reading.header import GZIP, SUFFIXES, beginning, check_regular, is_dicom, refuse
from model.reading.scan import Image
from model.reading.stored import Allocate

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_CT_CLASSES = (CT_IMAGE, f"{CT_IMAGE}.1", f"{CT_IMAGE}.2")  # single, enhanced, legacy converted enhanced
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_LONE = "CT image without a parallel one"
_DIRECTORY = "1.2.840.10008.1.3.10"
_LIST_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "Rows", "NumberOfFrames",
    "ImageOrientationPatient",
]  # fmt: skip
_TAGS = [
    *_LIST_TAGS, "Columns", "ImagePositionPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "ModalityLUTSequence", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_ENDS = tuple(end for ends in SUFFIXES.values() for end in ends)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder holds.

    series: by UID, the CT images (path, attributes). passed: what each file is that is no slice. others: the
    modality of each image of another one. damaged: what is wrong with each such file.
    """

    series: dict[str, list[tuple[Path, Dataset]]]
    passed: dict[Path, str]
    others: dict[Path, str]
    damaged: dict[Path, str]

    def notes(self, folder: Path) -> list[str]:
        """One for each kind of what is passed over; of other modalities only where there is CT."""
        passed = self.passed | (self.others if self.series else {})
        notes = []
        for kind, count in sorted(Counter(passed.values()).items()):
            some = sorted(path.name for path, other in passed.items() if other == kind)
            names = ", ".join(some[:3]) + (" and more" if some[3:] else "")
            notes.append(f"{folder}: passed over {count} x {kind} ({names})")
        return notes


def list_series(folder: Path) -> dict[str, Any]:
    """series: the UIDs of the CT series, in order. notes: what was passed over. scan: whether the folder is
    to be read, be it for the error that says what is wrong.
    """
    found = _find(folder, _LIST_TAGS)
    return {
        "series": sorted(found.series),
        "notes": found.notes(folder),
        "scan": bool(found.series or found.damaged or found.others),
    }


def read_series(path: Path, series: str | None, allocate: Allocate) -> Image:
    """A DICOM file, or the series of a folder (None: its only one), in HU. Raises InputError."""
    found = _find(path, _TAGS)
    for file, why in sorted(found.damaged.items()):
        raise InputError(f"{file}: {why}")
    images, copies = _without_copies(_chosen(path, found, series))
    frames: list[Frame] = []
    for file, attributes in images:
        with damage(file):
            frames += frames_of(file, attributes)
    order, geometry = place(path, frames, keep=len(images) == 1)
    warnings = []
    if copies:
        warnings.append(f"{len(copies)} copies of slices passed over: {', '.join(sorted(copies)[:3])}")
    kind = kind_of(images, frames)
    check_bytes(images, frames)
    voxels = allocate(geometry.size[::-1], kind)
    warnings += fill(voxels, images, _slots(frames, order))
    return Image(_checked(path, geometry), voxels, tuple(dict.fromkeys(warnings)))


def _slots(frames: list[Frame], order: list[int]) -> dict[Path, list[tuple[int, Frame]]]:
    """For each file its frames, each with the index z where it goes, in the file's order."""
    slots: dict[Path, list[tuple[int, Frame]]] = {}
    where = {number: z for z, number in enumerate(order)}
    for number, frame in enumerate(frames):
        slots.setdefault(frame.path, []).append((where[number], frame))
    return slots


def _checked(path: Path, geometry: Geometry) -> Geometry:
    shown = " x ".join(str(count) for count in geometry.size)
    if min(geometry.size) < 2:
        raise InputError(f"{path}: expected at least two slices, rows and columns, found {shown} voxels")
    return geometry


def _find(path: Path, tags: list[str]) -> Found:
    """Sorts the files of a folder, or a single file."""
    found = Found({}, {}, {}, {})
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    strange = [file for file in files if path.is_dir() and not _may_be_dicom(file)]
    for file in sorted(set(files) - set(strange)):
        try:
            check_regular(file)
            with damage(file):
                _check_plain(file)
                _sort(found, file, read_dataset(file, tags))
        except InputError as error:
            text = str(error).removeprefix(f"{file}: ")
            damaged = f"expected a DICOM file, found a damaged one ({text})"
            found.damaged[file] = text if "found a damaged one" in text else damaged
    _find_lost_slices(found, strange)
    _pass_single_images(found)
    return found


def _find_lost_slices(found: Found, strange: list[Path]) -> None:
    """Files named as the slices are, but for the numbers, and no DICOM: at an end no gap would show."""
    numbers = re.compile(r"\d+")
    names = {numbers.sub("#", file.name) for images in found.series.values() for file, _ in images}
    for file in strange:
        if file.is_file() and numbers.sub("#", file.name) in names:
            found.damaged[file] = "expected a DICOM file, as its name says, found a damaged one"


def _may_be_dicom(path: Path) -> bool:
    """By its name or its first bytes."""
    name = path.name.lower()
    if path.name.startswith(".") or name == "dicomdir" or name.endswith(_ENDS) or path.is_dir():
        return False
    if name.endswith(".dcm"):
        return True
    if not path.is_file():
        return False
    with suppress(InputError):
        return is_dicom(beginning(path, 132))
    return False


def _check_plain(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) == GZIP:
            refuse(path, "a DICOM file that is not compressed as a whole", "a gzip file")


def _sort(found: Found, file: Path, attributes: Dataset) -> None:
    meta = getattr(attributes, "file_meta", None)
    kind = attributes.get("SOPClassUID") or (meta.get("MediaStorageSOPClassUID") if meta else None)
    modality = str(attributes.get("Modality") or "").strip()
    if kind == _DIRECTORY:
        return
    has_pixels = "Rows" in attributes
    if not kind and not (modality and has_pixels):  # some anonymisers leave it empty
        refuse(file, "a SOP class", "none")
    _check_identity(file, kind, meta, modality)
    name = modality or (kind.name if isinstance(kind, UID) else "no modality")
    if kind and str(kind).startswith(_SECONDARY):
        found.passed[file] = "secondary capture"
        return
    if kind and kind not in _CT_CLASSES or modality not in ("", "CT"):
        (found.others if has_pixels else found.passed)[file] = name
        return
    if "LOCALIZER" in [str(value).upper() for value in _several(attributes.get("ImageType"))]:
        found.passed[file] = "localizer"
        return
    series = str(attributes.get("SeriesInstanceUID") or "").strip()
    if not has_pixels:
        refuse(file, "rows of pixels", "none")
    found.series.setdefault(series, []).append((file, attributes))


def _check_identity(file: Path, kind: Any, meta: Dataset | None, modality: str) -> None:
    """Raises InputError where damage may be why a file seems to be no slice: it is not to be passed over."""
    stored = meta.get("MediaStorageSOPClassUID") if meta else None
    if kind and stored and kind != stored:
        refuse(file, "one SOP class", f"{stored} and {kind}")
    if kind and not (isinstance(kind, UID) and kind.is_valid and len(kind) > 12):
        refuse(file, "a SOP class", kind)
    if modality and not re.fullmatch(r"[A-Z0-9_ ]{1,16}", modality):
        refuse(file, "a modality", modality)
    if kind not in _CT_CLASSES and not modality:
        refuse(file, "a modality", "none")


def _several(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def _pass_single_images(found: Found) -> None:
    """Beside other series, images of which no two are parallel are no scan: localizers not named as such."""
    lone = {uid for uid, images in found.series.items() if not _any_parallel(images)}
    if len(lone) < len(found.series):
        for uid in lone:
            found.passed.update(dict.fromkeys((f for f, _ in found.series.pop(uid)), _LONE))


def _any_parallel(images: list[tuple[Path, Dataset]]) -> bool:
    """Whether there are frames, or two images of one orientation."""
    if any(str(attributes.get("NumberOfFrames") or 1).strip() != "1" for _, attributes in images):
        return True
    orientations = Counter(str(attributes.get("ImageOrientationPatient")) for _, attributes in images)
    return orientations.most_common(1)[0][1] > 1


def _chosen(path: Path, found: Found, series: str | None) -> list[tuple[Path, Dataset]]:
    """The images of the series that is wanted. Raises InputError where there is none, or several."""
    if series is not None:
        if series not in found.series:
            refuse(path, f"a CT series {series}", ", ".join(sorted(found.series)) or "none")
        return found.series[series]
    if len(found.series) > 1:
        expected = "one CT series, or the UID of the one that is meant"
        raise InputError(f"{path}: expected {expected}, found {' and '.join(sorted(found.series))}")
    if not found.series:
        kinds = Counter([*found.others.values(), *found.passed.values()])
        shown = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
        if found.others:
            raise InputError(f"{path}: expected the modality CT, found {shown}")
        raise InputError(f"{path}: expected a DICOM series of CT, found {shown or 'no readable slice'}")
    return next(iter(found.series.values()))


def _without_copies(
    images: list[tuple[Path, Dataset]],
) -> tuple[list[tuple[Path, Dataset]], list[str]]:
    """Each instance once, and the names of the copies. Raises InputError where a copy is none."""
    first: dict[str, tuple[Path, Dataset]] = {}
    copies = []
    for file, attributes in images:
        uid = str(attributes.get("SOPInstanceUID") or file)
        if uid not in first:
            first[uid] = (file, attributes)
            continue
        other, _ = first[uid]
        if _content(file) != _content(other):
            refuse(file, "each SOP instance UID once", f"{uid} in {other.name} too, with another content")
        copies.append(file.name)
    return list(first.values()), copies


def _content(file: Path) -> list[Any]:
    """All of a data set that decides on voxels and place."""
    whole = read_dataset(file)
    names: Iterator[str] = (name for name in _TAGS if name not in ("Modality", "ImageType"))
    return [whole.get("PixelData"), *(str(whole.get(name)) for name in names)]
