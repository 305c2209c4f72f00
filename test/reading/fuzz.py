"""Mutated files against the reader: `python test/reading/fuzz.py --minutes N [--seed S]`.

Bytes, numbers and lines of headers, and bytes of bodies, are changed in files of all formats, DICOM too, and
each file goes to the child process that process.py reads with, as a scan, a label image, a header or a
folder to list. A child reads one after the other, until one of them ends it. Whatever it does, the answer
has to be voxels or one line that says what is wrong, within 30 s of a processor and the limit of memory.
Prints the counts, the longest answer and the most memory that a child took; exit code 1 where an answer was
of another kind (in capitals), which leaves the file in the folder for temporary files.
"""

import argparse
import collections
import gzip
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import JPEGLSLossless, RLELossless

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from reading.formats import write_enhanced, write_nifti2  # noqa: E402

from helpers import Series, image_of, phantom, write_scan  # noqa: E402
from model.errors import InputError  # noqa: E402
from model.reading import child  # noqa: E402
from model.reading.__main__ import OWN_BYTES  # noqa: E402

MOST_S = 30.0
PATIENCE_S = 600
"""For what waits: on a busy machine, a reader may have little of a processor."""
REUSED = 100
"""Files that a child reads at most, as long as none of them ends it."""
TOKENS = (
    b"-1", b"0", b"0.0", b"1e308", b"nan", b"inf", b"99999999999999999999", b"LIST", b"%n%s",
    b"../../etc/passwd", b"/dev/zero", b"/etc/passwd", b"True", b"cm", b"\0", b"\xff\xff\xff\xff", b"\n",
    b"=", b": ", b"(,,)", b" " * 400,
)  # fmt: skip
NUMBERS = (
    b"-1", b"0", b"1", b"2", b"3", b"4", b"5", b"1.5", b"-0.0", b"1e-30", b"1e308", b"nan", b"65536",
    b"2147483648", b"4294967296", b"18446744073709551616", b"0x10", b"", b"1 1", b"1\\1",
)  # fmt: skip
WHAT = ("scan", "scan", "scan", "labels", "header", "list")


