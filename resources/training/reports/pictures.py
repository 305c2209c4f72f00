"""Pictures of states over the image, for people to review what training learns from.

python -m resources.training.reports.pictures CASES --cache FOLDER --out FOLDER: one PNG a case, an axial
slice through each annotation (or the middle); below it, lesion in red, free of them in blue, ignored plain.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.files import whole
from model.network import OUTPUT_STRIDE
from resources.cases.cache import HU, CachedScan, open_scan
from resources.cases.case import Case, CaseError, read_cases
from resources.cli import end_with
from resources.review.planes import WINDOWS
from resources.training.targets.states import NEGATIVE, POSITIVE, States, locate, states_of

MOST = 6
"""Slices in a picture."""


def draw_states(case: Case, scan: CachedScan, states: States, path: Path) -> None:
    """A PNG of up to six axial slices, the patient's right on the left, each without and with its states."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    marks = locate(case, scan)[:MOST]
    places = scan.grid.world_to_voxel([mark.center_mm for mark in marks])
    levels = places[:, 0].tolist() or [scan.shape[0] / 2]
    size = (4 * len(levels), 6.4)
    figure, panels = plt.subplots(2, len(levels), figsize=size, squeeze=False, layout="constrained")
    for column, level in enumerate(levels):
        voxel = int(np.clip(round(float(level)), 0, scan.shape[0] - 1))
        for panel in panels[:, column]:
            low, high = WINDOWS["soft tissue"]
            panel.imshow(np.asarray(scan.array[HU, voxel]), cmap="gray", vmin=low, vmax=high)
            panel.set_axis_off()
        panels[1, column].imshow(_colors(states, voxel // OUTPUT_STRIDE))
        if marks:
            a = marks[column].annotation
            _, y, x = places[column].tolist()
            panels[0, column].plot(x, y, "+", color="yellow", markersize=6)
            long_mm = "" if a.long_mm is None else f", {a.long_mm:.0f} mm"
            panels[0, column].set_title(f"{a.kind}, {a.type or 'unknown type'}{long_mm}", fontsize=9)
    figure.suptitle(f"{case.id}: red lesion, blue free of lesions, else ignored", fontsize=10)
    with whole(path, ".png") as part:
        figure.savefig(part, dpi=80)
    plt.close(figure)


def _colors(states: States, level: int) -> npt.NDArray[np.float64]:
    """(y, x, 4) colours of one level of cells, in voxels."""
    cells, weight = states.state[level], states.weight[level]
    color = np.zeros((*cells.shape, 4))
    color[cells == POSITIVE] = (1, 0.1, 0.1, 0.6)
    color[cells == NEGATIVE] = (0.2, 0.5, 1, 0.4)
    color[..., 3] *= weight
    return color.repeat(OUTPUT_STRIDE, 0).repeat(OUTPUT_STRIDE, 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m resources.training.reports.pictures", description=__doc__
    )
    parser.add_argument("cases", type=Path)
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder that `resources.cases cache` filled"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=20, help="pictures (default 20)")
    options = parser.parse_args(arguments)
    try:
        for case in read_cases(options.cases)[: options.most]:
            scan = open_scan(options.cache / f"{case.id}.b2nd")
            draw_states(case, scan, states_of(case, scan), options.out / f"{case.id}.png")
    except (CaseError, OSError) as error:
        return end_with(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
