"""How lesions stand out: discs by hand, genuine rows, and the noise of both generators' scanners."""

import math
from pathlib import Path

import numpy as np
import pytest

from resources.cases.deeplesion import read_table
from resources.synthetic.conspicuity import Seen, describe, ellipse, main, real_lesions, seen
from resources.synthetic.draw import Draw
from resources.synthetic.sites import SITES, draw_scanner

REAL = Path(__file__).resolve().parents[3] / "shared/data/deeplesion"
TABLE = REAL / "DL_info_excerpt.csv"
real = pytest.mark.skipif(not TABLE.exists(), reason="the excerpt of DeepLesion is not here")


def disc(y: float, x: float, radius: float, edge: int = 64) -> np.ndarray:
    rows, columns = np.ogrid[:edge, :edge]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


@pytest.mark.parametrize(("pixel_mm", "edge"), [(2.0, 64), (1.0, 128), (0.7, 192)])
def test_contrast_is_to_the_ring_less_other_lesions(pixel_mm: float, edge: int) -> None:
    """A lesion of 60 HU and 8 mm radius in a liver of 100; another one of 300 HU covers half the ring."""
    scale = 2.0 / pixel_mm
    one = disc(32 * scale, 32 * scale, 4 * scale, edge)
    hu = np.where(one, 60.0, 100.0) + np.random.default_rng(0).normal(0, 8, one.shape)
    other = np.zeros_like(one)
    other[:, : int(30 * scale)] = True
    other &= ~one
    hu[other] = 300.0
    found = seen("liver", hu, one, other, pixel_mm)
    assert found is not None
    assert found.contrast == pytest.approx(-40, abs=4)
    block = max(1, round(2 / pixel_mm))
    assert found.noise == pytest.approx(8 / block, rel=0.2)  # block^2 pixels are averaged


def test_what_covers_no_pixel_is_not_seen() -> None:
    hu = np.full((64, 64), 50.0)
    assert seen("lung", hu, disc(32, 32, 0.0, 64), np.zeros((64, 64), bool), 0.5) is None


def test_a_line_for_each_type() -> None:
    lines = describe("these", [Seen("liver", -40.0, 10.0)] * 3 + [Seen("bone", 300.0, 15.0)])
    assert [line.split() for line in lines[1:]] == [
        ["bone", "1", "300", "300", "300", "15.0", "20.0", "20.0", "20.0"],
        ["liver", "3", "40", "40", "40", "10.0", "4.0", "4.0", "4.0"],
    ]


def test_arguments_that_belong_together(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["--table", "a.csv"]):
        with pytest.raises(SystemExit):
            main(given)
    assert main(["--cases", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err


@real
def test_the_ellipse_lies_on_the_axes_of_genuine_rows() -> None:
    for row in read_table(TABLE)[:40]:
        mask = ellipse(row)
        long_px, short_px = row.diameters_px
        assert mask.sum() == pytest.approx(math.pi / 4 * long_px * short_px, rel=0.1, abs=12)
        for (x1, y1), (x2, y2) in (row.ends[:2], row.ends[2:]):
            for t in (0.15, 0.85):
                assert mask[round(y1 + t * (y2 - y1)), round(x1 + t * (x2 - x1))]


@real
def test_scanners_are_as_noisy_as_real_ones() -> None:
    """DeepLesion's key slices, averaged to about 2 mm, against site A's scanners at 2 mm: within 1.5."""
    noise = np.median([lesion.noise for lesion in real_lesions(TABLE, REAL)])
    draw = Draw(0)
    ours = np.median([draw_scanner(SITES["A"], draw, (2.0, 2.0, 2.0)).noise_hu for _ in range(400)])
    assert 1 / 1.5 < ours / noise < 1.5
