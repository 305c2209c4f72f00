"""Axes and shapes against hand-made masks and the measured laws."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry import Geometry
from resources.cases.axes import measure_axes
from resources.cases.case import Annotation, CaseError
from resources.cases.geometry import Shape, law_volume_mm3, shape_of_annotation
from resources.cases.lesions import Z_RATIO

SHAPES = Path(__file__).parents[3] / "shared" / "data" / "lesion_shapes.csv"
UNIT = Geometry((40, 40, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


def test_a_row_of_pixels_is_as_long_as_its_pixels() -> None:
    mask = np.zeros((3, 5, 6), bool)
    mask[1, 2, 1:5] = True  # 4 pixels of 0.5 mm along x, on one slice of 2 mm
    axes = measure_axes(mask, (0.5, 0.5, 2.0))
    assert (axes.long_mm, axes.short_mm, axes.z_extent_mm) == (2.0, 0.5, 2.0)
    assert sorted(axes.key.long.tolist()) == [[0.5, 2.0], [4.5, 2.0]]
    assert axes.key.z == 1


def test_a_cross_is_measured_along_both_bars_on_its_widest_slice() -> None:
    mask = np.zeros((3, 9, 9), bool)
    mask[2, 4, 0:9] = mask[2, 2:7, 4] = True
    mask[0, 0, 0] = True
    axes = measure_axes(mask, (1.0, 1.0, 4.0))
    assert (axes.long_mm, axes.short_mm, axes.z_extent_mm) == (9.0, 5.0, 12.0)
    assert axes.key.z == 2


def test_an_empty_mask_has_no_axes() -> None:
    with pytest.raises(CaseError, match="at least one voxel"):
        measure_axes(np.zeros((2, 2, 2), bool), (1.0, 1.0, 1.0))


@settings(max_examples=20, deadline=None)
@given(st.floats(0, math.pi), st.floats(12, 20), st.floats(0.5, 1))
def test_axes_of_a_turned_ellipse(angle: float, radius: float, ratio: float) -> None:
    y, x = np.mgrid[:48, :48] - 23.5
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    axes = measure_axes(((u / radius) ** 2 + (v / (ratio * radius)) ** 2 <= 1)[None], (1.0, 1.0, 1.0))
    assert axes.long_mm == pytest.approx(2 * radius, abs=1.2)
    assert axes.short_mm == pytest.approx(2 * ratio * radius, abs=1.6)


def ellipsoid_volume(radii: np.ndarray) -> float:
    return 4 / 3 * math.pi * float(np.prod(radii))


@given(st.floats(5, 100), st.floats(0.4, 1), st.floats(0, math.pi))
def test_the_expected_body_follows_both_laws(length: float, ratio: float, angle: float) -> None:
    u, v = math.cos(angle) * length / 2, math.sin(angle) * length / 2
    long, short = ((-u, -v, 0.0), (u, v, 0.0)), ((ratio * v, -ratio * u, 0.0), (-ratio * v, ratio * u, 0.0))
    shape = shape_of_annotation(Annotation("recist", long=long, short=short), UNIT)
    assert ellipsoid_volume(shape.body_mm) == pytest.approx(law_volume_mm3(length, ratio * length))
    assert shape.size_mm[2] == pytest.approx(0.97 * length * math.sqrt(ratio))
    assert (shape.inner_mm < shape.outer_mm).all()
    np.testing.assert_allclose(shape.center_mm, 0, atol=1e-9)
    np.testing.assert_allclose(shape.axes @ shape.axes.T, np.eye(3), atol=1e-9)


def test_an_ellipsoid_of_the_median_extent_is_too_large() -> None:
    # 20 x 15 mm: its median extent is 0.97 sqrt(300) = 16.8 mm, and pi / 6 * 20 * 15 * 16.8 = 2639 mm3
    assert 2639 / law_volume_mm3(20, 15) == pytest.approx(1.335, abs=0.01)


@pytest.mark.skipif(not SHAPES.exists(), reason="the shape figures are not here")
def test_the_laws_are_those_of_real_masks() -> None:
    rows = np.genfromtxt(SHAPES, delimiter=",", names=True, dtype=None, encoding="utf-8")
    rows = rows[rows["nz"] >= 3]
    length, width, extent, volume = (rows[name] for name in ("long_mm", "short_mm", "z_mm", "vol_mm3"))
    ratio = extent / np.sqrt(length * width)
    for share, quantile in Z_RATIO.items():
        assert np.quantile(ratio, share) == pytest.approx(quantile, abs=0.01)
    law = np.array([law_volume_mm3(a, b) for a, b in zip(length, width, strict=True)])
    assert np.median(volume / law) == pytest.approx(1, abs=0.05)
    assert np.std(np.log(volume / law)) == pytest.approx(0.48, abs=0.01)


def test_the_centre_is_where_the_axes_say() -> None:
    # long axis along x from 0 to 20 at y 0; short axis from y -2 to 6: the lesion's middle is (10, 2)
    mark = Annotation("recist", long=((0, 0, 5), (20, 0, 5)), short=((12, -2, 5), (12, 6, 5)))
    shape = shape_of_annotation(mark, UNIT)
    np.testing.assert_allclose(shape.center_mm, [10, 2, 5])
    assert shape.size_mm[:2].tolist() == [20, 8]
    with pytest.raises(CaseError, match="two different end points"):
        shape_of_annotation(Annotation("recist", long=((0, 0, 0), (0, 0, 0))), UNIT)


def grid(direction: np.ndarray) -> Geometry:
    return Geometry((40, 40, 20), (0.5, 0.5, 3.0), (7.0, -3.0, 11.0), direction)


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([1.0, 1.0, -1.0]), np.diag([-1.0, -1.0, 1.0])])
def test_index_and_mm_marks_are_the_same_shape(direction: np.ndarray) -> None:
    place = grid(direction)
    ends = np.array([[10, 20, 4], [30, 20, 4], [20, 15, 4], [20, 25, 4]], float)
    mm = place.index_to_world(ends)
    pairs = [tuple(map(tuple, points.tolist())) for points in (ends, mm)]
    index, world = (
        Annotation("recist", frame=frame, long=(p[0], p[1]), short=(p[2], p[3]))  # type: ignore[arg-type]
        for frame, p in zip(("index", "mm"), pairs, strict=True)
    )
    first, second = shape_of_annotation(index, place), shape_of_annotation(world, place)
    np.testing.assert_allclose(first.center_mm, place.index_to_world([[20, 20, 4]])[0])
    for name in ("center_mm", "size_mm", "inner_mm", "outer_mm"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name))
    assert first.size_mm[:2].tolist() == [10, 5]


def test_a_box_holds_all_that_can_be_lesion() -> None:
    box = Annotation("box3d", lower=(9.5, 9.5, 1.5), upper=(19.5, 29.5, 5.5))  # 5 x 10 x 12 mm
    shape = shape_of_annotation(box, grid(np.eye(3)))
    assert shape.boxed
    assert shape.outer_mm.tolist() == [2.5, 5, 6]
    length, width, extent = shape.size_mm
    assert length**2 + width**2 == pytest.approx(5**2 + 10**2)  # an ellipse that touches the four sides
    assert extent == 12
    assert shape.perhaps(shape.center_mm + [2.4, 4.9, 5.9])
    assert not shape.perhaps(shape.center_mm + [2.6, 0, 0])
    assert not shape.surely(shape.center_mm + [2.4, 0, 0])
    flat = Annotation("box3d", lower=(9.5, 9.5, 1.5), upper=(19.5, 29.5, 2.5))
    assert shape_of_annotation(flat, grid(np.eye(3))).size_mm[2] == pytest.approx(0.97 * math.sqrt(50))


def test_a_point_tells_no_size() -> None:
    shape: Shape = shape_of_annotation(Annotation("point", point=(0, 0, 0)), UNIT)
    assert np.isnan(shape.size_mm).all()
    assert shape.surely([0, 0, 1.9])
    assert shape.perhaps([25, 0, 0])
    sized = shape_of_annotation(Annotation("point", point=(0, 0, 0), long_mm=10.0), UNIT)
    assert sized.size_mm.tolist()[0] == 10
    assert sized.perhaps([9, 0, 0])
