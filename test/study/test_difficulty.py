"""The comparison on the second generator's scans: its table by hand, and end to end on coarse scans."""

import json
from pathlib import Path
from typing import Any

import pytest

from resources.cases.case import read_cases
from resources.evaluation.matching import PRIMARY
from resources.predict import digest_of
from resources.study.difficulty import FIRST_SEED, GROUPS, main
from resources.study.steps import RATES, SCAN_MEASURES, StepError, report, step
from resources.synthetic.sites import SITES

LUNG = "bright in lung"


def test_seeds_and_bodies_are_kept_apart_from_training() -> None:
    assert FIRST_SEED == 910_000  # README.md of resources/start: training and validation are below 900,019
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


def test_a_step_that_fails_ends_the_study_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def command(arguments: list[str]) -> int:
        print(*arguments)
        return len(arguments)

    step(lambda _: 0, "fine")
    with pytest.raises(StepError) as caught:
        step(command, "--count", 3)
    assert caught.value.args == (2,)
    assert capsys.readouterr() == ("", "--count 3\n")


def test_the_table_shows_each_figure_with_its_interval_under_its_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def figure(value: float | None) -> dict[str, Any]:
        return {"value": value, "lower": value and value - 0.1, "upper": value and value + 0.1}

    def page(first: float | None) -> dict[str, Any]:
        measures = {f"sensitivity_at_{rate}": figure(0.3 + 0.1 * i) for i, rate in enumerate(RATES)}
        return {
            "counts": {"scans": 5, "lesions": 7, "scans_negative": 2},
            "measures": measures | {"sensitivity_at_0.5": figure(first), "cpm": figure(0.75)},
            "scans": dict.fromkeys(SCAN_MEASURES, figure(0.85)),
            "strata": [{"division": "size", "stratum": "below 10 mm", "lesions": 4, "cpm": figure(0.5)}],
        }

    report({"detector": page(0.25), "blobs": page(None)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"5 synthetic scans, 7 lesions, 2 scans without; rule {PRIMARY.name}"
    assert lines[1].split()[-5:] == ["0.5", "1", "2", "4", "CPM"]
    rest = "0.400 (0.300-0.500) 0.500 (0.400-0.600) 0.600 (0.500-0.700) 0.750 (0.650-0.850)"
    assert " ".join(lines[2].split()) == f"detector 0.250 (0.150-0.350) {rest}"
    assert " ".join(lines[3].split()) == f"blobs ? (?-?) {rest}"
    assert [len(line) for line in lines[2:4]] == [len(lines[1])] * 2  # each figure ends below its rate
    assert lines[4:9] == [f"scan level {name:<28}{'0.850 (0.750-0.950)':>22}" for name in SCAN_MEASURES]
    assert lines[9:] == ["CPM of size below 10 mm, 4 lesions        0.500 (0.400-0.600)"]


def shown_of(page: Path) -> list[str]:
    """The CPM and its interval in an evaluation's own file, as the table shows them; ? for none."""
    measures = json.loads(page.read_text(encoding="utf-8"))["models"][0]["rules"][PRIMARY.name]["measures"]
    cpm = [measures["cpm"][key] for key in ("value", "lower", "upper")]
    value, low, high = ("?" if figure is None else f"{figure:.3f}" for figure in cpm)
    return [value, f"({low}-{high})"]


@pytest.mark.slow
def test_prints_sensitivities_of_detector_and_blobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: Path
) -> None:
    small = ["--scans", "2", "--spacing-mm", "6", "--coverage", "chest", "--types", "lung"]
    small += ["--weights", str(weights), "--processes", "1", "--out", str(tmp_path / "stored.json")]
    for more in (["--sites", "A", "--blobs", LUNG], ["--sites", "B", "--blobs"]):
        assert main([*small, *more, "--work", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / "stored.json").read_text(encoding="utf-8"))  # of the second command
    assert stored["weights_sha256"] == digest_of(weights)
    (title,) = stored["groups"]
    assert title == "site B, procedural bodies"
    for site, kinds in (("A", [LUNG]), ("B", [])):
        folder = tmp_path / f"{site}-procedural"
        cases = read_cases(folder / "cases.jsonl")
        lesions = [mark for case in cases for mark in case.annotations if mark.status == "lesion"]
        assert len(cases) == 2
        assert {mark.type for mark in lesions} == {"lung"}
        assert {folder / name for name in ("detector", *(kind.replace(" ", "-") for kind in kinds))} == {
            path for path in folder.iterdir() if any(path.rglob("lesion-points.json"))
        }
        rows = printed[printed.index(f"site {site}{', procedural bodies' if site == 'B' else ''}, 6 mm") :]
        assert rows[1].startswith(f"2 synthetic scans, {len(lesions)} lesions, ")
        for row, name in zip(rows[3:], ("detector", *(f"blobs {kind}" for kind in kinds)), strict=False):
            page = folder / f"page-{name.removeprefix('blobs ').replace(' ', '-')}" / "metrics.json"
            assert row.startswith(f"{name} ")
            assert row.split()[-2:] == shown_of(page)
    assert sum(line.endswith("left out, for --maps was not given") for line in printed) == 2
