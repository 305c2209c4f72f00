"""A run is a function of its settings, its data and its seed, however often it is stopped."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from training.frozen_norm import stay
from training.tiny import HELD, STILL, settings, write_scans

from helpers import ROOT, environment, last_line
from model.config import NotFiniteError
from resources.cases.strict import CaseError
from resources.training.__main__ import main
from resources.training.config import Patches, read_config
from resources.training.data.stream import stream
from resources.training.engine import Run, round_of, segments
from resources.training.learner import check_depth, generator_of, schedule


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scans to train on and scans to validate on."""
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder / "train", 0)
    write_scans(folder / "held", 10, count=2)
    return folder


def run_in(folder: Path, work: str, text: str) -> Path:
    """The settings of a run in FOLDER/work; all bear one name."""
    file = folder / f"settings of {work}" / "run.toml"
    file.parent.mkdir(exist_ok=True)
    for name in ("train/", "held/"):
        text = text.replace(f'"{name}', f'"../{name}')
    file.write_text(text.replace('"run"', f'"../{work}"'), encoding="utf-8")
    return file


def opened(file: Path, resume: bool = False) -> Run:
    return Run(read_config(file), file.stem, resume)


def losses(run: Run, last: int) -> list[dict[str, float]]:
    batches = stream(run.scans, run.config, run.step, last, 0, 1, None, None)
    with contextlib.closing(batches):
        return [run.train_on(batch, waited_s) for batch, waited_s in batches]


@pytest.mark.parametrize(("rate", "organs"), [(0.0, "false"), (0.02, "false"), (0.02, "true")])
def test_going_on_gives_the_same_losses_as_not_stopping(scans: Path, rate: float, organs: str) -> None:
    """With an organ head that nothing teaches too."""
    text = settings(6, optimisation=f"kernel_rate = {rate}")
    text = text.replace("[network]", f"[network]\norgans = {organs}")
    which = f"{rate} {organs}"
    whole = opened(run_in(scans, f"whole {which}", text))
    expected = losses(whole, 6)
    whole.keep()
    file = run_in(scans, f"stopped {which}", text)
    first = opened(file)
    found = losses(first, 3)
    first.keep()
    second = opened(file, resume=True)
    assert second.step == 3
    found += losses(second, 6)
    second.keep()
    assert found == expected
    assert len({tuple(values.values()) for values in expected}) == 6
    both = (scans / f"{name} {which}/checkpoint.safetensors" for name in ("whole", "stopped"))
    assert len({file.read_bytes() for file in both}) == 1


TRAINING = ("-m", "resources.training")


def start(
    *options: object, prefix: tuple[str, ...] = (), program: tuple[str, ...] = TRAINING
) -> subprocess.Popen[str]:
    command = [sys.executable, *prefix, *program, *map(str, options)]
    pipe, given = subprocess.PIPE, environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=given, stdout=pipe, stderr=pipe, encoding="utf-8")


def finished(
    *options: object, prefix: tuple[str, ...] = (), program: tuple[str, ...] = TRAINING
) -> tuple[int, str, str]:
    process = start(*options, prefix=prefix, program=program)
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


def steps_done(work: Path) -> int:
    """Of the checkpoint; -1 without one."""
    if not (work / "checkpoint.safetensors").exists():
        return -1
    with safe_open(work / "checkpoint.safetensors", framework="pt") as file:
        return int(json.loads(file.metadata()["state"])["step"])


