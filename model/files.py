"""Files that are whole or not there: written aside, then renamed; several of them all or none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class OutputError(OSError):
    """Results that cannot be written; the run cannot go on, whatever the next scan."""


def remove_files(folder: Path, names: tuple[str, ...]) -> None:
    """Removes the files of these names, in sub-folders too. Raises OutputError."""
    for name in names:
        for path in list(folder.rglob(name)) if folder.is_dir() else []:
            try:
                if path.is_file():
                    path.unlink()
            except OSError as error:
                raise OutputError(error.errno, f"cannot be removed: {error.strerror}", str(path)) from error


def check_writable(folder: Path) -> None:
    """Raises OutputError if no file can be made in the folder, which need not be there. Leaves nothing."""
    probe, made = folder / f".probe.{os.getpid()}.tmp", _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        found = f"expected a folder that can be written to, found: {error.strerror}"
        raise OutputError(error.errno, found, str(folder)) from error
    finally:
        _remove(made)


def _missing(folder: Path) -> list[Path]:
    """The folder and its parents as far as they are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove(folders: list[Path]) -> None:
    for path in folders:
        with suppress(OSError):
            path.rmdir()


def write_files(folder: Path, texts: dict[str, str]) -> None:
    """All of the files or none: until the last one is on the disk, the old ones stay.

    The names are those of the files in the folder, which is made where it is missing. Raises OutputError.
    """
    made = _missing(folder)
    temporaries = {folder / f".{name}.{os.getpid()}.tmp": folder / name for name in texts}
    target = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (temporary, target), text in zip(temporaries.items(), texts.values(), strict=True):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        _replace_all(temporaries)
    except BaseException as error:
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink()
        _remove(made)
        if isinstance(error, OSError):
            raise OutputError(error.errno, f"cannot be written: {error.strerror}", str(target)) from error
        raise


def _replace_all(temporaries: dict[Path, Path]) -> None:
    """Renames are quick; a signal that comes between two of them waits until the set is complete."""
    try:
        for temporary, target in temporaries.items():
            os.replace(temporary, target)
    except SystemExit:
        for temporary, target in temporaries.items():
            if temporary.exists():
                os.replace(temporary, target)
        raise


@contextmanager
def whole(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yields a path beside `path` to write a file or a folder to; at the end that gets its name.

    Makes the folder above. Where the writing fails, nothing of it is left and what was there stays.
    suffix: for writers that choose the format by the end of the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part{suffix}")
    _discard(part)
    try:
        yield part
        os.replace(part, path)
    finally:
        _discard(part)


def write_whole(path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _discard(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
