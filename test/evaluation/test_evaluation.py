"""The command from end to end, on cohorts small enough to count."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from evaluation.cohort import make_cohort
from evaluation.scenario import ball, case, write_prediction

from resources.cases.case import Case, Completeness, write_cases
from resources.evaluation.__main__ import main
from resources.evaluation.evaluation import Settings, comparison_of, evaluate, prepare
from resources.evaluation.matching import PRIMARY, RULES
from resources.evaluation.predictions import read_predictions
from resources.evaluation.strata import in_order


def run(folder: Path, cases: list[Case], *more: str) -> dict:
    write_cases(folder / "cases.jsonl", cases)
    given = ["--truth", folder / "cases.jsonl", "--predictions", folder / "found", "--out", folder / "out"]
    assert main([*map(str, given), *more]) == 0
    return json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))


def values(measures: dict) -> dict[str, float | None]:
    return {name: found["value"] for name, found in measures.items()}


FOUR_CASES = [
    case("a", ball(0), ball(100)),
    case("b"),
    case("c", ball(0), complete="none"),
    case("d", ball(0, status="benign")),
]
"""Two lesions; none; a lesion in a scan that is not exhaustively annotated; a benign finding."""


def write_four_predictions(found: Path) -> None:
    write_prediction(found / "a", [((0, 0, 0), 0.9), ((1, 0, 0), 0.8), ((300, 0, 0), 0.6)], likelihood=0.9)
    write_prediction(found / "b", [((50, 0, 0), 0.7)], likelihood=0.6)
    write_prediction(found / "c", [((0, 0, 0), 0.4), ((200, 0, 0), 0.95)], likelihood=0.8)
    write_prediction(found / "d", [((0, 0, 0), 0.85)], likelihood=0.2)


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The four cases evaluated: their folder, and the metrics."""
    folder = tmp_path_factory.mktemp("four")
    write_four_predictions(folder / "found")
    return folder, run(folder, FOUR_CASES)


