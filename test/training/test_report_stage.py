"""Pre-training from reports in the engine: it learns, goes on after a stop, and hands its weights on."""

import dataclasses
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from training.tiny import SPACING_MM, settings, write_run, write_scans

from model.network import CenterNet3D
from resources.cases.cache import Job, build
from resources.cases.case import Case, Finding, read_cases, write_cases
from resources.cases.strict import CaseError
from resources.interrupt import Interrupted, Signals
from resources.training.checkpoint import read_checkpoint
from resources.training.config import read_config
from resources.training.engine import Run
from resources.training.learner import first_network
from resources.training.reports.pretrain import ReportNetwork, report_batches

STEPS = 6


def with_report(case: Case, number: int) -> Case:
    """Odd ones report liver lesions, even ones clear the scan."""
    lesions = Finding("liver", "liver", count=2, sizes_mm=(20.0,))
    clear = Finding(None, None, count=None, presence="absent")
    return dataclasses.replace(case, annotations=(), findings=(lesions if number % 2 else clear,))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    write_scans(folder / "train", 0)
    cases = [with_report(case, i) for i, case in enumerate(read_cases(folder / "train" / "cases.jsonl"))]
    write_cases(folder / "train" / "cases.jsonl", cases)
    for case in cases:
        build(Job(case, folder / "train" / "cache", SPACING_MM, 4, False))
    return folder


def run_in(folder: Path, work: str, steps: int = STEPS, resume: bool = False) -> Run:
    text = settings(
        2, optimisation="warm_up = 5", more=f"[pretraining]\nsteps = {steps}\nrate = 0.003\n"
    ).replace('"run"', f'"{work}"')
    return Run(read_config(write_run(folder, text)), "run", resume)


def test_stopped_after_each_step_it_ends_alike(scans: Path) -> None:
    whole = run_in(scans, "whole", steps=3)
    untrained = first_network(whole.config)
    whole.go()
    assert whole.step == 2
    file = scans / "stopped" / "checkpoint.safetensors"
    for step in (-2, -1, 0, 1):
        stopped = run_in(scans, "stopped", steps=3, resume=file.exists())
        stopped.signals.number = signal.SIGTERM
        with pytest.raises(Interrupted, match="SIGTERM"):
            stopped.go()
        tensors, state = read_checkpoint(file)
        assert state["step"] == step
        if step == -1:
            learnt, kept = (tensors[f"network.network.{name}.weight"] for name in ("stem.conv", "out"))
            assert not torch.equal(learnt, untrained.stem.conv.weight)
            assert torch.equal(kept, untrained.out.weight)
    run_in(scans, "stopped", steps=3, resume=True).go()
    assert (scans / "whole" / "checkpoint.safetensors").read_bytes() == file.read_bytes()


def test_training_begins_with_its_weights(scans: Path) -> None:
    run = run_in(scans, "handed")
    before = run.learner.plain
    run.train_over(report_batches(run.config, run.scans, run.step, 0, 1))
    assert run.step == 0
    assert isinstance(before, ReportNetwork)
    assert isinstance(run.learner.plain, CenterNet3D)
    for name, value in before.network.state_dict().items():
        assert torch.equal(value, run.learner.plain.state_dict()[name])
        assert torch.equal(value, run.learner.average.state_dict()[name])


@pytest.mark.slow
def test_it_learns_what_reports_say(scans: Path) -> None:
    run = run_in(scans, "learnt", steps=60)
    batches = report_batches(run.config, run.scans, run.step, 0, 1)
    losses = [run.train_on(batch, waited_s)["reports"] for batch, waited_s in batches]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_without_reports_it_is_refused(tmp_path: Path) -> None:
    write_scans(tmp_path / "train", 0, count=1)
    with pytest.raises(CaseError, match="expected scans with a report that says something, found none"):
        run_in(tmp_path, "none")


def test_a_signal_within_long_reading_ends_it_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Interrupted, match="SIGTERM") as caught, signals.at_once():
            threading.Event().wait(30)
        assert caught.value.number == signal.SIGTERM
        with pytest.raises(Interrupted), signals.at_once():
            raise AssertionError
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_within_a_step_waits() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.number == signal.SIGINT
