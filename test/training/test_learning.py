"""From scans to weights: a small network learns four scans, finds their lesions, and is exported."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.detector import Detector, load_network
from resources.cases.images import read_case_volume
from resources.cases.strict import CaseError
from resources.evaluation.evaluation import Settings, prepare
from resources.training.checkpoint import read_checkpoint
from resources.training.config import read_config
from resources.training.data import stream
from resources.training.engine import Run
from resources.training.export import export
from resources.training.export import main as export_main
from resources.training.validation import Held, look, match_all, read_candidates
from training.tiny import HELD, settings, write_run, write_scans

STEPS = 250


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on four scans, validated on six others of which two are healthy."""
    folder = tmp_path_factory.mktemp("run")
    write_scans(folder / "train", 0)
    write_scans(folder / "held", 10, count=6, healthy=2)
    text = settings(STEPS, optimisation="average = 0.98\nrate = 0.005", more=HELD.format(every=100))
    run = Run(read_config(write_run(folder, text)), "run", resume=False)
    run.go()
    return run


def losses(run: Run, average: bool) -> float:
    """Of the first ten batches."""
    from resources.training import supervise

    network = run.learner.average if average else Run(run.config, "run", resume=True).learner.plain
    total = 0.0
    with contextlib.closing(stream(run.scans, run.config, 0, 10, 0, 1)) as batches, torch.no_grad():
        for batch, _ in batches:
            found = supervise.losses(network(batch.hu), batch, run.config.supervision, lambda value: value)
            total += float(sum(found.values()))
    return total / 10


@pytest.mark.slow
def test_full_supervision_learns_and_finds(run: Run, tmp_path: Path) -> None:
    from model.network import CenterNet3D

    untrained = run.learner.average
    after = losses(run, average=True)
    torch.manual_seed(0)
    fresh = CenterNet3D(untrained.config).eval()
    with contextlib.closing(stream(run.scans, run.config, 0, 10, 0, 1)) as batches, torch.no_grad():
        from resources.training import supervise

        before = np.mean(
            [
                float(
                    sum(
                        supervise.losses(fresh(b.hu), b, run.config.supervision, lambda v: v).values()
                    )
                )
                for b, _ in batches
            ]
        )
    assert after < 0.25 * before
