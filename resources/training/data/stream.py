"""The training scans, and the stream of batches that is cut from them."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import math
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from model.geometry import Geometry
from resources.cases.cache import CachedScan, Job, open_scan
from resources.cases.case import Case, CaseError, read_cases
from resources.cases.work import end_with_parent
from resources.training.config import Source, TrainingConfig
from resources.training.data.batch import Batch, collate
from resources.training.data.cut import cut, in_air, piece_of, place
from resources.training.data.sampling import (
    Choice,
    Pool,
    Voxel,
    choose,
    counts,
    generator_of,
    middle_of,
    pool_of,
    read_hard,
)
from resources.training.progress import tracked
from resources.training.reports.pseudo_labels import PseudoLabels, read_lesions, read_pseudo_labels
from resources.training.targets.known import KnownScan, known_of
from resources.training.targets.states import locate

KEPT = 32
"""Scans of which a process keeps what is known (some 3 MB each)."""
SHARED_MEMORY = "/dev/shm"
BYTES_PER_VOXEL = 8
"""Of a patch in shared memory, with all that is known of it."""
AHEAD = 2
"""Steps that each process is ahead."""


@dataclasses.dataclass(frozen=True)
class Scans:
    """The training cases of all sources. grids: where the voxels of each cached scan lie. lesions: of each,
    voxel (z, y, x) and long diameter in mm (NaN unknown) of the annotated lesions. digest: of all cases and
    cached scans.
    """

    cases: list[tuple[Source, Case]]
    grids: list[Geometry]
    lesions: list[list[tuple[Voxel, float]]]
    digest: str

    def open(self, index: int) -> CachedScan:
        """The cached scan of a case. Raises CaseError."""
        source, case = self.cases[index]
        return open_scan(Path(source.cache) / f"{case.id}.b2nd")


def open_scans(config: TrainingConfig) -> Scans:
    """The cases of all sources whose split is train, or not decided, each looked up in its cache.

    Raises CaseError where scans are missing there, or were cached for other cases or another network.
    """
    cases, grids, lesions, digest = [], [], [], hashlib.sha256()
    for source in config.sources:
        path = Path(source.cases)
        cases_here = [case for case in read_cases(path) if case.split in ("train", None)]
        if not cases_here and source.share > 0:
            raise CaseError(f"{path}: expected cases of the split train, found none")
        digest.update(path.read_bytes())
        missing = []
        for case in tracked(cases_here, f"Opening {source.name}", quiet=False):
            scan = _opened(case, source, config)
            if scan is None:
                missing.append(case.id)
                continue
            digest.update(scan.digest.encode())
            cases.append((source, case))
            grids.append(scan.grid)
            lesions.append(_lesions(case, scan))
        if missing:
            found = f"{len(cases_here) - len(missing)} of {len(cases_here)} (not {missing[0]})"
            raise CaseError(
                f"{source.cache}: expected the scans of {path}, found {found}; {_remedy(source, config)}"
            )
    known = {case.id for _, case in cases}
    if len(known) < len(cases):
        raise CaseError(f"sources: expected each id once, found {len(cases) - len(known)} twice")
    return Scans(cases, grids, lesions, digest.hexdigest())


def _remedy(source: Source, config: TrainingConfig) -> str:
    detector, usual = config.network.detector, type(config.network)().detector
    command = f"{sys.executable} -m resources.cases cache {source.cases} --out {source.cache}"
    if detector.spacing_mm != usual.spacing_mm:
        command += f" --spacing-mm {detector.spacing_mm:g}"
    if detector.stride != usual.stride:
        command += f" --stride {detector.stride}"
    return f"make them: {command}"


def _opened(case: Case, source: Source, config: TrainingConfig) -> CachedScan | None:
    """The cached scan if it is there and of this case and network."""
    detector = config.network.detector
    job = Job(case, Path(source.cache), detector.spacing_mm, detector.stride)
    if not job.path.exists():
        return None
    scan = open_scan(job.path)
    return scan if scan.digest == job.digest else None


def _voxel(point_mm: npt.ArrayLike, grid: Geometry) -> Voxel:
    z, y, x = grid.world_to_voxel(point_mm)[0].tolist()
    return z, y, x


def _lesions(case: Case, scan: CachedScan) -> list[tuple[Voxel, float]]:
    return [
        (_voxel(mark.center_mm, scan.grid), float(mark.size_mm[0]))
        for mark in locate(case, scan)
        if mark.annotation.status == "lesion"
    ]


def pools_of(
    scans: Scans, config: TrainingConfig, pseudo_labels: Path | None, hard: Path | None
) -> tuple[Pool, ...]:
    """What patches of each source can be near, annotated and pseudo-labelled. Raises CaseError."""
    numbers = {case.id: number for number, (_, case) in enumerate(scans.cases)}
    wrong = collections.defaultdict(list)
    for number, voxel in read_hard(hard, numbers) if hard is not None else ():
        wrong[scans.cases[number][0].name].append((number, voxel))
    pools = []
    for source in config.sources:
        supervision = config.of(source).supervision
        cases_here = [number for number, (other, _) in enumerate(scans.cases) if other.name == source.name]
        lesions = [(n, voxel, long_mm) for n in cases_here for voxel, long_mm in scans.lesions[n]]
        for n in cases_here:
            case = scans.cases[n][1]
            folder = _with_labels_of(case, pseudo_labels)
            if folder is None:
                continue
            for lesion in read_lesions(folder, case.id):
                if counts(lesion, supervision):
                    long_mm = np.nan if lesion.size_mm[0] is None else lesion.size_mm[0]
                    lesions.append((n, _voxel(lesion.center_mm, scans.grids[n]), long_mm))
        pools.append(pool_of(cases_here, lesions, wrong[source.name]))
    return tuple(pools)


def _with_labels_of(case: Case, folder: Path | None) -> Path | None:
    """A round's folder if it has pseudo-labels of a case: of a completely annotated one there may be none."""
    complete = case.completeness.kind == "all"
    return None if folder and complete and not (folder / f"{case.id}.json").exists() else folder


