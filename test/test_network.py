import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import SMALL, lively
from model.config import DetectorConfig, WeightsError
from model.detector import FORMAT, Detector, load_network, save_weights
from model.network import CenterNet3D
from model.tiles import plan_tiles, run_network


def test_shape_stride_and_channels() -> None:
    heads, organs = lively()(torch.zeros(2, 1, 16, 24, 32))
    assert organs.shape == (2, 0, 4, 6, 8)
    assert heads.shape == (2, 8 + 3 + 3, 8, 12, 16)
    assert heads.dtype == torch.float32


def test_a_new_network_starts_at_the_prior_of_one_percent() -> None:
    torch.manual_seed(0)
    heads, _ = CenterNet3D(SMALL).eval()(torch.randn(1, 1, 16, 16, 16) * 100)
    assert torch.sigmoid(heads[:, :8]).mean().item() == pytest.approx(0.01, rel=0.3)


def test_fold_puts_the_eight_voxels_of_a_cell_into_channels() -> None:
    x = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert CenterNet3D.fold(x).flatten().tolist() == list(range(8))


def test_windows_map_their_bounds_to_minus_one_and_one() -> None:
    hu = torch.tensor([-3000.0, -1350, -100, 40, 180, 1300, 3000]).reshape(1, 1, 1, 1, 7)
    lung, soft, bone = lively().windows(hu.expand(1, 8, 1, 1, 7))[0, ::8, 0, 0]
    assert lung[[0, 1, 6]].tolist() == [-1, -1, 1]
    assert soft.tolist() == pytest.approx([-1, -1, -1, 0, 1, 1, 1], abs=1e-6)
    assert bone[[0, 5]].tolist() == pytest.approx([-1, 1])


def test_fusing_batch_norm_changes_nothing() -> None:
    x = torch.randn(1, 1, 16, 16, 24, generator=torch.Generator().manual_seed(1)) * 300
    with torch.inference_mode():
        plain, _ = lively()(x)
        fused, _ = lively().fuse()(x)
    assert plain.std() > 0.1
    torch.testing.assert_close(plain, fused, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 0, 1)])
