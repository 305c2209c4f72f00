"""How fast, and how much memory: `python -m resources.study.benchmark [--peer] [--device cuda]`.

One synthetic scan of 512x512x400 voxels of 0.75x0.75x1 mm, as a compressed MHA, goes through process.py in a
fresh process; then, in this process, the network is timed warm beside a single 3D convolution (the practical
peak of this machine) and, with --peer, beside MONAI's RetinaNet on the same voxels. Ratios are of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from model.detector import Detector
from model.preprocess import Grid, preprocess
from model.tiles import run_network
from model.volume import Volume, read_volume
from resources.study.steps import ROOT, Figures, store
from resources.synthetic.generate import Order, make_scan

SHAPE, SPACING_MM = (400, 512, 512), (0.75, 0.75, 1.0)
TIMED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6)
"""
"""Prints the seconds and GB of a command. A process's peak counts what its parent held when it was started,
so its parent has to be small."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--scan", type=Path, help="a scan of your own instead of the synthetic one")
    parser.add_argument("--weights", type=Path, default=ROOT / "model" / "weights")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--peer", action="store_true", help="also time MONAI's RetinaNet (minutes on a CPU)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here too")
    options = parser.parse_args(arguments)
    figures: Figures = {"device": options.device, "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as folder:
        scan = options.scan or write_scan(Path(folder))
        figures["scan_mb"] = scan.stat().st_size / 1e6
        print(f"{scan.name}: {figures['scan_mb']:.0f} MB; {figures['threads']} threads", flush=True)
        figures |= cold(scan, Path(folder) / "out", options.weights, options.device)
        volume = read_volume(scan)
    detector = Detector.from_weights(options.weights, options.device)
    grid = preprocess(volume, detector.networks[0].config.spacing_mm, detector.stride)
    figures |= warm(detector, volume, grid)
    if options.peer:
        seconds = retinanet(grid.hu.to(detector.device))
        figures["retinanet_times"] = times = seconds / figures["network_s"]
        print(f"MONAI RetinaNet (ResNet-50, sliding window): {seconds:.2f} s, {times:.1f} x ours")
    if options.out is not None:
        store(options.out, options.weights, figures)


def write_scan(folder: Path) -> Path:
    """A trunk made at 1.5x1.5x2 mm and refined, with noise of its own at the fine grid."""
    import SimpleITK as sitk

    coarse = make_scan(Order(7, "A", (1.5, 1.5, 2.0), "both", anatomy="procedural", lesion_count=0))
    fine = F.interpolate(
        torch.from_numpy(coarse.volume.hu).float()[None, None],
        scale_factor=2.0,
        mode="trilinear",
        align_corners=False,
    )[0, 0]
    hu = torch.full(SHAPE, -1000.0)
    inner = [min(a, b) for a, b in zip(SHAPE, fine.shape, strict=True)]
    put = tuple(slice((a - n) // 2, (a - n) // 2 + n) for a, n in zip(SHAPE, inner, strict=True))
    take = tuple(slice((a - n) // 2, (a - n) // 2 + n) for a, n in zip(fine.shape, inner, strict=True))
    hu[put] = fine[take]
    hu += 12 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    image = sitk.GetImageFromArray(hu.clamp_(-1024, 3071).round_().to(torch.int16).numpy())
    image.SetSpacing(SPACING_MM)
    sitk.WriteImage(image, str(folder / "scan.mha"), useCompression=True)
    return folder / "scan.mha"


def cold(scan: Path, out: Path, weights: Path, device: str) -> Figures:
    """process.py from start to exit: seconds per stage, and the peak memory of its largest process."""
    command = [sys.executable, str(ROOT / "process.py"), "--input", str(scan), "--output", str(out)]
    command += ["--weights", str(weights), "--device", device]
    started = [sys.executable, "-c", TIMED, *command]
    said = subprocess.run(started, check=True, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": ""})
    total, peak_gb = (float(value) for value in said.stdout.split())
    stages = json.loads((out / "lesion-details.json").read_text(encoding="utf-8"))["timings_s"]
    stages["start, load, write, end"] = total - sum(stages.values())
    print(f"cold process: {total:.2f} s in all, peak memory {peak_gb:.2f} GB")
    for stage, seconds in stages.items():
        print(f"  {stage:<24} {seconds:6.2f} s")
    return {"cold_s": total, "peak_gb": peak_gb, "stages_s": stages}


def warm(detector: Detector, volume: Volume, grid: Grid) -> Figures:
    """Of the network on the grid, warm: seconds, and its rate beside the peak; printed too."""
    network, device = detector.networks[0], detector.device

    def forward() -> None:
        run_network(network, grid.hu, detector.memory_bytes)

    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            forward()
        seconds = fastest(forward, device)
        whole = fastest(lambda: detector.predict(volume), device)
        peak = max(convolution_rate(channels, device) for channels in (32, 64, 96))
    rate = counter.get_total_flops() / seconds / 1e9
    print(
        f"grid {tuple(grid.hu.shape)} at {grid.spacing_mm:g} mm; warm, without reading: {whole:.2f} s in all"
    )
    print(f"  network                  {seconds:6.2f} s, {rate:.0f} GFLOP/s")
    print(
        f"  best single convolution          {peak:.0f} GFLOP/s: the network runs at {rate / peak:.0%} of it"
    )
    return {"network_s": seconds, "network_share_of_peak": rate / peak}


def fastest(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of three runs after a first one."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def convolution_rate(channels: int, device: torch.device) -> float:
    """GFLOP/s of a 3x3x3 convolution in the network's number format and memory layout."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    size = 48 if channels > 32 else 96
    convolution = torch.nn.Conv3d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    convolution.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    x = torch.randn(1, channels, size, size, size, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    return 2 * 27 * channels**2 * size**3 / fastest(lambda: convolution(x), device) / 1e9


def retinanet(hu: torch.Tensor) -> float:
    """Seconds of MONAI's RetinaNet on (z, y, x) voxels, without its post-processing.

    As in MONAI's LUNA16 bundle: ResNet-50 with a feature pyramid, windows of 192x192x80 voxels (x, y, z),
    overlapping by a quarter, which is MONAI's default.
    """
    from monai.apps.detection.networks.retinanet_network import RetinaNet
    from monai.apps.detection.utils.predict_utils import predict_with_inferer
    from monai.inferers.inferer import SlidingWindowInferer
    from monai.networks.nets.resnet import resnet50

    from resources.study.peer_networks import Pyramid

    torch.manual_seed(0)
    body = resnet50(spatial_dims=3, n_input_channels=1, conv1_t_stride=(2, 2, 1), conv1_t_size=(7, 7, 7))
    pyramid = Pyramid(body, (256, 512), 256)
    network = RetinaNet(
        3, num_classes=1, num_anchors=3, feature_extractor=pyramid, size_divisible=(16, 16, 8)
    )
    network = network.eval().to(hu.device)
    image = hu.permute(2, 1, 0).float()[None, None] / 1000
    window = (192, 192, 80)
    pad = [max(0, w - n) for w, n in zip(window, image.shape[2:], strict=True)]
    image = F.pad(image, (0, pad[2], 0, pad[1], 0, pad[0]))
    inferer = SlidingWindowInferer(window, sw_batch_size=1, overlap=0.25)
    start = time.perf_counter()
    with torch.inference_mode():
        predict_with_inferer(image, network, keys=[network.cls_key, network.box_reg_key], inferer=inferer)
    if hu.device.type == "cuda":
        torch.cuda.synchronize(hu.device)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
