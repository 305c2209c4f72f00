"""The steps of a setting, each a command of its own; what is there in the folder of the work is kept.

scans/NAME, cases/NAME.jsonl, cache/NAME, organs/NAME: the data. configs, runs, weights, predictions: by RUN,
which is "base" or an arm and its seed.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

from model.detector import load_network
from model.files import whole
from resources.cases.case import Case, CaseError, Completeness, read_cases, write_cases
from resources.evaluation.evaluation import Settings, prepare
from resources.study.real_data import of_fifth, with_marks
from resources.study.rules import ruled
from resources.study.setting import Arm, Cases, Scans, Setting, training_file
from resources.study.steps import ROOT
from resources.training.validation import Held, predict_scans

BASE = "base"
WEIGHTS = "centernet3d.safetensors"
LISTS = {
    "masks": "cases.jsonl",
    "types": "cases.jsonl",
    "marks": "deeplesion.jsonl",
    "reports": "report.jsonl",
    "images": "report.jsonl",
}
"""What resources.synthetic calls the case list of each view."""


def command(module: str, *arguments: object) -> None:
    """Runs a command in a process of its own, its output on stderr. Raises CalledProcessError."""
    line = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(line, check=True, cwd=ROOT, stdout=sys.stderr)


def run_name(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '-')}-{seed}"


def make_scans(setting: Setting, work: Path, maps: Path | None) -> None:
    for name, scans in setting.scans.items():
        command(
            "resources.synthetic", *options_of(scans, setting.scan_mm, maps), "--out", work / "scans" / name
        )


def options_of(scans: Scans, scan_mm: float, maps: Path | None) -> list[object]:
    """Of resources.synthetic."""
    options: list[object] = ["--site", scans.site, "--count", scans.count, "--seed", scans.seed]
    options += ["--split", scans.split, "--spacing-mm", scan_mm, "--processes", 1]
    options += [] if maps is None else ["--maps", maps]
    options += [] if scans.lesions is None else ["--lesions", scans.lesions]
    options += [] if scans.coverage is None else ["--coverage", scans.coverage]
    return options + (["--types", *scans.types] if scans.types else [])


def make_lists(setting: Setting, work: Path, mapped: bool, data: Path | None) -> None:
    """Case lists and caches: those that need the base, for its organ head or a rule, or the others. data: of
    real scans.
    """
    network = setting.network
    plan = ["--spacing-mm", network.spacing_mm, "--stride", network.detector.stride, "--processes", 1]
    for name, own in setting.cases.items():
        if (own.mapped or bool(own.of)) != mapped:
            continue
        path = work / "cases" / f"{name}.jsonl"
        if not path.exists():
            make_list(own, work, path, data)
        if name not in setting.tests or own.real:
            command("resources.cases", "cache", path, "--out", work / "cache" / name, *plan)


def make_list(own: Cases, work: Path, path: Path, data: Path | None) -> None:
    """Writes one case list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if own.rule is not None:
        base = load_network(work / "weights" / BASE / WEIGHTS).eval()
        write_cases(path, ruled(read_cases(path.with_stem(own.of)), work / "cache" / own.of, base, own.rule))
        return
    if own.real:
        write_cases(path, real_cases(own, work / "real", data))
        return
    listed = [case for name in own.scans for case in read_cases(work / "scans" / name / LISTS[own.view])]
    cases = [partly(case, own) for case in listed] if own.view == "types" else listed
    plain = path.with_suffix(".plain.jsonl")
    write_cases(plain, cases)
    if own.view == "reports":
        command("resources.reports.attach", plain, "--out", plain)
    if own.mapped:
        out = work / "organs" / path.stem
        plan = ["--out", out, "--weights", work / "weights" / BASE, "--processes", 1]
        command("resources.map_organs", "--cases", plain, *plan)
        write_cases(plain, read_cases(out / "cases.jsonl"))
    plain.replace(path)


def real_cases(own: Cases, lists: Path, data: Path | None) -> list[Case]:
    """Of a list of real scans. lists: folder of what resources.study.real writes. Raises CaseError."""
    if not lists.is_dir():
        if data is None:
            raise CaseError("--data: expected the folder of real scans, found none")
        command("resources.study.real", "--data", data, "--write-cases", lists, "--processes", 1)
    cases = [case for name in own.real for case in read_cases(lists / f"{name}.jsonl")]
    if own.patients != "all":
        cases = of_fifth(cases, own.patients == "fifth")
    if own.view == "images":
        return [dataclasses.replace(case, annotations=()) for case in cases]
    return [with_marks(case) for case in cases] if own.view == "marks" else cases


def partly(case: Case, own: Cases) -> Case:
    """Of a case with all masks what public sets have: masks of some types, complete within some organs."""
    known = case.completeness
    there = tuple(organ for organ in own.organs if organ in known.organ_values)
    complete = Completeness(
        "organs", organs=there, organ_labels=known.organ_labels, organ_values=known.organ_values
    )
    marked = tuple(a for a in case.annotations if a.type in own.types)
    return dataclasses.replace(case, annotations=marked, completeness=complete)


def train(setting: Setting, work: Path, run: str, arm: Arm, seed: int, start: Path | None) -> Path:
    """Trains and exports; the folder with the weights. What is done is left alone."""
    folder = work / "weights" / run
    if not (folder / WEIGHTS).exists():
        config = work / "configs" / f"{run}.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(training_file(setting, work, run, arm, seed, start), encoding="utf-8")
        runs = work / "runs" / run
        command("resources.training", config, *(["--resume"] if any(runs.glob("*.safetensors")) else []))
        folder.mkdir(parents=True, exist_ok=True)
        command("resources.training.export", "--work", runs, "--out", folder / WEIGHTS)
    return folder


def train_base(setting: Setting, work: Path) -> Path:
    """Trains the base, or takes the weights that the setting starts from."""
    folder = work / "weights" / BASE
    if setting.start:
        if not (folder / WEIGHTS).exists():  # kept though others ship by now: all arms have one base
            with whole(folder / WEIGHTS) as part:
                shutil.copyfile(ROOT / setting.start, part)
        return folder
    return train(setting, work, BASE, setting.base, 0, None)


def train_arm(setting: Setting, work: Path, name: str, seed: int) -> Path:
    start = work / "weights" / BASE / WEIGHTS
    return train(setting, work, run_name(name, seed), setting.arms[name], seed, start)


def predict(setting: Setting, work: Path, run: str, name: str = "test") -> None:
    """What the weights of a run say of a list's scans; of real ones, which take long to read, their cache."""
    out = predictions(work, run, name)
    if setting.is_real:
        out.mkdir(parents=True, exist_ok=True)
        network = load_network(work / "weights" / run / WEIGHTS).eval()
        predict_scans(network, held(work, name), out, 0, 1)
        return
    plan = ["--weights", work / "weights" / run, "--out", out, "--processes", 1]
    command("resources.predict", "--cases", work / "cases" / f"{name}.jsonl", *plan)


def predictions(work: Path, run: str, name: str = "test") -> Path:
    """The folder in which `predict` writes."""
    return work / "predictions" / name / run


def held(work: Path, name: str) -> Held:
    """The scans of a list that is not trained on, with their truth. Raises CaseError, EvaluationError."""
    cases = read_cases(work / "cases" / f"{name}.jsonl")
    return Held(prepare(cases, Settings(), lambda _: None), work / "cache" / name)
