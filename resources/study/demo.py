"""Makes the demo scan: python -m resources.study.demo --out test/input/images/ct/demo.mha

A synthetic abdomen with many lesions, coarse enough for a repository. Its seed is in no split; it was chosen
among ten for the number of findings, so it says nothing about how good the detector is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from resources.synthetic.scan import make_scan

SPACING_MM = (2.5, 2.5, 3.0)
BODY_HU = -500


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--coverage", default="abdomen", choices=("chest", "abdomen", "pelvis"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    write_demo(options.seed, options.coverage, options.out)


def write_demo(seed: int, coverage: str, out: Path) -> None:
    """Cut to the body in plane."""
    import SimpleITK as sitk

    volume, _ = make_scan(seed, SPACING_MM, coverage, lesion_count=14)
    body = np.asarray((volume.hu > BODY_HU).any(0))
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    low = [int(columns[0]), int(rows[0]), 0]
    part = volume.hu[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image = sitk.GetImageFromArray(np.ascontiguousarray(part))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(volume.index_to_world([low])[0].tolist())
    out.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(out), useCompression=True)


if __name__ == "__main__":
    main()
