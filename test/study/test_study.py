"""The study's settings, figures, stored results and tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from resources.cases.case import Annotation, Case, CaseError, Completeness, ImageSource
from resources.evaluation.outcomes import WORLD, Table, Truth
from resources.evaluation.truth import LabelImages
from resources.study.__main__ import lack_of, main
from resources.study.arms import WEIGHTS, options_of, partly, train_base
from resources.study.contrasts import (
    ALL,
    Model,
    difference,
    mean_of,
    p_value,
    run_measure,
    saved,
    strata_names,
    swapped,
)
from resources.study.detector_tables import with_detector_tables
from resources.study.errors import near
from resources.study.measured import judged_in_crops
from resources.study.real_data import CROPS, WHOLE
from resources.study.setting import FOLDER, Cases, Scans, names, read_setting, training_file
from resources.study.steps import ROOT
from resources.study.tables import PAGE, RESULTS, adjusted_of, error_lines, replaced, shown, table_of
from resources.synthetic.truth import TrueLesion
from resources.training.config import read_config

ONCE = np.ones((1, 2), int)


def table(lesion_scores: list[float], false_scores: list[float]) -> Table:
    """Two scans; the lesions are all in the first, the false positives all in the second."""
    lesions, false = len(lesion_scores), len(false_scores)
    return Table(
        cases=2,
        judged=np.array([True, True]),
        lesion_case=np.zeros(lesions, int),
        lesion_number=np.arange(lesions),
        lesion_prediction=np.arange(lesions),
        lesion_score=np.array(lesion_scores),
        lesion_complete=np.ones(lesions, bool),
        false_case=np.ones(false, int),
        false_prediction=np.arange(false),
        false_score=np.array(false_scores),
        false_duplicate=np.zeros(false, bool),
        fates={},
    )


def model(lesion_scores: list[float], false_scores: list[float]) -> Model:
    return Model({ALL: table(lesion_scores, false_scores)})


def test_seeds_are_averaged_and_arms_subtracted() -> None:
    all_found, half_found = model([0.9, 0.8], [0.1]), model([0.9, -np.inf], [0.1])
    later = model([0.9, 0.2], [0.8, 0.7, 0.6])  # the second after three false positives: 1.5 a scan
    found = mean_of([run_measure(all_found), run_measure(half_found)])(ONCE)
    assert found[f"{ALL}: mean"].tolist() == [0.75]
    assert run_measure(later)(ONCE)[f"{ALL}: sensitivity at 1"].tolist() == [0.5]
    assert run_measure(later)(ONCE)[f"{ALL}: sensitivity at 4"].tolist() == [1.0]
    assert difference([all_found], [half_found])(ONCE)[f"{ALL}: sensitivity at 1"].tolist() == [0.5]
    patients = np.array([0, 1])
    assert p_value([half_found], [half_found], ALL, patients, 99) == 1.0


@pytest.mark.parametrize("name", names())
def test_every_arm_of_every_setting_can_be_trained(tmp_path: Path, name: str) -> None:
    setting, file = read_setting(FOLDER / f"{name}.toml"), tmp_path / "run.toml"
    start = Path("/w/base.safetensors")
    for arm in setting.arms.values():
        file.write_text(training_file(setting, Path("/w"), "run", arm, 3, start), encoding="utf-8")
        config = read_config(file)
        assert (config.seed, config.optimisation.steps, config.start) == (3, setting.arm_steps, str(start))
        assert config.supervision == arm.supervision
        assert [source.name for source in config.sources] == list(arm.sources)
        assert config.optimisation.rate == setting.rate / 2
        assert config.network == setting.network
        assert (config.validation is None) == setting.is_real  # crops tell no probability
        assert config.strongest.uses_proposals == (arm.teacher is not None)
    if not setting.start:
        file.write_text(training_file(setting, Path("/w"), "base", setting.base, 0, None), encoding="utf-8")
        assert read_config(file).optimisation.steps == setting.base_steps
    seeds = [range(scans.seed, scans.seed + scans.count) for scans in setting.scans.values()]
    assert len(set().union(*seeds)) == sum(map(len, seeds))  # no scan is in two sets


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "types.toml").read_text(encoding="utf-8")
    file = tmp_path / "types.toml"
    for before, after, message in (
        ("least", "most", "an unknown key"),
        ("base_steps = 750", "base_steps = 0", "base_steps: expected more than 0 exactly without start"),
        ('scans = ["test"]', 'scans = ["tests"]', "cases.test.scans: expected of"),
        ('arm = "reports"', 'arm = "report"', "contrasts, headroom: expected of"),
    ):
        changed = text.replace(before, after) if before in text else f"most = 1\n{text}"
        file.write_text(changed, encoding="utf-8")
        with pytest.raises(CaseError, match=message) as error:
            read_setting(file)
        assert str(file) in str(error.value)


def test_public_sets_have_masks_of_some_types_and_are_complete_in_some_organs() -> None:
    masks = [Annotation("mask", kind, mask="/m.mha", label=n) for n, kind in enumerate(("bone", "lung"), 1)]
    whole = Completeness("all", organ_labels="/o.mha", organ_values={"lung": (1,), "spine": (2,)})
    case = Case("a", "a", "s", "train", ImageSource("/i.mha"), tuple(masks), whole)
    found = partly(case, Cases(("base",), "types", ("lung",), ("lung", "liver")))
    assert [a.type for a in found.annotations] == ["lung"]
    assert (found.completeness.kind, found.completeness.organs) == ("organs", ("lung",))
    assert found.completeness.organ_values == whole.organ_values
    with pytest.raises(CaseError, match="types, organs: expected values exactly for the view types"):
        Cases(("base",), "masks", ("lung",))


def test_real_scans_are_lists_of_their_own() -> None:
    found = read_setting(FOLDER / "pixels.toml")
    assert found.is_real
    assert strata_names(found) == ("nodules of 6 mm or more", "LIDC nodules")
    with pytest.raises(CaseError, match="scans, real, of: expected lists of one of them"):
        Cases(("base",), real=("train-crops",))
    with pytest.raises(CaseError, match="view: expected of masks, marks, images for real scans"):
        Cases(real=("train-crops",), view="reports")


def test_lists_by_a_rule_are_of_reports_with_organ_maps() -> None:
    setting = read_setting(FOLDER / "few.toml")
    assert (setting.cases["balls"].of, setting.cases["balls"].rule) == ("reports", "balls")
    with pytest.raises(CaseError, match="rule: expected one exactly with of"):
        Cases(of="reports")
    cases = {**setting.cases, "balls": Cases(of="marks", rule="balls")}
    with pytest.raises(CaseError, match=r"cases\.balls\.of: expected a list before it, with organ maps"):
        dataclasses.replace(setting, cases=cases)


def test_the_mean_is_of_the_rates_of_the_setting() -> None:
    late = dataclasses.replace(model([0.9, 0.2], [0.8, 0.7, 0.6]), rates=(1.0, 4.0, 8.0))
    assert run_measure(late)(ONCE)[f"{ALL}: mean"][0] == pytest.approx(2.5 / 3)  # .5, 1 and 1
    assert swapped([late], [model([0.9, -np.inf], [])], ALL)(ONCE)["cpm"][0] == pytest.approx(1 / 3)


def test_false_positives_can_be_counted_in_crops_instead() -> None:
    for source, kind in ((CROPS, "all"), (WHOLE, "none")):
        case = Case("a", "a", source, "test", ImageSource("/i.mha"))
        found = judged_in_crops(Truth(case, WORLD, LabelImages(None), (), np.zeros(0, bool), False))
        assert found.case.completeness.kind == kind
        assert found.judged == (source == CROPS)


def test_false_positives_are_saved_at_equal_sensitivity() -> None:
    """Going on finds both lesions with three false positives, at 1.5 a scan; the other arm with one."""
    going, better = model([0.9, 0.2], [0.8, 0.7, 0.6, 0.1]), model([0.9, 0.6], [0.8, 0.5, 0.1])
    assert saved([better], [going])(ONCE)[f"{ALL}: saved"][0] == pytest.approx(2 / 3)
    assert saved([going], [better])(ONCE)[f"{ALL}: saved"][0] == pytest.approx(-2)
    never = model([0.9, -np.inf], [0.8, 0.7])  # all of its two false positives, and no second lesion
    assert saved([never], [going])(ONCE)[f"{ALL}: saved"][0] == pytest.approx(1 / 3)
    assert saved([going, never], [going, going])(ONCE)[f"{ALL}: saved"][0] == pytest.approx(1 / 6)
    assert p_value([going], [going], ALL, np.array([0, 1]), 99, "saved") == 1.0


def test_supervision_of_a_list_is_the_arms_and_its_own() -> None:
    arm = read_setting(FOLDER / "few.toml").arms["marks and reports"]
    for name, positive in (("reports", 1.0), ("marks", 0.0)):
        assert arm.of(name).supervision.report_positive == positive
        assert arm.of(name).supervision.organs == 0.0
    assert arm.supervision.organs == arm.of("few").supervision.organs == 0.3


def test_scans_of_another_site_are_synthetic() -> None:
    setting = read_setting(FOLDER / "pixels.toml")
    real = {**setting.cases, "elsewhere": setting.cases["test"]}
    with pytest.raises(CaseError, match=r"cases\.elsewhere: expected synthetic scans"):
        dataclasses.replace(setting, cases=real)


def test_given_weights_are_the_base(tmp_path: Path) -> None:
    setting = dataclasses.replace(read_setting(FOLDER / "hospital.toml"), start="README.md")
    folder = train_base(setting, tmp_path)
    assert (folder / WEIGHTS).read_bytes() == (ROOT / "README.md").read_bytes()
    train_base(dataclasses.replace(setting, start="LICENSE"), tmp_path)  # others ship by now
    assert (folder / WEIGHTS).read_bytes() == (ROOT / "README.md").read_bytes()


def test_a_setting_without_headroom_ends() -> None:
    assert lack_of(0.1, 0.1) == ""
    assert lack_of(-0.359, 0.33) == "expected a headroom of 0.33 or more, found -0.359"
    assert lack_of(None, 0.1) == "expected a headroom of 0.1 or more, found none that can be measured"


def test_options_of_scans() -> None:
    plain = options_of(Scans(7, 2), 3.0, None)
    assert "--lesions" not in plain
    assert "--maps" not in plain
    assert plain[:2] == ["--site", "A"]
    assert options_of(Scans(7, 2, site="C"), 3.0, None)[1] == "C"
    more = options_of(Scans(7, 2, lesions=0, types=("lung", "bone"), coverage="chest"), 3.0, Path("/maps"))
    assert more[-4:] == ["chest", "--types", "lung", "bone"]
    assert more[more.index("--lesions") + 1] == 0


def test_a_lesion_is_met_within_half_its_diameter() -> None:
    lesion = TrueLesion(
        1, "lung", "lung", None, None, (0.0, 0.0, 0.0), 20.0, 15.0, 15.0, "solid", 0, "lesion"
    )
    assert near((9.9, 0.0, 0.0), lesion)
    assert not near((10.1, 0.0, 0.0), lesion)
    small = dataclasses.replace(lesion, long_mm=4.0)
    assert near((3.9, 0.0, 0.0), small)
    assert not near((4.1, 0.0, 0.0), small)


def figures(value: float) -> dict[str, list[float | None]]:
    names = [f"{stratum}: {what}" for stratum in ("without masks", "with masks", "all")
             for what in ("mean", "sensitivity at 1", "sensitivity at 4")]  # fmt: skip
    return dict.fromkeys([*names, "roc_area", "accuracy", "sensitivity", "specificity"], [value, 0.0, 1.0])


def stored(p: float) -> dict[str, object]:
    lesions = {"without masks": 5, "with masks": 3, "all": 8}
    origin = {"command": "python -m resources.study run types", "commit": "abc", "date": "2026-01-01"}
    headroom = {"scans": 2, "lesions": lesions, "seed": 1, "difference": figures(0.2)}
    headroom |= {"all masks": figures(0.5), "base going on": figures(0.3)}
    contrast = {"arm": "reports", "against": "teacher", "of": ["teacher"], "p": p}
    difference = {"difference": figures(0.125)}
    contrasts = [contrast | difference | {"primary": primary} for primary in (True, False)]
    test = {"scans": 4, "lesions": lesions, "positive scans": 3, "contrasts": contrasts}
    test |= {"arms": {"teacher": figures(0.25), "reports": figures(0.375)}}
    return {"headroom": headroom | origin, "test": test | origin, "errors": {"reports": {"left out": 4}}}


def test_holm_counts_the_primary_contrasts_of_all_settings() -> None:
    assert adjusted_of({"a": stored(0.03), "b": stored(0.04)}) == {"a": {0: 0.06}, "b": {0: 0.06}}
    assert adjusted_of({"a": {"headroom": {}}}) == {}


def test_the_table_of_a_setting() -> None:
    lines = table_of(read_setting(FOLDER / "types.toml"), stored(0.03), {0: 0.06})
    assert lines[2] == "| **headroom** | .200 (.000 to 1.000) |"
    row = next(line for line in lines if line.startswith("| **report negatives and positives (g) - teacher"))
    assert row.endswith(
        "| .125 (.000 to 1.000) | .125 (.000 to 1.000) | .125 (.000 to 1.000) | 0.030 | 0.060 |"
    )
    assert "| left out | 4 |" in lines
    assert lines[-1] == "`python -m resources.study run types` at commit abc, 2026-01-01."
    widths = [line.count("|") for line in lines if line.startswith("|")]
    assert error_lines({"a": {"x": 1}, "b": {"y": 2}, "c": {"x": 3}})[3::4] == ["| x | 1 | 3 |", "| y | 2 |"]
    assert widths == [3] * 5 + [7] * 4 + [7] * 4 + [6] * 4 + [3] * 3
    both = stored(0.03)
    both["elsewhere"] = both["test"]
    lines = table_of(read_setting(FOLDER / "types.toml"), both, {0: 0.06})
    widths = [line.count("|") for line in lines if line.startswith("|")]
    assert widths == [3] * 5 + ([7] * 4 + [7] * 4 + [6] * 4) * 2 + [3] * 3
    rows = lines[lines.index("At another site:") :]
    row = next(line for line in rows if line.startswith("| **report negatives and positives (g) - teacher"))
    assert row.endswith("| 0.030 |  |")  # Holm's correction is of the primary test


def test_numbers_are_written_as_the_page_writes_them() -> None:
    assert shown([-0.0421, -0.1, 0.0]) == "-.042 (-.100 to .000)"
    assert shown([1.0, None, None]) == "1.000"
    assert shown([10.5, 0.0, 20.25]) == "10.500 (.000 to 20.250)"
    assert shown([None, None, None]) == "?"


def test_the_page_has_the_tables_of_the_stored_results(tmp_path: Path) -> None:
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")}
    settings = {name: read_setting(FOLDER / f"{name}.toml") for name in results}
    page = PAGE.read_text(encoding="utf-8")
    assert with_detector_tables(replaced(page, settings, results), RESULTS) == page
    text = "a\n<!-- study: types -->\nold\n<!-- end of study: types -->\nb\n"
    (tmp_path / "types.json").write_text(json.dumps(stored(0.03)), encoding="utf-8")
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    assert main(["table", "--out", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 0
    made = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "old" not in made
    assert "**headroom**" in made
    assert made.startswith("a\n<!-- study: types -->\n")


def test_an_unknown_arm_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "types", "--work", str(tmp_path), "--arms", "magic"]) == 2
    assert capsys.readouterr().err.startswith("error: --arms: expected of base going on, ")
