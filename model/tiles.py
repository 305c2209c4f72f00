"""Runs the network over a grid of any size: whole if it fits the memory budget, else in tiles.

Tiles overlap by the network's reach and start on its stride, so both ways give the same heads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from model.heads import channels_of
from model.network import ORGAN_STRIDE, OUTPUT_STRIDE, CenterNet3D
from model.preprocess import AIR_HU

BYTES_PER_VOXEL, BYTES_PER_CHANNEL = 120, 3.75
"""Peak float32 memory of the network per input voxel: at least the first, and the
second for each channel of the first level. 47, 91 and 118 were measured with 16, 32 and 48 channels."""

LEAST_MM = 96.0
"""Edges of a grid below which air is put around it."""

Span = tuple[int, int]
Tile = tuple[tuple[Span, Span], tuple[Span, Span], tuple[Span, Span]]
"""Per axis (z, y, x): the voxels a tile answers for, and the voxels it reads."""


def plan_tiles(shape: tuple[int, int, int], halo: int, stride: int, max_voxels: int) -> list[Tile]:
    """Splits (z, y, x) into tiles of at most `max_voxels` read voxels.

    The axis whose split saves most is split first. No tile answers for less than the halo on a split axis,
    where the overlap would cost 27 times the work: a budget below that is exceeded.
    """
    counts = [1, 1, 1]
    most = [max(1, size // max(halo, stride)) for size in shape]

    def spans(axis: int, parts: int) -> list[tuple[Span, Span]]:
        size = shape[axis]
        core = math.ceil(size / parts / stride) * stride
        starts = range(0, size, core)
        return [
            ((low, min(low + core, size)), (max(0, low - halo), min(low + core + halo, size)))
            for low in starts
        ]

    def largest(parts: list[int]) -> int:
        return math.prod(max(high - low for _, (low, high) in spans(a, n)) for a, n in enumerate(parts))

    while largest(counts) > max_voxels:
        options = [counts[:a] + [counts[a] + 1] + counts[a + 1 :] for a in range(3)]
        options = [option for option in options if all(n <= m for n, m in zip(option, most, strict=True))]
        if not options:
            break
        counts = min(options, key=lambda o: (largest(o), math.prod(o)))
    return [tile for tile in itertools.product(*(spans(a, n) for a, n in enumerate(counts)))]  # type: ignore[misc]


def run_network(
    network: CenterNet3D, hu: torch.Tensor, memory_bytes: int, on_tile: Callable[[], None] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lesion heads (channels, z/2, y/2, x/2) and organ logits (organs, z/4, y/4, x/4), of a grid
    (z, y, x) in HU, float32 on the network's device.

    A grid with edges below LEAST_MM, as of a thin slab, goes through in air: so is it in the patches that the
    network was trained on, where nothing else is around it. `on_tile` is called after each tile.
    """
    stride = network.config.stride
    least = math.ceil(LEAST_MM / network.config.spacing_mm / stride)
    missing = [max(0, least - n // stride) for n in hu.shape]
    if any(missing):
        before = [n // 2 * stride for n in missing]
        pads = [side for n, a in zip(missing, before, strict=True) for side in (n * stride - a, a)][::-1]
        padded = run_network(network, F.pad(hu, pads, value=AIR_HU), memory_bytes, on_tile)
        inner = [
            tuple(slice(a // step, (a + n) // step) for a, n in zip(before, hu.shape, strict=True))
            for step in (OUTPUT_STRIDE, ORGAN_STRIDE)
        ]
        return padded[0][(slice(None), *inner[0])], padded[1][(slice(None), *inner[1])]
    device = network.out.weight.device
    per_voxel = max(BYTES_PER_VOXEL, BYTES_PER_CHANNEL * network.config.widths[0])
    per_voxel *= network.out.weight.element_size() / 4
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    tiles = plan_tiles(shape, network.halo, stride, int(memory_bytes / per_voxel))
    outputs = [
        torch.empty(channels, *(n // step for n in shape), device=device)
        for channels, step in (
            (channels_of(len(network.config.types)), OUTPUT_STRIDE),
            (len(network.config.organs), ORGAN_STRIDE),
        )
    ]
    for tile in tiles:
        read = tuple(slice(*outer) for _, outer in tile)
        heads = network(hu[read].to(device).to(torch.float32)[None, None])
        for whole, part, step in zip(outputs, heads, (OUTPUT_STRIDE, ORGAN_STRIDE), strict=True):
            write = tuple(slice(low // step, high // step) for (low, high), _ in tile)
            keep = tuple(
                slice((low - first) // step, (high - first) // step) for (low, high), (first, _) in tile
            )
            if len(whole):
                whole[(slice(None), *write)] = part[0][(slice(None), *keep)]
        if on_tile is not None:
            on_tile()
    return outputs[0], outputs[1]
