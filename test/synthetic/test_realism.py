"""Figures of synthetic scans beside real ones, on arrays whose answers are written out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resources.synthetic.draw import Draw
from resources.synthetic.likeness import (
    Sample,
    enclosed_share,
    hu_histogram,
    jensen_shannon,
    noise_sd,
    patch_features,
    resampled,
    told_apart,
)
from resources.synthetic.realism import (
    distance_table,
    draw_sheet,
    key_samples,
    main,
    noise_table,
    patch_table,
)
from resources.synthetic.sites import SITES, draw_scanner

DEEPLESION = Path(__file__).resolve().parents[3] / "shared/data/deeplesion"


def trunk(name: str, sd: float, mean: float = 60, shape: tuple[int, int, int] = (4, 60, 70)) -> Sample:
    """Noise of a known standard deviation in a box of tissue in air."""
    hu = np.full(shape, -1000, np.float32)
    inner = (slice(None), slice(6, -6), slice(6, -6))
    hu[inner] = np.random.default_rng(0).normal(mean, sd, hu[inner].shape)
    return Sample(name, hu, (1.0, 1.0, 3.0))


def test_distance_of_histograms_by_hand() -> None:
    assert jensen_shannon([1, 3], [2, 6]) == 0
    assert jensen_shannon([1, 0], [0, 5]) == 1
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4)
    expected = 0.5 * np.log2(4 / 3) + 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    assert jensen_shannon([1, 0], [1, 1]) == pytest.approx(np.sqrt(expected))


def test_the_body_is_all_within_the_skin() -> None:
    sample = trunk("a", 5)
    sample.hu[:, 20:30, 20:30] = -850  # lung
    sample.hu[:, :, 68] = 40  # the table
    rounded = 4 * 3  # pixels of the four corners, by the opening
    assert sample.body.sum() == 4 * (48 * 58 - rounded)
    counts = hu_histogram(sample)
    assert counts.sum() == 4 * (48 * 58 - rounded)
    assert counts[(np.arange(-1000, 1000, 20) < -300)].sum() == 4 * 100


@pytest.mark.parametrize("sd", [8.0, 20.0])
def test_noise_is_measured_in_the_tissue_asked_for(sd: float) -> None:
    sample = trunk("a", sd)
    assert noise_sd(sample, 20, 130, sample.body) == pytest.approx(sd, rel=0.05)
    assert np.isnan(noise_sd(sample, -130, -70, sample.body))


def test_scans_within_a_factor_of_the_real_noise_are_counted() -> None:
    """Real: 10; key slice: 30. Of 12, 25 and 60, one is within 1.5 of 10, two within 1.5 of 10 to 30."""
    made = [trunk(str(sd), sd) for sd in (12, 25, 60)]
    lines = noise_table([trunk("real", 10)], [trunk("key slice", 30)], made)
    assert [line.split()[0] for line in lines[1:6]] == ["real", "key", "12", "25", "60"]
    assert lines[6].split("  ")[0] == "within 1.5 of real scans"
    assert "1 of 3" in lines[6]
    assert "2 of 3" in lines[7]


def test_a_scan_is_at_no_distance_from_itself() -> None:
    real = trunk("real", 10)
    lines = distance_table("x", real, [real, real], [trunk("other", 10, mean=-60)])
    assert lines[1].startswith("real - synthetic (n 2): median 0.000 (0.000 to 0.000)   0.000 ")
    assert lines[2].startswith("real - real (n 1): median ")
    assert float(lines[2].split("median ")[1].split()[0]) > 0.9


def test_coarser_voxels_average() -> None:
    found = resampled(trunk("a", 20, shape=(12, 60, 70)), 3.0)
    assert found.hu.shape == (12, 20, 23)
    assert found.spacing_mm == (3.0, 3.0, 3.0)
    inner = found.hu[:, 5:-5, 5:-5]
    assert inner.mean() == pytest.approx(60, abs=2)
    assert inner.std() < 12


def test_patches_are_told_apart_by_their_noise_and_not_where_there_is_nothing_to_tell() -> None:
    rough, smooth = trunk("rough", 30), trunk("smooth", 10)
    features = [
        patch_features(sample, 40, 24, seed) for sample, seed in ((rough, 1), (rough, 2), (smooth, 3))
    ]
    assert [len(rows) for rows in features] == [40, 40, 40]
    assert told_apart(features[0], features[2]) > 0.95
    assert 0.2 < told_apart(features[0], features[1]) < 0.8
    (line,) = patch_table(rough, [smooth], [], 20)
    assert float(line.split()[-1]) > 0.95


def test_an_organ_inside_another_is_seen() -> None:
    labels = np.zeros((7, 7, 7), np.uint8)
    labels[1:6, 1:6, 1:6] = 2
    labels[3, 3, 3] = 5
    assert enclosed_share(labels, 5) == (2, 1.0)
    labels[3, 3, 4] = 0
    assert enclosed_share(labels, 5) == (2, pytest.approx(5 / 6))


def test_the_sheet_shows_each_sample_at_both_windows(tmp_path: Path) -> None:
    """Soft tissue: level 40, width 400; lung: level -500, width 1500."""
    draw_sheet(tmp_path / "sheet.png", [("a", trunk("a", 0)), ("b", trunk("b", 0, mean=-500))])
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"), int)
    height, width = pixels.shape
    middles = [
        [int(pixels[round(height * row), round(width * (cell + 0.5) / 10)]) for cell in (0, 5)]
        for row in (0.29, 0.75)
    ]
    expected = [[255 * (60 + 160) / 400, 255 * (60 + 1250) / 1500], [0, 255 * 750 / 1500]]
    np.testing.assert_allclose(middles, expected, atol=3)


def test_real_scans_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--real", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'ct' / 'abdomen' / 'example_ct.nii.gz'}: expected")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not DEEPLESION.is_dir(), reason="the excerpt of DeepLesion is not here")
def test_scanners_are_as_noisy_as_real_ones() -> None:
    """DeepLesion's key slices, averaged to about 2 mm, against site A's scanners at 2 mm: within 1.5."""
    noise = np.nanmedian([noise_sd(sample, 20, 130) for sample in key_samples(DEEPLESION, 2.0)])
    draw = Draw(0)
    ours = np.median([draw_scanner(SITES["A"], draw, (2.0, 2.0, 2.0)).noise_hu for _ in range(400)])
    assert 1 / 1.5 < ours / noise < 1.5
