"""The stage in which reports are read: it learns, goes on after a stop, and hands its weights on."""

import dataclasses
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from training.tiny import SPACING_MM, settings, write_run, write_scans

from resources.cases.cache import Job, build
from resources.cases.case import Case, Finding, read_cases, write_cases
from resources.cases.strict import CaseError
from resources.interrupt import Interrupted, Signals
from resources.training.checkpoint import read_checkpoint
from resources.training.config import read_config
from resources.training.engine import Run
from resources.training.learner import first_network
from resources.training.reports.report_stage import ReportStage

STEPS = 6


def with_report(case: Case, number: int) -> Case:
    """Odd ones tell of liver lesions, even ones clear the scan."""
    told = Finding("liver", "liver", count=2, sizes_mm=(20.0,))
    clear = Finding(None, None, count=None, presence="absent")
    return dataclasses.replace(case, annotations=(), findings=(told if number % 2 else clear,))


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


def test_stopped_and_taken_up_again_it_ends_alike(scans: Path) -> None:
    whole = run_in(scans, "whole")
    untrained = first_network(whole.config)
    whole.go()
    stopped = run_in(scans, "stopped")
    stage = ReportStage(stopped.learner, stopped.config, stopped.scans)
    with Signals() as signals:
        signals.number = signal.SIGTERM
        with pytest.raises(Interrupted, match="SIGTERM"):
            stage.go(signals)
    assert read_checkpoint(stage.file)[1]["step"] == 1
    run_in(scans, "stopped", resume=True).go()
    for name in ("pretraining.safetensors", "checkpoint.safetensors"):
        assert (scans / "whole" / name).read_bytes() == (scans / "stopped" / name).read_bytes(), name
    tensors, state = read_checkpoint(scans / "whole" / "pretraining.safetensors")
    assert state["step"] == STEPS
    assert not torch.equal(tensors["both.network.stem.conv.weight"], untrained.stem.conv.weight)
    assert torch.equal(tensors["both.network.out.weight"], untrained.out.weight)


def test_training_begins_with_its_weights(scans: Path) -> None:
    run = run_in(scans, "handed")
    ReportStage(run.learner, run.config, run.scans).go(run.signals)
    tensors, _ = read_checkpoint(scans / "handed" / "pretraining.safetensors")
    for name, value in run.learner.plain.state_dict().items():
        assert torch.equal(value, tensors[f"both.network.{name}"])
        assert torch.equal(value, run.learner.average.state_dict()[name])


@pytest.mark.slow
def test_it_learns_what_reports_say(scans: Path) -> None:
    run = run_in(scans, "learnt", steps=60)
    stage = ReportStage(run.learner, run.config, run.scans)
    told = []
    for bags, names in stage._batches():
        told.append(stage._train_on(bags, names))
        stage.step += 1
    assert sum(told[-10:]) < 0.6 * sum(told[:10])


def test_without_reports_it_is_refused(tmp_path: Path) -> None:
    write_scans(tmp_path / "train", 0, count=1)
    run = run_in(tmp_path, "none")
    with pytest.raises(CaseError, match="expected scans with a report that says something, found none"):
        run.go()


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
