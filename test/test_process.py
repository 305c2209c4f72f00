"""process.py from outside: scans in files, results in files, reasons on stderr."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import process
from helpers import (
    ROOT,
    Series,
    command_of,
    environment,
    files_below,
    last_line,
    phantom,
    read_results,
    run_process,
    summary_of,
    write_large,
    write_scan,
)
from model.outputs import VERSION

PRIVATE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec")
"""A shell with mounts of its own."""


def can_mount() -> bool:
    try:
        return (
            subprocess.run(
                [*PRIVATE, "mount -t tmpfs none /tmp"], capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mounts of one's own (unshare) here")


# As the platform calls it, and as a person does.


def test_a_case_of_the_platform(tmp_path: Path, weights: Path) -> None:
    """inputs.json behind a link, other sockets, names of one's own; nothing but the three files."""
    case = tmp_path / "case"
    write_scan(case / "images" / "ct" / "1.mha")
    write_scan(case / "images" / "pet" / "2.mha")
    socket = {"slug": "ct", "super_kind": "Image", "relative_path": "images/ct"}
    age = {"slug": "age", "super_kind": "Value", "relative_path": "age.json"}
    (case / "inputs.json").write_text(
        json.dumps([{"socket": age, "value": 63}, {"socket": socket}]), encoding="utf-8"
    )
    (tmp_path / "input").symlink_to(case)
    out = tmp_path / "out"
    out.mkdir()
    before = files_below(case)
    result = run_process("--input", tmp_path / "input", "--output", out, "--weights", weights)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert re.match(r"images/ct/1: done in [\d.]+ s: \d+ points, \d+ above", result.stdout)
    assert "\x1b" not in result.stdout
    points, details, likelihood = read_results(out)
    assert len(points["points"]) > 5
    assert 0 < likelihood < 1
    assert details["software_version"] == VERSION
    assert details["weights_version"] == "small"
    assert details["warnings"] == []
    assert sorted(files_below(out)) == [
        "lesion-details.json",
        "lesion-points.json",
        "metastasis-likelihood.json",
    ]
    assert files_below(case) == before


