"""Scans preprocessed once, as at inference, in compressed chunks that training reads by patch.

One file a case, FOLDER/ID.b2nd (blosc2, Zstandard): int16 (3, z, y, x) on the network's grid: HU; number
of the annotation whose mask holds the voxel, from 1; organ label. Its metadata say how the grid lies and
from which case it was made. A file is written aside and then renamed, so what has its name is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.geometry import Geometry, along_world
from model.preprocess import AIR_HU, Grid, preprocess
from model.volume import InputError, Volume
from resources.cases.case import Annotation, Case
from resources.cases.images import (
    check_same_grid,
    read_case_volume,
    read_header,
    read_labels,
    resample_labels,
)
from resources.cases.lesions import Mark, mark_of_mask
from resources.cases.strict import CaseError, encode
from resources.cases.work import report, run_jobs

Triple = tuple[float, float, float]
VERSION = 2
HU, LESIONS, ORGANS = 0, 1, 2
CHUNK = 64
BYTES_PER_VOXEL = 0.95
"""Compressed bytes per voxel of the scan's own volume at the network's spacing (measured: 0.3 to 0.95)."""
LEFT_OVER_S = 3600
"""A partly written file of this age belongs to a run that was killed."""
SAMPLE = 40
"""Headers that are read for the estimate of the disk space."""


@dataclasses.dataclass(frozen=True)
class Job:
    """spacing_mm, stride: the network's."""

    case: Case
    folder: Path
    spacing_mm: float
    stride: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.case.id}.b2nd"

    @property
    def digest(self) -> str:
        """Of all that the file is made from, but for the images themselves."""
        values = [VERSION, self.spacing_mm, self.stride, False, encode(self.case)]  # False: a former option
        if any(_unmeasured(annotation) for annotation in self.case.annotations):
            values.append("masks measured")
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class CachedScan:
    """An open file. lower, spacing_mm: where its voxels lie (`grid`). place: where the scan's own lie.

    mask_centers_mm, mask_sizes_mm: by number of the annotation, from 0, the centre of its mask; and its
    diameters and z extent where the annotation does not give all of them.
    """

    array: Any
    lower: tuple[int, int, int]
    spacing_mm: float
    place: Geometry
    mask_centers_mm: dict[int, Triple]
    digest: str
    mask_sizes_mm: dict[int, Triple] = dataclasses.field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, z, y, x = self.array.shape
        return z, y, x

    @property
    def grid(self) -> Geometry:
        """Where the cached voxels lie."""
        return along_world(self.lower, self.shape, self.spacing_mm)

    def patch(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
        """(3, *shape) from voxel `start` (z, y, x), which may lie outside; there HU is air, labels are 0."""
        out = np.zeros((3, *shape), np.int16)
        out[HU] = AIR_HU
        source = tuple(
            slice(max(0, s), min(n, s + k)) for s, k, n in zip(start, shape, self.shape, strict=True)
        )
        if all(part.stop > part.start for part in source):
            target = tuple(slice(p.start - s, p.stop - s) for p, s in zip(source, start, strict=True))
            out[(slice(None), *target)] = self.array[(slice(None), *source)]
        return out


def open_scan(path: Path) -> CachedScan:
    """Raises CaseError where the file is none of this cache."""
    import blosc2

    try:
        array = blosc2.open(str(path), mode="r")
        meta = json.loads(array.schunk.vlmeta["meta"])
        if meta["version"] != VERSION or array.ndim != 4:
            raise CaseError(f"{path}: expected a cached scan of version {VERSION}, found {meta['version']}")
        place = meta["volume"]
        direction = np.array(place["direction"]).reshape(3, 3)
        volume_place = Geometry(
            tuple(place["size"]), tuple(place["spacing_mm"]), tuple(place["origin_mm"]), direction
        )
        centers = {int(number): tuple(center) for number, center in meta["mask_centers_mm"].items()}
        sizes = {int(number): tuple(size) for number, size in meta.get("mask_sizes_mm", {}).items()}
        lower, spacing_mm = tuple(meta["lower"]), meta["spacing_mm"]
        return CachedScan(array, lower, spacing_mm, volume_place, centers, meta["digest"], sizes)
    except (RuntimeError, OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise CaseError(
            f"{path}: expected a cached scan, found: {' '.join(str(error).split())[:200]}"
        ) from None


def is_done(job: Job) -> bool:
    """Whether the case is cached as the job wants it."""
    try:
        return job.path.exists() and open_scan(job.path).digest == job.digest
    except CaseError:
        return False


def build(job: Job) -> int:
    """Caches one case; the file's bytes. Raises InputError or CaseError and leaves nothing behind then."""
    volume = read_case_volume(job.case)
    grid = preprocess(volume, job.spacing_mm, job.stride)
    array = np.zeros((3, *grid.hu.shape), np.int16)
    array[HU] = grid.hu.numpy()
    marks = _paint_masks(job.case, volume, grid, array[LESIONS])
    if job.case.completeness.organ_labels is not None:
        path = Path(job.case.completeness.organ_labels)
        labels = read_labels(path)
        check_same_grid(path, labels, volume.geometry)
        if labels.values.max(initial=0) > np.iinfo(np.int16).max:
            raise InputError(f"{path}: expected labels up to 32767, found {labels.values.max()}")
        array[ORGANS] = resample_labels(labels, grid.geometry)
    meta = {
        "version": VERSION,
        "digest": job.digest,
        "lower": list(grid.lower),
        "spacing_mm": grid.spacing_mm,
        "volume": {
            "size": list(volume.hu.shape[::-1]),
            "spacing_mm": list(map(float, volume.spacing_mm)),
            "origin_mm": list(map(float, volume.origin_mm)),
            "direction": volume.direction.ravel().tolist(),
        },
        "mask_centers_mm": {number: mark.center_mm.tolist() for number, mark in marks.items()},
        "mask_sizes_mm": {
            number: mark.size_mm.tolist()
            for number, mark in marks.items()
            if _unmeasured(job.case.annotations[number])
        },
    }
    return _write(job.path, array, meta)


def _write(path: Path, array: npt.NDArray[np.int16], meta: dict[str, Any]) -> int:
    import blosc2

    settings = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=5, nthreads=1)
    sides = [min(CHUNK, n) for n in array.shape[1:]]
    blocks = [min(CHUNK // 2, n) for n in array.shape[1:]]
    with whole(path) as part:
        stored = blosc2.asarray(
            array, urlpath=str(part), mode="w", chunks=(1, *sides), blocks=(1, *blocks), cparams=settings
        )
        stored.schunk.vlmeta["meta"] = json.dumps(meta, sort_keys=True)
        del stored
    return path.stat().st_size


def _unmeasured(annotation: Annotation) -> bool:
    """Whether it is a mask whose sizes are not all given."""
    return annotation.kind == "mask" and None in (
        annotation.long_mm,
        annotation.short_mm,
        annotation.z_extent_mm,
    )


def _paint_masks(case: Case, volume: Volume, grid: Grid, out: npt.NDArray[np.int16]) -> dict[int, Mark]:
    """Numbers the voxels of masks, and returns what the masks mean by number of the annotation."""
    marks = {}
    by_file: dict[str, list[int]] = {}
    for number, annotation in enumerate(case.annotations):
        if annotation.mask is not None:
            by_file.setdefault(annotation.mask, []).append(number)
    for name, numbers in by_file.items():
        labels = read_labels(Path(name))
        check_same_grid(Path(name), labels, volume.geometry)
        resampled = resample_labels(labels, grid.geometry)
        for number in numbers:
            annotation = case.annotations[number]
            voxels = labels.values == annotation.label
            if not voxels.any():
                raise InputError(f"{name}: expected voxels of label {annotation.label}, found none")
            marks[number] = mark_of_mask(annotation, volume.geometry, voxels)
            out[resampled == annotation.label] = number + 1
    return marks


def estimate_bytes(cases: list[Case], spacing_mm: float) -> float | None:
    """Disk space that the cases will need, from the headers of some; None if none can be told."""
    step = max(1, len(cases) // SAMPLE)
    volumes_mm3 = []
    for case in cases[::step]:
        size, spacing = case.image.size, case.image.spacing_mm
        if spacing is None and Path(case.image.path).is_file():
            try:
                header = read_header(Path(case.image.path))
            except InputError:
                continue
            size, spacing = header.size, header.spacing_mm
        if size is not None and spacing is not None:
            volumes_mm3.append(math.prod(n * mm for n, mm in zip(size, spacing, strict=True)))
    if not volumes_mm3:
        return None
    return float(np.mean(volumes_mm3)) / spacing_mm**3 * BYTES_PER_VOXEL * len(cases)


def fill(
    cases: Iterable[Case], folder: Path, spacing_mm: float, stride: int, processes: int,
    ray_address: str | None,
) -> int:  # fmt: skip
    """Caches what is not there yet; the exit code, 1 if a scan failed. Raises CaseError."""
    import shutil

    started = time.monotonic()
    jobs = [Job(case, folder.absolute(), spacing_mm, stride) for case in cases]
    todo = {job.case.id: job for job in jobs if not is_done(job)}
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.rglob(".*.part"):
        if time.time() - left.stat().st_mtime > LEFT_OVER_S:
            left.unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    wanted = estimate_bytes([job.case for job in todo.values()], spacing_mm) if todo else 0.0
    need = "an unknown size" if wanted is None else f"about {wanted / 1e9:.2f} GB"
    print(f"{len(todo)} of {len(jobs)} scans to cache: {need}; {free / 1e9:.1f} GB free in {folder}")
    if wanted is not None and wanted > free:
        raise CaseError(f"{folder}: expected {wanted / 1e9:.1f} GB of free space, found {free / 1e9:.1f} GB")
    failures = folder / "failed.jsonl"
    outcomes = run_jobs(build, todo, "Caching", processes, ray_address, failures)
    sizes = [outcome.result for outcome in outcomes if not outcome.error]
    if sizes:
        print(f"{sum(sizes) / len(sizes) / 1e6:.2f} MB per scan")
    return report(outcomes, len(jobs) - len(todo), started, failures)
