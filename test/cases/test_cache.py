"""The cache: the same voxels as at inference, whole files or none, failures told, runs that go on."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from model.preprocess import AIR_HU, preprocess
from model.volume import InputError, read_volume
from resources.cases.__main__ import main
from resources.cases.cache import HU, LESIONS, ORGANS, Job, build, fill, is_done, open_scan
from resources.cases.case import (
    Annotation,
    Case,
    CaseError,
    Completeness,
    ImageSource,
    read_cases,
    write_cases,
)

ROOT = Path(__file__).parents[2]


def write(path: Path, array: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((10.0, 20.0, -30.0))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    sitk.WriteImage(image, str(path))
    return path


def make(folder: Path, count: int = 1, shape: tuple[int, int, int] = (20, 60, 70)) -> list[Case]:
    """Cases of noise in a body, each with a mask, a RECIST mark and organs."""
    cases = []
    for number in range(count):
        hu = np.full(shape, -1000, np.int16)
        hu[:, 10:50, 10:60] = np.random.default_rng(number).integers(-100, 100, (shape[0], 40, 50))
        lesions, organs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        lesions[8:12, 20:28, 20:28] = 3
        organs[:, 10:50, 10:35] = 7
        names = [folder / f"{number}{kind}.nii.gz" for kind in ("", "_lesions", "_organs")]
        for name, array in zip(names, (hu, lesions, organs), strict=True):
            write(name, array)
        mark = Annotation("recist", long=((40, 30, 10), (50, 30, 10)), short=((45, 27, 10), (45, 33, 10)))
        cases.append(
            Case(
                id=f"case/{number}",
                patient=f"p{number}",
                source="s",
                split="train",
                image=ImageSource(str(names[0])),
                annotations=(Annotation("mask", "liver", mask=str(names[1]), label=3), mark),
                completeness=Completeness(organ_labels=str(names[2]), organ_values={"liver": (7,)}),
            )
        )
    return cases


def job(case: Case, folder: Path, **changes: object) -> Job:
    return Job(**{"case": case, "folder": folder, "spacing_mm": 2.0, "stride": 8, **changes})  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.b2nd"))}


def test_a_cached_scan_is_what_inference_sees(tmp_path: Path) -> None:
    (case,) = make(tmp_path)
    build(job(case, tmp_path / "cache"))
    scan = open_scan(tmp_path / "cache" / "case" / "0.b2nd")
    grid = preprocess(read_volume(Path(case.image.path)), 2.0, 8)
    np.testing.assert_array_equal(scan.array[HU], grid.hu.numpy())
    assert scan.lower == grid.lower
    # the mask's middle voxel (23.5, 23.5, 9.5) is at (33.5, 43.5, -49) mm
    np.testing.assert_allclose(scan.mask_centers_mm[0], (33.5, 43.5, -49.0))
    own = grid.to_world(np.argwhere(scan.array[LESIONS] == 1).astype(float))
    assert np.abs(own - scan.mask_centers_mm[0]).max() <= 4.5
    assert len(own) == pytest.approx(8 * 8 * 4 * 2 / 8, rel=0.3)
    organ = grid.to_world(np.argwhere(scan.array[ORGANS] == 7).astype(float))
    assert 19.5 <= organ[:, 0].min() < organ[:, 0].max() <= 44.5


def test_patches_reach_beyond_the_scan_as_air(tmp_path: Path) -> None:
    (case,) = make(tmp_path)
    build(job(case, tmp_path))
    scan = open_scan(tmp_path / "case" / "0.b2nd")
    patch = scan.patch((-2, 0, 4), (6, 8, 8))
    assert (patch[HU, :2] == AIR_HU).all()
    np.testing.assert_array_equal(patch[:, 2:], scan.array[:, :4, :8, 4:12])
    far = scan.patch((1000, 0, 0), (4, 4, 4))
    assert (far[HU] == AIR_HU).all()
    assert (far[1:] == 0).all()


def test_a_mask_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    (case,) = make(tmp_path)
    write(tmp_path / "0_lesions.nii.gz", np.zeros((20, 60, 69), np.uint8))
    with pytest.raises(InputError, match="a mask of the image's"):
        build(job(case, tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_what_is_there_stays_unless_its_case_changed(tmp_path: Path) -> None:
    (case,) = make(tmp_path)
    build(job(case, tmp_path))
    assert is_done(job(case, tmp_path))
    assert not is_done(job(case, tmp_path, spacing_mm=4.0))
    (tmp_path / "case" / "0.b2nd").write_bytes(b"cut off")
    assert not is_done(job(case, tmp_path))
    with pytest.raises(CaseError, match="expected a cached scan"):
        open_scan(tmp_path / "case" / "0.b2nd")


def test_a_bad_scan_is_told_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = make(tmp_path, 3)
    Path(cases[1].image.path).write_bytes(b"no image")
    write_cases(tmp_path / "cases.jsonl", cases)
    given = ["cache", str(tmp_path / "cases.jsonl"), "--out", str(tmp_path / "cache"), "--processes", "1"]
    assert main(given) == 1
    assert "2 scans done" in (out := capsys.readouterr().out)
    assert "failed: case/1: " in out
    (failure,) = (tmp_path / "cache" / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(failure)["case"] == "case/1"
    make(tmp_path, 3)  # the scan is repaired
    assert main(given) == 0
    assert "1 scans done" in (out := capsys.readouterr().out)
    assert "2 were there already; 0 failed" in out
    assert not (tmp_path / "cache" / "failed.jsonl").exists()


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    write_cases(tmp_path / "cases.jsonl", make(tmp_path, 6, (24, 200, 200)))
    cases = read_cases(tmp_path / "cases.jsonl")
    fill(cases, tmp_path / "whole", 2.0, 8, 1, None)
    command = [sys.executable, "-m", "resources.cases", "cache", str(tmp_path / "cases.jsonl")]
    command += ["--out", str(tmp_path / "killed"), "--processes", "1"]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    while len(digests(tmp_path / "killed")) < 2 and run.poll() is None:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = digests(tmp_path / "killed")
    assert before.items() <= digests(tmp_path / "whole").items()  # whole files only
    assert fill(cases, tmp_path / "killed", 2.0, 8, 1, None) == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


@pytest.mark.slow
def test_processes_and_ray_give_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    cases = make(tmp_path, 4)
    for name, processes, address in (("one", 1, None), ("two", 2, None), ("ray", 2, "local")):
        assert fill(cases, tmp_path / name, 2.0, 8, processes, address) == 0
    assert len(digests(tmp_path / "one")) == 4
    assert digests(tmp_path / "one") == digests(tmp_path / "two") == digests(tmp_path / "ray")
