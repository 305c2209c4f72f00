"""The stream of batches: the same whatever the workers and ranks, from any step; what is wrong is told."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_cases import LIVER, make_config

from helpers import ROOT
from resources.cases.__main__ import main as cases
from resources.cases.case import CaseError
from resources.training.config import Patches, Supervision, TrainingConfig
from resources.training.data.batch import FULL, REPORT_NEGATIVE, TEACHER, WEAK, Batch, collate
from resources.training.data.stream import open_scans, pools_of, stream
from resources.training.reports.pseudo_labels import PseudoLabels, PseudoLesion, write_pseudo_labels


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    return make_config(tmp_path_factory.mktemp("data"))


def batches(
    config: TrainingConfig,
    first: int = 0,
    last: int = 4,
    rank: int = 0,
    ranks: int = 1,
    pseudo_labels: Path | None = None,
) -> list[Batch]:
    return [b for b, _ in stream(open_scans(config), config, first, last, rank, ranks, pseudo_labels)]


def same(one: Batch, other: Batch) -> bool:
    tensors = [f.name for f in dataclasses.fields(one) if f.name != "names"]
    return one.names == other.names and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


def with_workers(config: TrainingConfig, workers: int) -> TrainingConfig:
    return dataclasses.replace(config, patches=dataclasses.replace(config.patches, workers=workers))


def test_a_batch(config: TrainingConfig) -> None:
    found = batches(config, 0, 8)
    names = [name for batch in found for name in batch.names]
    assert set(names) == {"a0", "a1", "b0", "b1"}
    assert found[0].hu.shape == (2, 1, 16, 16, 24)
    assert found[0].heat.shape == (2, 8, 8, 8, 12)
    full = next(b for b in found for n in b.names[:1] if n.startswith("a"))
    assert (full.said_by[0][full.weight[0] > 0] == FULL).all()
    marked = [b for b in found if b.names[0] == "b0" and b.any_heat[0].max() == 1]
    for batch in marked:
        assert batch.heat[0].max() == 0  # a mark without a type
        assert (batch.any_said_by[0][batch.any_heat[0] == 1] == WEAK).all()


def test_the_same_whatever_the_workers(config: TrainingConfig) -> None:
    alone = batches(config, 0, 6)
    for workers in (1, 2):
        for one, other in zip(alone, batches(with_workers(config, workers), 0, 6), strict=True):
            assert same(one, other)


def test_a_stream_goes_on_as_if_it_had_not_stopped(config: TrainingConfig) -> None:
    whole = batches(config, 0, 6)
    for one, other in zip(whole[3:], batches(config, 3, 6), strict=True):
        assert same(one, other)
    assert not same(whole[0], whole[1])
    other_seed = batches(dataclasses.replace(config, seed=1), 0, 1)
    assert not same(whole[0], other_seed[0])


def test_two_ranks_have_the_patches_of_one(config: TrainingConfig) -> None:
    parts = [batches(config, 0, 3, rank, 2) for rank in range(2)]
    for one, *shared in zip(batches(config, 0, 3), *parts, strict=True):
        assert same(one, collate(shared))
    with pytest.raises(CaseError, match=r"optimisation.batch: expected a multiple of 3 ranks, found 2"):
        batches(config, 0, 1, 0, 3)


def test_nothing_is_drawn_from_the_global_generator(config: TrainingConfig) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    batches(with_workers(config, 1), 0, 2)
    assert torch.equal(torch.get_rng_state(), before)


def write_round(config: TrainingConfig, folder: Path, shape: tuple[int, int, int] | None = None) -> Path:
    """Pseudo-labels of the scans without complete annotation: a lesion, else empty."""
    scans = open_scans(config)
    for number, (_, case) in enumerate(scans.cases):
        if case.completeness.kind == "all":
            continue
        scan = scans.open(number)
        z, y, x = ((np.array(scan.lower) + np.array(scan.shape) / 2) * scan.spacing_mm).tolist()
        lesion = PseudoLesion((x + 20, y, z), (10.0, 8.0, None), "bone", "positive", 0.5, "teacher", 0.9, 2)
        empty = np.ones(shape or tuple(n // 2 for n in scan.shape), bool)
        write_pseudo_labels(folder, case.id, PseudoLabels((), (lesion,), empty))
    return folder


def test_pseudo_labels_are_learnt_and_patches_are_cut_near_them(
    config: TrainingConfig, tmp_path: Path
) -> None:
    learning = dataclasses.replace(
        config, supervision=Supervision(teacher=1.0, report_negative=1.0),
        patches=Patches((16, 16, 24), lesion=0.5, hard=0.0, workers=0),
    )  # fmt: skip
    folder = write_round(learning, tmp_path / "0001")
    pools = pools_of(open_scans(learning), learning, folder, None)
    assert sum(len(part.case) for part in pools[0].lesions) == 2
    assert sum(len(part.case) for part in pools[1].lesions) == 3
    found = batches(learning, 0, 12, pseudo_labels=folder)
    bone = torch.cat([b.heat[:, 0] == 1 for b in found])
    said = torch.cat([b.said_by[:, 0] for b in found])
    assert bone.any()
    assert (said[bone] == TEACHER).all()
    unlearnt = batches(config, 0, 12)
    assert not any((b.said_by == TEACHER).any() or (b.said_by == REPORT_NEGATIVE).any() for b in unlearnt)


def test_patches_are_cut_where_the_network_was_wrong(config: TrainingConfig, tmp_path: Path) -> None:
    hard = tmp_path / "hard.json"
    hard.write_text(json.dumps([{"case": "a1", "voxel": [4, 4, 4], "probability": 0.9}]), encoding="utf-8")
    wrong = dataclasses.replace(config, patches=Patches((16, 16, 24), lesion=0.0, hard=1.0, workers=0))
    found = [b for b, _ in stream(open_scans(wrong), wrong, 0, 8, 0, 1, None, hard)]
    names = [name for b in found for name in b.names if name.startswith("a")]
    assert set(names) == {"a1"}


def test_missing_scans_are_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    config = make_config(tmp_path, cached=False)
    with pytest.raises(CaseError) as caught:
        open_scans(config)
    text = str(caught.value)
    command = f"{sys.executable} -m resources.cases cache {tmp_path / 'a.jsonl'} --out {tmp_path / 'a'}"
    assert text == (
        f"{tmp_path / 'a'}: expected the scans of {tmp_path / 'a.jsonl'}, found 0 of 2 (not a0); "
        f"make them: {command}"
    )
    assert cases([*command.split()[3:], "--processes", "1"]) == 0
    with pytest.raises(CaseError, match=r"b: expected the scans of .*, found 0 of 2 \(not b0\)"):
        open_scans(config)


def test_scans_cached_for_another_case_or_network_are_missing(config: TrainingConfig) -> None:
    coarse = dataclasses.replace(config, network=dataclasses.replace(config.network, spacing_mm=3.0))
    with pytest.raises(CaseError, match=r"found 0 of 2 \(not a0\); make them: .* --spacing-mm 3$"):
        open_scans(coarse)


def test_the_digest_is_of_cases_and_scans(config: TrainingConfig, tmp_path: Path) -> None:
    assert open_scans(config).digest == open_scans(config).digest
    assert open_scans(make_config(tmp_path)).digest != open_scans(config).digest
    fewer = dataclasses.replace(config, sources=config.sources[:1])
    assert open_scans(fewer).digest != open_scans(config).digest


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_names_the_case(config: TrainingConfig, tmp_path: Path, workers: int) -> None:
    learning = dataclasses.replace(with_workers(config, workers), supervision=Supervision(teacher=1.0))
    folder = write_round(learning, tmp_path / "0001", (1, 1, 1))
    with pytest.raises(
        CaseError, match=r"^case b\d: pseudo-labels of b\d: expected \(.*\) cells, found \(1, 1, 1\)$"
    ):
        batches(learning, 0, 8, pseudo_labels=folder)


def children_of(process: int) -> list[int]:
    """Living processes that were started by this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and int(fields[1]) == process and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def workers_of(process: int) -> list[int]:
    """The processes that its fork server has started."""
    return [worker for child in children_of(process) for worker in children_of(child)]


