"""The benchmark on a scan of a few voxels: what it prints adds up."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import write_scan
from resources.study.benchmark import TIMED, convolution_rate, fastest


def test_the_fastest_of_some_runs_after_a_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run takes 1 s on a clock of our own, the next ones 9, 5 and 7 s."""
    now, steps = [0.0], iter([1.0, 9.0, 5.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += next(steps)

    assert fastest(work, torch.device("cpu")) == 5.0


def test_the_rate_counts_two_operations_for_each_weight_and_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution that takes 2 s: 64 to 64 channels, 27 places, 48 x 48 x 48 voxels."""
    monkeypatch.setattr(
        "resources.study.benchmark.fastest", lambda function, device: function() is None or 2.0
    )
    found = convolution_rate(64, torch.device("cpu"))
    assert found == pytest.approx(2 * 27 * 64 * 64 * 48**3 / 2.0 / 1e9)


def test_the_peak_is_that_of_the_command_alone() -> None:
    """A process that holds 0.4 GB starts one that takes up 0.2 GB."""
    held = np.ones(50_000_000)
    command = [sys.executable, "-c", TIMED, sys.executable, "-c", "b'x' * 200_000_000"]
    seconds, gb = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
    assert held.nbytes == 400_000_000
    assert 0.2 < gb < 0.3
    assert seconds > 0


@pytest.mark.slow
def test_what_is_printed_adds_up(tmp_path: Path, weights: Path) -> None:
    command = [sys.executable, "-m", "resources.study.benchmark", "--weights", str(weights)]
    command += ["--scan", str(write_scan(tmp_path / "a.mha"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert printed.startswith("a.mha: 0 MB; 1 threads\n")
    total = float(re.findall(r"cold process: ([\d.]+) s in all, peak memory 0\.\d\d GB", printed)[0])
    stages = dict(
        re.findall(r"^  (read|preprocess|network|decode|start, load, write, end) +([\d.]+) s$", printed, re.M)
    )
    assert len(stages) == 5
    assert sum(map(float, stages.values())) == pytest.approx(total, abs=0.03)
    network, rate = re.findall(r"^  network +([\d.]+) s, (\d+) GFLOP/s$", printed, re.M)[0]
    assert float(network) < total
    peak, share = re.findall(r"convolution +(\d+) GFLOP/s: the network runs at (\d+)% of it$", printed, re.M)[
        0
    ]
    assert int(share) == pytest.approx(100 * int(rate) / int(peak), abs=100 / int(peak))