class _Steps(Dataset[Batch | str]):
    """The batches of one rank; the text of an error in place of a batch that could not be made."""

    def __init__(
        self, scans: Scans, config: TrainingConfig, pools: tuple[Pool, ...], pseudo_labels: Path | None,
        steps: range, numbers: range,
    ):  # fmt: skip
        self.scans, self.config, self.pools, self.pseudo_labels = scans, config, pools, pseudo_labels
        self.settings = {source.name: config.of(source) for source in config.sources}
        self.steps, self.numbers = steps, numbers
        self.kept: collections.OrderedDict[int, tuple[CachedScan, KnownScan, PseudoLabels | None]]
        self.kept = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch | str:
        where = f"step {self.steps[index]}"
        try:
            patches = []
            for number in self.numbers:
                random = generator_of(self.config.seed, self.steps[index], number)
                shares = [source.share for source in self.config.sources]
                choice = choose(self.pools, shares, self.config.patches, random)
                where = f"case {self.scans.cases[choice.case][1].id}"
                patches.append(self._patch(choice, random))
            return collate(patches)
        except (ValueError, OSError, RuntimeError, MemoryError, LookupError) as error:
            return f"{where}: {' '.join(str(error).split())[:500] or type(error).__name__}"

    def _patch(self, choice: Choice, random: np.random.Generator) -> Batch:
        source, case = self.scans.cases[choice.case]
        scan, known, pseudo_labels = self._load(choice.case)
        shape = self.config.patches.shape
        # of a generator of its own: a run without pieces has the patches that it always had
        size, corner = piece_of(shape, scan.spacing_mm, source.pieces, random.spawn(1)[0])
        middle = middle_of(choice, scan, size, random)
        placement = place(middle, size, self.config.augmentation, random)
        patch = cut(case, scan, known, placement, self.settings[source.name], pseudo_labels)
        return patch if size == shape else in_air(patch, shape, corner)

    def _load(self, number: int) -> tuple[CachedScan, KnownScan, PseudoLabels | None]:
        loaded = self.kept.pop(number, None)
        if loaded is None:
            source, case = self.scans.cases[number]
            scan = self.scans.open(number)
            known = known_of(case, scan, Path(source.cache), self.config.network.detector.types)
            folder = _with_labels_of(case, self.pseudo_labels)
            loaded = scan, known, None if folder is None else read_pseudo_labels(folder, case.id)
        self.kept[number] = loaded
        if len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return loaded


