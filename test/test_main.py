"""process.py's main function, called in one process: bad input, starting again, options, weights."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import process
from helpers import (
    SMALL,
    Series,
    files_below,
    image_of,
    last_line,
    lively,
    phantom,
    read_results,
    summary_of,
    write_scan,
    write_weights,
)
from model.config import DetectorConfig
from model.detector import Detector, save_weights

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], weights: Path) -> Run:
    """process.main with exit code, stdout and the last line of stderr."""

    def call(*options: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = process.main(["--device", "cpu", "--weights", str(weights), *map(str, options)])
        captured = capfd.readouterr()
        return code, captured.out, last_line(captured.err)

    return call


def header(old: bytes, new: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = write_scan(path, compress=False).read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return write


def truncated(path: Path) -> None:
    write_scan(path)
    path.write_bytes(path.read_bytes()[:-1000])


def image(change: Callable[[sitk.Image], sitk.Image]) -> Callable[[Path], None]:
    return lambda path: sitk.WriteImage(change(image_of(phantom())), str(path))


def voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda path: write_scan(path, change(phantom())) and None


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no image": (lambda path: path.write_bytes(b"hello") and None, "no image format that is known"),
    "truncated": (truncated, "the file is truncated"),
    "2D": (image(lambda scan: scan[:, :, 3]), "expected 3 dimensions, found 2"),
    "4D": (image(lambda scan: sitk.JoinSeries([scan, scan])), "expected 3 dimensions, found 4"),
    "vectors": (image(lambda scan: sitk.Compose([scan, scan])), "expected one value per voxel, found 2"),
    "one slice": (image(lambda scan: scan[:, :, :1]), "expected at least two slices, rows and columns"),
    "zero spacing": (header(b" 2.5\nDim", b" 0\nDim"), "expected a positive spacing"),
    "negative spacing": (header(b" 2.5\nDim", b" -2\nDim"), "expected a positive spacing"),
    "NaN spacing": (header(b" 2.5\nDim", b" nan\nDim"), "expected 3 finite numbers as ElementSpacing"),
    "singular direction": (header(b"0 0 1\n", b"0 0 0\n"), "expected a direction matrix of orthogonal"),
    "NaN": (voxels(lambda hu: np.where(hu > 0, np.nan, hu)), "found NaN or infinity"),
    "infinity": (voxels(lambda hu: np.where(hu > 0, np.inf, hu)), "found NaN or infinity"),
    "8 bits": (voxels(lambda hu: (hu // 16).astype(np.uint8)), "found voxels of type uint8"),
    "MR": (voxels(lambda hu: np.abs(hu)), "expected CT values in HU, found values from 8"),
    "unsigned MR": (voxels(lambda hu: np.abs(hu).astype(np.uint16)), "found unsigned values from 8"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_told_in_a_line_and_leaves_nothing(tmp_path: Path, run: Run, kind: str) -> None:
    make, reason = BAD[kind]
    scan, out = tmp_path / "images" / "ct" / "1.mha", tmp_path / "out"
    scan.parent.mkdir(parents=True)
    make(scan)
    code, _, error = run("--input", tmp_path, "--output", out)
    assert code == 1
    assert error.startswith(f"error: {scan}: expected")
    assert "found" in error
    assert reason in error
    assert not out.exists()


def test_input_that_is_not_there_or_empty(tmp_path: Path, run: Run) -> None:
    for folder, found in ((tmp_path / "nowhere", "nothing"), (tmp_path, "an empty folder")):
        code, _, error = run("--input", folder, "--output", tmp_path / "out")
        assert code == 1
        assert error.startswith(f"error: {folder}: expected a")
        assert error.endswith(f"found {found}")
    assert not (tmp_path / "out").exists()


def test_an_error_keeps_the_results_that_are_there(tmp_path: Path, run: Run) -> None:
    scan, out = write_scan(tmp_path / "a.mha"), tmp_path / "out"
    assert run("--input", scan, "--output", out)[0] == 0
    before = files_below(out)
    truncated(scan)
    assert run("--input", scan, "--output", out)[0] == 1
    assert files_below(out) == before


def test_a_second_start_skips_what_is_done_and_redoes_what_is_not(
    tmp_path: Path, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in "abcde":
        write_scan(scans / f"{name}.mha")
    options = ("--input", scans, "--output", out)

    def statuses(*more: object) -> str:
        code, shown, error = run(*options, *more)
        assert (code, error) == (0, "")
        assert shown.endswith(f"5 scans, results in {out}\n")
        return " ".join(row["status"] for row in summary_of(out).values())

    assert statuses() == "done done done done done"
    before = files_below(out / "a")
    (out / "b" / "lesion-points.json").write_text('{"points": []}', encoding="utf-8")
    (out / "c" / "metastasis-likelihood.json").unlink()
    write_scan(scans / "d.mha", phantom(seed=9))
    details = json.loads((out / "e" / "lesion-details.json").read_text(encoding="utf-8"))
    (out / "e" / "lesion-details.json").write_text(
        json.dumps(details | {"software_version": "0"}), encoding="utf-8"
    )
    assert statuses() == "skipped done done done done"
    assert statuses() == "skipped skipped skipped skipped skipped"
    assert files_below(out / "a") == before
    others = tmp_path_factory.mktemp("others")
    save_weights(others / "small.safetensors", lively(seed=5), SMALL)  # the name of the others
    assert statuses("--weights", others) == "done done done done done"


def test_odd_names(tmp_path: Path, run: Run) -> None:
    """Those that are not UTF-8 too; a cell that a spreadsheet would take for a formula is marked as text."""
    scans, out, bad = tmp_path / "scans", tmp_path / "out", os.fsdecode(b"\xff")
    names = ("-x", "a b,c", "ä", "two\nlines")
    scans.mkdir()
    for name in (*names, bad):
        write_scan(tmp_path / "plain.mha").rename(scans / f"{name}.mha")
    for folder in (scans / f"{bad} folder", scans / "series"):
        Series().write(tmp_path / "plain")
        (tmp_path / "plain").rename(folder)
    (scans / "series" / "slice000.dcm").rename(scans / "series" / bad)
    code, _, error = run("--input", scans, "--output", out)
    assert (code, error) == (0, "")
    rows = summary_of(out)
    assert {name for name, row in rows.items() if row["status"] == "done"} == {
        "'-x", *names[1:], "\\udcff", "\\udcff folder", "series",
    }  # fmt: skip
    read_results(out / "-x")


def test_an_error_nobody_foresaw_ends_the_scan_not_the_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As torch's, when the memory does not suffice: a RuntimeError."""
    write_scan(tmp_path / "scans" / "a.mha", phantom((30, 40, 48)))
    write_scan(tmp_path / "scans" / "b.mha")
    predict = Detector.predict

    def small_only(detector: Detector, volume: Any) -> Any:
        if volume.hu.shape[0] == 30:
            raise RuntimeError("not enough memory:\nyou tried to allocate 9 bytes")
        return predict(detector, volume)

    monkeypatch.setattr(Detector, "predict", small_only)
    code, _, error = run("--input", tmp_path / "scans", "--output", tmp_path / "out")
    reason = "RuntimeError: not enough memory: you tried to allocate 9 bytes"
    assert code == 1
    assert error.endswith(f"the first: a: {reason}")
    rows = summary_of(tmp_path / "out")
    assert [(row["status"], row["error"]) for row in rows.values()] == [("failed", reason), ("done", "")]
    code, _, error = run("--input", tmp_path / "scans" / "a.mha", "--output", tmp_path / "one")
    assert (code, error) == (1, f"error: {reason}")


