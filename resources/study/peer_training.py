"""How a peer is trained: patches of the base's own scans, a budget, and a checkpoint to go on from.

All that a step draws depends on its number alone, so a run that was stopped goes on as it would have.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from model.config import DetectorConfig, NotFiniteError
from model.geometry import Geometry
from model.preprocess import AIR_HU
from resources.cases.cache import HU, LESIONS, Job, is_done, open_scan
from resources.cases.case import Case, CaseError, read_cases
from resources.cases.geometry import Shape as LesionShape
from resources.interrupt import Interrupted, Signals
from resources.training.checkpoint import check_equal, pack, read_checkpoint, unpack, write_checkpoint
from resources.training.targets.states import locate

if TYPE_CHECKING:
    from resources.study.peer_networks import Peer, Shape

SEED = 1
WARM_UP = 1 / 30
"""Share of the budget in which the rate rises, as in the first 10 of the LUNA16 bundle's 300 epochs."""
CLIP = 12.0
"""Norm of the gradient, as in nnU-Net."""
KEEP_EVERY_S = 60.0
BODY_HU = -950
PER_LESION, EVERY = 64, 7
"""Voxels of each lesion on which a patch can lie, so that small ones count as much as large ones; and of the
rest of the body each EVERY-th.
"""

Draw = Callable[[int], tuple[torch.Tensor, torch.Tensor]]
"""The images and numbers of a step, see resources.study.peer_networks."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """A cached scan. hu: int16 (z, y, x); numbers: the same shape, from 1 in lesions, 0 elsewhere, in benign
    and doubtful ones too. digest: of all it was made from.
    """

    hu: npt.NDArray[np.int16]
    numbers: npt.NDArray[np.int16]
    digest: str


def read_scans(path: Path, cache: Path, network: DetectorConfig, shape: Shape) -> list[Scan]:
    """The scans of a case list, in air where they are smaller than a patch. Raises CaseError.

    network: whose grid the cache has. See `scan_of`.
    """
    found = []
    for case in read_cases(path):
        job = Job(case, cache, network.spacing_mm, network.stride)
        if not is_done(job):
            raise CaseError(f"{job.path}: expected the cached scan of {path}, found none")
        found.append(scan_of(case, job.path, shape))
    return found


def scan_of(case: Case, path: Path, shape: Shape) -> Scan:
    """A cached scan in memory, of `shape` or more voxels. Raises CaseError.

    Its lesions are all in masks; or those of which it has RECIST marks, each in the body that the laws of
    resources.cases.geometry expect, and all else is taken for free of lesions.
    """
    kinds = {annotation.kind for annotation in case.annotations}
    if kinds != {"recist"} and (case.completeness.kind != "all" or kinds - {"mask"}):
        found = f"{case.completeness.kind} of kinds {', '.join(sorted(kinds)) or 'none'}"
        raise CaseError(f"case {case.id}: expected masks of all lesions or RECIST marks, found {found}")
    cached = open_scan(path)
    numbers = np.asarray(cached.array[LESIONS])
    for mark in locate(case, cached):
        if mark.shape is not None:
            paint(numbers, cached.grid, mark.shape, mark.number + 1)
    others = [n for n, annotation in enumerate(case.annotations, 1) if annotation.status != "lesion"]
    lacking = [(0, max(0, least - n)) for n, least in zip(numbers.shape, shape, strict=True)]
    hu = np.pad(np.asarray(cached.array[HU]), lacking, constant_values=AIR_HU)
    return Scan(hu, np.pad(np.where(np.isin(numbers, others), 0, numbers), lacking), cached.digest)


def paint(numbers: npt.NDArray[np.int16], place: Geometry, body: LesionShape, number: int) -> None:
    """Gives the voxels of a mark's expected body its number; the one at its centre at least.

    numbers: (z, y, x), changed in place. place: where its voxels lie.
    """
    middle = place.nearest_voxel(body.center_mm)[0]
    reach = np.ceil(body.body_mm.max() / place.spacing_mm[0])
    low = np.clip(middle - reach, 0, numbers.shape).astype(int)
    high = np.clip(middle + reach + 1, 0, numbers.shape).astype(int)
    part = numbers[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    index = np.indices(part.shape).reshape(3, -1).T + low
    inside = body.likely(place.voxel_to_world(index)) | (index == middle).all(1)
    part[inside.reshape(part.shape)] = number


def window_of(scans: Sequence[Scan]) -> tuple[float, float]:
    """HU of air and of full brightness: the percentiles of lesions' voxels between which nnU-Net clips."""
    inside = np.concatenate([scan.hu[scan.numbers > 0] for scan in scans])
    if not len(inside):
        raise CaseError("scans: expected lesions, found none")
    low, high = np.percentile(inside, [0.5, 99.5]).tolist()
    return low, max(high, low + 1)


