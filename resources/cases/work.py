"""Many scans, each by itself: over the cores of this machine, or by Ray over many, with the same results."""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import dataclasses
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import rich.progress

from resources.cases.strict import CaseError

Item = TypeVar("Item")
ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a scan. result: what the work returned; error: a line, empty if it went well."""

    name: str
    result: Any = None
    error: str = ""


def end_with_parent() -> None:
    """In a worker: it ends when the process that started it is gone, even by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep_memory() -> None:
    """Freed memory stays with this process, where its C library is glibc; the next large array is then not
    made of new pages, which the kernel has to clear one by one.
    """
    mmap_max, trim_threshold = -4, -1  # of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def _begin_worker() -> None:
    end_with_parent()
    keep_memory()


def _guarded(work: Callable[[Any], Any], name: str, job: Any) -> Outcome:
    """Runs in a worker. What is wrong with one scan does not end the others; mistakes of ours do."""
    import torch

    torch.set_num_threads(1)
    try:
        return Outcome(name, work(job))
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        return Outcome(name, error=" ".join(str(error).split())[:500] or type(error).__name__)


def _by_processes(work: Callable[[Any], Any], jobs: dict[str, Any], processes: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context, _begin_worker) as pool:
        waiting = iter(jobs.items())
        running: set[concurrent.futures.Future[Outcome]] = set()
        try:
            while True:
                while len(running) < 2 * processes and (job := next(waiting, None)) is not None:
                    running.add(pool.submit(_guarded, work, *job))
                if not running:
                    return
                done, running = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise CaseError(
                "workers: expected them to live, found one killed (out of memory?); the same command goes on"
            ) from None
        finally:
            for future in running:
                future.cancel()


def _by_ray(
    work: Callable[[Any], Any], jobs: dict[str, Any], processes: int, address: str
) -> Iterator[Outcome]:
    """One task a scan, two in line for each core. address: that of a cluster, or "local"."""
    try:
        import ray
    except ImportError:
        raise CaseError("--ray: expected the package ray (requirements-dev.txt), found none") from None

    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    local: dict[str, Any] = {"num_cpus": processes} if address == "local" else {}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, include_dashboard=False, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise CaseError(f"--ray {address}: expected a Ray cluster there, found: {text}") from None
    try:
        task = ray.remote(num_cpus=1, max_retries=2)(_guarded)
        waiting = iter(jobs.items())
        running: dict[Any, str] = {}
        while True:
            most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while len(running) < most and (job := next(waiting, None)) is not None:
                running[task.remote(work, *job)] = job[0]
            if not running:
                return
            done, _ = ray.wait(list(running))
            for reference in done:
                name = running.pop(reference)
                try:
                    outcome = ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                    outcome = Outcome(name, error=f"its worker died: {type(error).__name__}")
                yield outcome
    finally:
        ray.shutdown()


def part_of(items: Sequence[Item], part: str) -> list[Item]:
    """Every N-th item from the I-th, for the text "I/N": one task of a job array. Raises CaseError."""
    first, _, step = part.partition("/")
    if not (first.isdigit() and step.isdigit() and 1 <= int(first) <= int(step)):
        raise CaseError(f"--part: expected I/N with I from 1 to N, found {part}")
    return list(items[int(first) - 1 :: int(step)])


def run_jobs(
    work: Callable[[Any], Any],
    jobs: dict[str, Any],
    what: str,
    processes: int,
    ray_address: str | None,
    failures: Path,
) -> list[Outcome]:
    """Calls `work` (a function of a module) on every job, with progress and time left; outcomes as they come.

    Failures are appended to a JSON Lines file as they happen; the file is removed if there is none.
    Raises CaseError where the workers themselves fail.
    """
    failures.parent.mkdir(parents=True, exist_ok=True)
    failures.unlink(missing_ok=True)
    if ray_address is not None:
        source = _by_ray(work, jobs, processes, ray_address)
    elif processes > 1 and len(jobs) > 1:
        source = _by_processes(work, jobs, processes)
    else:
        source = (_guarded(work, name, job) for name, job in jobs.items())
    outcomes: list[Outcome] = []
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("left:"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns) as progress:
        task = progress.add_task(what, total=len(jobs))
        for outcome in source if jobs else ():
            outcomes.append(outcome)
            if outcome.error:
                with failures.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"case": outcome.name, "error": outcome.error}) + "\n")
            progress.advance(task)
    return outcomes


def report(outcomes: list[Outcome], skipped: int, started: float, failures: Path) -> int:
    """Says what was done and how fast; the exit code, 1 if a scan failed. started: time.monotonic()."""
    bad = [outcome for outcome in outcomes if outcome.error]
    minutes = (time.monotonic() - started) / 60
    good = len(outcomes) - len(bad)
    speed = f", {good / minutes:.1f} scans per minute" if good else ""
    print(f"{good} scans done in {minutes:.1f} min{speed}; {skipped} were there already; {len(bad)} failed")
    for outcome in bad[:10]:
        print(f"failed: {outcome.name}: {outcome.error}")
    if bad:
        print(f"all failures: {failures}")
    return 1 if bad else 0


def add_worker_options(parser: argparse.ArgumentParser, ray: bool = False) -> None:
    """--processes, and --ray of a command that can share its scans with other machines."""
    parser.add_argument("--processes", type=int, default=default_processes(), help="default: one per core")
    if ray:
        text = 'a Ray cluster, or "local"; it must see the same files'
        parser.add_argument("--ray", metavar="ADDRESS", help=text)


def default_processes() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
