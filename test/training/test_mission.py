"""resources/configs/mission.toml from the official layouts to predictions, on small files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training.mission_data import PLACES, write_deeplesion, write_inhouse, write_uls23
from training.recipes import replaced

from helpers import ROOT, read_results
from model.detector import load_network
from resources.cases.__main__ import main as cases
from resources.cases.case import read_cases
from resources.predict import main as predict
from resources.reports.attach import main as attach
from resources.training.__main__ import main as train
from resources.training.config import TrainingConfig, read_config
from resources.training.export import main as export
from resources.training.reports.pseudo_labels import read_pseudo_labels

MISSION = ROOT / "resources" / "configs" / "mission.toml"
SMALL = {
    "validation.every_steps": 60,
    "network.widths": [8, 12],
    "network.blocks": [1, 1],
    "network.spacing_mm": 4.0,
    "supervision.unmarked": 0.0,
    "supervision.teacher": 0.5,
    "teacher.start_step": 60,
    "teacher.every_steps": 30,
    "teacher.positive_above": 0.3,
    "teacher.pictures": 2,
    "optimisation.steps": 120,
    "optimisation.batch": 4,
    "optimisation.warm_up": 5,
    "optimisation.average": 0.9,
    "optimisation.precision": "32-true",
    "patches.shape": [16, 24, 24],
    "patches.workers": 0,
}
"""What is changed of the file for the test: sizes, numbers of steps, a teacher, and how sure it has to be."""
HIDDEN = {
    "000001_01_01_011-034": 1,
    "000002_01_01_011-034": 2,
    "000003_01_01_011-034": 3,
    "ULS23_Radboudumc_Bone/b1_lesion_01": 2,
    "DeepLesion/000001_01_01_100_lesion_01": 2,
    "s1": 0,
    "s2": 1,
}
"""The ball of each training scan that nobody marked."""


def test_it_is_read_and_has_on_what_the_evidence_supports() -> None:
    config = read_config(MISSION)
    assert [source.name for source in config.sources] == ["DeepLesion", "ULS23", "in-house"]
    on = config.supervision
    assert min(on.full, on.weak, on.unmarked, on.report_positive, on.report_negative) > 0
    assert on.teacher == 0
    text = MISSION.read_text(encoding="utf-8")
    made = text[: text.index("work = ")]  # how lists and caches are made
    for source in config.sources:
        assert f"--out {Path(source.cases).relative_to(ROOT)}" in made
        assert Path(source.cache) == ROOT / "build" / "cases" / "mission" / "cache" / Path(source.cases).stem
    network = config.network.detector
    assert f"--spacing-mm {network.spacing_mm:g} --stride {network.stride}" in made


def convert(config: TrainingConfig, data: Path) -> None:
    """The lists and caches that the settings name, made from the data sets' own files."""
    lists = {source.name: Path(source.cases) for source in config.sources}
    table, terms = data / "DeepLesion" / "DL_info.csv", data / "DeepLesion" / "terms.json"
    commands: list[list[object]] = [
        ["deeplesion", "--table", table, "--images", table.parent / "Images_png", "--lesanet", terms],
        ["uls23", "--root", data / "ULS23", "--table", table, "--validation", 0, "--test", 0],
        ["inhouse", "--table", data / "site" / "scans.csv", "--source", "site"],
    ]
    commands[1] += ["--processes", 1]
    commands[2] += ["--reports", data / "site" / "reports"]
    for name, command in zip(lists, commands, strict=True):
        assert cases([*map(str, command), "--out", str(lists[name])]) == 0
    assert attach([str(lists["in-house"]), "--out", str(lists["in-house"])]) == 0
    network = config.network.detector
    grid = ["--spacing-mm", str(network.spacing_mm), "--stride", str(network.stride)]
    for source in config.sources:
        assert cases(["cache", source.cases, "--out", source.cache, *grid, "--processes", "1"]) == 0


@pytest.mark.slow
def test_from_the_official_layouts_to_predictions(tmp_path: Path) -> None:
    file = tmp_path / "resources" / "configs" / "mission.toml"
    file.parent.mkdir(parents=True)
    file.write_text(replaced(MISSION.read_text(encoding="utf-8"), SMALL), encoding="utf-8")
    data, config = tmp_path / "data", read_config(file)
    write_deeplesion(data / "DeepLesion")
    write_uls23(data / "ULS23")
    write_inhouse(data / "site")
    convert(config, data)

    assert train([str(file)]) == 0
    work = Path(config.work)
    assert work == tmp_path / "build" / "runs" / "mission"
    check_pseudo_labels(config, work / "pseudo_labels")
    weights = tmp_path / "weights"
    assert export(["--work", str(work), "--out", str(weights / "mission.safetensors")]) == 0
    told = load_network(weights / "mission.safetensors").config.provenance
    assert told["data"] == "DeepLesion: 3 cases, ULS23: 2 cases, in-house: 3 cases"
    assert json.loads(told["supervision"])["report_positive"] == config.supervision.report_positive

    given = ["--cases", config.sources[2].cases, "--split", "test", "--weights", str(weights)]
    assert predict([*given, "--processes", "1", "--out", str(tmp_path / "predictions")]) == 0
    for name in ("t1", "t2"):
        points, _, likelihood = read_results(tmp_path / "predictions" / name)
        assert all(0 < point["probability"] <= 1 for point in points["points"])
        assert 0 <= likelihood <= 1


def check_pseudo_labels(config: TrainingConfig, folder: Path) -> None:
    """Both rounds looked at every training scan, and found lesions that nobody marked, and no others."""
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == ["0000", "0001"]
    told = {}
    for source in config.sources:
        for case in read_cases(Path(source.cases)):
            if case.split == "train":
                lesions = read_pseudo_labels(folder / "0001", case.id).lesions
                told[case.id] = {lesion.finding for lesion in lesions} - {None}
    # the sentence of s2 is taken for its mark, so that only that of s1 tells of a lesion nobody marked
    assert {name: findings for name, findings in told.items() if findings} == {"s1": {0}}
    log = (folder / "0001" / "audit.jsonl").read_text(encoding="utf-8")
    mined = {(line["case"], line["slice"]) for line in map(json.loads, log.splitlines())}
    hidden = {(name, PLACES[ball][2]) for name, ball in HIDDEN.items()}
    near = {(name, z + step) for name, z in hidden for step in (-1, 0, 1)}
    assert mined <= near
    assert len(mined) >= len(hidden) // 2
