"""From scans to weights: a small network learns four scans, finds their lesions, and is exported."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training.tiny import HELD, settings, write_run, write_scans

from helpers import last_line
from model.detector import Detector, load_network
from model.network import CenterNet3D
from resources.cases.case import read_cases
from resources.cases.images import read_case_volume
from resources.evaluation.evaluation import Settings, prepare
from resources.training.checkpoint import read_checkpoint
from resources.training.config import read_config
from resources.training.data.stream import stream
from resources.training.engine import Run
from resources.training.export import main as export
from resources.training.targets import supervise
from resources.training.validation import Held, match_all, predict_scans, read_candidates

pytestmark = pytest.mark.slow
STEPS = 200


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


def loss_of(run: Run, network: CenterNet3D) -> float:
    """In the mean over the run's first ten batches."""
    total = 0.0
    with contextlib.closing(stream(run.scans, run.config, 0, 10, 0, 1)) as batches, torch.no_grad():
        for batch, _ in batches:
            found = supervise.losses(*network(batch.hu), batch, run.config.supervision, lambda value: value)
            total += float(torch.stack(list(found.values())).sum())
    return total / 10


def test_full_supervision_learns_and_finds(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = loss_of(run, CenterNet3D(run.learner.average.config).eval())
    assert loss_of(run, run.learner.average) < 0.25 * before
    cases = [case for _, case in run.scans.cases]
    trained = Held(prepare(cases, Settings(), lambda _: None), Path(run.config.sources[0].cache))
    predict_scans(run.learner.average, trained, tmp_path, 0, 1)
    table = match_all(trained, read_candidates(trained, tmp_path))
    assert len(table.lesion_score) == 8
    sure = table.lesion_score.min()
    assert sure > 0.2
    assert (table.false_score < sure).all()


def test_the_best_is_kept(run: Run) -> None:
    _, state = read_checkpoint(run.file)
    assert state["step"] == STEPS
    best = load_network(run.work / "best.safetensors")
    assert best.config.provenance == {
        "step": str(state["best"]["step"]),
        "cpm": f"{state['best']['cpm']:.4f}",
    }
    assert state["best"]["cpm"] > 0.5
    assert sorted(path.name for path in (run.work / "validation").iterdir()) == ["0000100", "0000200"]


def test_export_calibrates_and_tells_where_it_comes_from(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights" / "tiny.safetensors"
    assert export(["--work", str(run.work), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{out}: step ")
    assert ", calibrated on: " in said
    held = run.config.validation
    assert held is not None
    again = tmp_path / "again.safetensors"  # on the same scans by name
    assert (
        export(["--work", str(run.work), "--out", str(again), "--cases", held.cases, "--cache", held.cache])
        == 0
    )
    network = load_network(out)
    assert load_network(again).config.calibration == network.config.calibration
    best = load_network(run.work / "best.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), best.parameters(), strict=True))
    origin = network.config.provenance
    assert origin["config"] == "run"
    assert origin["data"] == "tiny: 4 cases"
    assert origin["data_sha256"] == run.scans.digest
    assert origin["steps"] == f"{best.config.provenance['step']} of {STEPS}"
    assert origin["seed"] == "5"
    assert json.loads(origin["supervision"])["full"] == 1.0
    assert origin["calibration"] == "6 validation scans"
    assert origin["intended_use"] == "research only; not a medical device"
    assert len(origin["git_commit"]) in (40, len("unknown"))
    detector = Detector.from_weights(out.parent, "cpu")
    assert detector.operating_point != 0.5
    for case in read_cases(Path(run.config.validation.cases)):  # type: ignore[union-attr]
        found = detector.predict(read_case_volume(case))
        called = [lesion for lesion in found.lesions if lesion.probability > detector.operating_point]
        assert abs(len(called) - len(case.annotations)) <= 1
        assert (found.likelihood >= detector.scan_operating_point) == bool(case.annotations)


def test_the_operating_point_has_as_many_false_positives_as_are_asked_for(run: Run, tmp_path: Path) -> None:
    """Six validation scans: at 0.5 a scan three false positives may be at or above it, at 0 none."""
    settings = run.config.validation
    assert settings is not None
    held = Held(prepare(read_cases(Path(settings.cases)), Settings(), lambda _: None), Path(settings.cache))
    step = load_network(run.work / "best.safetensors").config.provenance["step"].zfill(7)
    false = match_all(held, read_candidates(held, run.work / "validation" / step)).false_score
    assert len(false) > 3
    for rate, allowed in (("0", 0), ("0.5", 3)):
        out = tmp_path / f"{rate}.safetensors"
        assert export(["--work", str(run.work), "--out", str(out), "--false-positives", rate]) == 0
        config = load_network(out).config
        slope, intercept = config.calibration
        probability = np.sort(1 / (1 + np.exp(-(slope * np.log(false / (1 - false)) + intercept))))[::-1]
        assert (probability >= config.operating_point).sum() <= allowed
        assert (probability >= config.operating_point - 2e-4).sum() > allowed
    with pytest.raises(SystemExit, match="2"):
        export(["--work", str(run.work), "--out", str(tmp_path / "a"), "--false-positives", "-1"])


def test_without_validation_the_last_average_is_exported(run: Run, tmp_path: Path) -> None:
    write_scans(tmp_path / "train", 0, count=1)
    text = settings(1) + "[supervision]\nfull = 0.5\n"
    text = text.replace("seed = 5", f'seed = 5\nstart = "{run.work / "best.safetensors"}"')
    other = Run(read_config(write_run(tmp_path, text)), "one", resume=False)
    start = load_network(run.work / "best.safetensors")
    assert torch.equal(other.learner.average.out.weight, start.out.weight)
    other.go()
    assert export(["--work", str(other.work), "--out", str(tmp_path / "a.safetensors")]) == 0
    network = load_network(tmp_path / "a.safetensors")
    for name, value in other.learner.average.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    assert (network.config.calibration, network.config.operating_point) == ((1.0, 0.0), 0.5)
    assert network.config.provenance["calibration"] == "none"
    assert json.loads(network.config.provenance["start"])["step"] == start.config.provenance["step"]


def test_what_cannot_be_exported(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    assert export(["--work", str(tmp_path), "--out", str(out)]) == 2
    assert "expected a checkpoint, found" in last_line(capsys.readouterr().err)
    folder = (
        run.work
        / "validation"
        / load_network(run.work / "best.safetensors").config.provenance["step"].zfill(7)
    )
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    for path in kept:
        np.savez(path, points_mm=np.zeros((0, 3)), probability=np.zeros(0))
    try:
        assert export(["--work", str(run.work), "--out", str(out)]) == 2
        assert "expected hits and misses in the validation, found" in last_line(capsys.readouterr().err)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert list(tmp_path.iterdir()) == []
