"""One synthetic scan: anatomy, mimics, lesions and a simple scanner, from a seed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.volume import Volume
from resources.synthetic.anatomy import TRUNK_MM, Draw, paint_trunk
from resources.synthetic.canvas import Canvas
from resources.synthetic.lesions import Truth, paint_lesions, paint_mimics

COVERAGES_MM = {"chest": (340.0, 610.0), "abdomen": (170.0, 440.0), "pelvis": (0.0, 240.0), "trunk": TRUNK_MM}


def make_scan(
    seed: int,
    spacing_mm: tuple[float, float, float] | None = None,
    coverage: str | None = None,
    lesion_count: int | None = None,
) -> tuple[Volume, list[Truth]]:
    """A scan and all its lesions; what is not given is drawn.

    spacing_mm is (x, y, z). A third of the scans have no lesion. The same arguments give the same scan.
    """
    return make_labelled_scan(seed, spacing_mm, coverage, lesion_count)[:2]


def make_labelled_scan(
    seed: int,
    spacing_mm: tuple[float, float, float] | None = None,
    coverage: str | None = None,
    lesion_count: int | None = None,
) -> tuple[Volume, list[Truth], npt.NDArray[np.uint8]]:
    """`make_scan`, and the numbers of `anatomy.ORGANS` on the same grid; lesions bear that of their organ."""
    draw = Draw(seed)
    if spacing_mm is None:
        in_plane = draw.uniform(0.9, 1.6)
        spacing_mm = (in_plane, in_plane, (1.5, 2.0, 2.5, 3.0, 5.0)[draw.integer(0, 4)])
    if coverage is None:
        coverage = ("chest", "abdomen", "abdomen", "pelvis")[draw.integer(0, 3)]
    if lesion_count is None:
        lesion_count = 0 if draw.chance(1 / 3) else 1 + min(11, int(-4.0 * math.log(draw.uniform(1e-3, 1))))
    slab = math.ceil(spacing_mm[2] / 2.0)
    step_mm = (spacing_mm[0], spacing_mm[1], spacing_mm[2] / slab)
    bottom, top = COVERAGES_MM[coverage]
    extent_mm = (440.0, 310.0, top - bottom)
    shape = [int(mm / step) for mm, step in zip(reversed(extent_mm), reversed(step_mm), strict=True)]
    shape[0] -= shape[0] % slab
    lower_mm = (-extent_mm[0] / 2, -extent_mm[1] / 2, bottom)
    canvas = Canvas((shape[0], shape[1], shape[2]), step_mm, lower_mm, draw.generator, warp_mm=5.0)
    paint_trunk(canvas, draw)
    paint_mimics(canvas, draw)
    truths = paint_lesions(canvas, draw, lesion_count)
    _texture(canvas, draw)
    hu = canvas.hu.reshape(-1, slab, *canvas.hu.shape[1:]).mean(1)
    hu = _noise(hu, draw, spacing_mm)
    origin_z = lower_mm[2] + step_mm[2] * (slab - 1) / 2
    volume = Volume(
        hu=np.ascontiguousarray(hu.clamp_(-1024, 3071).round_().to(torch.int16).numpy()),
        spacing_mm=spacing_mm,
        origin_mm=(lower_mm[0], lower_mm[1], origin_z),
        direction=np.eye(3),
    )
    return volume, truths, np.ascontiguousarray(canvas.label[slab // 2 :: slab].numpy())


def _texture(canvas: Canvas, draw: Draw) -> None:
    """Slow unevenness inside tissues; none in air."""
    shape = canvas.hu.shape
    for wavelength_mm, sd in ((25.0, draw.uniform(2, 6)), (8.0, draw.uniform(2, 6))):
        coarse = [max(2, int(n * canvas.step_mm[2 - i] / wavelength_mm)) for i, n in enumerate(shape)]
        field = torch.randn((1, 1, *coarse), generator=draw.generator)
        field = F.interpolate(field, size=shape, mode="trilinear", align_corners=True)[0, 0]
        canvas.hu += field * sd * (canvas.hu > -400)


def _noise(hu: torch.Tensor, draw: Draw, spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    """Adds in-plane correlated noise of 6 to 20 HU and the blur of a reconstruction kernel."""
    sigma = draw.uniform(0.5, 0.9) / spacing_mm[0]
    blurred = _blur_plane(hu, sigma)
    noise = _blur_plane(torch.randn(hu.shape, generator=draw.generator), sigma)
    return blurred + noise / noise.std() * draw.uniform(6, 20)


def _blur_plane(image: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = max(1, math.ceil(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    image = F.conv2d(image[:, None], kernel[None, None, None, :], padding=(0, reach))
    return F.conv2d(image, kernel[None, None, :, None], padding=(reach, 0))[:, 0]
