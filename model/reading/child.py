"""Files to voxels in a child process: whatever a file does to its reader, it is a line for that file.

The child has a limit of memory, taken from the machine's, and one of time, taken from the file's size. Its
voxels come back through shared memory that has no name and no place in a file system. A child is started for
each scan; `start_reading` lets other work be done meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.geometry import Geometry

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 25
BYTES_PER_SECOND = 2e6
"""A file is given 25 s, and a second more for each of so many bytes."""
SHARE_OF_MEMORY = 0.6
"""Of what is free: the rest is for the network."""
LEAST_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the child found: place and voxels (z, y, x), None of a header; what had to be assumed."""

    geometry: Geometry
    voxels: npt.NDArray[Any] | None
    warnings: tuple[str, ...]


class Reading:
    """One file or series that a child reads. A context: it ends the child where it is still at work."""

    def __init__(self, what: str, path: Path, series: str | None = None):
        self.path = path
        self._file = _nameless()
        self._child = _start(self._file)
        _send(self._child, _request(what, path, series))

    def result(self) -> Answer:
        """Waits for the child. Raises InputError."""
        with self:
            found = _receive(self._child, self.path)
            if "error" in found:
                raise InputError(found["error"])
            size, kind = tuple(found["size"]), found["kind"]
            direction = np.array(found["direction"]).reshape(3, 3)
            geometry = Geometry(size, tuple(found["spacing_mm"]), tuple(found["origin_mm"]), direction)
            voxels = None if kind is None else self._voxels(size, np.dtype(kind))
            return Answer(geometry, voxels, tuple(found["warnings"]))

    def _voxels(self, size: tuple[int, int, int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """The shared memory as an array, which keeps it as long as it or a view of it is in use."""
        count = int(np.prod(size, dtype=np.int64)) * kind.itemsize
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        return np.frombuffer(mmap.mmap(self._file, count, flags), kind).reshape(size[::-1])

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _end(self._child)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read(what: str, path: Path, series: str | None = None) -> Answer:
    """what: "scan" (HU, checked), "labels" (any values) or "header" (no voxels). Raises InputError."""
    return Reading(what, path, series).result()


def list_folders(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """For each folder what `model.reading.dicom.list_series` says, or {"error": a line}.

    One child lists them all; where a folder ends it, another goes on with the next.
    """
    waiting = list(folders)
    while waiting:
        file = _nameless()
        child = _start(file)
        try:
            while waiting:
                folder = waiting.pop(0)
                _send(child, _request("list", folder, None))
                try:
                    found = _receive(child, folder)
                except InputError as error:
                    yield {"error": str(error)}
                    break
                yield found
        finally:
            _end(child)
            os.close(file)


def memory_limit() -> int:
    """Bytes that a child may use: a share of what is free here, in the cgroup too."""
    free = [_memory_free(), _cgroup_free()]
    known = [count for count in free if count is not None]
    return max(LEAST_BYTES, int(SHARE_OF_MEMORY * min(known))) if known else sys.maxsize


def _memory_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _cgroup_free() -> int | None:
    """What the limits of cgroups, version 2 or 1, leave; None without any. Cached files count as free."""
    found = []
    for folder, most, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit, now = (int(Path(folder, name).read_text(encoding="ascii")) for name in (most, used))
            stat = dict(line.split() for line in Path(folder, "memory.stat").read_text("ascii").splitlines())
        except (OSError, ValueError):
            continue
        found.append(limit - now + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0)))
    return min(found, default=None)


def _nameless() -> int:
    """A file without a name, in memory where the system knows that: /dev/shm may be too small."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("voxels", 0)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _start(file: int) -> subprocess.Popen[bytes]:
    limit = memory_limit()
    command = [sys.executable, "-P", "-m", "model.reading", str(limit), str(SECONDS), str(file)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"), "1")
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | one | {"PYTHONPATH": paths},
        pass_fds=(file,),
    )


def _request(what: str, path: Path, series: str | None) -> dict[str, Any]:
    """Seconds beyond the usual by the bytes to be read; a name need not be text."""
    try:
        files = list(path.iterdir()) if path.is_dir() else [path]
        count = sum(file.stat().st_size for file in files)
    except OSError:
        count = 0
    seconds = int(count / BYTES_PER_SECOND)
    return {"what": what, "path": os.fsencode(path).hex(), "series": series, "seconds": seconds}


def _send(child: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it has ended, which `_receive` tells
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()


def _receive(child: subprocess.Popen[bytes], path: Path) -> dict[str, Any]:
    """The next answer. Raises InputError where the child ended without one."""
    output: IO[bytes] | None = child.stdout
    assert output is not None
    line = output.readline()
    if line.endswith(b"\n"):
        answer: dict[str, Any] = json.loads(line)
        return answer
    code = child.wait()
    if code == -signal.SIGALRM:
        found = f"one that takes more than {SECONDS} s"
    elif code == -signal.SIGKILL:
        found = "one that ended its reader (out of memory?)"
    elif code < 0:
        found = f"one that ended its reader by {signal.Signals(-code).name}"
    else:
        found = f"one that ended its reader with exit code {code}"
    raise InputError(f"{path}: expected a scan that can be read, found {found}")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
