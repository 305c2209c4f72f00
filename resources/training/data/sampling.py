"""Which scan a patch is cut from, and where: near a lesion, where the network was wrong, or anywhere
in the body.

Everything is drawn from one generator for each patch of the run (`generator_of`), so a patch does not depend
on the processes that cut it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resources.cases.cache import HU, CachedScan
from resources.cases.case import CaseError
from resources.cases.lesions import LONG_MM
from resources.training.config import Patches, Supervision
from resources.training.reports.pseudo_labels import PseudoLesion

SIZE_EDGES_MM = (10.0, 20.0)
"""Long diameters between which lesions are small, middling and large; each third has an equal part."""
LESION_REACH, OTHER_REACH = 0.35, 0.25
"""Most that a patch's centre is away from what it is near, as a share of its edges."""
BODY_HU, BODY_EDGE, TRIES = -900.0, 4, 10
"""A place is in the body where a cube of so many voxels is denser than this on average."""

Voxel = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Points:
    """n places. case: (n,) number of the case. voxel: (n, 3) (z, y, x) in its cached scan."""

    case: npt.NDArray[np.int64]
    voxel: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Pool:
    """What patches of one source can be near. lesions: small, middling, large."""

    cases: npt.NDArray[np.int64]
    lesions: tuple[Points, Points, Points]
    hard: Points


@dataclasses.dataclass(frozen=True)
class Choice:
    """A case, and a voxel in it to be near to; None: anywhere."""

    case: int
    voxel: Voxel | None = None
    reach: float = 0.0


def generator_of(seed: int, step: int, number: int) -> np.random.Generator:
    """For a patch, `number` counting those of a step over all ranks."""
    return np.random.default_rng([seed, step, number])


def points_of(rows: Sequence[tuple[int, Sequence[float]]]) -> Points:
    case = np.array([row[0] for row in rows], np.int64)
    return Points(case, np.array([row[1] for row in rows], np.float32).reshape(-1, 3))


def pool_of(
    cases: Sequence[int],
    lesions: Sequence[tuple[int, Sequence[float], float]],
    hard: Sequence[tuple[int, Sequence[float]]],
) -> Pool:
    """lesions: case, voxel (z, y, x), long diameter in mm; NaN where unknown, which counts as the median."""
    long_mm = np.array([row[2] for row in lesions], np.float64)
    third = np.digitize(np.where(np.isnan(long_mm), LONG_MM[1], long_mm), SIZE_EDGES_MM)
    thirds = [
        points_of([row[:2] for row, part in zip(lesions, third, strict=True) if part == i]) for i in range(3)
    ]
    return Pool(np.array(cases, np.int64), (thirds[0], thirds[1], thirds[2]), points_of(hard))


def counts(lesion: PseudoLesion, supervision: Supervision) -> bool:
    """Whether a pseudo-labelled lesion is learnt as a positive."""
    used = supervision.teacher if lesion.source == "teacher" else supervision.report_positive
    return lesion.verdict == "positive" and used > 0


def read_hard(path: Path, numbers: dict[str, int]) -> list[tuple[int, Voxel]]:
    """Case and voxel of the places of a round's hard.json, cases not in `numbers` aside. Raises CaseError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        places = [(str(row["case"]), tuple(float(v) for v in row["voxel"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{path}: expected a list of cases and voxels, found: {error!r}") from None
    if any(len(voxel) != 3 for _, voxel in places):
        raise CaseError(f"{path}: expected voxels (z, y, x), found others")
    return [(numbers[case], (v[0], v[1], v[2])) for case, v in places if case in numbers]


def choose(
    pools: Sequence[Pool], shares: Sequence[float], patches: Patches, random: np.random.Generator
) -> Choice:
    """A source by its share, a kind of patch by its share, then a place; the last if there is none of the
    kind, anywhere in a scan of the source.
    """
    usable = np.array([share if len(pool.cases) else 0.0 for pool, share in zip(pools, shares, strict=True)])
    pool = pools[int(random.choice(len(pools), p=usable / usable.sum()))]
    rest = max(0.0, 1.0 - patches.lesion - patches.hard)
    share = np.array([patches.lesion, patches.hard, rest])
    kind = int(random.choice(3, p=share / share.sum()))
    thirds = [points for points in pool.lesions if len(points.case)]
    if kind == 0 and thirds:
        return _near(thirds[int(random.integers(len(thirds)))], LESION_REACH, random)
    if kind == 1 and len(pool.hard.case):
        return _near(pool.hard, OTHER_REACH, random)
    return Choice(int(pool.cases[int(random.integers(len(pool.cases)))]))


def _near(points: Points, reach: float, random: np.random.Generator) -> Choice:
    i = int(random.integers(len(points.case)))
    z, y, x = points.voxel[i].tolist()
    return Choice(int(points.case[i]), (z, y, x), reach)


def middle_of(
    choice: Choice, scan: CachedScan, shape: tuple[int, int, int], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The scan voxel (z, y, x) in the middle of the patch that was chosen."""
    if choice.voxel is None:
        return _in_body(scan, random)
    away = random.uniform(-1, 1, 3) * choice.reach * np.array(shape)
    return np.asarray(np.array(choice.voxel) + away)


def _in_body(scan: CachedScan, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """A voxel that is not in the air around the body, as far as some tries find one."""
    voxel = np.zeros(3)
    for _ in range(TRIES):
        voxel = random.uniform(0, 1, 3) * (np.array(scan.shape) - 1)
        cube = tuple(slice(int(v), int(v) + BODY_EDGE) for v in voxel)
        if np.asarray(scan.array[(HU, *cube)]).mean() > BODY_HU:
            break
    return voxel
