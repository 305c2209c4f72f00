"""run.sh as a user calls it, with the environment that it has made."""

import subprocess
from pathlib import Path

import pytest

from helpers import write_scan

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(
    not (ROOT / ".venv" / ".installed-requirements.txt").exists(), reason="run.sh has not made .venv here"
)
def test_where_one_scan_of_a_folder_fails_the_others_get_points_and_pages(tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "good.mha")
    (tmp_path / "in" / "bad.mha").write_bytes(b"no scan")
    out = tmp_path / "out"
    done = subprocess.run(
        [ROOT / "run.sh", tmp_path / "in", out, "--review"],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 1
    assert "1 of 2 scans failed" in done.stderr
    assert f"{out}/good/lesion-points.json: " in done.stdout
    assert (out / "good" / "review.html").exists()
    assert (out / "summary.html").exists()
    # a run that ends before any scan shows nothing of the last one
    done = subprocess.run(
        [ROOT / "run.sh", tmp_path / "none", out], capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 1
    assert done.stdout == ""
