"""Which scans there are to do: the platform's sockets, a folder of scans, or one scan.

/input holds inputs.json, which describes the sockets, and one folder per image under images/. Knows no
network.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from model.errors import InputError, one_line
from model.outputs import SUMMARY
from model.reading import metaimage, nrrd
from model.reading.child import list_folders
from model.reading.header import SUFFIXES, beginning, check_regular, is_dicom

_DATA_FILES = {".mhd": metaimage.data_file, ".nhdr": nrrd.data_file}
IMAGE_SUFFIXES = tuple(sorted(end for kind, ends in SUFFIXES.items() if kind != "DICOM" for end in ends))


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
    check_regular(manifest)
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
    series_scans, notes = _dicom_scans(series, root)
    scans += series_scans
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
    """One scan per series; a folder that cannot be listed is one scan, so that its error is reported."""
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
    suffixes = [suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(suffixes[0])] if suffixes else name


def fingerprint(scan: Scan) -> dict[str, Any]:
    """Number, bytes and latest change (seconds since 1970) of a scan's files: is it still the same?"""
    if not scan.path.is_dir():
        files = {scan.path}
        data_file = _DATA_FILES.get(scan.path.suffix.lower())
        if data_file:
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
