"""The detector: weights and a volume in, lesions in world mm out."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.config import DetectorConfig, NotFiniteError, WeightsError
from model.decode import Candidates, decode
from model.geometry import Geometry
from model.heads import calibrated, mirrored, organ_map, organs_at
from model.network import ORGAN_STRIDE, CenterNet3D
from model.preprocess import Grid, preprocess
from model.tiles import run_network
from model.volume import Volume

DEFAULT_MEMORY_GB = {"cpu": 2.0, "cuda": 6.0}
"""Memory for the network's activations: safe within 8 GB of RAM, and on a GPU of 16 GB."""
FORMAT, WITHOUT_ORGANS = "centernet3d-2", "centernet3d-1"
"""Of weights files; those of the earlier format have no organ head."""


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A candidate in LPS world mm; points and corners are (x, y, z).

    probability is calibrated. type is the most probable of type_probabilities, which are not
    exclusive. organ: class of the organ head at the point, None where the weights have no such head.
    The box is axis-aligned and encloses an axial ellipse turned by 45 degrees.
    """

    point_mm: tuple[float, float, float]
    probability: float
    type: str
    type_probabilities: dict[str, float]
    long_mm: float
    short_mm: float
    z_extent_mm: float
    organ: str | None
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Lesions from 0.01 up, at most 100, highest probability first; `likelihood` is the scan's.

    tiles: in how many pieces the scan went through each network.
    """

    lesions: tuple[Lesion, ...]
    likelihood: float
    timings_s: dict[str, float]
    warnings: tuple[str, ...]
    spacing_mm: float
    tiles: int


def save_weights(path: Path, network: CenterNet3D, config: DetectorConfig) -> None:
    """Writes an unfused network and its configuration as safetensors."""
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    text = config.to_json()
    save_file(tensors, path, {"format": FORMAT, "config": text, "digest": digest_of(tensors, text)})


def digest_of(tensors: dict[str, torch.Tensor], config: str) -> str:
    """SHA-256 of names, types, shapes and bytes of the tensors, and of the configuration's text."""
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_network(path: Path) -> CenterNet3D:
    """The unfused network of a weights file, in eval mode. Raises WeightsError."""
    return load_weights(path)[0]


def load_weights(path: Path) -> tuple[CenterNet3D, str]:
    """`load_network`, and the digest of the file's content, which is verified where the file holds one."""
    if path.exists() and not path.is_file():
        raise WeightsError(f"{path}: expected a safetensors file, found a folder, pipe or device")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found = metadata.get("format", "no format")
            if found not in (FORMAT, WITHOUT_ORGANS):
                raise WeightsError(f"{path}: expected weights of format {FORMAT}, found {found}")
            config = DetectorConfig.from_json(metadata.get("config", ""), organs=found == FORMAT)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            digest = digest_of(tensors, metadata["config"])
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected a safetensors file, found: {str(error).splitlines()[0]}"
        ) from None
    if metadata.get("digest", digest) != digest:
        found = f"digest {digest[:12]}, not {metadata['digest'][:12]}"
        raise WeightsError(f"{path}: expected the tensors that were saved, found others ({found})")
    network = CenterNet3D(config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{path}: the tensors do not fit the configuration in the file: {detail}"
        ) from None
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise WeightsError(f"{path}: expected finite weights, found NaN or infinity")
    return network.eval(), digest


