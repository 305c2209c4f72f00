"""A trial of the supervisions on synthetic scans: what each adds to a small fully annotated set.

    python -m resources.study.trial --work build/trial --seeds 1 2
    python -m resources.study.trial --world lung --work build/lung --seeds 1 2 3 --arms "full only" reports \
        --full 8 --full-lesions 4 --validation 24 --test 60 --base-steps 600 --arm-steps 400
    python -m resources.study.trial --world phantom --work build/phantom --seeds 1 2 3 \
        --full 4 --full-lesions 3 --base-steps 400 --arm-steps 400 --test 160

The world is site A of the synthetic CT, its chests with lesions of the lungs alone, or phantoms
(resources.study.phantom), which take minutes.
Each seed begins with a detector trained on fully annotated scans ("base"). From its weights every arm goes
on for the same number of steps, with the same seed, and differs in its data and its supervision alone. All
are measured on the same test scans; intervals are by bootstrap over patients, arms of one seed paired, seeds
averaged. Each step is a command of its own, and what is there in --work is kept.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resources.cases.case import CaseError, read_cases
from resources.cases.work import default_processes
from resources.cli import end_with
from resources.evaluation.curves import sensitivity_at
from resources.evaluation.evaluation import Settings, evaluate, prepare
from resources.evaluation.matching import PRIMARY
from resources.evaluation.measures import lesion_ranking
from resources.evaluation.outcomes import Table
from resources.evaluation.predictions import read_predictions
from resources.evaluation.statistics import Estimate, Floats, estimates
from resources.study.phantom import write_phantoms
from resources.training.config import Supervision

ROOT = Path(__file__).resolve().parents[2]
RATES = (0.5, 1.0, 2.0, 4.0)
SCAN_MM = 2.0
SPACING_MM = {"A": 3.0, "lung": 3.0, "phantom": 4.0}
"""Voxels of each world's network: coarse, so that two cores see more lesions."""
SITE_NETWORK = (
    "[network]\nspacing_mm = 3.0\nwidths = [16, 32, 48]\nblocks = [1, 1, 2]\n"
    "[patches]\nshape = [48, 56, 56]\n"
)
NETWORKS = {
    "A": SITE_NETWORK,
    "lung": SITE_NETWORK,
    "phantom": "[network]\nspacing_mm = 4.0\nwindows_hu = [[-160.0, 240.0]]\n"
    "widths = [12, 16, 24]\nblocks = [1, 1, 1]\n[patches]\nshape = [24, 32, 32]\n",
}
REST = """hard = 0.0
workers = 0
[augmentation]
phase_hu = 0.0
noise_hu = 0.0
blur_mm = 0.0
slice_mm = 0.0
"""
BATCH = 4
RATE = 0.003
KERNEL_RATE = {"A": 0.03, "lung": 0.03, "phantom": 0.0}
"""Of the base; arms go on at half the rates. 0 is AdamW for all."""
FIRST_SEED = {
    "A": {"full": 510_000, "weak": 500_000, "validation": 600_000, "test": 710_000},
    "lung": {"full": 530_000, "weak": 520_000, "validation": 620_000, "test": 730_000},
    "phantom": {"full": 510_000, "weak": 500_000, "validation": 600_000, "test": 700_000},
}
"""First seed of each set of scans."""
WEAK_LESIONS = {"A": 8, "lung": None}
"""DeepLesion marks 32,735 lesions in 10,594 studies, 28 to 45 % of those there are: about 8 a study. None: as
the world's patients."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """view: of the weakly annotated scans, by the names of resources.synthetic; None: without them."""

    view: str | None
    supervision: Supervision
    against: str | None = None


REPORTS = Supervision(report_positive=1.0, bag=0.2, report_negative=1.0)
ARMS = {
    "full only": Arm(None, Supervision()),
    "reports": Arm("report", REPORTS, against="full only"),
    "naive": Arm("deeplesion", Supervision(unmarked=1.0)),
    "naive and reports": Arm("deeplesion", dataclasses.replace(REPORTS, unmarked=1.0), against="naive"),
    "ignored": Arm("deeplesion", Supervision(), against="naive"),
    "teacher": Arm("deeplesion", Supervision(teacher=1.0), against="naive"),
    "marks and reports": Arm("deeplesion", dataclasses.replace(REPORTS, teacher=1.0), against="naive"),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Numbers of scans, and of steps. full_lesions: in each fully annotated scan, which are few and rich;
    weak_lesions: in each weakly annotated scan; None: WEAK_LESIONS of the world. Phantoms, and all other
    scans, have as many as their world's patients.
    """

    full: int = 40
    full_lesions: int = 20
    weak: int = 40
    weak_lesions: int | None = None
    validation: int = 12
    test: int = 40
    base_steps: int = 2400
    arm_steps: int = 300