def test_no_output_depends_on_a_voxel_beyond_the_halo(blocks: tuple[int, ...]) -> None:
    network = lively(DetectorConfig(widths=(4, 6, 8), blocks=blocks)).double()
    size, place = 208, 104
    hu = torch.zeros(1, 1, size, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        before, _ = network(hu)
        hu[0, 0, place] = 1000
        changed = torch.nonzero((network(hu)[0] != before).any(1).any(-1).any(-1)[0])[:, 0] * 2
    reach = max(place - int(changed[0]), int(changed[-1]) + 1 - place)
    assert reach <= network.halo < reach + 2 * network.config.stride


def test_tiles_give_the_same_heads_as_the_whole() -> None:
    network = lively()
    hu = torch.randint(-1000, 400, (176, 56, 72), generator=torch.Generator().manual_seed(2)).to(torch.int16)
    calls = []
    with torch.inference_mode():
        whole, _ = run_network(network, hu, memory_bytes=10**12)
        tiled, _ = run_network(network, hu, memory_bytes=30_000_000, on_tile=lambda: calls.append(1))
    assert len(calls) > 3
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_a_thin_slab_goes_through_in_air() -> None:
    """At 2 mm a grid of 16x56x24 voxels is put, in whole strides, into 48x56x48: 48 voxels are 96 mm."""
    network = lively(dataclasses.replace(SMALL, organs=("background", "lung", "liver")))
    assert (network.config.spacing_mm, network.config.stride) == (2.0, 8)
    hu = torch.randint(-1000, 400, (16, 56, 24), generator=torch.Generator().manual_seed(3)).to(torch.int16)
    air = torch.full((1, 1, 48, 56, 48), -1024.0)
    air[0, 0, 16:32, :, 8:32] = hu
    with torch.inference_mode():
        heads, organs = run_network(network, hu, memory_bytes=10**12)
        expected, expected_organs = network(air)
    assert heads.shape == (14, 8, 28, 12)
    assert organs.shape == (3, 4, 14, 6)
    torch.testing.assert_close(heads, expected[0, :, 8:16, :, 4:16], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(organs, expected_organs[0, :, 4:8, :, 2:8], rtol=1e-5, atol=1e-5)


def test_tiles_cover_every_voxel_once_and_keep_to_the_budget() -> None:
    shape, halo, budget = (96, 64, 40), 16, 95_000
    tiles = plan_tiles(shape, halo, 8, budget)
    seen = torch.zeros(shape, dtype=torch.int)
    for tile in tiles:
        seen[tuple(slice(*core) for core, _ in tile)] += 1
        assert math.prod(high - low for _, (low, high) in tile) <= budget
        assert all(low % 8 == 0 for _, (low, _) in tile)
    assert (seen == 1).all()
    assert len(tiles) > 1
    assert len(plan_tiles(shape, halo, 8, 96 * 64 * 40)) == 1


def test_weights_file_round_trip(tmp_path: Path) -> None:
    network = lively()
    save_weights(tmp_path / "a.safetensors", network, SMALL)
    loaded = load_network(tmp_path / "a.safetensors")
    assert loaded.config == SMALL
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(loaded(x), network(x), atol=0, rtol=0)


def edited(folder: Path, **config: object) -> None:
    path = folder / "a.safetensors"
    save_weights(path, lively(), SMALL)
    values = json.loads(SMALL.to_json()) | config
    save_file(load_file(path), path, {"format": FORMAT, "config": json.dumps(values)})


def test_weights_of_the_format_without_organs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, lively(), SMALL)
    values = {key: value for key, value in json.loads(SMALL.to_json()).items() if key != "organs"}
    tensors = load_file(path)
    save_file(tensors, path, {"format": "centernet3d-1", "config": json.dumps(values)})
    assert load_network(path).config == SMALL
    save_file(tensors, path, {"format": FORMAT, "config": json.dumps(values)})
    with pytest.raises(WeightsError, match="organs"):
        load_network(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [4, 6, 10]}, "do not fit"),
        ({"surprise": 1}, "surprise"),
        ({"calibration": [-1.0, 0.0]}, "calibration"),
    ],
)
def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    edited(tmp_path, **change)
    with pytest.raises(WeightsError, match=message) as caught:
        Detector.from_weights(tmp_path, "cpu")
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="at least one"):
        Detector.from_weights(tmp_path, "cpu")
    path = tmp_path / "a.safetensors"
    save_weights(path, lively(), SMALL)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="expected a safetensors file"):
        Detector.from_weights(tmp_path, "cpu")
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="expected a safetensors file"):
        Detector.from_weights(tmp_path, "cpu")
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="found no format"):
        Detector.from_weights(tmp_path, "cpu")
    network = lively()
    network.out.bias.data[0] = float("nan")
    save_weights(path, network, SMALL)
    with pytest.raises(WeightsError, match="finite"):
        Detector.from_weights(tmp_path, "cpu")


def test_organ_logits_come_with_the_heads_and_in_tiles_the_same() -> None:
    network = lively(dataclasses.replace(SMALL, organs=("background", "lung", "liver"))).fuse()
    hu = torch.randint(-1000, 400, (176, 56, 72), generator=torch.Generator().manual_seed(2)).to(torch.int16)
    with torch.inference_mode():
        heads, organs = run_network(network, hu, memory_bytes=10**12)
        tiled_heads, tiled = run_network(network, hu, memory_bytes=30_000_000)
    assert heads.shape == (14, 88, 28, 36)
    assert organs.shape == (3, 44, 14, 18)
    assert organs.std() > 0.01
    torch.testing.assert_close(tiled, organs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tiled_heads, heads, rtol=1e-5, atol=1e-5)
