"""The picture of the README: the surest findings in the demo scan, on axial slices of it.

    python -m resources.study.picture --scan test/input/images/ct/demo.mha --results output \
        --out docs/findings.png

The scan is synthetic, and the picture says so.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from model.exports import Detection, read_results
from model.files import write_whole
from model.volume import InputError, Volume, read_volume
from resources.cli import end_with
from resources.review.planes import AROUND_MM, WINDOWS, plane_through, window_of

FINDINGS = 3
PIXELS, COLOURS, GAP_MM = 300, 64, 12.0
GOLD = "#ffb000"


def draw(volume: Volume, detections: tuple[Detection, ...], out: Path) -> None:
    """A PNG of the axial slice through each of the first FINDINGS detections GAP_MM apart along z."""
    chosen: list[Detection] = []
    for one in detections:
        if all(abs(one.point_mm[2] - other.point_mm[2]) >= GAP_MM for other in chosen):
            chosen.append(one)
    chosen = chosen[:FINDINGS]
    corners = np.array([[0, 0, 0], np.array(volume.hu.shape[::-1]) - 1])
    low, high = np.sort(volume.index_to_world(corners), axis=0)
    middle, half = (low + high) / 2, float((high - low)[:2].max()) / 2
    figure = Figure(figsize=(3 * len(chosen), 3.3), facecolor="black")
    figure.subplots_adjust(0.003, 0.005, 0.997, 0.86, 0.02)
    for axis, lesion in zip(np.atleast_1d(figure.subplots(1, len(chosen))), chosen, strict=True):
        centre = np.array([*middle[:2], lesion.point_mm[2]])
        offsets, _, hu = plane_through(volume, centre, 0, half, PIXELS)
        window = WINDOWS[window_of(plane_through(volume, np.array(lesion.point_mm), 0, AROUND_MM, 51)[2])]
        edges = (offsets[0], offsets[-1], offsets[-1], offsets[0])
        axis.imshow(hu, cmap="gray", vmin=window[0], vmax=window[1], extent=edges)
        _draw_box(axis, lesion, centre)
        text = f"{lesion.type}, {lesion.probability:.2f}, {lesion.long_mm:.0f} mm"
        axis.set_title(text, color="white", fontsize=8)
        axis.axis("off")
    figure.suptitle("Synthetic scan, not a patient: the surest findings", color="white", fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    with Image.open(stream) as image:
        small = io.BytesIO()
        image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(small, "png", optimize=True)
    write_whole(out, small.getvalue())


def _draw_box(axis: Any, lesion: Detection, centre: np.ndarray) -> None:
    (left, top, _), (right, bottom, _) = (
        np.array(corner) - centre for corner in (lesion.lower_mm, lesion.upper_mm)
    )
    axis.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=GOLD, linewidth=1.6)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.picture", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder that process.py wrote for it")
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    options = parser.parse_args(arguments)
    try:
        draw(read_volume(options.scan), read_results(options.results).detections, options.out)
    except (InputError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
