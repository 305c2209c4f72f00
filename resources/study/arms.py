"""The steps of a setting, each a command of its own; what is there in the folder of the work is kept.

scans/NAME, cases/NAME.jsonl, cache/NAME, organs/NAME: the data. configs, runs, weights, predictions: by RUN,
which is "base" or an arm and its seed.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from resources.cases.case import Case, Completeness, read_cases, write_cases
from resources.study.setting import Arm, Cases, Scans, Setting, training_file
from resources.study.steps import ROOT

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
    options: list[object] = ["--site", "A", "--count", scans.count, "--seed", scans.seed]
    options += ["--split", scans.split, "--spacing-mm", scan_mm, "--processes", 1]
    options += [] if maps is None else ["--maps", maps]
    options += [] if scans.lesions is None else ["--lesions", scans.lesions]
    options += [] if scans.coverage is None else ["--coverage", scans.coverage]
    return options + (["--types", *scans.types] if scans.types else [])


def make_lists(setting: Setting, work: Path, mapped: bool) -> None:
    """Case lists and caches: those that need the base's organ head, or the others."""
    network = setting.network
    plan = ["--spacing-mm", network.spacing_mm, "--stride", network.detector.stride, "--processes", 1]
    for name, own in setting.cases.items():
        if own.mapped != mapped:
            continue
        path = work / "cases" / f"{name}.jsonl"
        if not path.exists():
            make_list(own, work, path)
        if name != "test":
            command("resources.cases", "cache", path, "--out", work / "cache" / name, *plan)


def make_list(own: Cases, work: Path, path: Path) -> None:
    """Writes one case list."""
    listed = [case for name in own.scans for case in read_cases(work / "scans" / name / LISTS[own.view])]
    cases = [partly(case, own) for case in listed] if own.view == "types" else listed
    path.parent.mkdir(parents=True, exist_ok=True)
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
    return train(setting, work, BASE, setting.base, 0, None)


def train_arm(setting: Setting, work: Path, name: str, seed: int) -> Path:
    start = work / "weights" / BASE / WEIGHTS
    return train(setting, work, run_name(name, seed), setting.arms[name], seed, start)


def predict(work: Path, run: str) -> Path:
    """What the weights of a run say of the test scans: the folder of predictions."""
    out = work / "predictions" / run
    plan = ["--weights", work / "weights" / run, "--out", out, "--processes", 1]
    command("resources.predict", "--cases", work / "cases" / "test.jsonl", *plan)
    return out
