"""Patches cut from a cached scan, turned, scaled and mirrored at random, with all that is known of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.network import OUTPUT_STRIDE
from model.preprocess import AIR_HU
from resources.cases.cache import HU, CachedScan
from resources.cases.case import Case, CaseError
from resources.training.config import Augmentation, TrainingConfig
from resources.training.data.batch import SPEAKERS, UNMARKED, Batch
from resources.training.reports.clearing import cleared_types
from resources.training.reports.overlay import Placed, draw_pseudo_lesions, with_empty, without_report
from resources.training.reports.pseudo_labels import PseudoLabels, PseudoLesion
from resources.training.targets.draw import TARGETS, Lesions, draw_known, draw_lesions
from resources.training.targets.known import OUTSIDE, KnownScan, unpack

Shape = tuple[int, int, int]
PIECE_MM = ((10.0, 48.0), (32.0, 96.0), (32.0, 96.0))
"""Edges (z, y, x) of a piece of a scan, from and to."""
TILT_SHARE = 0.25
"""Rotation around the axes in the plane, as a share of that around z."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a patch of `shape` voxels lies. middle: (3,) scan voxel (z, y, x) of its centre. matrix: (3, 3)
    from offsets in patch voxels to offsets in scan voxels. Float64.
    """

    middle: torch.Tensor
    matrix: torch.Tensor
    shape: Shape

    @property
    def scale(self) -> float:
        """How much larger things look in the patch."""
        return float(torch.linalg.det(self.matrix).abs() ** (-1 / 3))

    @property
    def half(self) -> torch.Tensor:
        return (torch.tensor(self.shape, dtype=torch.float64) - 1) / 2

    def to_scan(self, voxels: torch.Tensor) -> torch.Tensor:
        """(..., 3) voxel positions in the patch -> in the scan."""
        return (voxels.double() - self.half) @ self.matrix.T + self.middle

    def to_patch(self, voxels: torch.Tensor) -> torch.Tensor:
        """Inverse of `to_scan`."""
        return (voxels.double() - self.middle) @ torch.linalg.inv(self.matrix).T + self.half


def place(
    middle: npt.NDArray[np.float64], shape: Shape, settings: Augmentation, random: np.random.Generator
) -> Placement:
    """A random turn, scale and mirror image around a scan voxel; as many numbers are drawn whatever is on."""
    most = math.radians(settings.rotation_deg)
    around_z, around_y, around_x = (random.uniform(-1, 1, 3) * [1, TILT_SHARE, TILT_SHARE] * most).tolist()
    scale = (1 + settings.scale) ** random.uniform(-1, 1)
    mirrored = random.uniform() < settings.flip
    turn = np.eye(3)
    for angle, (a, b) in ((around_z, (1, 2)), (around_y, (0, 2)), (around_x, (0, 1))):
        step = np.eye(3)
        step[[a, b], [a, b]] = math.cos(angle)
        step[a, b], step[b, a] = -math.sin(angle), math.sin(angle)
        turn = turn @ step
    matrix = turn @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0]) / scale
    return Placement(torch.from_numpy(np.asarray(middle, np.float64)), torch.from_numpy(matrix), shape)


def sample_hu(scan: CachedScan, placement: Placement) -> torch.Tensor:
    """(z, y, x) float32 HU of a patch, trilinear, air outside; only the chunks it lies in are read."""
    reach = placement.matrix.abs() @ placement.half
    low = (placement.middle - reach).floor().long().clamp(min=0)
    high = torch.minimum((placement.middle + reach).ceil().long() + 1, torch.tensor(scan.shape))
    if bool((low >= high).any()):
        return torch.full(placement.shape, float(AIR_HU))
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = torch.from_numpy(np.asarray(scan.array[(HU, *box)]).astype(np.float32)) - AIR_HU
    size, shape = (high - low).double(), torch.tensor(placement.shape, dtype=torch.float64)
    # of affine_grid: positions from -1 to 1 from edge to edge, in the order x, y, z
    theta = torch.zeros(3, 4, dtype=torch.float64)
    theta[:, :3] = (placement.matrix * shape / size[:, None]).flip(0, 1)
    theta[:, 3] = ((2 * (placement.middle - low) + 1) / size - 1).flip(0)
    grid = F.affine_grid(theta[None].float(), [1, 1, *placement.shape], align_corners=False)
    return F.grid_sample(part[None, None], grid, mode="bilinear", align_corners=False)[0, 0] + AIR_HU


def cells_of(scan: CachedScan, placement: Placement) -> tuple[torch.Tensor, torch.Tensor]:
    """For each output cell of a patch: the scan's nearest cell as a flat index, 0 outside; and whether it
    lies in the scan. Both (Z, Y, X).
    """
    # the middle of cell i is voxel stride * i + rest, in patch and scan alike
    stride, rest = OUTPUT_STRIDE, (OUTPUT_STRIDE - 1) / 2
    counts = [n // stride for n in placement.shape]
    begin = (placement.to_scan(torch.full((3,), rest)) - rest) / stride
    columns = [
        placement.matrix[:, axis, None] * torch.arange(n, dtype=torch.float64)
        for axis, n in enumerate(counts)
    ]
    flat = torch.zeros(counts, dtype=torch.long)
    inside = torch.ones(counts, dtype=torch.bool)
    for axis, n in enumerate(scan.shape):
        position = columns[0][axis][:, None, None] + columns[1][axis][:, None] + columns[2][axis]
        nearest = (position + begin[axis]).round().long()
        inside &= (nearest >= 0) & (nearest < n // stride)
        flat = flat * (n // stride) + nearest
    return torch.where(inside, flat, 0), inside


def cut(
    case: Case,
    scan: CachedScan,
    known: KnownScan,
    placement: Placement,
    config: TrainingConfig,
    pseudo_labels: PseudoLabels | None = None,
) -> Batch:
    """A patch, as a batch of one, with its targets. Raises CaseError where the pseudo-labels do not fit."""
    detector, supervision = config.network.detector, config.supervision
    spacing_mm, size_scale_mm = scan.spacing_mm, detector.size_scale_mm
    flat, inside = cells_of(scan, placement)
    cells_known = unpack(torch.where(inside, known.code.flatten()[flat], OUTSIDE))
    cleared: tuple[int, ...] = ()
    if supervision.report_negative > 0:
        cleared = tuple(detector.types.index(name) for name in sorted(cleared_types(case)))
    else:
        cells_known = without_report(cells_known)
    if pseudo_labels is not None and pseudo_labels.empty.shape != tuple(known.code.shape):
        shapes = f"{tuple(known.code.shape)} cells, found {pseudo_labels.empty.shape}"
        raise CaseError(f"pseudo-labels of {case.id}: expected {shapes}")
    if pseudo_labels is not None and supervision.teacher > 0:
        cells_known = with_empty(cells_known, torch.from_numpy(pseudo_labels.empty).flatten()[flat] & inside)
    drawing = draw_known(cells_known, len(detector.types), cleared)
    draw_lesions(drawing, _moved(known.lesions, placement), spacing_mm, size_scale_mm)
    if pseudo_labels is not None:
        placed = [_placed(lesion, scan, placement, detector.types) for lesion in pseudo_labels.lesions]
        draw_pseudo_lesions(drawing, placed, supervision, spacing_mm, size_scale_mm)
    target = drawing.finish()
    tensors = {name: getattr(target, name)[None] for name in TARGETS}
    tensors["organs"] = torch.where(inside, known.classes.flatten()[flat], -1)[None]
    tensors["trust"] = torch.tensor([[getattr(supervision, name) for name in (*SPEAKERS, "organs")]])
    hu = sample_hu(scan, placement)[None, None]
    return Batch(hu=hu, **tensors, names=(case.id,))


def piece_of(
    shape: Shape, spacing_mm: float, share: float, random: np.random.Generator
) -> tuple[Shape, Shape]:
    """Size of a patch and its corner in one of `shape`: the whole, or with the probability `share` a piece.

    As many numbers are drawn whatever is on.
    """
    drawn, sizes, corners = random.uniform(), random.uniform(0, 1, 3), random.uniform(0, 1, 3)
    if drawn >= share:
        return shape, (0, 0, 0)
    size, corner = [], []
    for n, (least, most), a, b in zip(shape, PIECE_MM, sizes, corners, strict=True):
        cells = round((least + (most - least) * a) / spacing_mm / OUTPUT_STRIDE)
        size.append(min(n, max(1, cells) * OUTPUT_STRIDE))
        corner.append(int(b * ((n - size[-1]) // OUTPUT_STRIDE + 1)) * OUTPUT_STRIDE)
    return (size[0], size[1], size[2]), (corner[0], corner[1], corner[2])


def in_air(patch: Batch, shape: Shape, corner: Shape) -> Batch:
    """A patch in a larger one of `shape`, its first voxel at `corner`; around it is air, of which nothing is
    learnt.
    """

    def put(values: torch.Tensor, step: int, fill: float) -> torch.Tensor:
        out = values.new_full((*values.shape[:-3], *(n // step for n in shape)), fill)
        z, y, x = (slice(c // step, c // step + n) for c, n in zip(corner, values.shape[-3:], strict=True))
        out[..., z, y, x] = values
        return out

    fills = {"said_by": UNMARKED, "any_said_by": UNMARKED, "geometry_said_by": UNMARKED, "organs": -1}
    names = [f.name for f in dataclasses.fields(Batch) if f.name not in ("hu", "trust", "names")]
    cells: dict[str, Any] = {
        name: put(getattr(patch, name), OUTPUT_STRIDE, fills.get(name, 0)) for name in names
    }
    return dataclasses.replace(patch, hu=put(patch.hu, 1, float(AIR_HU)), **cells)


def _moved(lesions: Lesions, placement: Placement) -> Lesions:
    """Lesions of the scan as the patch shows them."""
    center = placement.to_patch(lesions.center).float()
    return dataclasses.replace(lesions, center=center, size_mm=lesions.size_mm * placement.scale)


def _placed(lesion: PseudoLesion, scan: CachedScan, placement: Placement, types: tuple[str, ...]) -> Placed:
    voxel = scan.grid.world_to_voxel(lesion.center_mm)[0]
    center = placement.to_patch(torch.from_numpy(voxel)).float()
    size = [math.nan if mm is None else mm * placement.scale for mm in lesion.size_mm]
    kind = -1 if lesion.type is None else types.index(lesion.type)
    return Placed(lesion, center, torch.tensor(size), kind)