def make_scans(work: Path, sizes: Sizes, world: str) -> None:
    """Scans of all splits with the findings of their reports, as cases, and cached."""
    if world == "phantom":
        make_phantoms(work, sizes)
    else:
        make_site_a(work, sizes, world)
    for name in ("full", "validation", "deeplesion", "report"):
        plan = ["--out", work / "cache" / name, "--spacing", SPACING_MM[world]]
        step("resources.cases", "cache", work / name / "cases.jsonl", *plan)


def make_site_a(work: Path, sizes: Sizes, world: str) -> None:
    counts = {"full": sizes.full, "weak": sizes.weak, "validation": sizes.validation, "test": sizes.test}
    weak_lesions = WEAK_LESIONS[world] if sizes.weak_lesions is None else sizes.weak_lesions
    for name, count in counts.items():
        split = name if name in ("validation", "test") else "train"
        plan = ["--seed", FIRST_SEED[world][name], "--split", split, "--spacing-mm", SCAN_MM]
        lesions = {"full": sizes.full_lesions, "weak": weak_lesions}.get(name)
        more = [] if lesions is None else ["--lesions", lesions]
        more += ["--coverage", "chest", "--types", "lung"] if world == "lung" else []
        step("resources.synthetic", "--site", "A", "--count", count, *plan, *more, "--out", work / name)
    for view in ("deeplesion", "report"):
        (work / view).mkdir(exist_ok=True)
        step(
            "resources.reports.attach", work / "weak" / f"{view}.jsonl", "--out", work / view / "cases.jsonl"
        )


def make_phantoms(work: Path, sizes: Sizes) -> None:
    seeds = FIRST_SEED["phantom"]
    write_phantoms(work / "full", seeds["full"], sizes.full, "train", "full", sizes.full_lesions)
    for view in ("deeplesion", "report"):
        write_phantoms(work / view, seeds["weak"], sizes.weak, "train", view)
    write_phantoms(work / "validation", seeds["validation"], sizes.validation, "validation", "full")
    write_phantoms(work / "test", seeds["test"], sizes.test, "test", "full")


def settings(
    work: Path, run: str, arm: Arm, seed: int, steps: int, start: Path | None, world: str = "A"
) -> str:
    """The TOML of one run."""
    lines = [f'work = "{work}/runs/{run}"', f"seed = {seed}"]
    if start is not None:
        lines.append(f'start = "{start}"')
    shares = {"full": 1.0} if arm.view is None else {"full": 0.3, arm.view: 0.7}
    for name, share in shares.items():
        lines += ["[[sources]]", f'name = "{name}"', f'cases = "{work}/{name}/cases.jsonl"']
        lines += [f'cache = "{work}/cache/{name}"', f"share = {share}"]
    lines += ["[supervision]"]
    for field in dataclasses.fields(arm.supervision):
        lines.append(f"{field.name} = {json.dumps(getattr(arm.supervision, field.name))}")
    lines += ["[validation]", f'cases = "{work}/validation/cases.jsonl"']
    lines += [f'cache = "{work}/cache/validation"', f"every_steps = {steps}"]
    lines += ["[teacher]", "start_step = 0", f"every_steps = {max(1, steps // 3)}"]
    part = 1.0 if start is None else 0.5
    lines += ["[optimisation]", f"steps = {steps}", f"rate = {part * RATE}"]
    lines += [f"kernel_rate = {part * KERNEL_RATE[world]}", f"batch = {BATCH}", "average = 0.995"]
    return "\n".join(lines) + "\n" + NETWORKS[world] + REST


def train(work: Path, run: str, text: str) -> Path:
    """Trains; the folder with the weights of the best validation. What is done is left alone.

    They are not calibrated, which changes no ranking: export refuses weights that find nothing yet.
    """
    folder = work / "weights" / run
    weights = folder / "centernet3d.safetensors"
    if not weights.exists():
        config = work / "configs" / f"{run}.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(text, encoding="utf-8")
        runs = work / "runs" / run
        resume = ["--resume"] if any(runs.glob("*.safetensors")) else []
        step("resources.training", config, *resume)
        weights.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(runs / "best.safetensors", weights)
    return folder


def run_seed(work: Path, arms: list[str], seed: int, sizes: Sizes, world: str) -> dict[str, Path]:
    """Folders with the weights of the base and of every arm."""
    text = settings(work, f"base-{seed}", Arm(None, Supervision()), seed, sizes.base_steps, None, world)
    weights = {"base": train(work, f"base-{seed}", text)}
    for name in arms:
        run, start = f"{name.replace(' ', '-')}-{seed}", weights["base"] / "centernet3d.safetensors"
        text = settings(work, run, ARMS[name], seed, sizes.arm_steps, start, world)
        weights[name] = train(work, run, text)
    return weights


