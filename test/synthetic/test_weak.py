import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.stats import kstest
from skimage.measure import label, regionprops

from resources.cases.axes import measure_plane
from resources.synthetic import weak
from resources.synthetic.truth import TrueLesion, TrueScan

LESION = TrueLesion(
    1, "liver", "liver", None, "segment 7", (0.0, 0.0, 0.0), 20.0, 15.0, 18.0, "hypodense", -45.0, "lesion"
)


def blob(seed: int, size: int = 40) -> np.ndarray:
    """A random connected shape with bays: the part of a smooth random field around its highest point."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 3)
    field[[0, -1]] = field[:, [0, -1]] = field.min()
    plane = field > np.quantile(field, 0.75)
    parts = label(plane, connectivity=2)
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def near_boundary(plane: np.ndarray, ends: np.ndarray) -> bool:
    """Each (x, y) lies within a pixel of an inner pixel of the boundary."""
    inner = np.argwhere(plane & binary_dilation(~np.pad(plane, 1))[1:-1, 1:-1])[:, ::-1]
    return all(np.abs(inner - end).max(1).min() <= 1 for end in ends)


def test_a_bar_of_five_by_three_pixels() -> None:
    plane = np.zeros((9, 9), bool)
    plane[3:6, 2:7] = True
    axes = measure_plane(plane, 4, (2.0, 2.0, 5.0))
    # Edge middles: from (1.5, 3) to (6.5, 5), that is 5 by 2 pixels of 2 mm; and across, at the corners.
    assert axes.long_mm == pytest.approx(2 * math.hypot(5, 2))
    assert {tuple(end) for end in axes.long} in ({(1.5, 3), (6.5, 5)}, {(1.5, 5), (6.5, 3)})
    assert axes.z == 4
    assert 2.5 * 2 < axes.short_mm < 3.3 * 2


def test_one_pixel() -> None:
    plane = np.zeros((3, 3), bool)
    plane[1, 2] = True
    axes = measure_plane(plane, 0, (0.8, 0.8, 1.0))
    assert (axes.long_mm, axes.short_mm) == (pytest.approx(0.8), pytest.approx(0.8))


def test_the_bay_of_a_letter_c_does_not_count_beyond_its_rim() -> None:
    """The short axis ends on the boundary, where the hull's would end in the bay's mouth."""
    y, x = np.mgrid[:61, :61] - 30.0
    ring = (np.hypot(y, 1.6 * x) < 28) & (np.hypot(y, 1.6 * x - 12) > 20)
    axes = measure_plane(ring, 0, (1.0, 1.0, 1.0))
    assert near_boundary(ring, np.concatenate([axes.long, axes.short]))


@given(st.floats(8, 25), st.floats(0.4, 1), st.floats(0, math.pi), st.floats(0.5, 1.0))
@settings(max_examples=30, deadline=None)
def test_an_ellipse_has_its_axes(radius: float, ratio: float, angle: float, pixel: float) -> None:
    y, x = (np.mgrid[:80, :80] - 40.0) * pixel
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    plane = (u / radius) ** 2 + (v / (ratio * radius)) ** 2 <= 1
    if plane[0].any() or plane[:, 0].any():
        return
    axes = measure_plane(plane, 0, (pixel, pixel, 1.0))
    assert axes.long_mm == pytest.approx(2 * radius, abs=1.5 * pixel)
    assert axes.short_mm == pytest.approx(2 * ratio * radius, abs=2.5 * pixel + 0.02 * radius)


@given(st.integers(0, 10**6), st.floats(0.5, 1.0))
@settings(max_examples=60, deadline=None)
def test_end_points_lie_on_the_boundary_and_nothing_is_longer(seed: int, pixel: float) -> None:
    plane = blob(seed)
    axes = measure_plane(plane, 0, (pixel, pixel, 1.0))
    assert near_boundary(plane, np.concatenate([axes.long, axes.short]))
    feret = regionprops(plane.astype(np.uint8), spacing=pixel)[0].feret_diameter_max  # of the hull's pixels
    assert feret - pixel <= axes.long_mm <= feret + 1e-6
    along, across = axes.long[1] - axes.long[0], axes.short[1] - axes.short[0]
    assert abs(along @ across) < 1e-6 * (1 + np.linalg.norm(along) * np.linalg.norm(across))
    assert axes.short_mm <= axes.long_mm + 1e-9
    # Brute force: no two boundary pixels in line across the long axis are farther apart.
    unit = along / np.linalg.norm(along)
    pixels = np.argwhere(plane)[:, ::-1]
    gap = pixels[:, None] - pixels[None]
    aligned = np.abs(gap @ unit) < 1e-6
    assert np.linalg.norm(gap[aligned], axis=1).max() * pixel <= axes.short_mm + 1e-6


def sphere_scan() -> tuple[TrueScan, np.ndarray]:
    """Two balls of radius 10 and 4 mm in 60 slices of 2 mm, and a cyst between them."""
    z, y, x = np.mgrid[:60, :64, :64].astype(float)
    labels = np.zeros((60, 64, 64), np.uint8)
    labels[np.hypot(np.hypot(2 * (z - 12), y - 20), x - 20) <= 10] = 1
    labels[np.hypot(np.hypot(2 * (z - 50), y - 40), x - 40) <= 4] = 2
    labels[np.hypot(np.hypot(2 * (z - 30), y - 40), x - 20) <= 6] = 3
    small = dataclasses.replace(LESION, label=2, long_mm=8.0, short_mm=8.0, z_extent_mm=8.0)
    cyst = dataclasses.replace(LESION, label=3, texture="cyst", status="benign")
    return TrueScan((LESION, small, cyst), ("liver",), {"seed": 1}), labels


def test_key_slice_and_its_number_from_the_head() -> None:
    scan, labels = sphere_scan()
    axes = weak.measure_lesion(labels, 1, (1.0, 1.0, 2.0))
    assert [a.z for a in axes] == list(range(7, 18))
    assert weak.key_slice(axes).z == 12
    assert weak.key_images(scan, labels, (1.0, 1.0, 2.0)) == {1: 48, 2: 10, 3: 30}
    assert weak.measure_lesion(labels, 9, (1.0, 1.0, 2.0)) == []


def test_deeplesion_view_stores_the_slices_around_its_marks() -> None:
    scan, labels = sphere_scan()
    seen = set()
    for seed in range(120):
        for view in weak.deeplesion_view(scan, labels, (1.0, 1.0, 2.0), seed):
            first, last = view.slices
            for a in view.annotations:
                assert a.kind == "recist"
                assert a.type is None
                assert a.long is not None
                assert a.short is not None
                ends = np.array([*a.long, *a.short])
                box = [float(a.attributes[f"box_{side}_px"]) for side in ("left", "top", "right", "bottom")]
                assert box == pytest.approx([*(ends.min(0)[:2] - 5), *(ends.max(0)[:2] + 5)])
                value, level = int(a.attributes["truth_label"]), first + int(ends[0, 2])
                assert value in (1, 2)  # readers mark no cyst
                assert labels[level, :, :].max() == value
                if len(view.annotations) == 1:
                    assert (first, last) == (max(0, level - 15), min(59, level + 15))
            seen.add((first, last, len(view.annotations)))
    assert {count for *_, count in seen} == {1}  # 38 slices apart, two stretches never meet at +-15
    assert weak.deeplesion_view(scan, labels, (1.0, 1.0, 2.0), 3) == weak.deeplesion_view(
        scan, labels, (1.0, 1.0, 2.0), 3
    )


def test_stretches_that_overlap_are_one() -> None:
    assert weak._merged([(40, 60), (0, 20), (20, 30), (61, 70)]) == [(0, 30), (40, 60), (61, 70)]


def lesions_by_the_laws(count: int) -> list[TrueLesion]:
    random = np.random.default_rng(5)
    sizes = np.exp(random.normal(*weak.LONG_LAW, count))
    contrasts = np.exp(random.normal(*weak.CONTRAST_LAW, count))
    return [
        dataclasses.replace(LESION, long_mm=float(s), contrast_hu=-float(c))
        for s, c in zip(sizes, contrasts, strict=True)
    ]


@pytest.mark.parametrize("share", [0.28, 0.36, 0.45])
def test_marking_rate_follows_its_distribution(share: float) -> None:
    """Over lesions that follow the laws the probability is uniform on [0, 2 share]: mean share."""
    found = weak.marking_probabilities(lesions_by_the_laws(4000), share)
    assert found.mean() == pytest.approx(share, abs=0.01)
    assert kstest(found, "uniform", (0, 2 * share)).statistic < 0.1


def test_larger_and_more_conspicuous_lesions_are_marked_more_often() -> None:
    small, large = LESION, dataclasses.replace(LESION, long_mm=40.0)
    faint = dataclasses.replace(LESION, contrast_hu=10.0)
    p_small, p_large, p_faint = weak.marking_probabilities([small, large, faint], 0.36)
    assert p_faint < p_small < p_large


def test_jitter_stays_near_and_inside() -> None:
    _, labels = sphere_scan()
    axes = weak.measure_lesion(labels, 1, (1.0, 1.0, 2.0))
    random = np.random.default_rng(0)
    marks = [weak.jittered(axes, labels.shape, random) for _ in range(400)]
    assert {mark.z for mark in marks} == {11, 12, 13}  # where the axis is at least 0.92 of 20 mm
    off = np.concatenate([m.long - next(a.long for a in axes if a.z == m.z) for m in marks])
    assert off.std() == pytest.approx(0.03 * 20.4, rel=0.1)


def test_masks_points_and_reports() -> None:
    scan, labels = sphere_scan()
    whole = weak.mask_view(scan, labels, (1.0, 1.0, 2.0), 0, "truth.mha", 1.0)
    assert [a.label for a in whole.annotations] == [1, 2]
    assert [a.z_extent_mm for a in whole.annotations] == [22.0, 10.0]
    some = [weak.mask_view(scan, labels, (1.0, 1.0, 2.0), seed, "truth.mha", 0.5) for seed in range(200)]
    assert np.mean([len(v.annotations) for v in some]) == pytest.approx(1.0, abs=0.2)
    for seed in range(20):
        points = weak.point_view(scan, labels, seed)
        for lesion, a in zip(scan.lesions, points.annotations, strict=False):
            assert a.point is not None
            x, y, z = (int(v) for v in a.point)
            assert labels[z, y, x] == lesion.label
    assert weak.report_view(labels) == weak.View((0, 59))


def test_shares_out_of_range_are_refused() -> None:
    scan, labels = sphere_scan()
    with pytest.raises(ValueError, match="share: expected 0 to 1, found 1.5"):
        weak.mask_view(scan, labels, (1.0, 1.0, 2.0), 0, "truth.mha", 1.5)
    with pytest.raises(ValueError, match="share: expected 0 to 0.5, found 0.9"):
        weak.marking_probabilities([LESION], 0.9)