class Detector:
    """One network, or an ensemble whose calibrated maps are averaged."""

    def __init__(
        self, networks: list[CenterNet3D], version: str, device: str = "auto", memory_gb: float | None = None,
        digest: str = "",
    ):  # fmt: skip
        shared = ("spacing_mm", "types", "organs")
        configs = [network.config for network in networks]
        for config in configs[1:]:
            differing = [name for name in shared if getattr(config, name) != getattr(configs[0], name)]
            if differing:
                raise WeightsError(f"ensemble: expected one value of {differing[0]} in all weights files")
        self.device = torch.device(_choose_device(device))
        half = torch.float16 if self.device.type == "cuda" else torch.float32
        self.networks = [network.fuse().to(self.device, half) for network in networks]
        self.weights_version, self.weights_digest = version, digest
        self.stride = max(config.stride for config in configs)
        self.memory_bytes = int((memory_gb or DEFAULT_MEMORY_GB[self.device.type]) * 1e9)
        self.operating_point = float(np.mean([config.operating_point for config in configs]))
        self.scan_operating_point = float(np.mean([config.scan_operating_point for config in configs]))

    @classmethod
    def from_weights(cls, folder: Path, device: str = "auto", memory_gb: float | None = None) -> Detector:
        """All *.safetensors of a folder. Raises WeightsError when there is none or one does not fit."""
        paths = sorted(p for p in Path(folder).glob("*.safetensors") if not p.name.startswith("."))
        if not paths:
            raise WeightsError(f"{folder}: expected at least one .safetensors file, found none")
        networks, digests = zip(*map(load_weights, paths), strict=True)
        version, digest = "+".join(path.stem for path in paths), "+".join(digests)
        return cls(list(networks), version, device, memory_gb, digest)

    def predict(self, volume: Volume) -> Prediction:
        """All candidates of one scan. Raises NotFiniteError."""
        timings: dict[str, float] = {}
        config = self.networks[0].config
        with torch.inference_mode():
            with _timed(timings, "preprocess"):
                grid = preprocess(volume, config.spacing_mm, self.stride)
            with _timed(timings, "network"):
                maps, organs, tiles = self._maps(grid)
            with _timed(timings, "decode"):
                candidates = candidates_of(maps, grid, volume.geometry)
                likelihood = self._likelihood(candidates)
                lesions = _to_lesions(candidates, grid, organs, config)
        return Prediction(lesions, likelihood, timings, volume.warnings, config.spacing_mm, tiles)

    def organs(self, volume: Volume) -> tuple[Grid, torch.Tensor]:
        """The network's grid of a scan, and the class of `config.organs` of each of its voxels, uint8 (z, y,
        x).

        Raises WeightsError where the weights have no organ head.
        """
        config = self.networks[0].config
        if not config.organs:
            raise WeightsError(f"{self.weights_version}: expected weights with an organ head, found none")
        with torch.inference_mode():
            grid = preprocess(volume, config.spacing_mm, self.stride)
            _, logits, _ = self._maps(grid)
            z, y, x = grid.hu.shape
            return grid, organ_map(logits, (z, y, x)).cpu()

    def _maps(self, grid: Grid) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Calibrated maps and organ logits, averaged over the networks, and the tiles per network."""
        total = organs = torch.zeros(())
        tiles: list[int] = []
        for network in self.networks:
            maps, logits = maps_of(
                network, grid, self.memory_bytes, self.weights_version, on_tile=lambda: tiles.append(1)
            )
            total, organs = (maps, logits) if total.ndim == 0 else (total + maps, organs + logits)
        count = len(self.networks)
        return total / count, organs / count, len(tiles) // count

    def _likelihood(self, candidates: Candidates) -> float:
        """Platt's logistic on the logit of the surest candidate; an empty scan counts as 0.001."""
        top = float(np.clip(candidates.probability.max(initial=0.001), 0.001, 1 - 1e-6))
        logit = math.log(top / (1 - top))
        slopes = [network.config.scan_calibration for network in self.networks]
        return float(np.mean([1 / (1 + math.exp(-(slope * logit + shift))) for slope, shift in slopes]))


def maps_of(
    network: CenterNet3D,
    grid: Grid,
    memory_bytes: int,
    name: str,
    mirror: tuple[int, ...] = (),
    on_tile: Callable[[], None] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Calibrated lesion maps and organ logits of a grid, see model.heads.

    network: in evaluation mode. name: of the weights or the scan, for the error. mirror: axes (0 z, 1 y, 2 x)
    along which the network sees the grid mirrored; the maps are in the grid's own frame. on_tile: called
    after each tile. Raises NotFiniteError.
    """
    heads, organs = run_network(network, grid.hu.flip(mirror), memory_bytes, on_tile)
    maps = calibrated(mirrored(heads, mirror), network.config)
    if not bool(maps.isfinite().all()):
        raise NotFiniteError(f"{name}: expected finite output of the network, found NaN or infinity")
    return maps, organs.flip([axis + 1 for axis in mirror]) if mirror else organs


def candidates_of(maps: torch.Tensor, grid: Grid, place: Geometry) -> Candidates:
    """The candidates of calibrated maps that lie within the scan's outermost voxels: the grid is padded, and
    encloses a tilted scan.
    """
    candidates = decode(maps, grid.spacing_mm)
    kept = place.contains(grid.to_world(candidates.voxel))
    return Candidates(
        candidates.voxel[kept], candidates.probability[kept], candidates.types[kept], candidates.size_mm[kept]
    )


def _choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise WeightsError("device cuda: expected a GPU that torch can use, found none")
    return device


def _to_lesions(
    candidates: Candidates, grid: Grid, organs: torch.Tensor, config: DetectorConfig
) -> tuple[Lesion, ...]:
    lesions, types = [], config.types
    named: list[str | None] = [None] * len(candidates.voxel)
    if config.organs and len(named):
        named = [config.organs[number] for number in organs_at(organs, candidates.voxel, ORGAN_STRIDE)]
    places = zip(grid.to_world(candidates.voxel), candidates.types, candidates.size_mm, named, strict=True)
    for point, heat, size, organ in places:
        long_mm, short_mm, z_mm = (float(mm) for mm in size)
        wide = math.sqrt((long_mm**2 + short_mm**2) / 8)
        reach = np.array([wide, wide, z_mm / 2])
        lower, upper = (tuple(float(mm) for mm in corner) for corner in (point - reach, point + reach))
        probabilities = {name: float(value) for name, value in zip(types, heat, strict=True)}
        lesions.append(
            Lesion(
                point_mm=(float(point[0]), float(point[1]), float(point[2])),
                probability=float(heat.max()),
                type=types[int(heat.argmax())],
                type_probabilities=probabilities,
                long_mm=long_mm,
                short_mm=short_mm,
                z_extent_mm=z_mm,
                organ=organ,
                box_mm=((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])),
            )
        )
    return tuple(lesions)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - start
