"""Writes requirements.lock: the pins of requirements.txt with the SHA-256 of their wheels for linux/amd64.

The image is built from it, and pip refuses what has another hash. Run this after a change of a pin. Of torch
there are the wheels for CPU: the base image with CUDA brings its own.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from model.files import write_whole
from resources.cli import end_with

ROOT = Path(__file__).resolve().parents[1]
INDEX, TORCH = "https://pypi.org/simple", "https://download.pytorch.org/whl/cpu"
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
_LINK = re.compile(r'href="[^"]*?([^"/#]+\.whl)#sha256=([0-9a-f]{64})"')
_WHEEL = re.compile(r"-(?:py\d[\w.]*-none-any|cp3\d+-(?:cp3\d+|abi3)-[\w.]*manylinux[\w.]*_x86_64)\.whl")


def pins_of(text: str) -> dict[str, str]:
    """The version of each package of a requirements file. Raises ValueError on a line that is no pin."""
    pins = {}
    for line in text.splitlines():
        stated = line.partition("#")[0].strip()
        found = _PIN.fullmatch(stated)
        if found:
            pins[found[1]] = found[2]
        elif stated:
            raise ValueError(f"requirements.txt: expected NAME==VERSION, found {stated}")
    return pins


def wheels_at(place: str, name: str) -> dict[str, str]:
    """The SHA-256 of each wheel of a package, by file name: on an index, or in a folder of wheels."""
    if not place.startswith("https://"):
        files = Path(place).glob("*.whl")
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    normal = re.sub(r"[-_.]+", "-", name).lower()
    try:
        with urllib.request.urlopen(f"{place.rstrip('/')}/{normal}/", timeout=60) as answer:
            page = answer.read().decode("utf-8")
    except urllib.error.HTTPError as error:
        if error.code in (403, 404):  # not on this index
            return {}
        raise
    except urllib.error.URLError as error:
        raise ValueError(f"{place}: expected an index of packages, found {error.reason}") from None
    return {urllib.parse.unquote(file): digest for file, digest in _LINK.findall(page)}


def lock_of(pins: dict[str, str], torch: str) -> str:
    """The text of requirements.lock; torch: where its wheels are. Raises ValueError where a pin has none."""
    lines = ["# Written by `python -m resources.pins`: wheels of requirements.txt for linux/amd64."]
    for name, version in pins.items():
        place = torch if name == "torch" else INDEX
        found = wheels_at(place, name)
        known = re.sub("[-_.]+", "[-_.]", name)
        start = re.compile(rf"{known}-{re.escape(version)}(?:\+cpu)?-", re.IGNORECASE)
        digests = sorted(d for file, d in found.items() if start.match(file) and _WHEEL.search(file))
        if not digests:
            raise ValueError(f"{name} {version}: expected a wheel at {place}, found none")
        lines += [f"{name}=={version} \\", *(f"    --hash=sha256:{digest} \\" for digest in digests)]
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 on an error."""
    parser = argparse.ArgumentParser(prog="python -m resources.pins", description=__doc__)
    parser.add_argument("--torch", default=TORCH, help=f"an index, or a folder of wheels (default: {TORCH})")
    parser.add_argument("--out", type=Path, default=ROOT / "requirements.lock")
    options = parser.parse_args(arguments)
    try:
        pins = pins_of((ROOT / "requirements.txt").read_text(encoding="utf-8"))
        write_whole(options.out, lock_of(pins, options.torch))
    except (ValueError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
