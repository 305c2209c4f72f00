"""Workers of a run over many scans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys, time
from pathlib import Path
from resources.cases.work import run_jobs

def work(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_jobs(work, {"a": folder, "b": folder}, "waiting", 2, None, folder / "failures.jsonl")
"""


def running(number: int) -> bool:
    """Whether a process lives; one that ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_workers_end_with_the_process_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as run:
        end = time.monotonic() + 120
        while len(workers := [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
            assert time.monotonic() < end, "no workers"
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(running(worker) for worker in workers):
        assert time.monotonic() < end, "the workers go on"
        time.sleep(0.05)