def scaled(hu: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
    """HU -> 0 to 1."""
    return ((hu.float() - window[0]) / (window[1] - window[0])).clamp(0, 1)


class Patches:
    """Patches of scans drawn at random, as many at lesions as elsewhere, mirrored along all axes, brighter or
    darker and noisier, as in the LUNA16 bundle.
    """

    def __init__(self, scans: Sequence[Scan], shape: Shape, batch: int, window: tuple[float, float]) -> None:
        from monai.data.meta_obj import set_track_meta
        from monai.transforms.compose import Compose
        from monai.transforms.croppad.dictionary import RandCropByPosNegLabeld
        from monai.transforms.intensity.dictionary import RandGaussianNoised, RandScaleIntensityd
        from monai.transforms.spatial.dictionary import RandFlipd

        set_track_meta(False)  # patches are plain tensors
        both = ("image", "numbers")
        self.scans, self.batch, self.window, self.shape = scans, batch, window, shape
        self.indices = [indices_of(scan) for scan in scans]
        self.crop = RandCropByPosNegLabeld(
            both, "numbers", shape, pos=1, neg=1, fg_indices_key="lesions", bg_indices_key="rest"
        )
        self.change = Compose(
            [
                *(RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
                RandScaleIntensityd("image", factors=0.25, prob=0.15),
                RandGaussianNoised("image", prob=0.1, std=0.1),
            ]
        )

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and numbers (b, 1, z, y, x) of a step."""
        random = np.random.default_rng([SEED, step])
        drawn = []
        for number in random.integers(len(self.scans), size=self.batch).tolist():
            scan, (lesions, rest) = self.scans[number], self.indices[number]
            for transform in (self.crop, self.change):
                transform.set_random_state(seed=int(random.integers(2**31)))
            arrays: dict[Any, Any] = {
                "image": torch.from_numpy(scan.hu)[None],
                "numbers": torch.from_numpy(scan.numbers)[None],
            }
            (patch,) = self.crop(arrays | {"lesions": lesions, "rest": rest})
            patch["image"] = scaled(patch["image"], self.window)
            drawn.append(self.change(patch))
        return torch.stack([p["image"] for p in drawn]), torch.stack([p["numbers"] for p in drawn])


def indices_of(scan: Scan) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Flat indices of voxels on which patches can lie: PER_LESION of each lesion; of the rest of the body."""
    flat = scan.numbers.ravel()
    lesions = [np.flatnonzero(flat == number) for number in np.unique(flat[flat > 0])]
    even = [own[np.linspace(0, len(own) - 1, PER_LESION).astype(np.intp)] for own in lesions]
    rest = np.flatnonzero((flat == 0) & (scan.hu.ravel() > BODY_HU))[::EVERY]
    return np.concatenate([np.zeros(0, np.intp), *even]), rest


@dataclasses.dataclass(frozen=True)
class Budget:
    """Minutes of this process's processor time, which other processes cannot shorten; or steps."""

    minutes: float = 40.0
    steps: int | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not value > 0:
                raise CaseError(f"--{name}: expected more than 0, found {value:g}")

    def spent(self, trained: Trained) -> float:
        """As a share."""
        if self.steps is not None:
            return trained.steps / self.steps
        return trained.seconds / (60 * self.minutes)


@dataclasses.dataclass
class Trained:
    """Steps done, and seconds of processor time that they took."""

    steps: int = 0
    seconds: float = 0.0


def train(peer: Peer, draw: Draw, file: Path, origin: dict[str, Any], budget: Budget) -> Trained:
    """Trains until the budget is spent, from the checkpoint `file` if there is one; leaves one there.

    origin: what makes the run what it is; a checkpoint of another is refused. Raises CaseError,
    NotFiniteError and, after a signal, Interrupted; the last checkpoint is good.
    """
    from rich.console import Console
    from rich.progress import Progress

    optimizer, trained = peer.optimizer(), Trained()
    rate = optimizer.param_groups[0]["lr"]
    if file.exists():
        tensors, state = read_checkpoint(file)
        check_equal(state["origin"], origin, file)
        unpack(tensors, {"peer": peer}, peer, optimizer)
        trained = Trained(**state["trained"])

    def keep() -> None:
        state = {"origin": origin, "trained": dataclasses.asdict(trained)}
        write_checkpoint(file, pack({"peer": peer}, peer, optimizer), state)

    peer.train()
    kept_at = time.monotonic()
    with Signals() as signals, Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Training", total=1.0)
        while (share := budget.spent(trained)) < 1:
            started = time.process_time()
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(share)
            loss = advance(peer, optimizer, draw(trained.steps), trained.steps)
            if not math.isfinite(loss):
                raise NotFiniteError(f"step {trained.steps + 1}: expected a finite loss, found {loss}")
            trained.steps += 1
            trained.seconds += time.process_time() - started
            bar.update(task, completed=share, description=f"step {trained.steps}, loss {loss:.3f}")
            if signals.number or time.monotonic() - kept_at >= KEEP_EVERY_S:
                keep()
                kept_at = time.monotonic()
                text = f"step {trained.steps}, {trained.seconds:.0f} s of processor time, loss {loss:.3f}"
                print(text, file=sys.stderr, flush=True)
            if signals.number:
                raise Interrupted(signals.number)
    keep()
    peer.eval()
    return trained


def advance(
    peer: Peer, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor], step: int
) -> float:
    """One step; the loss."""
    torch.manual_seed(SEED + step)  # hard negatives are drawn from torch's own generator
    for parameter in peer.parameters():  # 0 rather than none where a batch has no box: each has its moments
        parameter.grad = torch.zeros_like(parameter)
    loss = peer.loss(*batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(peer.parameters(), CLIP)
    optimizer.step()
    return float(loss.detach())


def schedule(share: float) -> float:
    """Share of the highest rate by that of the budget spent: linear over WARM_UP, falling as in nnU-Net."""
    return min(1.0, (share + 1e-3) / WARM_UP) * (1 - share) ** 0.9