def seeds(folder: Path) -> list[Path]:
    """Sound files of all formats, and folders of slices; of a .mhd, the .raw lies beside it."""
    hu = phantom((6, 24, 24))
    names = ("a.mha", "b.nii", "c.nii.gz", "d.nrrd")
    paths = [write_scan(folder / name, hu) for name in names]
    paths += [write_scan(folder / f"plain_{name}", hu, compress=False) for name in ("a.mha", "d.nrrd")]
    write_scan(folder / "e" / "e.mhd", hu, compress=False)
    paths.append(write_nifti2(folder / "f.nii", image_of(hu)))
    enhanced = write_enhanced(folder / "g.dcm", image_of(hu))
    enhanced.compress(RLELossless)
    enhanced.save_as(folder / "h.dcm")
    for name, syntax in (("series", None), ("series_rle", RLELossless), ("series_jpegls", JPEGLSLossless)):
        for path in Series(hu=hu[:3]).write(folder / name):
            if syntax is not None:
                slice_ = pydicom.dcmread(path)
                slice_.compress(syntax)
                slice_.save_as(path)
    return [
        *paths,
        *(folder / name for name in ("e", "g.dcm", "h.dcm", "series", "series_rle", "series_jpegls")),
    ]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A few changes, most of them near the beginning, where headers are."""
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        reach = len(data) if random.random() < 0.3 else min(len(data), 700)
        at = int(random.integers(0, max(1, reach)))
        kind = random.integers(0, 7)
        if kind == 0:
            data[at : at + 1] = bytes([random.integers(0, 256)])
        elif kind == 1:
            token = TOKENS[random.integers(0, len(TOKENS))]
            data[at : at + len(token)] = token
        elif kind == 2:
            data[at:at] = TOKENS[random.integers(0, len(TOKENS))]
        elif kind == 3:
            del data[at : at + int(random.integers(1, 40))]
        elif kind == 4:
            value = [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000][random.integers(0, 5)]
            data[at : at + 4] = value.to_bytes(4, "little")
        elif kind == 5:
            _other_number(data, at, random)
        else:
            _other_lines(data, at, random)
    return bytes(data)


def _other_number(data: bytearray, at: int, random: np.random.Generator) -> None:
    """Of the first number as text from there on."""
    found = re.compile(rb"-?\d+(\.\d+)?").search(data, at, at + 2000)
    if found:
        data[found.start() : found.end()] = NUMBERS[random.integers(0, len(NUMBERS))]


def _other_lines(data: bytearray, at: int, random: np.random.Generator) -> None:
    """A line is taken out, and put in again elsewhere, or twice."""
    start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
    if not 0 < end - start < 300:
        return
    line = bytes(data[start:end])
    if random.random() < 0.7:
        del data[start:end]
    if random.random() < 0.5:
        to = data.find(b"\n", int(random.integers(0, 400))) + 1
        data[to:to] = line


class Kept:
    """A child process for one file after the other."""

    def __init__(self) -> None:
        self.file = child._nameless()
        self.process = child._start(self.file)
        self.limit = int(self.process.args[-3]) + OWN_BYTES  # type: ignore[index,arg-type]
        self.count = 0

    def seconds(self) -> float:
        """Of a processor that it has taken; 0 once it has ended."""
        try:
            fields = (
                Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            )
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read(self, what: str, path: Path) -> str:
        """The error, or "". Raises InputError where the child ended."""
        request = child._request(what, path, None)
        child._send(self.process, request | {"seconds": request["seconds"] + PATIENCE_S})
        found = child._receive(self.process, path)
        self.count += 1
        if what in ("scan", "labels") and "error" not in found:
            size, kind = found["size"], np.dtype(found["kind"])
            voxels = np.frombuffer(os.pread(self.file, int(np.prod(size)) * kind.itemsize, 0), kind)
            assert voxels.size == np.prod(size), "fewer voxels than told"
            assert what == "labels" or np.isfinite(voxels).all(), "voxels that are not finite"
        if what == "list" and "error" not in found:
            assert sorted(found) == ["notes", "scan", "series"], found
        return str(found.get("error", ""))

    def end(self) -> None:
        child._end(self.process)
        os.close(self.file)


def prepare(seed: Path, work: Path, random: np.random.Generator) -> tuple[Path, Path]:
    """What is given to the reader, and the mutated file of it."""
    path = work / seed.name
    target = path
    if seed.is_dir():
        shutil.copytree(seed, path)
        files = sorted(path.iterdir())
        target = files[random.integers(0, len(files))]
        path = next((file for file in files if file.suffix == ".mhd"), path)
    else:
        shutil.copy(seed, path)
    content = target.read_bytes()
    if content.startswith(b"\x1f\x8b") and random.random() < 0.7:
        target.write_bytes(gzip.compress(mutated(gzip.decompress(content), random), 1))
    else:
        target.write_bytes(mutated(content, random))
    return path, target


def outcome_of(reader: Kept, what: str, path: Path) -> tuple[str, bool]:
    """The outcome in words, in capitals where it is a fault of the reader; whether the child has ended."""
    try:
        text = reader.read(what, path)
    except InputError as error:
        return f"child ended, told: {str(error).rpartition('found ')[2]}", True
    except Exception:  # noqa: BLE001 - all of it is a finding
        traceback.print_exc()
        return "TRACEBACK", True
    if not text:
        return "read", False
    if "\n" in text or "expected" not in text or str(path.parent) not in text:
        return "NO LINE", False
    if "cannot be understood" in text:
        print(text, file=sys.stderr)
        return "EXCEPTION IN A LINE", False
    return "refused", False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    started, longest, limit, reader = time.monotonic(), (0.0, 0.0), sys.maxsize, Kept()
    with tempfile.TemporaryDirectory() as folder:
        files = seeds(Path(folder) / "seeds")
        while time.monotonic() < started + 60 * options.minutes:
            work = Path(tempfile.mkdtemp(dir=folder))
            seed = files[random.integers(0, len(files))]
            path, target = prepare(seed, work, random)
            began, before = time.monotonic(), reader.seconds()
            outcome, ended = outcome_of(reader, WHAT[random.integers(0, len(WHAT))], path)
            seconds = reader.seconds() - before
            longest = max(longest, (seconds, time.monotonic() - began))
            outcome = "TOO LONG" if seconds > MOST_S else outcome
            counts[seed.name, outcome] += 1
            if ended or outcome.isupper():
                keep(target, outcome, sum(counts.values()))
            shutil.rmtree(work)
            limit = min(limit, reader.limit)
            if ended or reader.count >= REUSED:
                reader.end()
                reader = Kept()
    reader.end()
    minutes = (time.monotonic() - started) / 60
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:<14} {outcome:<40} {count}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    most, busy = used.ru_maxrss * 1024, used.ru_utime + used.ru_stime
    print(f"{sum(counts.values())} files in {minutes:.1f} minutes, {busy:.0f} s of a processor in children")
    print(f"the longest took {longest[0]:.1f} s of it, in {longest[1]:.1f} s")
    print(f"most memory of a child: {most / 1e9:.2f} GB; the smallest limit: {limit / 1e9:.2f} GB")
    return int(most > limit or any(outcome.isupper() for _, outcome in counts))


def keep(target: Path, outcome: str, number: int) -> None:
    """A copy of a file that ended a child, or was not answered as it has to be."""
    kept = Path(tempfile.gettempdir()) / f"fuzz_{os.getpid()}_{number}_{target.name}"
    shutil.copy(target, kept)
    print(f"{kept}: {outcome}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
