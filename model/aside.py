"""Files and folders that are whole or not there: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yields a path beside `path` to write a file or a folder to; at the end that gets its name.

    Makes the folder above. Where the writing fails, nothing of it is left and what was there stays.
    suffix: for writers that choose the format by the end of the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part{suffix}")
    _remove(part)
    try:
        yield part
        os.replace(part, path)
    finally:
        _remove(part)


def write_whole(path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