def await_steps(process: subprocess.Popen[str], work: Path, steps: int) -> None:
    while steps_done(work) < steps and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_random_three_times(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With rounds, hard negatives and validations on the way. Another runs in this process, to its end."""
    text = settings(28, optimisation="checkpoint_every_s = 0.0", more=HELD.format(every=9))
    text = text.replace("hard = 0.0", "hard = 0.3")
    text += "[teacher]\nstart_step = 6\nevery_steps = 6\n"
    assert main([str(run_in(scans, "alone", text))]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert "step 28/28: full" in out
    assert "patches per second" in out
    file, draw = run_in(scans, "killed", text), random.Random(4)
    for target in (4, 10, 18):
        process = start(file, "--resume")
        await_steps(process, scans / "killed", target)
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert main([str(file), "--resume"]) == 0
    for name in ("checkpoint.safetensors", "pseudo_labels/0002/hard.json", "pseudo_labels/0003/hard.json"):
        assert (scans / "alone" / name).read_bytes() == (scans / "killed" / name).read_bytes(), name
    for first, second in zip(
        *(load_file(scans / work / "best.safetensors").values() for work in ("alone", "killed")), strict=True
    ):
        assert torch.equal(first, second)
    parts = [path for path in (scans / "killed").rglob("*") if path.name.endswith(".part")]
    assert parts == []


@pytest.mark.slow
def test_sigterm_finishes_the_step_and_says_how_to_go_on(scans: Path) -> None:
    file = run_in(scans, "termed", settings(100_000))
    process = start(file)
    await_steps(process, scans / "termed", 0)
    time.sleep(1)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    done = steps_done(scans / "termed")
    assert last_line(error) == (
        f"SIGTERM after step {done}; to go on: {sys.executable} -m resources.training {file} --resume"
    )


def test_a_loss_that_is_no_number_stops_the_run(scans: Path) -> None:
    run = opened(run_in(scans, "broken", settings(4)))
    losses(run, 2)
    run.keep()
    before = run.file.read_bytes()
    run.learner.plain.out.bias.data[3] = float("nan")
    with pytest.raises(NotFiniteError, match=r"step 3: .*found full nan, .*; cases: scan-\d, scan-\d$"):
        losses(run, 3)
    assert run.file.read_bytes() == before


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batch norm at its running statistics: on CPUs each process would take those of its own patches."""
    text = settings(1, batch=4, optimisation="clip = 1e6") + STILL
    with monkeypatch.context() as patch:
        patch.setattr(nn.BatchNorm3d, "train", stay)
        assert main([str(run_in(scans, "single", text))]) == 0
    program = (str(ROOT / "test" / "training" / "frozen_norm.py"),)
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))
    code, out, error = finished(run_in(scans, "double", text), prefix=torchrun, program=program)
    assert code == 0, error
    assert out.count("patches per second") == 1
    one, two = (load_file(scans / name / "checkpoint.safetensors") for name in ("single", "double"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if name.startswith("optimizer.exp_avg."):
            scale = float(value.abs().max())
            assert scale > 0, name
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5 * scale)


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("depth", [4, 8])
def test_two_slices_are_refused_where_bfloat16_gets_them_wrong(scans: Path, depth: int) -> None:
    run = read_config(run_in(scans, "half", settings(2, optimisation='precision = "bf16-mixed"')))
    assert run.network.widths == (8, 12)  # maps of every second and of every fourth slice
    thin = dataclasses.replace(run, patches=Patches(shape=(depth, 48, 48)))
    expected = f"patches.shape\\[0\\]: expected in bf16-mixed on a CPU .* as 12 has, found {depth}"
    with pytest.raises(CaseError, match=expected):
        check_depth(thin, "cpu")
    check_depth(thin, "cuda")
    check_depth(run, "cpu")
    single = dataclasses.replace(
        thin, optimisation=dataclasses.replace(run.optimisation, precision="32-true")
    )
    check_depth(single, "cpu")


def test_half_precision_sees_whole_hu_and_averages_in_single(scans: Path) -> None:
    run = opened(run_in(scans, "half", settings(2, optimisation='precision = "bf16-mixed"')))
    assert all(0 < values["full"] < 100 for values in losses(run, 2))
    assert {v.dtype for v in run.learner.average.parameters()} == {torch.float32}
    hu = torch.full((1, 1, 16, 16, 16), 39.0)
    with torch.no_grad():
        near = [run.learner.network(hu + shift)[0] for shift in (0.0, 0.05)]
    assert not torch.equal(*near)  # 39.05 is 39 in bfloat16


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("", [], "expected no checkpoint, found one (--resume goes on from it)"),
        ("seed = 6", ["--resume"], "seed: expected 5 as in"),
        ("steps = 1", ["--resume"], "optimisation.steps: expected at least the 2 steps of"),
        ("lesion = 0.7", ["--resume"], "patches.lesion: expected 0.6 as in"),
    ],
)
def test_starts_that_are_refused(
    scans: Path, capsys: pytest.CaptureFixture[str], change: str, options: list[str], message: str
) -> None:
    file = run_in(scans, "refused", settings(2))
    if not (scans / "refused").exists():
        assert main([str(file)]) == 0
    before = (scans / "refused/checkpoint.safetensors").read_bytes()
    key = change.split(" = ")[0]
    lines = [
        change if change and line.startswith(f"{key} =") else line
        for line in file.read_text("utf-8").split("\n")
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    capsys.readouterr()
    assert main([str(file), *options]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert message in error
    assert (scans / "refused/checkpoint.safetensors").read_bytes() == before


def test_rounds_under_their_former_name_are_not_made_again(
    scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_in(scans, "former", settings(1))
    assert main([str(file)]) == 0
    (scans / "former" / "beliefs").mkdir()
    capsys.readouterr()
    assert main([str(file), "--resume"]) == 2
    assert capsys.readouterr().err.endswith(
        "expected rounds in pseudo_labels, found beliefs; rename that folder\n"
    )


def test_a_finished_run_goes_on_to_more_steps_or_stays(scans: Path) -> None:
    file = run_in(scans, "longer", settings(2))
    assert main([str(file)]) == 0
    before = (scans / "longer/checkpoint.safetensors").read_bytes()
    assert main([str(file), "--resume"]) == 0
    assert (scans / "longer/checkpoint.safetensors").read_bytes() == before
    run_in(scans, "longer", settings(3))
    assert main([str(file), "--resume"]) == 0
    assert steps_done(scans / "longer") == 3


def test_rounds_and_what_holds_when(scans: Path) -> None:
    text = settings(35) + "[teacher]\nstart_step = 10\nevery_steps = 10\n"
    config = read_config(run_in(scans, "never", text + "[supervision]\nteacher = 1.0\n"))
    assert segments(config, 0) == [(0, 10), (10, 20), (20, 30), (30, 35)]
    assert segments(config, 20) == [(20, 30), (30, 35)]
    assert segments(config, 24) == [(24, 30), (30, 35)]
    assert segments(config, 35) == []
    assert [round_of(config, step) for step in (9, 10, 19, 20, 34)] == [None, 0, 0, 1, 2]
    without = read_config(run_in(scans, "never", text))
    assert segments(without, 3) == [(3, 35)]
    assert round_of(without, 30) is None
    hard = read_config(run_in(scans, "never", text.replace("hard = 0.0", "hard = 0.1")))
    assert segments(hard, 3) == segments(config, 3)


def test_the_rate_rises_and_falls(scans: Path) -> None:
    optimisation = read_config(run_in(scans, "never", settings(100, optimisation="warm_up = 4"))).optimisation
    found = [schedule(optimisation, step) for step in (0, 1, 3, 50, 99)]
    assert found[:2] == pytest.approx([0.25, 0.5], abs=1e-3)
    assert found[2] == pytest.approx(1, abs=3e-3)
    assert found[3] == pytest.approx(0.505)
    assert found[4] == pytest.approx(0.01, abs=3e-4)


def test_numbers_of_a_step_are_its_own() -> None:
    def draw(*numbers: int) -> float:
        return float(torch.rand((), generator=generator_of(*numbers, device=torch.device("cpu"))))

    assert draw(1, 2, 0) == draw(1, 2, 0)
    assert len({draw(1, 2, 0), draw(1, 2, 1), draw(1, 3, 0), draw(2, 2, 0)}) == 4
    assert os.environ.get("RANK") is None
