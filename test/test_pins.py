"""What the image is built from: pins with hashes, a base by its digest."""

import re
from pathlib import Path

from helpers import ROOT
from resources.pins import lock_of, pins_of


def test_the_lock_holds_the_pins_and_a_hash_for_each() -> None:
    pins = pins_of((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.findall(r"^(\S+)==(\S+) ((?:\\\n +--hash=sha256:[0-9a-f]{64} ?)+)$", lock, re.MULTILINE)
    assert {name: version for name, version, _ in blocks} == pins, "to renew it: python -m resources.pins"
    assert sum(hashes.count("--hash") for _, _, hashes in blocks) == lock.count("--hash")


def test_wheels_for_linux_by_their_content(tmp_path: Path) -> None:
    for name in ("torch-2.0-cp311-cp311-win_amd64", "torch-2.0.1-cp311-cp311-manylinux_2_28_x86_64"):
        (tmp_path / f"{name}.whl").write_bytes(b"another")
    (tmp_path / "torch-2.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of abc, FIPS 180
    _, *lines = lock_of({"torch": "2.0"}, str(tmp_path)).splitlines()
    assert lines == ["torch==2.0 \\", f"    --hash=sha256:{digest}"]


def test_the_base_image_is_pinned_by_its_digest() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert "--require-hashes -r /opt/app/requirements.lock" in text
