"""Names and texts that a terminal, a spreadsheet or a chart would take for more than text."""

import csv
import io
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import process
import resources.evaluation.figures  # noqa: F401 - which sets how texts are drawn
from helpers import files_below, last_line, summary_of, write_scan
from model.errors import one_line, printable
from model.files import write_files
from model.inputs import find_inputs
from model.outputs import SUMMARY
from model.run import Outcome, write_summary

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")')


def detect(folder: Path, weights: Path) -> int:
    """process.py from `in` to `out`; its exit code."""
    options = ("--device", "cpu", "--weights", weights, "--input", folder / "in", "--output", folder / "out")
    return process.main([str(option) for option in options])


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    write_summary(tmp_path, [Outcome(text, "failed", error=text), Outcome("a=1", "done", 1, 0, 0.5, -1.0)])
    rows = list(csv.reader(io.StringIO((tmp_path / SUMMARY).read_text(encoding="utf-8"))))
    assert rows[1] == [f"'{text}", "failed", "", "", "", "", f"'{text}"]
    assert rows[2] == ["a=1", "done", "1", "0", "0.5", "-1.0", ""]


def run(folder: Path, weights: Path) -> int:
    """The exit code of process.py on folder/in, its results in folder/out."""
    options = ("--device", "cpu", "--weights", weights, "--input", folder / "in", "--output", folder / "out")
    return process.main([str(option) for option in options])


def test_control_characters_do_not_reach_the_terminal(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in progress nor in an error; the results are where the name says."""
    name, bad = "a\x1b]0;title\x07\x9b2J\u202e", "b\x1b[2K\r"
    write_scan(tmp_path / "in" / "plain.mha").rename(tmp_path / "in" / f"{name}.mha")
    (tmp_path / "in" / f"{bad}.mha").write_bytes(b"no image")
    assert run(tmp_path, weights) == 1
    shown = "".join(capfd.readouterr())
    assert "a\\x1b]0;title\\x07\\x9b2J\\u202e: done in" in shown
    assert "b\\x1b[2K\\r: failed: " in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert f"{name}/lesion-points.json" in files_below(tmp_path / "out")


def test_a_data_file_whose_name_is_no_text(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The header names its voxels with a byte that is no UTF-8; there is no such file."""
    scan = write_scan(tmp_path / "in" / "a.mha", compress=False)
    header, _ = scan.read_bytes().split(b"ElementDataFile = LOCAL")
    scan.write_bytes(header + b"ElementDataFile = b\x80.raw\n")
    assert run(tmp_path, weights) == 1
    shown = "".join(capfd.readouterr())
    assert "b\\udc80.raw, found no such file" in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_printable_keeps_what_people_read() -> None:
    assert printable("Größe 3 × 4, 胸部") == "Größe 3 × 4, 胸部"
    assert printable("a\nb\x7f" + os.fsdecode(b"\xff")) == "a\\nb\\x7f\\udcff"
    assert (
        one_line(OSError(28, "No space left on device", "/a\x1b/b")) == "/a\\x1b/b: No space left on device"
    )


def test_a_scan_that_is_named_as_the_summary(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("summary.csv.mha", "b.mha"):
        write_scan(tmp_path / "in" / name)
    (tmp_path / "in" / "summary.csv").mkdir()
    write_scan(tmp_path / "in" / "summary.csv" / "c.mha")
    cases = [scan.case_id for scan in find_inputs(tmp_path / "in").scans]
    assert sorted(cases) == ["b", "summary.csv_", "summary.csv_/c"]
    assert run(tmp_path, weights) == 0
    assert {row["status"] for row in summary_of(tmp_path / "out").values()} == {"done"}


def test_a_dollar_is_a_dollar_in_a_chart() -> None:
    figure = Figure()
    figure.text(0, 0, "run $x_{$ of {today}")
    figure.savefig(io.BytesIO(), format="svg")


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / f".a.json.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_files(tmp_path, {"a.json": "x" * 100_000})
    assert one_line(caught.value) == f"{tmp_path / 'a.json'}: cannot be written: No space left on device"
    assert files_below(tmp_path) == {}
    assert last_line(one_line(caught.value)) == one_line(caught.value)
