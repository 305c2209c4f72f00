"""From a noiseless body to what a CT scanner stores: slices, kernel, noise, motion, metal, field of view."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F

from resources.synthetic.draw import Draw

WATER_PER_MM = 0.0195
"""Attenuation of water at 70 keV per mm."""
SLICES_AT_ONCE = 24
DENSE_HU = 2500.0
"""What is denser is metal, and casts streaks."""


@dataclasses.dataclass(frozen=True)
class Scanner:
    """How a scan is made.

    spacing_mm: (x, y, z) of the stored voxels. kernel_mm: sd of the in-plane blur; sharpen: share of an
    unsharp mask (bone and lung kernels overshoot). noise_hu: sd in the trunk of the scan's median slice.
    grain: 0 for noise of a smooth kernel, 1 for a sharp one.
    """

    spacing_mm: tuple[float, float, float]
    kernel_mm: float
    sharpen: float
    noise_hu: float
    grain: float
    motion_mm: float = 0.0
    metal: bool = False
    field_mm: float | None = None


def slab(spacing_z_mm: float) -> int:
    """Thin layers that are averaged into one stored slice: painting is finer than thick slices are."""
    return max(1, math.ceil(spacing_z_mm / 2.01))


def acquire(
    body_hu: torch.Tensor, step_mm: tuple[float, float, float], scanner: Scanner, draw: Draw
) -> torch.Tensor:
    """body_hu: (z, y, x) on the painted grid -> stored HU, int16, (z / slab, y, x).

    Blur first (the kernel), then partial volume along z, then noise that grows with the body's thickness; a
    few slices at a time, for thin slices are many.
    """
    layers = slab(scanner.spacing_mm[2])
    depth, height, width = len(body_hu) // layers, *body_hu.shape[1:]
    motion = _draw_motion(len(body_hu), step_mm, scanner.motion_mm, draw) if scanner.motion_mm > 0 else None
    gains = _ray_gains(body_hu, layers, scanner)
    generator = _generator(draw, body_hu)
    stored = torch.empty((depth, height, width), dtype=torch.int16, device=body_hu.device)
    for first in range(0, depth, SLICES_AT_ONCE):
        last = min(depth, first + SLICES_AT_ONCE)
        hu = body_hu[first * layers : last * layers]
        if motion is not None:
            hu = _moved(body_hu, slice(first * layers, last * layers), motion)
        if scanner.metal:
            hu = metal_streaks(hu, step_mm, draw)
        if layers > 1:
            hu = hu.reshape(-1, layers, height, width).mean(1)
        sd = scanner.kernel_mm / step_mm[0]
        soft = blur_plane(hu, sd) if sd > 0.2 else hu.clone()
        if scanner.sharpen > 0:
            soft += scanner.sharpen * (soft - blur_plane(soft, max(0.6, 1.1 / step_mm[0])))
        soft += _noise_slices(soft.shape, (gains[0][first:last], gains[1][first:last]), scanner, generator)
        if scanner.field_mm is not None:
            _cut_field(soft, scanner)
        stored[first:last] = soft.clamp_(-1024, 3071).round_().to(torch.int16)
    return stored


def blur_plane(image: torch.Tensor, sd_vox: float) -> torch.Tensor:
    """Gaussian blur within slices."""
    reach = max(1, math.ceil(2.5 * sd_vox))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sd_vox) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    padded = F.pad(image[:, None], (reach, reach, reach, reach), mode="replicate")
    padded = F.conv2d(padded, kernel[:, :, None, :])
    return F.conv2d(padded, kernel[:, :, :, None])[:, 0]


def _ray_gains(hu: torch.Tensor, layers: int, scanner: Scanner) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise sd of rays along x (z, y) and along y (z, x) over that of the median slice's thickest ray.

    hu: thin layers, of which `layers` make a slice.
    """
    sums = []
    for first in range(0, len(hu) // layers * layers, SLICES_AT_ONCE * layers):
        part = hu[first : min(first + SLICES_AT_ONCE * layers, len(hu) // layers * layers)]
        mu = (part.clamp(-1000, 1500) + 1000) * (WATER_PER_MM / 1000)
        sums.append([mu.sum(axis).reshape(-1, layers, mu.shape[3 - axis]).mean(1) for axis in (2, 1)])
    across = torch.cat([s[0] for s in sums]) * scanner.spacing_mm[0]
    along = torch.cat([s[1] for s in sums]) * scanner.spacing_mm[1]
    mean_path = float(torch.cat([across.amax(1), along.amax(1)]).clamp(min=0.5).median())
    return tuple(((path - mean_path) * 0.32).clamp(-1.6, 1.6).exp() for path in (across, along))  # type: ignore[return-value]


def _noise_slices(
    shape: torch.Size,
    gains: tuple[torch.Tensor, torch.Tensor],
    scanner: Scanner,
    generator: torch.Generator,
) -> torch.Tensor:
    """Noise of a few slices (z, y, x), as filtered back-projection makes it.

    Its spectrum within a slice is a ramp cut off by the kernel (Riederer, Pelc and Chesler 1978). Its
    variance follows the photons left after the ray: the mean of a horizontal and a vertical path, each with
    noise of its own drawn out along the path, so shoulders and pelvis show horizontal streaks. gains: of the
    rays along x (z, y) and along y (z, x).
    """
    _, height, width = shape
    device = gains[0].device
    fy = torch.fft.fftfreq(height, d=scanner.spacing_mm[1], device=device)[:, None]
    fx = torch.fft.rfftfreq(width, d=scanner.spacing_mm[0], device=device)[None, :]
    f2 = fx * fx + fy * fy
    sigma = max(scanner.kernel_mm, 0.25) * (1.25 - 0.65 * scanner.grain)
    power = (f2.sqrt() + 0.02) * torch.exp(-2 * (math.pi * sigma) ** 2 * f2 * 2)
    lying = (fy * fy + 0.15 * f2) / f2.clamp(min=1e-9)  # waves across y: streaks along x
    horizontal, upright = (power * lying).sqrt(), (power * (1.3 - lying)).sqrt()
    total = (power * 1.3).sum() * 2 / (height * width)
    spectrum = torch.fft.rfft2(torch.randn(shape, generator=generator, device=device))
    result = torch.fft.irfft2(spectrum * horizontal, s=(height, width)) * gains[0][:, :, None]
    result += torch.fft.irfft2(spectrum * upright, s=(height, width)) * gains[1][:, None, :]
    return result * (scanner.noise_hu / float(total.sqrt()))


def _generator(draw: Draw, like: torch.Tensor) -> torch.Generator:
    """A generator on the tensor's device: full-size noise is drawn where it is used."""
    return torch.Generator(device=like.device).manual_seed(draw.integer(0, 2**31 - 1))


@dataclasses.dataclass(frozen=True)
class _Motion:
    """share: of each layer (z) what is seen of the second position. shift: voxels (z, y, x)."""

    share: torch.Tensor
    shift: tuple[int, int, int]


def _draw_motion(depth: int, step_mm: tuple[float, float, float], motion_mm: float, draw: Draw) -> _Motion:
    """Breathing or a heartbeat during a part of the scan: those slices mix two positions."""
    center, half = draw.uniform(0.2, 0.8) * depth, draw.uniform(0.04, 0.14) * depth
    z, y, x = (round(draw.normal(0, motion_mm) / step) for step in reversed(step_mm))
    return _Motion(0.5 * torch.exp(-(((torch.arange(depth) - center) / half) ** 2)), (z, y, x))


def _moved(hu: torch.Tensor, layers: slice, motion: _Motion) -> torch.Tensor:
    """A range of layers of hu (z, y, x), mixed with what came into them."""
    here, share = hu[layers], motion.share[layers]
    if float(share.max()) < 0.004:
        return here
    z, y, x = (
        (torch.arange(n, device=hu.device) - shift).clamp(0, n - 1)
        for n, shift in zip(hu.shape, motion.shift, strict=True)
    )
    other = hu[z[layers]][:, y][:, :, x]
    return torch.lerp(here, other, share.to(hu.device)[:, None, None])


def metal_streaks(hu: torch.Tensor, step_mm: tuple[float, float, float], draw: Draw) -> torch.Tensor:
    """Beam hardening and lack of photons behind metal, by projecting the slices that hold it and back.

    The projections' error behind metal (a polychromatic loss that grows with the metal's path, and noise) is
    back-projected alone and added.
    """
    metal = hu > DENSE_HU
    rows = metal.flatten(1).any(1).nonzero()[:, 0].tolist()
    if not rows:
        return hu
    result = hu.clone()
    count, size = 120, max(hu.shape[1:])
    angles = torch.arange(count, device=hu.device) * (math.pi / count)
    generator = _generator(draw, hu)
    c, s = angles.cos(), angles.sin()
    theta = torch.stack(
        [torch.stack([c, -s, torch.zeros_like(c)], 1), torch.stack([s, c, torch.zeros_like(c)], 1)], 1
    )
    pad = [(size - n) // 2 for n in hu.shape[1:]]
    ramp = (
        torch.fft.rfftfreq(size, device=hu.device)
        * torch.hann_window(size, device=hu.device).roll(size // 2)[: size // 2 + 1]
    )
    for k in rows:
        plane = F.pad(
            metal[k].float(), (pad[1], size - hu.shape[2] - pad[1], pad[0], size - hu.shape[1] - pad[0])
        )
        grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
        path = (
            F.grid_sample(plane.expand(count, 1, size, size), grid, align_corners=False)[:, 0].sum(1)
            * step_mm[0]
        )
        # as the square of a short path, while a long one stops all
        loss = 1.5 * (1 - torch.exp(-path * path / 400))
        error = -loss * (1 + 0.2 * torch.randn(path.shape, generator=generator, device=hu.device))
        filtered = torch.fft.irfft(torch.fft.rfft(error, dim=1) * ramp, n=size, dim=1)
        smeared = filtered[:, None, None, :].expand(count, 1, size, size)
        inverse = theta.clone()
        inverse[:, 0, 1], inverse[:, 1, 0] = s, -s
        back = F.grid_sample(
            smeared, F.affine_grid(inverse, [count, 1, size, size], align_corners=False), align_corners=False
        )
        streak = back[:, 0].mean(0)[pad[0] : pad[0] + hu.shape[1], pad[1] : pad[1] + hu.shape[2]]
        body = (hu[k] > -900) | (streak.abs() > 0)
        result[k] += (streak * math.pi / WATER_PER_MM * 1000 / step_mm[0]).clamp(-900, 700) * body * ~metal[k]
    return result


def _cut_field(hu: torch.Tensor, scanner: Scanner) -> None:
    """Outside the round field of view a scanner stores a constant."""
    _, height, width = hu.shape
    y = (torch.arange(height, device=hu.device) - (height - 1) / 2) * scanner.spacing_mm[1]
    x = (torch.arange(width, device=hu.device) - (width - 1) / 2) * scanner.spacing_mm[0]
    outside = (x[None, :] ** 2 + y[:, None] ** 2).sqrt() > (scanner.field_mm or 0) / 2
    hu[:, outside] = -1024.0
