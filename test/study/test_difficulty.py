"""The comparison on the second generator's scans, end to end on two coarse ones."""

from pathlib import Path

import pytest

from resources.cases.case import read_cases
from resources.study import held_out
from resources.study.difficulty import FIRST_SEED, GROUPS, main
from resources.synthetic.sites import SITES


def test_seeds_and_bodies_are_kept_apart_from_training() -> None:
    assert held_out.FIRST_SEED + 100_000 < FIRST_SEED
    assert {anatomy for site, anatomy in GROUPS.values() if site == "A"} == {"procedural"}
    assert {anatomy for site, anatomy in GROUPS.values() if site == "B"} == set(SITES["B"].anatomy)


def test_bad_arguments_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--scans", "0"], "--scans: expected 1 or more, found 0"),
        (["--maps", str(tmp_path / "none")], "--maps: expected a folder, found"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_prints_sensitivities_of_detector_and_blobs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = ["--scans", "2", "--spacing-mm", "6", "--coverage", "chest", "--types", "lung"]
    for more in (["--sites", "A"], ["--sites", "B", "--detector-only"]):
        assert main([*small, *more, "--work", str(tmp_path)]) == 0
    cases = [case for site in SITES for case in read_cases(tmp_path / f"{site}-procedural" / "cases.jsonl")]
    assert {mark.type for case in cases for mark in case.annotations if mark.status == "lesion"} == {"lung"}
    printed = capfd.readouterr().out
    assert printed.count("sensitivity at FP per scan") == 2
    assert printed.count("blobs bright in lung") == 1
    assert printed.count("left out, for --maps was not given") == 2
