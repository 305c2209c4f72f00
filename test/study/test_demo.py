"""The demo scan of test/input is what its command makes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import ROOT
from resources.study.demo import main

DEMO = ROOT / "test" / "input" / "images" / "ct" / "demo.mha"


@pytest.mark.slow
def test_the_command_makes_the_demo_scan(tmp_path: Path) -> None:
    main(["--out", str(tmp_path / "new" / "demo.mha")])
    made, kept = (sitk.ReadImage(str(path)) for path in (tmp_path / "new" / "demo.mha", DEMO))
    assert made.GetSize() == kept.GetSize()
    assert made.GetSpacing() == kept.GetSpacing()
    assert made.GetOrigin() == pytest.approx(kept.GetOrigin())
    apart = np.abs(sitk.GetArrayFromImage(made).astype(int) - sitk.GetArrayFromImage(kept))
    assert apart.max() <= 1  # rounding of another machine
    assert (apart == 0).mean() > 0.999
