"""Sizes and forms of lesions against the figures of real masks."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from resources.synthetic.draw import Draw
from resources.synthetic.lesion_shapes import Form, Size, draw_form, draw_size, largest, measure, place
from resources.synthetic.space import Space

SHAPES = Path(__file__).parents[2].parent / "shared" / "data" / "lesion_shapes.csv"


def sizes(count: int, grouped: bool) -> np.ndarray:
    draw = Draw(5)
    found = []
    while len(found) < count:
        common = float(torch.randn((), generator=draw.generator)) if grouped else None
        for _ in range(4 if grouped else 1):
            s = draw_size(draw, common)
            found.append((s.long_mm, s.short_mm, s.z_extent_mm))
    return np.array(found[:count])


@pytest.mark.skipif(not SHAPES.is_file(), reason="needs the figures of real lesion masks, which are not here")
@pytest.mark.parametrize("grouped", [False, True])
def test_sizes_follow_real_masks(grouped: bool) -> None:
    with SHAPES.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["nz"]) >= 3]
    real = np.array([[float(row[k]) for k in ("long_mm", "short_mm", "z_mm")] for row in rows])
    ours = sizes(6000, grouped)
    for measure_of in (
        lambda a: a[:, 0],
        lambda a: a[:, 1] / a[:, 0],
        lambda a: a[:, 2] / np.sqrt(a[:, 0] * a[:, 1]),
    ):
        assert stats.ks_2samp(measure_of(real), measure_of(ours)).statistic < 0.1
    correlation = np.corrcoef(np.log(ours[:, 0]), ours[:, 1] / ours[:, 0])[0, 1]
    assert correlation == pytest.approx(-0.34, abs=0.06)
    assert ours[:, 0].min() >= 3.0


def test_lesions_of_one_disease_are_alike() -> None:
    logs = np.log(sizes(4000, grouped=True)[:, 0].reshape(-1, 4))
    assert logs.std(axis=1).mean() < 0.85 * logs.std()


def test_measure_by_hand() -> None:
    mask = torch.zeros(5, 9, 9, dtype=torch.bool)
    mask[1:4, 4, 1:8] = True  # 7 voxels along x
    mask[2, 3:6, 4] = True  # 3 along y in the middle slice
    long, short, extent, angle = measure(mask, 2.0)
    assert (long, short, extent, angle) == pytest.approx((14.0, 6.0, 6.0, 0.0), abs=1e-5)


def inside_at(form: Form, step: float) -> torch.Tensor:
    """The form's mask on fine isotropic voxels."""
    counts = [max(8, int(2 * h / step)) for h in reversed(form.half_mm)]
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in counts), indexing="ij")
    grid = torch.stack([x, y, z], -1)[None]
    return F.grid_sample(form.distance[None, None], grid, align_corners=True)[0, 0] < 0


@pytest.mark.parametrize(
    ("size", "lobed"), [(Size(20, 15, 17), 0.05), (Size(20, 9, 30), 0.5), (Size(6, 5, 4), 0.3)]
)
def test_forms_have_the_diameters_drawn(size: Size, lobed: float) -> None:
    step = size.long_mm / 80
    for seed in range(3):
        long, short, extent, _ = measure(inside_at(draw_form(Draw(seed), size, lobed), step), step)
        assert long == pytest.approx(size.long_mm, rel=0.08)
        assert short == pytest.approx(size.short_mm, rel=0.12)
        assert extent == pytest.approx(size.z_extent_mm, rel=0.12)


def test_forms_are_one_piece_and_turn() -> None:
    from scipy import ndimage

    size = Size(24, 12, 18)
    mask = inside_at(draw_form(Draw(3), size, 0.5, angle=90.0), 0.3)
    parts, count = ndimage.label(mask.numpy())
    assert np.bincount(parts.ravel())[1:].max() > 0.99 * mask.sum()
    assert count < 4
    rows = mask.any(2).any(0).sum(), mask.any(1).any(0).sum()
    assert rows[0] > 1.4 * rows[1]  # long along y, as asked for


def test_islands_are_pushed_out_and_pieces_that_touch_by_a_corner_stay() -> None:
    distance = torch.ones((12, 12, 12))
    distance[4:8, 4:8, 4:8] = -1.0
    distance[8, 8, 8] = -0.5  # by a corner
    distance[0, 0, 0:2] = -0.3  # an island
    kept = largest(distance)
    assert float(kept[8, 8, 8]) == -0.5
    assert kept[0, 0, 0:3].tolist() == pytest.approx([0.2, 0.2, 1.0])
    assert int((kept < 0).sum()) == 4**3 + 1
    assert float(distance[0, 0, 0]) == pytest.approx(-0.3)  # the argument is as it was


def test_place_measures_in_mm() -> None:
    draw = Draw(0)
    space = Space((40, 40, 40), (1.0, 1.0, 1.0), (-20.0, -20.0, -20.0), draw)
    form = draw_form(draw, Size(16, 16, 16), 0.0, angle=0.0)
    box, distance = place(space, form, (0.0, 0.0, 0.0), margin_mm=5.0)
    middle = [20 - part.start for part in box]
    assert float(distance[tuple(middle)]) < -4
    outside = float(distance[middle[0], middle[1], middle[2] + 12])  # 4 mm outside the surface
    assert outside == pytest.approx(4.0, abs=1.3)
    volume = float((distance < 0).sum())
    assert volume == pytest.approx(4 / 3 * math.pi * 8**3, rel=0.12)
