"""Makes the demo scan: python -m resources.study.demo --out test/input/images/ct/demo.mha

A synthetic upper abdomen with contrast and nine lesions, in voxels of 3 mm: small for a repository. Its
seed is in no split and was chosen for its number of findings: it shows how the detector is run, not how good
it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from resources.synthetic.__main__ import main as make_scans

SEED = 710_001
PLAN = ("--site", "A", "--count", "1", "--coverage", "upper abdomen", "--lesions", "9", "--spacing-mm", "3")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or that of the generator, which says why on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.study.demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="write the scan here")
    return make(parser.parse_args(arguments).out)


def make(out: Path) -> int:
    """Writes the scan; the generator's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        plan = [*PLAN, "--seed", str(SEED), "--split", "test", "--processes", "1", "--out", folder]
        code = make_scans(plan)
        if not code:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / "scans" / f"A-{SEED:07d}" / "image.mha", out)
    return code


if __name__ == "__main__":
    sys.exit(main())
