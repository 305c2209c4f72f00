"""What each supervision teaches, on four scans: balls so faint that a network trained on bright ones is not
sure of them become sure once marks, reports or the teacher speak of them, not by training on without these.
"""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from training.tiny import settings, write_run, write_scans

from model.detector import load_network
from model.network import CenterNet3D
from resources.cases.case import read_cases
from resources.evaluation.evaluation import Settings, prepare
from resources.training.config import read_config
from resources.training.data.stream import stream
from resources.training.engine import Run
from resources.training.targets import supervise
from resources.training.validation import Held, match_all, predict_scans, read_candidates

pytestmark = pytest.mark.slow
FAINT_HU = 100.0
FAINT = '[[sources]]\nname = "faint"\ncases = "faint/cases.jsonl"\ncache = "faint/cache"\n'
SURE_FROM = (
    "[teacher]\nstart_step = 0\nevery_steps = 50\npersistence = 1\ndoubtful_above = 0.04\npositive_above = "
)
OPTIMISATION = "average = 0.98\nrate = 0.005"


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that knows bright balls."""
    folder = tmp_path_factory.mktemp("bright")
    write_scans(folder / "train", 0)
    write_scans(folder / "held", 10, count=3, healthy=1)
    more = '[validation]\ncases = "held/cases.jsonl"\ncache = "held/cache"\nevery_steps = 200\n'
    run = Run(read_config(write_run(folder, settings(200, optimisation=OPTIMISATION, more=more))), "a", False)
    run.go()
    return run.work / "best.safetensors"


def go_on(folder: Path, start: Path, known: str, supervision: str, teacher: str) -> Run:
    """250 steps more with four scans of faint balls, of which the cases tell what is `known`."""
    write_scans(folder / "train", 0)
    write_scans(folder / "faint", 20, ball_hu=FAINT_HU, known=known)
    more = f"{FAINT}[supervision]\nfull = 1.0\n{supervision}\n{SURE_FROM}{teacher}\n"
    text = settings(250, optimisation=OPTIMISATION, more=more)
    text = text.replace("seed = 5", f'seed = 5\nstart = "{start}"')
    run = Run(read_config(write_run(folder, text)), "b", False)
    run.go()
    return run


def scores_of(network: CenterNet3D, folder: Path, out: Path) -> tuple[np.ndarray, float]:
    """Probability of each of the eight faint balls, and the highest of all else."""
    cases = read_cases(folder / "truth.jsonl")
    held = Held(prepare(cases, Settings(), lambda _: None), folder / "cache")
    predict_scans(network, held, out, 0, 1)
    table = match_all(held, read_candidates(held, out))
    assert len(table.lesion_score) == 8
    return table.lesion_score, float(table.false_score.max())


@pytest.fixture(scope="module")
def control(bright: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What the faint balls come to if nothing is said of them."""
    folder = tmp_path_factory.mktemp("control")
    run = go_on(folder, bright, "nothing", "", "0.5")
    return scores_of(run.learner.average, folder / "faint", folder / "predictions")[0]


def loss_of(run: Run, network: CenterNet3D, name: str) -> float:
    """One supervision's loss, in the mean over forty batches with the pseudo-labels of the first round."""
    rounds = run.work / "pseudo_labels" / "0000"
    pseudo_labels = rounds if rounds.exists() else None
    total = 0.0
    with (
        contextlib.closing(stream(run.scans, run.config, 0, 40, 0, 1, pseudo_labels)) as batches,
        torch.no_grad(),
    ):
        for batch, _ in batches:
            found = supervise.losses(*network(batch.hu), batch, run.config.supervision, lambda value: value)
            total += float(found[name])
    return total / 40


@pytest.mark.parametrize(
    ("name", "known", "supervision", "teacher"),
    [
        ("weak", "recist", "weak = 1.0", "0.5"),
        ("teacher", "nothing", "teacher = 1.0", "0.07"),
        ("report_positive", "report", "report_positive = 1.0", "0.5"),
        ("report_positive", "report", "report_positive = 1.0\nteacher = 1.0", "0.5"),
    ],
)
def test_a_supervision_finds_what_it_speaks_of(
    bright: Path, control: np.ndarray, tmp_path: Path, name: str, known: str, supervision: str, teacher: str
) -> None:
    run = go_on(tmp_path, bright, known, supervision, teacher)
    network = run.learner.average
    assert loss_of(run, network, name) < 0.8 * loss_of(run, load_network(bright), name)
    found, false = scores_of(network, tmp_path / "faint", tmp_path / "predictions")
    assert found.mean() > control.mean() + 0.2
    assert found.min() > false
