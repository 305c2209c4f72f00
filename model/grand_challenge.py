"""grand-challenge.org's folders and files: which scans there are, and what is written for each.

Input: /input holds inputs.json, which describes the sockets, and one folder per image under images/.
Output: one JSON file per socket, of the kinds "Multiple points", "Anything" and "Float". Coordinates
are (x, y, z) in LPS mm. Knows no network.
"""

from __future__ import annotations

import json
import math
import os
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from model.config import WeightsError
from model.errors import InputError
from model.files import OutputError as OutputError
from model.files import check_writable as check_writable
from model.files import remove_files
from model.files import write_files as write_files
from model.reading.child import list_folders
from model.reading.header import beginning, is_dicom
from model.reading.metaimage import data_file

if TYPE_CHECKING:
    from model.detector import Detector, Lesion, Prediction

VERSION = "0.1.0"
IMAGE_SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".nrrd")
MOST_POINTS = 100
SUMMARY = "summary.csv"


@dataclass(frozen=True)
class Scan:
    """A file, or one series of a DICOM folder (None: the only one there).

    case_id is the path relative to the input folder without the image suffix.
    """

    case_id: str
    path: Path
    series: str | None = None


@dataclass(frozen=True)
class Inputs:
    """What there is to do. A single scan's files go straight into the output folder."""

    scans: tuple[Scan, ...]
    single: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileNames:
    """The files of the three output sockets; the likelihood is the scan's."""

    points: str = "lesion-points.json"
    details: str = "lesion-details.json"
    likelihood: str = "metastasis-likelihood.json"


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; for an OSError, the file and what is wrong with it."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return printable(" ".join(text.split())) or type(error).__name__


def printable(text: str) -> str:
    """Characters that would control a terminal, or are none, as escapes: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason_of(error: Exception) -> str:
    """`one_line`; the traceback of an error that no input accounts for goes to stderr."""
    if isinstance(error, InputError | WeightsError | OSError | MemoryError):
        return one_line(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {one_line(error)}"


def find_inputs(root: Path) -> Inputs:
    """The scans of an input folder, or the scan itself. Raises InputError where there is none.

    The image socket of inputs.json; else the first image socket below images/; else every scan below
    the folder. A single scan is a file, a folder that holds one DICOM series, or the only scan of a
    socket.
    """
    if root.is_file():
        return Inputs((Scan(_without_suffix(root.name), root),), single=True)
    if not root.is_dir():
        raise InputError(f"{root}: expected a scan or a folder with scans, found nothing")
    if (root / "inputs.json").exists():
        socket = _socket_of(root / "inputs.json", root)
        scans, notes = _scans_below(socket, root)
    else:
        socket, scans, notes = _first_socket(root)
    if not scans and notes:
        raise InputError(f"{socket}: expected a CT scan, found none; {'; '.join(notes)}")
    if not scans:
        found = sorted(path.name for path in ([socket] if socket.is_file() else socket.iterdir()))
        some = ", ".join(found[:3]) + (" and more" if found[3:] else "")
        expected = f"a {', '.join(IMAGE_SUFFIXES)} file or a DICOM series"
        raise InputError(f"{socket}: expected {expected}, found {some or 'an empty folder'}")
    only = len(scans) == 1 and (socket != root or scans[0].path == root)
    return Inputs(tuple(scans), single=only, notes=notes)


def _first_socket(root: Path) -> tuple[Path, list[Scan], tuple[str, ...]]:
    """The first folder of images/ with a scan; the root where there is none. With its scans, and notes."""
    images = root / "images"
    folders = sorted(path for path in images.iterdir() if path.is_dir()) if images.is_dir() else []
    for folder in folders:
        scans, notes = _scans_below(folder, root)
        if scans:
            others = ", ".join(other.name for other in folders if other != folder)
            note = f"no inputs.json: taking images/{folder.name}, not {others}"
            return folder, scans, (*((note,) if others else ()), *notes)
    return root, *_scans_below(root, root)


def _socket_of(manifest: Path, root: Path) -> Path:
    """Where inputs.json says that the image lies. Raises InputError."""
    try:
        entries = json.loads(manifest.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{manifest}: expected JSON, found {one_line(error)}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{manifest}: expected a list of sockets, found {_short(entries)}")
    sockets = [entry.get("socket", entry.get("interface")) for entry in entries]
    for socket in sockets:
        if not isinstance(socket, dict):
            raise InputError(f"{manifest}: expected a description of each socket, found {_short(socket)}")
    images = [socket for socket in sockets if _is_image(socket)]
    if len(images) != 1:
        found = ", ".join(str(socket.get("slug")) for socket in images) or "none"
        raise InputError(f"{manifest}: expected one image socket, found {found}")
    relative = images[0].get("relative_path") or f"images/{images[0].get('slug')}"
    path = PurePosixPath(str(relative))
    if not isinstance(relative, str) or path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise InputError(f"{manifest}: expected a path below the input folder, found {_short(relative)}")
    if not (root / path).exists():
        raise InputError(f"{manifest}: expected the image at {root / path}, found nothing there")
    return root / path


def _is_image(socket: dict[str, Any]) -> bool:
    """Descriptions differ by the platform's age: a super kind, or flags, or only where the files lie."""
    if "is_image_kind" in socket:
        return socket["is_image_kind"] is True
    if "super_kind" in socket:
        return str(socket["super_kind"]).lower() == "image"
    return str(socket.get("relative_path", "")).startswith("images/")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _scans_below(folder: Path, root: Path) -> tuple[list[Scan], tuple[str, ...]]:
    """Every scan below a folder, named relative to the root, in order; notes on what was passed over.

    Raises InputError on equal names.
    """
    scans, series = [], []
    for place, names in _folders(folder):
        images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        scans += [Scan(_relative(place / _without_suffix(name), root), place / name) for name in images]
        if any(_may_be_dicom(place / name) for name in names if name not in images):
            series.append(place)
    found, notes = _dicom_scans(series, root)
    scans += found
    scans = [_not_the_summary(scan) for scan in scans]
    names_taken = Counter(scan.case_id for scan in scans)
    scans = [
        replace(scan, case_id=_relative(scan.path, root))
        if names_taken[scan.case_id] > 1 and scan.path.is_file()
        else scan
        for scan in scans
    ]
    case_id, count = Counter(scan.case_id for scan in scans).most_common(1)[0] if scans else ("", 0)
    if count > 1:
        raise InputError(f"{root}: expected one scan per name, found {count} named {case_id}")
    return sorted(scans, key=lambda scan: scan.case_id), notes


