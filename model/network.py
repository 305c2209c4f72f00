"""CenterNet3D: a residual encoder with a feature pyramid; heads of centres, offsets and sizes, and of organs.

After Zhou et al., "Objects as Points" (2019), in three dimensions, and Lin et al., "Feature Pyramid
Networks" (2017). The first layer folds 2x2x2 voxels into channels, so nothing is computed at full
resolution; upsampling is by nearest neighbour, so tiles can reproduce the whole exactly.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.config import DetectorConfig
from model.heads import channels_of

OUTPUT_STRIDE = 2
"""Input voxels per output cell, on every axis."""
ORGAN_STRIDE = 4
"""Input voxels per cell of the organ head: the second level of the pyramid."""


class ConvNorm(nn.Module):
    """3D convolution and batch norm, without activation."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.conv(x))
        return y

    def fuse(self) -> None:
        """Folds the batch norm into the convolution; for inference only."""
        if isinstance(self.norm, nn.BatchNorm3d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Residual(nn.Module):
    """One convolution and a shortcut (He et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.step = ConvNorm(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu_(self.step(x).add_(x))


class CenterNet3D(nn.Module):
    """HU -> heads.

    Input: (batch, 1, z, y, x) in HU, float32, isotropic at `config.spacing_mm`, each edge a multiple
    of `config.stride`. Output, float32, see `model.heads`: the lesion heads, (batch, channels, z/2, y/2,
    x/2), and the organs' logits, (batch, organs, z/4, y/4, x/4), without channels if there is no such head.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        widths, channels = config.widths, 8 * len(config.windows_hu)
        self.stem = ConvNorm(channels, widths[0])
        self.down = nn.ModuleList(ConvNorm(a, b, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(count)))
            for width, count in zip(widths, config.blocks, strict=True)
        )
        self.lateral = nn.ModuleList(ConvNorm(b, a, size=1) for a, b in zip(widths, widths[1:], strict=False))
        self.merge = nn.ModuleList(ConvNorm(width, width) for width in widths[:-1])
        self.out = nn.Linear(widths[0], channels_of(len(config.types)))
        nn.init.zeros_(self.out.bias)
        prior = 0.01
        nn.init.constant_(self.out.bias[: len(config.types)], math.log(prior / (1 - prior)))
        nn.init.normal_(self.out.weight, std=0.01)
        self.organ = nn.Linear(widths[1], len(config.organs)) if config.organs else None

    @property
    def halo(self) -> int:
        """Input voxels beyond a tile that its outputs depend on, rounded up to the stride."""
        reach = 2 + 2  # stem, the cell itself
        for level, count in enumerate(self.config.blocks):
            step = OUTPUT_STRIDE * 2**level
            reach += count * step
            if level + 1 < len(self.config.blocks):
                reach += step + step + step  # down, nearest upsampling, merge
        return math.ceil(reach / self.config.stride) * self.config.stride

    def windows(self, folded_hu: torch.Tensor) -> torch.Tensor:
        """(batch, 8, z, y, x) HU -> (batch, 8 windows, z, y, x) in [-1, 1], window by window."""
        lower, upper = (
            torch.tensor(bounds, dtype=folded_hu.dtype, device=folded_hu.device).repeat_interleave(8)
            for bounds in zip(*self.config.windows_hu, strict=True)
        )
        scale = (2.0 / (upper - lower))[:, None, None, None]
        shift = (-lower)[:, None, None, None] * scale - 1.0
        copies = torch.cat([folded_hu] * len(self.config.windows_hu), dim=1)
        return torch.addcmul(shift, copies, scale, out=copies).clamp_(-1, 1)

    def forward(self, hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine, coarse = self.pyramid(hu)
        heads = self.out(fine.movedim(1, -1)).movedim(-1, 1).float()
        if self.organ is None:
            return heads, heads.new_zeros((len(heads), 0, *(n // ORGAN_STRIDE for n in hu.shape[2:])))
        return heads, self.organ(coarse.movedim(1, -1)).movedim(-1, 1).float()

    def pyramid(self, hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the two heads see, not negative: (batch, widths[0], z/2, y/2, x/2) for lesions, and
        (batch, widths[1], z/4, y/4, x/4) for organs; of a network of one level the same twice.
        """
        x = F.relu_(self.stem(self.windows(self.fold(hu)).to(self.out.weight.dtype)))
        features = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = F.relu_(self.down[level - 1](x))
            x = blocks(x)
            features.append(x)
        coarse = x
        for level in reversed(range(len(features) - 1)):
            above = F.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = F.relu_(self.merge[level](above.add_(features[level])))
            coarse = x if level == 1 else coarse
        return x, coarse

    @staticmethod
    def fold(x: torch.Tensor) -> torch.Tensor:
        """(b, 1, z, y, x) -> (b, 8, z/2, y/2, x/2): space to depth, channels last in memory."""
        b, _, z, y, w = x.shape
        x = x.reshape(b, z // 2, 2, y // 2, 2, w // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
        return x.reshape(b, 8, z // 2, y // 2, w // 2).contiguous(memory_format=torch.channels_last_3d)

    def fuse(self) -> CenterNet3D:
        """This network ready for inference: batch norms folded into convolutions, channels last."""
        self.eval().requires_grad_(False)
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return self
