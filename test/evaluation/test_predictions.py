"""Every way in which truth and predictions can be wrong is told in one line, and nothing is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation.scenario import ball, case, write_prediction

from resources.cases.case import Case, write_cases
from resources.evaluation.__main__ import main

POINTS, DETAILS, LIKELIHOOD = "lesion-points.json", "lesion-details.json", "metastasis-likelihood.json"


def change(file: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cases with predictions."""
    write_cases(tmp_path / "cases.jsonl", [case("a", ball(0)), case("b")])
    write_prediction(tmp_path / "found" / "a", [((0, 0, 0), 0.9), ((9, 9, 9), 0.2)])
    write_prediction(tmp_path / "found" / "b", [])
    return tmp_path


def evaluate(folder: Path, *more: str) -> int:
    given = ["--truth", folder / "cases.jsonl", "--predictions", folder / "found", "--out", folder / "out"]
    return main([*map(str, given), *more])


def point(number: int = 0) -> Callable[[dict], dict]:
    return lambda content: content["points"][number]


EDITS: dict[str, tuple[str, Callable[[dict], object], str]] = {
    "NaN": (POINTS, lambda c: point()(c).update(point=[0, float("nan"), 0]), "points[0].point: expected"),
    "infinity": (POINTS, lambda c: point(1)(c).update(point=[0, 0, float("inf")]), "points[1].point"),
    "two numbers": (POINTS, lambda c: point()(c).update(point=[0, 0]), "expected three finite numbers"),
    "true": (POINTS, lambda c: point()(c).update(point=[True, 0, 0]), "expected three finite numbers"),
    "probability": (POINTS, lambda c: point()(c).update(probability=1.01), "from 0 to 1, found 1.01"),
    "no probability": (POINTS, lambda c: point()(c).pop("probability"), "an object with 'probability'"),
    "name": (POINTS, lambda c: point()(c).update(name=None), "name: expected a text, found null"),
    "type": (POINTS, lambda c: c.update(type="Point"), 'expected "Multiple points"'),
    "no points": (POINTS, lambda c: c.pop("points"), "expected an object with 'points'"),
    "fewer details": (DETAILS, lambda c: c["points"].pop(), "expected details of the 2 points"),
    "box": (DETAILS, lambda c: point()(c)["box_mm"].update(lower=[9, 9, 9]), "expected lower <= upper"),
    "box NaN": (DETAILS, lambda c: point()(c)["box_mm"].update(lower=[float("nan")] * 3), "lower: expected"),
    "size": (DETAILS, lambda c: point()(c).update(long_mm=None), "z_extent_mm: expected three"),
    "no operating point": (DETAILS, lambda c: c.pop("operating_point"), "with 'operating_point'"),
    "two models": (DETAILS, lambda c: c.update(weights_version="other"), "expected one model's"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "edit", "message"), EDITS.values(), ids=EDITS)
def test_a_file_that_is_wrong(folder: Path, capsys, file: str, edit, message: str) -> None:
    change(folder / "found" / "a" / file, edit)
    assert evaluate(folder) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert str(folder / "found") in error
    assert not (folder / "out").exists()


def test_broken_files(folder: Path, capsys) -> None:
    (folder / "found" / "a" / LIKELIHOOD).write_text("NaN", encoding="utf-8")
    assert evaluate(folder) == 2
    assert "metastasis-likelihood.json: expected a number from 0 to 1, found NaN" in capsys.readouterr().err
    (folder / "found" / "a" / POINTS).write_text('{"type": ', encoding="utf-8")
    assert evaluate(folder) == 2
    assert "lesion-points.json: expected JSON, found" in capsys.readouterr().err


def test_a_prediction_for_an_unknown_case(folder: Path, capsys) -> None:
    write_prediction(folder / "found" / "sub" / "c", [])
    assert evaluate(folder) == 2
    assert "found 1 for other cases; the first: sub/c" in capsys.readouterr().err


def test_a_case_without_prediction(folder: Path, capsys) -> None:
    write_cases(folder / "cases.jsonl", [case("a", ball(0)), case("b"), case("c", ball(0))])
    assert evaluate(folder) == 2
    error = capsys.readouterr().err
    assert "found none for 1 of 3; the first: c" in error
    assert "--missing-as-empty" in error
    assert evaluate(folder, "--missing-as-empty") == 0
    found = json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert found["models"][0]["cases_without_prediction"] == ["c"]
    assert found["models"][0]["rules"]["point_inside"]["counts"]["lesions"] == 2
    assert found["models"][0]["scans"]["counts"]["false_negative"] == 1
    assert any("no prediction for 1 scans" in note for note in found["notes"])