def run_arms(
    work: Path, arms: list[str], seeds: list[int], sizes: Sizes, world: str
) -> dict[tuple[str, int], Path]:
    """Predictions on the test scans by (arm, seed). The seeds share the cores: a run on each trains faster
    than one run on all.
    """
    cores = default_processes()
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores // len(seeds)))
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        runs = {seed: pool.submit(run_seed, work, arms, seed, sizes, world) for seed in seeds}
        weights = {(arm, seed): path for seed, run in runs.items() for arm, path in run.result().items()}
    for folder in weights.values():
        plan = ["--weights", folder, "--out", work / "predictions" / folder.name]
        step("resources.predict", "--cases", work / "test/cases.jsonl", *plan)
    return {key: work / "predictions" / folder.name for key, folder in weights.items()}


def step(module: str, *arguments: object) -> None:
    """Runs a command in a process of its own: threads of this one train side by side."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)


def measure_of(tables: list[Table]) -> Callable[[npt.NDArray[Any]], dict[str, Floats]]:
    """Sensitivities and their mean over the seeds' tables, for resampled weights."""
    rankings = [(lesion_ranking(table), table) for table in tables]

    def measure(weights: npt.NDArray[Any]) -> dict[str, Floats]:
        found = [
            sensitivity_at(ranking, weights, table.lesions, table.judged, RATES)
            for ranking, table in rankings
        ]
        cpm = [sensitivity_at(ranking, weights, t.lesions, t.judged).mean(1) for ranking, t in rankings]
        mean = np.mean(found, 0)
        return {f"{rate:g}": mean[:, i] for i, rate in enumerate(RATES)} | {"CPM": np.mean(cpm, 0)}

    return measure


def difference(first: list[Table], second: list[Table]) -> Callable[[npt.NDArray[Any]], dict[str, Floats]]:
    """The same of the first minus the second, paired by scan."""
    one, other = measure_of(first), measure_of(second)

    def measure(weights: npt.NDArray[Any]) -> dict[str, Floats]:
        minus = other(weights)
        return {name: value - minus[name] for name, value in one(weights).items()}

    return measure


def report(work: Path, predictions: dict[tuple[str, int], Path]) -> dict[str, Any]:
    """Prints every arm, and every difference that an arm was made for; returns the figures."""
    cases = read_cases(work / "test" / "cases.jsonl")
    chosen = Settings()
    truths = prepare(cases, chosen, lambda _: None)
    known = {case.id for case in cases}
    read = tuple(read_predictions(folder, cases, known) for folder in predictions.values())
    evaluation = evaluate(truths, read, chosen, lambda _: None)
    tables: dict[str, list[Table]] = {}
    for (name, _), model in zip(predictions, evaluation.models, strict=True):
        tables.setdefault(name, []).append(model.tables[PRIMARY.name])
    first = next(iter(tables.values()))
    print(f"{len(cases)} scans, {int(first[0].lesions.sum())} lesions, {len(first)} seeds; {PRIMARY.name}")
    head = [f"at {rate:g} FP" for rate in RATES] + ["CPM"]
    print(f"{'sensitivity':<34}" + "".join(f"{name:>24}" for name in head))
    rows = {name: measure_of(found) for name, found in tables.items()}
    for name, arm in ARMS.items():
        if name in tables and arm.against in tables:
            rows[f"{name} - {arm.against}"] = difference(tables[name], tables[arm.against])
    found: dict[str, Any] = {}
    for name, measure in rows.items():
        values = estimates(measure, evaluation.weights)
        found[name] = {key: dataclasses.asdict(value) for key, value in values.items()}
        print(f"{name:<34}" + "".join(f"{_shown(value):>24}" for value in values.values()))
    return found


def _shown(value: Estimate) -> str:
    low, high = ("?" if limit is None else f"{limit:.3f}" for limit in (value.lower, value.upper))
    return f"{value.value:.3f} ({low} to {high})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.trial", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "trial")
    parser.add_argument("--world", choices=tuple(NETWORKS), default="A")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    for field in dataclasses.fields(Sizes):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=int, default=field.default, help="default: %(default)s")
    options = parser.parse_args(arguments)
    work = options.work.absolute()
    sizes = Sizes(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Sizes)})
    try:
        make_scans(work, sizes, options.world)
        found = report(work, run_arms(work, options.arms, options.seeds, sizes, options.world))
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    except CaseError as error:
        return end_with(error)
    (work / "trial.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
