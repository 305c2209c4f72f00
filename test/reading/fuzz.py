"""Mutated files against the reader: `python test/reading/fuzz.py --minutes N [--seed S]`.

Bytes of headers and bodies of all formats are changed, DICOM too, and each file goes to the child process
that process.py reads with. Whatever it does, the answer has to be voxels or one line that says what is wrong,
within 30 s and the limit of memory. Prints the counts; exit code 1 where an answer was of another kind.
"""

import argparse
import collections
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from helpers import Series, phantom, write_scan  # noqa: E402
from model.errors import InputError  # noqa: E402
from model.reading import child  # noqa: E402

MOST_S = 30.0
TOKENS = (
    b"-1", b"0", b"0.0", b"1e308", b"nan", b"inf", b"99999999999999999999", b"LIST", b"%n%s",
    b"../../etc/passwd", b"/dev/zero", b"/etc/passwd", b"True", b"cm", b"\0", b"\xff\xff\xff\xff", b"\n",
    b"=", b": ", b"(,,)", b" " * 400,
)  # fmt: skip


def seeds(folder: Path) -> list[Path]:
    """Sound files of all formats, and a folder of slices."""
    names = ("a.mha", "b.nii", "c.nii.gz", "d.nrrd")
    paths = [write_scan(folder / name) for name in names]
    paths += [write_scan(folder / f"plain_{name}", compress=False) for name in ("a.mha", "d.nrrd")]
    Series(hu=phantom((4, 24, 24))).write(folder / "series")
    return [*paths, folder / "series"]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A few changes, most of them near the beginning, where headers are."""
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        reach = len(data) if random.random() < 0.3 else min(len(data), 700)
        at = int(random.integers(0, max(1, reach)))
        kind = random.integers(0, 5)
        if kind == 0:
            data[at : at + 1] = bytes([random.integers(0, 256)])
        elif kind == 1:
            token = TOKENS[random.integers(0, len(TOKENS))]
            data[at : at + len(token)] = token
        elif kind == 2:
            data[at:at] = TOKENS[random.integers(0, len(TOKENS))]
        elif kind == 3:
            del data[at : at + int(random.integers(1, 40))]
        else:
            value = [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000][random.integers(0, 5)]
            data[at : at + 4] = value.to_bytes(4, "little")
    return bytes(data)


def try_once(seed: Path, work: Path, random: np.random.Generator) -> str:
    """The outcome for one mutated file: read, refused, or what is wrong with the reader."""
    path = work / seed.name
    if seed.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(seed, path)
        files = sorted(path.iterdir())
        target = files[random.integers(0, len(files))]
    else:
        target = path
    source = target if seed.is_dir() else seed
    target.write_bytes(mutated(source.read_bytes(), random))
    started = time.monotonic()
    try:
        answer = child.read("scan", path)
        outcome = "read"
        assert answer.voxels is not None
        if not np.isfinite(answer.voxels).all():
            outcome = "NOT FINITE"
    except InputError as error:
        text = str(error)
        outcome = "refused" if "\n" not in text and "expected" in text and str(path) in text else "NO LINE"
        if "ended its reader" in text or "takes more than" in text:
            outcome = "reader ended, told in a line"
    if time.monotonic() - started > MOST_S:
        outcome = "TOO LONG"
    if outcome.isupper():
        shutil.copy(target, Path(tempfile.gettempdir()) / f"fuzz_{os.getpid()}_{target.name}")
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        files = seeds(Path(folder) / "seeds")
        work = Path(folder) / "work"
        work.mkdir()
        while time.monotonic() < end:
            seed = files[random.integers(0, len(files))]
            counts[seed.name, try_once(seed, work, random)] += 1
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:<14} {outcome:<30} {count}")
    print(f"{sum(counts.values())} files")
    return int(any(outcome.isupper() for _, outcome in counts))


if __name__ == "__main__":
    sys.exit(main())