def _not_the_summary(scan: Scan) -> Scan:
    """Under another name where the scan's folder of results would have that of the summary."""
    first, *rest = scan.case_id.split("/")
    return replace(scan, case_id="/".join([first + "_", *rest])) if first == SUMMARY else scan


def _folders(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from the top down with its files, hidden ones aside. Follows links, into none twice."""
    if top.is_file():
        yield top.parent, [top.name]
        return

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    for current, folders, files in os.walk(top, onerror=fail, followlinks=True):
        real = os.path.realpath(current)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            yield Path(current), sorted(name for name in files if not name.startswith("."))
        seen.add(real)


def _may_be_dicom(path: Path) -> bool:
    """By its name or its first bytes; what cannot be read may be."""
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        return path.suffix.lower() == ".dcm" or is_dicom(beginning(path, 132))
    except (OSError, InputError):
        return True


def _dicom_scans(folders: list[Path], root: Path) -> tuple[list[Scan], tuple[str, ...]]:
    """One scan per series; a folder that cannot be listed is one scan, so that its error is told."""
    scans, notes = [], []
    for folder, found in zip(folders, list_folders(folders), strict=True):
        series = found.get("series", [])
        notes += found.get("notes", [])
        if len(series) > 1:
            scans += [Scan(_relative(folder / _name_of(uid), root), folder, uid) for uid in series]
        elif found.get("scan", True):
            scans.append(Scan(_relative(folder, root), folder))
    return scans, tuple(notes)


def _name_of(uid: str) -> str:
    """A series as the name of a folder. UIDs are digits and dots; a file may hold anything, or nothing."""
    return "".join(c for c in uid if c.isalnum() or c == ".").strip(".") or "no-series-uid"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else root.resolve().name or "scan"


def _without_suffix(name: str) -> str:
    found = [suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(found[0])] if found else name


def points_json(prediction: Prediction) -> dict[str, Any]:
    """The "Multiple points" file. Raises ValueError where the platform would refuse it."""
    return points_file((lesion.type, lesion.point_mm, lesion.probability) for lesion in prediction.lesions)


def points_file(rows: Iterable[tuple[str, Iterable[float], float]]) -> dict[str, Any]:
    """From (name, (x, y, z) in mm, probability), highest probability first. Raises ValueError."""
    points: list[dict[str, Any]] = [
        {"name": name, "point": [float(mm) for mm in place], "probability": float(probability)}
        for name, place, probability in rows
    ]
    for point in points:
        place, probability = point["point"], point["probability"]
        finite = len(place) == 3 and all(map(math.isfinite, place))
        if not finite or not 0 <= probability <= 1 or not isinstance(point["name"], str) or not point["name"]:
            raise ValueError(f"point: expected a name, three finite mm and 0 to 1, found {point}")
    order = [point["probability"] for point in points]
    if order != sorted(order, reverse=True) or len(order) > MOST_POINTS:
        raise ValueError(f"points: expected {MOST_POINTS} at most, the most probable first, found {order}")
    return {
        "type": "Multiple points",
        "version": {"major": 1, "minor": 0},
        "name": "lesions",
        "points": points,
    }


def details_json(
    prediction: Prediction, detector: Detector, read_s: float, read_from: dict[str, Any]
) -> dict[str, Any]:
    """The "Anything" file: what the points file has no room for, in the same order.

    read_s: seconds that reading took. read_from: `fingerprint` of the scan.
    """
    return {
        "points": [_lesion_json(lesion, detector.operating_point) for lesion in prediction.lesions],
        "operating_point": float(detector.operating_point),
        "scan_operating_point": float(detector.scan_operating_point),
        "scan_above_operating_point": bool(prediction.likelihood >= detector.scan_operating_point),
        "timings_s": {
            "read": float(read_s),
            **{stage: float(seconds) for stage, seconds in prediction.timings_s.items()},
        },
        "spacing_mm": float(prediction.spacing_mm),
        "tiles": prediction.tiles,
        "software_version": VERSION,
        "weights_version": detector.weights_version,
        "weights_digest": detector.weights_digest,
        "input": read_from,
        "warnings": list(prediction.warnings),
    }


def _lesion_json(lesion: Lesion, operating_point: float) -> dict[str, Any]:
    lower, upper = lesion.box_mm
    return {
        "box_mm": {"lower": [float(mm) for mm in lower], "upper": [float(mm) for mm in upper]},
        "long_mm": float(lesion.long_mm),
        "short_mm": float(lesion.short_mm),
        "z_extent_mm": float(lesion.z_extent_mm),
        "organ": lesion.organ,
        "type_probabilities": {name: float(value) for name, value in lesion.type_probabilities.items()},
        "above_operating_point": bool(lesion.probability >= operating_point),
    }


def likelihood_json(prediction: Prediction) -> float:
    """The "Float" file. Raises ValueError outside 0 to 1."""
    return probability(prediction.likelihood)


def probability(value: float) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"likelihood: expected 0 to 1, found {value}")
    return float(value)


def fingerprint(scan: Scan) -> dict[str, Any]:
    """Number, bytes and latest change (seconds since 1970) of a scan's files: is it still the same?"""
    if not scan.path.is_dir():
        files = {scan.path}
        if scan.path.suffix.lower() == ".mhd":
            with suppress(InputError):  # which reading tells
                files.add(data_file(scan.path))
    else:
        files = {path for path in scan.path.iterdir() if path.is_file()}
    stats = [path.stat() for path in files]
    return {
        "files": len(stats),
        "bytes": sum(stat.st_size for stat in stats),
        "modified_s": max((stat.st_mtime for stat in stats), default=0.0),
    }


def remove_results(folder: Path, names: FileNames) -> None:
    """Removes the results of earlier scans, in sub-folders too. Raises OutputError."""
    remove_files(folder, (names.points, names.details, names.likelihood, SUMMARY))