def test_by_hand(four: tuple[Path, dict]) -> None:
    found = four[1]
    model, notes = found["models"][0], found["notes"]
    assert found["counts"]["lesions"] == 3
    assert found["counts"]["findings_excluded"] == 1
    assert found["counts"]["scans_annotated_none"] == 1
    rule = model["rules"]["point_inside"]
    assert rule["counts"] == {
        "lesions": 3,
        "lesions_found": 2,
        "scans_where_false_positives_count": 3,
        "false_positives": 3,  # .8 (a duplicate), .7, .6; not .95 (not judged), not .85 (benign)
        "of_these_duplicates": 1,
        "predictions_not_judged": 1,
        "predictions_ignored_on_excluded_findings": 1,
    }
    lesions = values(rule["measures"])
    # hits at .9 and .4; up to 1/2 a scan (one in three scans) only .9 is above the others, from 1 on both are
    assert [lesions[f"sensitivity_at_{rate}"] for rate in ("0.125", "0.25", "0.5", "1", "2", "4", "8")] == (
        pytest.approx([1 / 3] * 3 + [2 / 3] * 4)
    )
    assert lesions["cpm"] == pytest.approx(11 / 21)
    assert lesions["average_precision"] == pytest.approx(1 / 2)  # completely annotated: .9 of two lesions
    assert lesions["operating_sensitivity"] == pytest.approx(1 / 3)
    assert lesions["operating_false_positives_per_scan"] == 1
    assert lesions["operating_precision"] == pytest.approx(1 / 4)

    scans = values(model["scans"]["measures"])
    assert model["scans"]["counts"] == {
        "units": 4,
        "positive": 2,
        "negative": 2,
        "true_positive": 2,
        "false_negative": 0,
        "false_positive": 1,
        "true_negative": 1,
    }
    assert (scans["accuracy"], scans["sensitivity"], scans["specificity"]) == (3 / 4, 1, 1 / 2)
    assert scans["positive_predictive_value"] == pytest.approx(2 / 3)
    assert (scans["negative_predictive_value"], scans["roc_area"], scans["average_precision"]) == (1, 1, 1)
    assert scans["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.2**2 + 0.2**2) / 4)
    assert model["sizes"]["lesions"] == 1
    assert values(model["sizes"]["measures"])["distance_mm"] == 0
    assert any("1 of 4 scans are annotated in part" in note and "1 (found)" in note for note in notes)


def test_every_lesion_and_every_other_prediction_has_a_row(four: tuple[Path, dict]) -> None:
    with (four[0] / "out" / "lesions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["what"], row["probability"]) for row in rows] == [
        ("a", "lesion", "0.9"),
        ("a", "lesion", ""),
        ("a", "duplicate", "0.8"),
        ("a", "false positive", "0.6"),
        ("b", "false positive", "0.7"),
        ("c", "lesion", "0.4"),
        ("c", "not judged", "0.95"),
        ("d", "excluded (benign)", ""),
        ("d", "ignored", "0.85"),
    ]
    assert (rows[0]["true_long_mm"], rows[0]["predicted_long_mm"], rows[0]["distance_mm"]) == (
        "10",
        "10",
        "0",
    )
    assert [rows[i]["found_iou_0.1"] for i in (0, 1, 5)] == ["yes", "no", "yes"]
    assert [row["above_operating_point"] for row in rows[:4]] == ["yes", "", "yes", "yes"]


def test_benign_findings_can_count_as_no_lesion(tmp_path: Path) -> None:
    write_four_predictions(tmp_path / "found")
    found = run(tmp_path, FOUR_CASES, "--exclude", "doubtful")
    counts = found["models"][0]["rules"]["point_inside"]["counts"]
    assert (counts["false_positives"], counts["predictions_ignored_on_excluded_findings"]) == (4, 0)
    assert found["counts"]["findings_counted_as_no_lesion"] == 1


def test_all_rules_are_reported_beside_each_other(four: tuple[Path, dict]) -> None:
    folder, found = four
    assert list(found["models"][0]["rules"]) == [rule.name for rule in RULES]
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    assert all(rule.name in page for rule in RULES)
    assert "Known weakness" in page


def test_small_strata_say_so(four: tuple[Path, dict]) -> None:
    folder, found = four
    model = found["models"][0]
    for row in model["lesion_strata"] + model["scan_strata"]:
        assert row["too_small"]
        assert row["cpm"] == {"value": None, "lower": None, "upper": None, "note": "fewer than 10: no figure"}
    assert "too small" in (folder / "out" / "index.html").read_text(encoding="utf-8")


def test_a_lesion_without_extent_is_left_out_by_rules_on_boxes(tmp_path: Path) -> None:
    write_prediction(tmp_path / "found" / "a", [((0, 0, 0), 0.9), ((50, 0, 0), 0.8)])
    unsized = ball(0, diameter=None)  # type: ignore[arg-type]
    rules = run(tmp_path, [case("a", unsized, ball(50))])["models"][0]["rules"]
    assert rules["point_inside"]["counts"]["lesions"] == 2
    assert rules["iou_0.1"]["counts"]["lesions"] == 1
    assert rules["iou_0.1"]["counts"]["predictions_ignored_on_excluded_findings"] == 1
    assert rules["iou_0.1"]["counts"]["false_positives"] == 0


def test_patients_score_by_their_surest_scan(tmp_path: Path) -> None:
    for name, likelihood in (("a1", 0.1), ("a2", 0.9), ("b1", 0.3), ("b2", 0.6), ("c1", 0.1), ("c2", 0.2)):
        write_prediction(tmp_path / "found" / name, [], likelihood)
    cases = [
        case("a1", ball(0), patient="a"),
        case("a2", patient="a"),
        case("b1", patient="b"),
        case("b2", patient="b"),
        case("c1", patient="c"),
        case("c2", patient="c", complete="none"),
    ]
    model = run(tmp_path, cases)["models"][0]
    assert model["scans"]["counts"]["units"] == 5  # c2 is of unknown truth
    assert model["scans"]["measures"]["roc_area"]["value"] == pytest.approx(0.5 / 4)  # .1 against .9 .3 .6 .1
    assert model["patients"]["counts"]["units"] == 2  # so c is neither
    assert model["patients"]["measures"]["roc_area"]["value"] == 1


def test_nothing_to_find_and_nothing_found(tmp_path: Path) -> None:
    write_prediction(tmp_path / "found" / "a", [], 0.1)
    model = run(tmp_path, [case("a")])["models"][0]
    assert model["rules"]["point_inside"]["measures"]["cpm"]["value"] is None
    assert model["scans"]["measures"]["specificity"]["value"] == 1
    assert model["scans"]["measures"]["roc_area"]["value"] is None


def test_no_scan_that_is_exhaustively_annotated(tmp_path: Path) -> None:
    write_prediction(tmp_path / "found" / "a", [((0, 0, 0), 0.9), ((50, 0, 0), 0.8)])
    model = run(tmp_path, [case("a", ball(0), complete="none")])["models"][0]
    found = values(model["rules"]["point_inside"]["measures"])
    assert (found["cpm"], found["average_precision"], found["operating_sensitivity"]) == (None, None, 1)


def test_strata_follow_each_other() -> None:
    names = ["from 30 mm", "unknown", "below 10 mm", "10 to 20 mm", "from 30 mm"]
    assert in_order(names) == ["below 10 mm", "10 to 20 mm", "from 30 mm", "unknown"]
    assert in_order(["unknown", "M", "F"]) == ["F", "M", "unknown"]


def test_strata_add_up(tmp_path: Path) -> None:
    truth = make_cohort(tmp_path, scans=60, predictions=5, seed=4)
    given = ["--truth", truth, "--predictions", tmp_path / "predictions", "--out", tmp_path / "out"]
    assert main(list(map(str, given))) == 0
    model = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["models"][0]
    rule = model["rules"][PRIMARY.name]
    for division in ("size", "type"):
        rows = [row for row in model["lesion_strata"] if row["division"] == division]
        assert sum(row["lesions"] for row in rows) == rule["counts"]["lesions"]
    for division in ("slice thickness", "site", "source", "sex"):
        rows = [row for row in model["scan_strata"] if row["division"] == division]
        assert sum(row["scans"] for row in rows) == 60
    whole = next(row for row in model["scan_strata"] if row["division"] == "source")
    assert whole["cpm"] == rule["measures"]["cpm"]  # one source: the part is the whole
    assert whole["roc_area"] == model["scans"]["measures"]["roc_area"]
    sizes = [row for row in model["lesion_strata"] if row["division"] == "size" and not row["too_small"]]
    parts = [row for row in model["lesion_strata"] if row["division"] == "size"]
    if len(sizes) == len(parts):
        mean = sum(row["cpm"]["value"] * row["lesions"] for row in parts) / rule["counts"]["lesions"]
        assert mean == pytest.approx(rule["measures"]["cpm"]["value"])


def two_models(tmp_path: Path, skills: tuple[float, float]) -> dict:
    truth = make_cohort(tmp_path / "first", 80, 6, seed=1, skill=skills[0])
    make_cohort(tmp_path / "second", 80, 6, seed=1, skill=skills[1])
    given = ["--truth", truth, "--predictions", tmp_path / "first" / "predictions", "--out", tmp_path / "out"]
    assert main([*map(str, given), "--compare", str(tmp_path / "second" / "predictions")]) == 0
    return json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))