def _check_shared_memory(config: TrainingConfig, patches: int, workers: int) -> None:
    """Raises CaseError where /dev/shm, through which workers send batches, is too small: they would hang."""
    try:
        volume = os.statvfs(SHARED_MEMORY)
    except OSError:
        return
    free = volume.f_bavail * volume.f_frsize
    need = BYTES_PER_VOXEL * math.prod(config.patches.shape) * patches * (workers * AHEAD + 1)
    if free < need:
        raise CaseError(
            f"{SHARED_MEMORY}: expected {need / 1e6:.0f} MB free for the batches of {workers} workers, found "
            f"{free / 1e6:.0f} MB (docker run --shm-size, or patches.workers = 0)"
        )


def _begin(_: int) -> None:
    """In a worker: a signal to the whole group is for the main process, which ends the workers itself; they
    end by themselves if it is killed.
    """
    import blosc2

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
    blosc2.set_nthreads(1)
    end_with_parent()


def _context() -> multiprocessing.context.BaseContext:
    """Workers are forked from a process that has loaded the code and done nothing else: they start at once,
    and inherit neither threads nor CUDA.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "resources.training.data.stream"])
    return context


def stream(
    scans: Scans,
    config: TrainingConfig,
    first_step: int,
    last_step: int,
    rank: int,
    ranks: int,
    pseudo_labels: Path | None = None,
    hard: Path | None = None,
) -> Generator[tuple[Batch, float]]:
    """The batches of the steps from first_step up to, without, last_step; and the seconds waited for each.

    A rank's part of a step is optimisation.batch / ranks patches, so the step is the same over however many
    ranks; it depends on seed, step and files alone, not on the workers. pseudo_labels: folder of the last
    round; hard: its hard.json. Raises CaseError: one line that names the case. Close it to end its workers
    early.
    """
    size = config.optimisation.batch
    if size % ranks:
        raise CaseError(f"optimisation.batch: expected a multiple of {ranks} ranks, found {size}")
    numbers = range(rank * size // ranks, (rank + 1) * size // ranks)
    steps = _Steps(
        scans,
        config,
        pools_of(scans, config, pseudo_labels, hard),
        pseudo_labels,
        range(first_step, last_step),
        numbers,
    )
    workers = min(config.patches.workers, len(steps))
    if workers:
        _check_shared_memory(config, len(numbers), workers)
    # a generator of its own: the loader draws a number from it, and no state of torch's is to depend on that
    loader: DataLoader[Batch | str] = DataLoader(
        steps, batch_size=None, num_workers=workers, generator=torch.Generator(),
        prefetch_factor=AHEAD if workers else None, worker_init_fn=_begin if workers else None,
        multiprocessing_context=_context() if workers else None,
    )  # fmt: skip
    batches = iter(loader)
    try:
        for _ in steps.steps:
            started = time.perf_counter()
            batch = next(batches) if not workers else _received(batches)
            if isinstance(batch, str):
                raise CaseError(batch)
            yield batch, time.perf_counter() - started
    finally:
        if workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # now, not when the last reference goes
            for worker in batches._workers:  # type: ignore[attr-defined]
                worker.kill()  # which ignores the signals that end the others


def _received(batches: Iterator[Batch | str]) -> Batch | str:
    try:
        return next(batches)
    except (
        RuntimeError,
        OSError,
        EOFError,
    ) as error:  # of the way between processes; work's own come as text
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise CaseError(
            f"patches.workers: expected them to live, found {text} (out of memory, or of /dev/shm?); "
            "--resume goes on"
        ) from None
