"""Independent detectors beside our own: the same scans, the same grid, a budget of processor time.

    python -m resources.study.peers few --peer unet|retinanet --work WORK [--minutes 40] [--naive]

Trains a peer (resources.study.peer_networks) on the scans that the base of a setting is trained on, in
patches of the same shape and number and in the same precision, and predicts the test scans of the setting;
the same command goes on. With --naive the scans that have RECIST marks are among them, each mark as the body
that it stands for, and whatever is not marked counts as free of lesions. The data is what
`python -m resources.study run few --work WORK --to base` has made.
Figures are stored as OUT/few.json, with those of the base where its weights are in WORK. The test scans are
for the end: run this when all arms are trained.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track

from model.config import MOST_POINTS, NotFiniteError, WeightsError
from model.detector import load_network
from model.files import write_files
from model.geometry import Geometry
from model.outputs import points_file
from model.preprocess import preprocess
from model.volume import InputError
from resources.cases.case import CaseError, read_cases
from resources.cases.images import read_case_volume
from resources.cli import FAILED, end_with
from resources.evaluation import EvaluationError
from resources.evaluation.evaluation import Settings, evaluate
from resources.evaluation.predictions import read_predictions
from resources.interrupt import Interrupted
from resources.predict import NAMES, Job, digest_of
from resources.study.__main__ import store
from resources.study.arms import BASE, WEIGHTS, held, predict, predictions
from resources.study.contrasts import ALL, Model, difference, figures_of, models_of, run_measure
from resources.study.measured import counts_of, origin
from resources.study.peer_training import Budget, Patches, Trained, read_scans, scaled, train, window_of
from resources.study.setting import FOLDER, Setting, names, read_setting
from resources.study.steps import ROOT, Figures
from resources.study.tables import RESULTS

if TYPE_CHECKING:
    from resources.study.peer_networks import Peer

KINDS = ("unet", "retinanet")
MARKS = "marks"
"""The list of scans with RECIST marks."""
SECONDS = "seconds.json"
"""Beside the points of a scan: how long they took, and of which case and weights they are."""

Window = tuple[float, float]
Floats = npt.NDArray[np.float64]
Row = tuple[str, list[float], float]


def check(setting: Setting, name: str, work: Path, naive: bool) -> None:
    """Raises CaseError where something that a peer needs is missing."""
    lists = [*setting.base.sources, "test"]
    if setting.is_real or setting.start or any(setting.cases[own].view != "masks" for own in lists):
        raise CaseError(f"{name}: expected a setting whose base is trained on all masks of synthetic scans")
    if naive and MARKS not in setting.cases:
        raise CaseError(f"{name}: expected a setting with a list {MARKS}, found none")
    for own in [*lists, *([MARKS] if naive else [])]:
        path = work / "cases" / f"{own}.jsonl"
        if not path.exists():
            command = f"{sys.executable} -m resources.study run {name} --work {work} --to base"
            raise CaseError(f"{path}: expected a case list, found none; made by: {command}")


def trained_peer(
    setting: Setting, work: Path, kind: str, budget: Budget, naive: bool
) -> tuple[Peer, Window, Trained, Path]:
    """A trained peer, its window in HU, and the folder of its checkpoint. Raises as `train` does."""
    from resources.study.peer_networks import RetinaNetPeer, UNetPeer

    z, y, x = tomllib.loads(setting.common)["patches"]["shape"]
    optimisation, network = tomllib.loads(setting.optimisation), setting.network.detector
    scans = []
    for own in [*setting.base.sources, *([MARKS] if naive else [])]:
        scans += read_scans(work / "cases" / f"{own}.jsonl", work / "cache" / own, network, (z, y, x))
    torch.manual_seed(0)
    make = UNetPeer if kind == "unet" else RetinaNetPeer
    peer = make((z, y, x), optimisation["precision"] == "bf16-mixed")
    window, folder = window_of(scans), work / "runs" / run_of(kind, naive)
    patches = Patches(scans, (z, y, x), optimisation["batch"], window)
    run = {
        "peer": kind,
        "shape": [z, y, x],
        "batch": patches.batch,
        "scans": [scan.digest for scan in scans],
    }
    run |= dataclasses.asdict(budget)
    trained = train(peer, patches.draw, folder / "checkpoint.safetensors", run, budget)
    return peer, window, trained, folder


def run_of(kind: str, naive: bool) -> str:
    """Of the folders in runs and predictions."""
    return f"peer-{kind}{'-naive' * naive}"


def predict_scans(peer: Peer, window: Window, setting: Setting, jobs: Sequence[Job]) -> None:
    """Writes the points of each case, and SECONDS; those that are there, of the same weights, stay."""
    network = setting.network.detector
    todo = [job for job in jobs if not is_done(job)]
    for job in track(todo, "Predicting", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        started = time.perf_counter()
        volume = read_case_volume(job.case)
        grid = preprocess(volume, network.spacing_mm, network.stride)
        with torch.inference_mode():
            found = peer.find(scaled(grid.hu, window), grid.geometry)
        points = json.dumps(points_file(rows_of(*found, volume.geometry))) + "\n"
        said = {"seconds": time.perf_counter() - started, "made_from": job.made_from}
        write_files(job.folder, {NAMES.points: points, SECONDS: json.dumps(said) + "\n"})


def rows_of(points_mm: Floats, probability: Floats, place: Geometry) -> list[Row]:
    """For a points file: the most probable of the points within the scan, beyond which its grid may reach."""
    kept = np.flatnonzero(place.contains(points_mm))
    order = kept[np.argsort(-probability[kept], kind="stable")][:MOST_POINTS]
    return [("lesion", points_mm[number].tolist(), float(probability[number])) for number in order]


def is_done(job: Job) -> bool:
    try:
        return bool(json.loads((job.folder / SECONDS).read_bytes())["made_from"] == job.made_from)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def measured(
    setting: Setting, work: Path, kind: str, budget: Budget, naive: bool = False
) -> dict[str, Figures]:
    """Figures of a peer, and of the base where its weights or predictions are; what is done is left alone.

    Raises as `train` does, and InputError, EvaluationError and CalledProcessError.
    """
    cases, out = read_cases(work / "cases" / "test.jsonl"), predictions(work, run_of(kind, naive))
    peer, window, trained, folder = trained_peer(setting, work, kind, budget, naive)
    digest = digest_of(folder)
    predict_scans(peer, window, setting, [Job(c, out / c.id, folder, digest, "cpu", None) for c in cases])
    seconds = [float(details(out / case.id / SECONDS)["seconds"]) for case in cases]
    name = name_of(kind, naive)
    found = {name: effort(trained.steps, trained.seconds / 60, peer, seconds)}
    weights, out = work / "weights" / BASE / WEIGHTS, predictions(work, BASE)
    if weights.exists():
        predict(setting, work, BASE)
        seconds = [sum(details(out / case.id / NAMES.details)["timings_s"].values()) for case in cases]
        minutes = minutes_of(setting, work / "runs" / BASE / "board")
        found[BASE] = effort(setting.base_steps, minutes, load_network(weights), seconds)
    ours = {BASE: BASE} if BASE in found else {}
    compared = compare(setting, work, ours | {name: run_of(kind, naive)})
    return {name: own | compared[name] for name, own in found.items()}


def name_of(kind: str, naive: bool) -> str:
    """In the stored figures."""
    return f"{kind} naive" if naive else kind


def effort(steps: int, minutes: float | None, network: torch.nn.Module, seconds: Sequence[float]) -> Figures:
    """What a detector cost."""
    return {
        "steps": steps,
        "minutes": minutes,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds_a_scan": float(np.mean(seconds)),
    }


def details(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def minutes_of(setting: Setting, board: Path) -> float | None:
    """That the base's steps took, by the clock, from the rates on its TensorBoard; None without one."""
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

    if not board.is_dir():
        return None
    events = event_accumulator.EventAccumulator(str(board)).Reload()
    rates = [event.value for event in events.Scalars("patches per s")]
    batch = tomllib.loads(setting.optimisation)["batch"]
    return setting.base_steps * batch * float(np.mean(1 / np.array(rates))) / 60