def test_a_model_against_itself(tmp_path: Path) -> None:
    found = two_models(tmp_path, (0.75, 0.75))["comparison"]
    for row in found.values():
        assert row["difference"]["value"] == 0
        assert (row["p"], row["p_holm"]) == (1, 1)


def test_a_better_model_against_a_worse_one(tmp_path: Path) -> None:
    truth = make_cohort(tmp_path / "first", 80, 6, seed=1, skill=0.95)
    cases = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]
    # the worse model says the same but misses the lesions of every other scan
    for number, row in enumerate(cases):
        source, target = tmp_path / "first" / "predictions" / row["id"], tmp_path / "second" / row["id"]
        if number % 2:
            write_prediction(target, [], 0.01, scan_operating_point=0.7)
        else:
            shutil.copytree(source, target)
    given = ["--truth", truth, "--predictions", tmp_path / "first" / "predictions", "--out", tmp_path / "out"]
    assert main([*map(str, given), "--compare", str(tmp_path / "second")]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    models, row = found["models"], found["comparison"]["cpm"]
    scores = [model["rules"][PRIMARY.name]["measures"]["cpm"]["value"] for model in models]
    assert row["difference"]["value"] == pytest.approx(scores[0] - scores[1])
    assert 0 < row["difference"]["lower"] < row["difference"]["upper"]
    assert row["p"] == pytest.approx(1 / 1001)
    others = [other["p"] for other in found["comparison"].values()]
    assert row["p_holm"] == pytest.approx((3 - sum(p < 1 / 1001 - 1e-9 for p in others)) / 1001)


def test_the_seed_decides(tmp_path: Path) -> None:
    from resources.cases.case import read_cases

    cases = read_cases(make_cohort(tmp_path, 30, 4, seed=2))
    predictions = read_predictions(tmp_path / "predictions", cases, {one.id for one in cases})
    weights = []
    for seed in (0, 0, 1):
        settings = Settings(seed=seed)
        truths = prepare(cases, settings, lambda text: None)
        evaluation = evaluate(truths, (predictions,), settings, lambda text: None)
        assert comparison_of(evaluation) is None
        weights.append(evaluation.weights)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()
    positive = np.array([bool(one.annotations) for one in cases])
    assert (weights[0][:, positive].sum(1) == positive.sum()).all()  # drawn within positives and negatives


def test_the_same_bytes_twice(four: tuple[Path, dict]) -> None:
    first = {path: path.read_bytes() for path in (four[0] / "out").rglob("*") if path.is_file()}
    run(four[0], FOUR_CASES)
    assert len(first) >= 10
    assert {path: path.read_bytes() for path in first} == first


def test_partly_complete_region(tmp_path: Path) -> None:
    """Only the slices that are exhaustively annotated can hold false positives."""
    import SimpleITK as sitk

    from resources.cases.case import ImageSource

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((40, 40, 40), np.int16)), str(tmp_path / "ct.mha"))
    source = ImageSource(str(tmp_path / "ct.mha"))
    partly = Case("a", "a", "made", "test", source, (ball(10, 10, 30),), Completeness("slices", (0, 19)))
    found = [((10, 10, 30), 0.9), ((10, 10, 31), 0.8), ((30, 30, 30), 0.7), ((30, 30, 10), 0.6)]
    write_prediction(tmp_path / "found" / "a", found)
    counts = run(tmp_path, [partly])["models"][0]["rules"]["point_inside"]["counts"]
    assert counts["predictions_not_judged"] == 1  # .7
    assert counts["false_positives"] == 2  # .6, and .8: that it is a duplicate is known everywhere
    assert counts["of_these_duplicates"] == 1
