"""The child process: `python -m model.reading MEMORY_BYTES SECONDS VOXELS_FD`, requests on stdin.

Each request is a line of JSON, answered by a line of JSON on stdout. A request that is not answered ended the
process: by its limit of memory or time, or by a fault of a codec. Voxels go into the file VOXELS_FD, which
the parent has too. Nothing but the answers comes out.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import InputError

OWN_BYTES = 1 << 30
"""Address space of the program and its libraries, most of it never used."""


class Memory:
    """The array that voxels go into, in the file that the parent sees; one at a time."""

    def __init__(self, file: int, most_bytes: int):
        self.file, self.most_bytes = file, most_bytes

    def allocate(self, shape: tuple[int, int, int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """(z, y, x), zero. Raises InputError where it would not fit."""
        count = int(np.prod(shape, dtype=object)) * kind.itemsize
        if count > self.most_bytes:
            raise MemoryError(f"{count / 1e9:.1f} GB")
        os.ftruncate(self.file, count)
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return np.frombuffer(mmap.mmap(self.file, count, flags), kind).reshape(shape)


def limit_memory(most_bytes: int) -> None:
    """More than this cannot be allocated; where the system knows no such limit, there is none."""
    import resource

    limit = min(most_bytes + OWN_BYTES, sys.maxsize)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # shared memory counts as a file
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def answer(request: dict[str, Any], memory: Memory) -> dict[str, Any]:
    """What is to be told of one request. Raises whatever the readers raise."""
    path = Path(os.fsdecode(bytes.fromhex(request["path"])))
    if request["what"] == "list":
        from model.reading.dicom import list_series

        return list_series(path)
    from model.reading import scan

    if request["what"] == "scan":
        image = scan.read_scan(path, request["series"], memory.allocate)
    elif request["what"] == "labels":
        image = scan.read_image(path, memory.allocate, "a label image")
    else:
        header = scan.read_header(path)
        image = scan.Image(header.geometry, None, header.warnings)
    place = image.geometry
    return {
        "size": place.size,
        "spacing_mm": place.spacing_mm,
        "origin_mm": place.origin_mm,
        "direction": place.direction.ravel().tolist(),
        "kind": None if image.voxels is None else image.voxels.dtype.str,
        "warnings": image.warnings,
    }


def reason_of(path: str, error: BaseException, most_bytes: int) -> str:
    """A line on what is wrong with the file, whatever was raised."""
    name = os.fsdecode(bytes.fromhex(path))
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        need = f" ({error})" if str(error) else ""
        limit = f"{most_bytes / 1e9:.1f} GB of memory"
        return f"{name}: expected a scan that {limit} can hold, found a larger one{need}"
    if isinstance(error, OSError) and error.errno == errno.EFBIG:  # shared memory counts as a file
        return (
            f"{name}: expected room for its voxels in shared memory, found a limit of file size (ulimit -f)"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or name}: expected a file that can be read, found: {error.strerror}"
    text = " ".join(str(error).split())[:120]
    return f"{name}: expected a scan, found one that cannot be understood ({type(error).__name__}: {text})"


def main() -> None:
    most_bytes, seconds, file = map(int, sys.argv[1:])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    limit_memory(most_bytes)
    memory = Memory(file, most_bytes)
    for line in sys.stdin:
        request = json.loads(line)
        signal.alarm(seconds + int(request["seconds"]))
        try:
            found = answer(request, memory)
        except Exception as error:  # noqa: BLE001 - hostile files make libraries raise anything
            found = {"error": reason_of(request["path"], error, most_bytes)}
        signal.alarm(0)
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