def compare(setting: Setting, work: Path, runs: dict[str, str]) -> dict[str, Figures]:
    """The figures of runs on the test scans by the primary rule, and each one's minus the first's."""
    truths = held(work, "test").truths
    cases = [truth.case for truth in truths]
    known = {case.id for case in cases}
    read = tuple(read_predictions(predictions(work, run), cases, known) for run in runs.values())
    evaluation = evaluate(truths, read, Settings(), lambda _: None)
    models = [Model({ALL: model.tables[ALL]}) for model in models_of(evaluation, setting)]
    found: dict[str, Figures] = {
        name: {
            "scans": len(cases),
            "lesions": counts_of(model)[ALL],
            "measures": figures_of(run_measure(model), evaluation.weights),
        }
        for name, model in zip(runs, models, strict=True)
    }
    for name, model in zip(list(runs)[1:], models[1:], strict=True):
        found[name]["difference"] = figures_of(difference([model], models[:1]), evaluation.weights)
    return found


def run(setting: Setting, name: str, options: argparse.Namespace, work: Path) -> None:
    """Measures a peer and the base, and stores both."""
    kind, naive, budget = options.peer, options.naive, Budget(options.minutes, options.steps)
    limit = f"--minutes {budget.minutes:g}" if budget.steps is None else f"--steps {budget.steps}"
    commands = {
        name_of(kind, naive): f"python -m resources.study.peers {name} --peer {kind} {limit}"
        + " --naive" * naive,
        BASE: f"python -m resources.study run {name} --to base",
    }
    found = measured(setting, work, kind, budget, naive)
    made = {key: own | origin(name, setting, work) | {"command": commands[key]} for key, own in found.items()}
    store(options.out, name, made)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m resources.study.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("setting", choices=names())
    found.add_argument("--peer", choices=KINDS, required=True)
    found.add_argument("--work", type=Path, help="of the study's run (default: build/study/SETTING)")
    found.add_argument("--naive", action="store_true", help="the scans with marks too, the unmarked healthy")
    limit = found.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=float, default=Budget.minutes, help="default: %(default)g")
    limit.add_argument("--steps", type=int, help="steps in place of minutes")
    found.add_argument("--out", type=Path, default=RESULTS / "peers", help="folder of the stored results")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0; 1 where a loss is no number; 2 on bad input; 128 + number after a signal."""
    options = parser().parse_args(arguments)
    name = options.setting
    work = (options.work or ROOT / "build" / "study" / name).absolute()
    try:
        setting = read_setting(FOLDER / f"{name}.toml")
        check(setting, name, work, options.naive)
        run(setting, name, options, work)
    except Interrupted as stopped:
        print(f"{stopped}; the same command goes on", file=sys.stderr)
        return 128 + stopped.number
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    except NotFiniteError as error:
        return end_with(error, FAILED)
    except (CaseError, EvaluationError, InputError, WeightsError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
