"""How many scans are made per second: 192x160x200 voxels at 2 mm (training), and native thin slices (tests).

python -m resources.synthetic.benchmark [--device cuda] [--native]
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from resources.cases.work import keep_memory
from resources.synthetic.generate import Order, make_scan


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m resources.synthetic.benchmark", description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--native", action="store_true", help="spacing as the site's scanners have it")
    chosen = parser.parse_args(arguments)
    if chosen.device != "cpu" and not torch.cuda.is_available():
        print(f"error: --device: expected a GPU for {chosen.device}, found none", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    keep_memory()  # as the processes do that make many scans
    for number in range(chosen.count + 1):
        if number == 1:  # the first warms up
            started, spent = time.monotonic(), time.process_time()
        if chosen.native:
            order = Order(number, "A", anatomy="procedural")
        else:
            order = Order(
                number, "A", (2.0, 2.0, 2.0), "abdomen", anatomy="procedural", shape=(200, 160, 192)
            )
        scan = make_scan(order, device=chosen.device)
        print(
            f"{' x '.join(map(str, scan.volume.hu.shape))} voxels at {scan.volume.spacing_mm} mm", flush=True
        )
    wall, cpu = (time.monotonic() - started) / chosen.count, (time.process_time() - spent) / chosen.count
    print(
        f"{chosen.device}: {wall:.2f} s per scan ({1 / wall:.2f} per second), {cpu:.2f} s of one core's time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