def test_a_stream_that_is_closed_ends_its_workers(config: TrainingConfig) -> None:
    running = stream(open_scans(config), with_workers(config, 2), 0, 1000, 0, 1)
    next(running)
    assert len(workers_of(os.getpid())) == 2
    running.close()  # type: ignore[attr-defined]
    assert not workers_of(os.getpid())


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = ["test"]
from small_cases import make_config
from resources.training.config import Patches
from resources.training.data.stream import open_scans, stream
import dataclasses

def main():
    config = make_config(Path(sys.argv[1]), patches=Patches((16, 16, 24), workers=2))
    for number, _ in enumerate(stream(open_scans(config), config, 0, 100000, 0, 1)):
        if number == 0:
            print("running", flush=True)

if __name__ == "__main__":
    main()
"""


def gone(pids: list[int], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_no_worker(tmp_path: Path, name: signal.Signals) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "running" in line:
                break
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.send_signal(name)
        assert process.wait(60) == -name
    assert gone(workers)


def test_a_small_shared_memory_is_told(tmp_path: Path) -> None:
    """In place of workers that wait for room for ever, as in a container without --shm-size."""
    private = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = "mount -t tmpfs -o size=64k none /dev/shm; "
    if subprocess.run([*private, mount], capture_output=True, check=False).returncode:
        pytest.skip("no mounts of one's own (unshare) here")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [*private, mount + 'exec "$@"', "sh", sys.executable, str(script), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=600, check=False
    )
    assert result.returncode == 1
    assert "running" not in result.stdout
    assert "CaseError: /dev/shm: expected " in result.stderr
    assert "MB free for the batches of 2 workers, found 0 MB" in result.stderr


def test_a_killed_worker_is_told(config: TrainingConfig) -> None:
    running = stream(open_scans(config), with_workers(config, 2), 0, 1000, 0, 1)
    next(running)
    for worker in workers_of(os.getpid()):
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(CaseError, match=r"patches.workers: expected them to live, found "):
        for _ in running:
            pass


def test_the_liver_of_the_small_cases_is_labelled(config: TrainingConfig) -> None:
    scan = open_scans(config).open(0)
    assert (np.asarray(scan.array[2]) == LIVER).any()
