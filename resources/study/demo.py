"""Makes the demo scan: python -m resources.study.demo --seed 1 --out test/input/images/ct/demo.mha

A slab of a synthetic abdomen with many lesions, small enough for a repository. Its seed is in no split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from resources.synthetic.scan import make_scan

SPACING_MM = (2.0, 2.0, 2.5)
BODY_HU = -500


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--coverage", default="abdomen", choices=("chest", "abdomen", "pelvis"))
    parser.add_argument("--from-mm", type=float, required=True, help="z of the slab's lower end")
    parser.add_argument("--height-mm", type=float, default=120.0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_slab(options.seed, options.coverage, options.from_mm, options.height_mm, options.out)


def write_slab(seed: int, coverage: str, from_mm: float, height_mm: float, out: Path) -> None:
    """Cut to the body in plane."""
    import SimpleITK as sitk

    volume, _ = make_scan(seed, SPACING_MM, coverage, lesion_count=14)
    first = round((from_mm - volume.origin_mm[2]) / SPACING_MM[2])
    last = min(len(volume.hu), first + round(height_mm / SPACING_MM[2]))
    body = np.asarray((volume.hu[first:last] > BODY_HU).any(0))
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    low = [int(columns[0]), int(rows[0]), first]
    part = volume.hu[first:last, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image = sitk.GetImageFromArray(np.ascontiguousarray(part))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(volume.index_to_world([low])[0].tolist())
    out.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(out), useCompression=True)


if __name__ == "__main__":
    main()