def test_a_folder_of_scans_on_a_terminal(tmp_path: Path, weights: Path) -> None:
    """Some fail: they are named with their reason, the others are finished. A bar shows the progress."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_scan(scans / "a.mha")
    (scans / "b.mha").write_bytes(b"no image")
    write_scan(scans / "deep" / "c.nii.gz", (phantom((30, 80, 96)) + 1024).astype(np.uint16))
    Series().write(scans / "d")
    main, terminal = pty.openpty()
    command = command_of("--input", scans, "--output", out, "--weights", weights)
    with subprocess.Popen(
        command, stdout=terminal, stderr=subprocess.PIPE, env=environment(), encoding="utf-8"
    ) as run:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(main, 65536):
                shown += part
        except OSError:
            pass  # the other end was closed
        assert run.stderr is not None
        text = run.stderr.read()
    os.close(main)
    assert run.returncode == 1
    reason = "b.mha: expected a CT image, found: no image format that is known"
    assert last_line(text).startswith(
        f"error: 1 of 4 scans failed, see {out / 'summary.csv'}; the first: b: "
    )
    assert last_line(text).endswith(reason)
    assert b"\x1b[" in shown
    assert b"100%" in shown
    rows = summary_of(out)
    assert [(name, row["status"]) for name, row in rows.items()] == [
        ("a", "done"), ("b", "failed"), ("d", "done"), ("deep/c", "done"),
    ]  # fmt: skip
    assert rows["b"]["error"].endswith(reason)
    assert rows["b"]["lesions"] == rows["b"]["seconds"] == ""
    for case_id in ("a", "d", "deep/c"):
        points, details, likelihood = read_results(out / case_id)
        assert int(rows[case_id]["lesions"]) == len(points["points"])
        assert float(rows[case_id]["likelihood"]) == likelihood
    assert details["warnings"][0].startswith("unsigned values: 1024 subtracted")
    assert not (out / "b").exists()


# Output that cannot be written.


@needs_mounts
def test_an_output_folder_that_is_read_only(tmp_path: Path, weights: Path) -> None:
    """Told before the weights are loaded; no torch is needed for it."""
    out = tmp_path / "out"
    out.mkdir()
    prefix = (*PRIVATE, 'mount -t tmpfs -o ro none "$0"; exec "$@"', str(out))
    scan = write_scan(tmp_path / "a.mha")
    result = run_process("--input", scan, "--output", out, "--weights", weights, prefix=prefix)
    assert result.returncode == 1
    assert last_line(result.stderr) == (
        f"error: {out}: expected a folder that can be written to, found: Read-only file system"
    )


@pytest.fixture(scope="module")
def old_results(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> tuple[Path, Path]:
    """A scan, and its results by an older version."""
    folder = tmp_path_factory.mktemp("old")
    scan, out = write_scan(folder / "a.mha"), folder / "out"
    assert process.main(["--input", str(scan), "--output", str(out), "--weights", str(weights)]) == 0
    for path in out.iterdir():
        path.write_bytes(path.read_bytes().replace(b'"lesions"', b'"by an older version"'))
    return scan, out


@needs_mounts
def test_a_disk_that_is_full_keeps_the_old_results(
    tmp_path: Path, weights: Path, old_results: tuple[Path, Path]
) -> None:
    scan, old = old_results
    disk, after = tmp_path / "disk", tmp_path / "after"
    disk.mkdir()
    pages = sum(-(-path.stat().st_size // 4096) for path in old.iterdir())
    pages += -(-(old / "lesion-points.json").stat().st_size // 4096)  # but none for the details
    script = (
        f'mount -t tmpfs -o size={4 * pages}k none "{disk}"; cp -a "{old}/." "{disk}"; '
        f'"$@" || code=$?; cp -a "{disk}" "{after}"; exit $code'
    )
    prefix = (*PRIVATE, script, "sh")
    result = run_process("--input", scan, "--output", disk, "--weights", weights, prefix=prefix)
    assert result.returncode == 1
    reason = rf"error: {disk}/lesion-\w+\.json: cannot be written: No space left on device"
    assert re.fullmatch(reason, last_line(result.stderr))
    assert files_below(after) == files_below(old)


def test_a_file_that_may_not_grow_keeps_the_old_results(
    tmp_path: Path, weights: Path, old_results: tuple[Path, Path]
) -> None:
    """The points fit, the details do not; in a folder of scans, the run ends there."""
    scan, old = old_results
    shutil.copytree(old, tmp_path / "out" / "a")
    (tmp_path / "scans").mkdir()
    for name in "ab":
        shutil.copy(scan, tmp_path / "scans" / f"{name}.mha")
    size = (old / "lesion-points.json").stat().st_size
    assert size + 1024 < (old / "lesion-details.json").stat().st_size
    prefix = ("sh", "-c", f'ulimit -S -f {size // 512 + 1}; exec "$@"', "sh")
    options = ("--input", tmp_path / "scans", "--output", tmp_path / "out", "--weights", weights)
    result = run_process(*options, prefix=prefix)
    assert result.returncode == 1
    target = tmp_path / "out" / "a" / "lesion-details.json"
    assert last_line(result.stderr) == f"error: {target}: cannot be written: File too large"
    assert files_below(tmp_path / "out") == {f"a/{name}": text for name, text in files_below(old).items()}


def test_a_limit_of_file_size_that_holds_for_the_reader_too(tmp_path: Path, weights: Path) -> None:
    """A soft one, as above, the reader lifts; a hard one leaves no room for the voxels, 61 kB."""
    prefix = ("sh", "-c", 'ulimit -f 40; exec "$@"', "sh")
    scan = write_scan(tmp_path / "a.mha")
    result = run_process("--input", scan, "--output", tmp_path / "out", "--weights", weights, prefix=prefix)
    assert result.returncode == 1
    expected = "expected room for its voxels in shared memory, found a limit of file size (ulimit -f)"
    assert last_line(result.stderr) == f"error: {scan}: {expected}"


# Ended from outside.


def start(*options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_of(*options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    )


def test_ended_in_the_middle_and_started_again(tmp_path: Path, slow_weights: Path) -> None:
    """By SIGTERM: no part of a result, and the reason. By SIGKILL: what was done stays done."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_scan(scans / "a.mha")
    write_large(scans / "b.mha")
    options = ("--input", scans, "--output", out, "--weights", slow_weights)
    complete = {
        f"a/{name}" for name in ("lesion-details.json", "lesion-points.json", "metastasis-likelihood.json")
    }
    for number, first in ((signal.SIGTERM, "a: done"), (signal.SIGKILL, "a: skipped")):
        with start(*options) as run:
            assert run.stdout is not None
            assert run.stdout.readline().startswith(first)
            run.send_signal(number)
            _, error = run.communicate(timeout=600)
        if number == signal.SIGTERM:
            assert run.returncode == 128 + number
            assert last_line(error) == "error: ended by SIGTERM"
        assert set(files_below(out)) == complete | {"summary.csv"}
        assert list(summary_of(out)) == ["a"]
        assert not (out / "b").exists()
    write_scan(scans / "b.mha")
    result = run_process(*options)
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in summary_of(out).values()] == ["skipped", "done"]
    read_results(out / "b")


def test_starts_from_any_folder_and_without_a_cache(tmp_path: Path) -> None:
    """As in the container: a file system that is read-only, no home."""
    command = [sys.executable, "-B", str(ROOT / "process.py"), "--version"]
    result = subprocess.run(
        command, cwd="/", env={"PATH": ""}, capture_output=True, encoding="utf-8", check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{VERSION}\n", "")
