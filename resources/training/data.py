"""Scans for training: generated once, preprocessed as at inference, cached; patches cut from them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rich.progress
import torch
import torch.nn.functional as F

from model.config import DetectorConfig
from model.preprocess import AIR_HU, preprocess
from resources.synthetic.scan import make_scan
from resources.training.targets import Lesions


@dataclasses.dataclass(frozen=True)
class Scan:
    """hu: (z, y, x) int16 on the network's grid; lesions in its voxels."""

    hu: torch.Tensor
    lesions: Lesions


DENSE_LESIONS = 14


def _make(seed: int, path: Path, spacing_mm: float, stride: int, dense: bool) -> None:
    torch.set_num_threads(1)
    if dense:
        draw = random.Random(seed)
        edge_mm = draw.uniform(1.6, 2.2)
        spacing = (edge_mm, edge_mm, draw.choice((2.0, 2.5, 3.0, 5.0)))
        volume, truths = make_scan(seed, spacing, lesion_count=DENSE_LESIONS)
    else:
        volume, truths = make_scan(seed)
    grid = preprocess(volume, spacing_mm, stride)
    centers = np.array([truth.center_mm for truth in truths]).reshape(-1, 3)
    sizes = [(truth.long_mm, truth.short_mm, truth.z_extent_mm) for truth in truths]
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(
        part,
        hu=grid.hu.numpy(),
        center=grid.from_world(centers).astype(np.float32),
        size_mm=np.array(sizes, np.float32).reshape(-1, 3),
        types=np.array(json.dumps([truth.type for truth in truths])),
    )
    os.replace(part, path)


def load_scans(
    seeds: Iterable[int], folder: Path, config: DetectorConfig, dense: bool = False, processes: int = 2
) -> list[Scan]:
    """The synthetic scans of these seeds; what the folder lacks is made first, in several processes.

    dense: scans with as many lesions as find room, up to DENSE_LESIONS, and of coarser spacing: a patch then
    teaches more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {seed: folder / f"{seed}{'-dense' if dense else ''}.npz" for seed in seeds}
    missing = {seed: path for seed, path in paths.items() if not path.exists()}
    if missing:
        with concurrent.futures.ProcessPoolExecutor(processes) as pool:
            jobs = [
                pool.submit(_make, seed, path, config.spacing_mm, config.stride, dense)
                for seed, path in missing.items()
            ]
            done = concurrent.futures.as_completed(jobs)
            for job in rich.progress.track(done, "Making scans", total=len(jobs)):
                job.result()
    return [_load(path, config) for path in paths.values()]


def _load(path: Path, config: DetectorConfig) -> Scan:
    with np.load(path, allow_pickle=False) as data:
        kinds = [config.types.index(name) for name in json.loads(str(data["types"]))]
        lesions = Lesions(
            center=torch.from_numpy(data["center"]),
            size_mm=torch.from_numpy(data["size_mm"]),
            kind=torch.tensor(kinds, dtype=torch.long),
        )
        return Scan(torch.from_numpy(data["hu"]), lesions)


def cut_patch(
    scan: Scan, shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[torch.Tensor, Lesions]:
    """A patch (1, z, y, x) in HU, turned, scaled and noised at random, and its lesions.

    Four of five patches are near a lesion where the scan has any. Turns are up to 12 degrees around
    z and the scale is 0.87 to 1.15; sizes follow the scale.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    size = torch.tensor(scan.hu.shape, dtype=torch.float32)
    count = len(scan.lesions.center)
    middle = torch.rand(3, generator=generator) * (size - 1)
    if count and uniform(0, 1) < 0.8:
        chosen = int(torch.randint(count, (), generator=generator))
        reach = torch.tensor(shape) * 0.35
        middle = scan.lesions.center[chosen] + (torch.rand(3, generator=generator) * 2 - 1) * reach
    angle, scale = np.deg2rad(uniform(-12, 12)), uniform(0.87, 1.15)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    matrix = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) / scale
    half = (torch.tensor(shape, dtype=torch.float32) - 1) / 2
    hu = _sample(scan.hu, shape, middle, matrix)
    center = (scan.lesions.center - middle) @ torch.linalg.inv(matrix).T + half
    lesions = Lesions(center, scan.lesions.size_mm * scale, scan.lesions.kind)
    near = ((center > -40) & (center < torch.tensor(shape) + 40)).all(1)
    lesions = Lesions(lesions.center[near], lesions.size_mm[near], lesions.kind[near])
    hu = hu * uniform(0.97, 1.03) + uniform(-12, 12)
    hu = hu + torch.randn(hu.shape, generator=generator) * uniform(0, 12)
    return hu.clamp_(AIR_HU, 3071)[None], lesions


def _sample(
    hu: torch.Tensor, shape: tuple[int, int, int], middle: torch.Tensor, matrix: torch.Tensor
) -> torch.Tensor:
    """Trilinear samples of `hu` at `middle + matrix @ (voxel - patch centre)`; air outside."""
    half = (torch.tensor(shape, dtype=torch.float32) - 1) / 2
    axes = [torch.arange(n) - h for n, h in zip(shape, half, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ matrix.T + middle
    reach = [(int(places[..., i].min()) - 1, int(places[..., i].max()) + 3) for i in range(3)]
    box = [(max(0, low), max(1, min(n, high))) for (low, high), n in zip(reach, hu.shape, strict=True)]
    box = [(min(low, high - 1), high) for low, high in box]
    part = hu[box[0][0] : box[0][1], box[1][0] : box[1][1], box[2][0] : box[2][1]].float() - AIR_HU
    low = torch.tensor([b[0] for b in box])
    extent = torch.tensor(part.shape, dtype=torch.float32)
    grid = ((places - low) * 2 + 1) / extent - 1
    sampled = F.grid_sample(part[None, None], grid.flip(-1)[None], mode="bilinear", align_corners=False)
    return sampled[0, 0] + AIR_HU