def test_no_predictions_at_all(folder: Path, capsys) -> None:
    assert (
        main(["--truth", str(folder / "cases.jsonl"), "--predictions", str(folder / "no"), "--out", "x"]) == 2
    )
    assert "no: expected a folder of predictions, found none" in capsys.readouterr().err
    (folder / "empty").mkdir()
    given = ["--truth", folder / "cases.jsonl", "--predictions", folder / "empty", "--out", folder / "out"]
    assert main([*map(str, given), "--missing-as-empty"]) == 2
    assert "expected a sub-folder with lesion-points.json for each case" in capsys.readouterr().err


def test_points_outside_the_image(tmp_path: Path, capsys) -> None:
    import numpy as np
    import SimpleITK as sitk

    from resources.cases.case import Completeness, ImageSource

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 20, 20), np.int16)), str(tmp_path / "ct.mha"))
    source = ImageSource(str(tmp_path / "ct.mha"))
    write_cases(
        tmp_path / "cases.jsonl",
        [Case("a", "a", "made", None, source, (ball(9, 9, 9),), Completeness("all"))],
    )
    lesion, beyond, far = ((9, 9, 9), 0.9), ((23.9, 10, 10), 0.8), ((10, 10, -30), 0.7)
    # the outermost voxel ends at 19.5: 4.4 mm beyond it is tolerated, 29.5 mm is outside
    write_prediction(tmp_path / "found" / "a", [lesion, beyond, far])
    assert evaluate(tmp_path) == 0
    model = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["models"][0]
    assert model["predictions_outside_the_image"] == 1
    assert model["rules"]["point_inside"]["counts"]["false_positives"] == 2
    shutil.rmtree(tmp_path / "found")
    write_prediction(tmp_path / "found" / "a", [lesion, beyond, far, far, far])
    assert evaluate(tmp_path) == 2
    message = (
        "case a: expected points inside the image (LPS mm), found 3 of 5 outside; points[2] at (10, 10, -30)"
    )
    assert message in capsys.readouterr().err


def test_truths_that_are_wrong(folder: Path, capsys) -> None:
    lines = (folder / "cases.jsonl").read_text(encoding="utf-8")
    for text, message in [
        ("", "cases.jsonl: expected at least one case, found none"),
        (lines + lines.splitlines()[0], "case a: id: expected a unique id, found it twice"),
        (lines.replace('"made"', "NaN"), "expected finite numbers, found NaN"),
        ("[]", "line 1: line: expected an object"),
    ]:
        (folder / "cases.jsonl").write_text(text, encoding="utf-8")
        assert evaluate(folder) == 2
        assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_split_without_cases_and_one_with(folder: Path, capsys) -> None:
    assert evaluate(folder, "--split", "train") == 2
    assert "expected cases of the split train, found none" in capsys.readouterr().err
    assert evaluate(folder, "--split", "test") == 0


def test_options_are_checked(folder: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        evaluate(folder, "--bootstraps", "999")
    assert "expected 1000 or more, found 999" in capsys.readouterr().err


def test_without_details_there_are_no_rules_on_boxes_and_no_operating_point(folder: Path) -> None:
    for name in "ab":
        (folder / "found" / name / DETAILS).unlink()
        (folder / "found" / name / LIKELIHOOD).unlink()
    assert evaluate(folder) == 0
    model = json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))["models"][0]
    assert list(model["rules"]) == ["point_inside", "luna16_distance"]
    assert model["operating_point"] is None
    assert "scans" not in model
    assert "needs boxes" in (folder / "out" / "index.html").read_text(encoding="utf-8")


def test_details_in_some_folders_only(folder: Path, capsys) -> None:
    (folder / "found" / "a" / DETAILS).unlink()
    assert evaluate(folder) == 2
    assert (
        "expected one model's predictions, found no details in a but weights made" in capsys.readouterr().err
    )
    (folder / "found" / "b" / DETAILS).unlink()
    (folder / "found" / "b" / LIKELIHOOD).unlink()
    assert evaluate(folder) == 2
    assert "expected metastasis-likelihood.json in all sub-folders or in none" in capsys.readouterr().err