# Options.


def test_every_option_has_a_variable(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {
        "INPUT": write_scan(tmp_path / "a.mha"), "OUTPUT": tmp_path / "out", "WEIGHTS": weights,
        "DEVICE": "cpu", "MEMORY_GB": "0.5",
        "POINTS_NAME": "p.json", "DETAILS_NAME": "d.json", "LIKELIHOOD_NAME": "l.json",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"LESION_{name}", str(value))
    assert process.main([]) == 0
    assert sorted(files_below(tmp_path / "out")) == ["d.json", "l.json", "p.json"]
    assert process.main(["--output", str(tmp_path / "other"), "--points-name", "q.json"]) == 0
    assert sorted(files_below(tmp_path / "other")) == ["d.json", "l.json", "q.json"]


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (["--port", "65536"], {}, "argument --port: expected 0 (any that is free) to 65535, found '65536'"),
        (
            [],
            {"LESION_PORT": "http"},
            "argument --port: expected 0 (any that is free) to 65535, found 'http'",
        ),
        (["--device", "tpu"], {}, "argument --device: expected auto, cpu or cuda, found 'tpu'"),
        (["--memory-gb", "nan"], {}, "argument --memory-gb: expected a positive number, found 'nan'"),
        ([], {"LESION_MEMORY_GB": "-1"}, "argument --memory-gb: expected a positive number, found '-1'"),
        (["--points-name", "../p.json"], {}, "expected a file name that ends in .json, found '../p.json'"),
        (["--points-name", "p.txt"], {}, "expected a file name that ends in .json, found 'p.txt'"),
        (["--points-name", "lesion-details.json"], {}, "expected three different file names"),
        (["--inputs", "x"], {}, "unrecognized arguments"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str],
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        process.main(options)
    assert caught.value.code == 2
    assert message in last_line(capsys.readouterr().err)


# Weights.


def test_weights_that_cannot_be_used(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, out, folder = write_scan(tmp_path / "a.mha"), tmp_path / "out", tmp_path / "weights"
    folder.mkdir()
    path = folder / "a.safetensors"

    def reason(*options: object) -> str:
        code, _, error = run("--input", scan, "--output", out, "--weights", folder, *options)
        assert code == 1
        assert not out.exists()
        return error

    assert reason() == f"error: {folder}: expected at least one .safetensors file, found none"
    write_weights(folder)
    (folder / "small.safetensors").rename(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert reason().startswith(f"error: {path}: expected a safetensors file, found")
    path.write_bytes(b"")
    assert reason().startswith(f"error: {path}: expected a safetensors file, found")
    save_weights(path, lively(), DetectorConfig(widths=(4, 6, 10), blocks=(1, 1, 1)))
    assert reason().startswith(f"error: {path}: ")
    monkeypatch.setattr(process, "WEIGHTS", (tmp_path / "no", tmp_path / "where"))
    monkeypatch.delenv("LESION_WEIGHTS", raising=False)
    assert process.main(["--input", str(scan), "--output", str(out)]) == 1
    monkeypatch.setattr(process, "WEIGHTS", (tmp_path / "no", write_weights(tmp_path / "yes")))
    assert process.main(["--input", str(scan), "--output", str(out), "--device", "cpu"]) == 0


def test_a_gpu_that_is_not_there(tmp_path: Path, run: Run) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, error = run("--input", write_scan(tmp_path / "a.mha"), "--output", tmp_path, "--device", "cuda")
    assert (code, error) == (1, "error: device cuda: expected a GPU that torch can use, found none")


def test_a_file_in_place_of_the_output_folder(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    out.write_text("a file", encoding="utf-8")
    for folder in (out, out / "below"):
        code, _, error = run("--input", write_scan(tmp_path / "a.mha"), "--output", folder)
        assert code == 1
        assert error.startswith(f"error: {folder}: expected a folder that can be written to, found: ")
    assert out.read_text(encoding="utf-8") == "a file"
