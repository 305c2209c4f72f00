import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.boxes import distances, iobb_of_corner_boxes, iou_of_corner_boxes, suppress

UNIT = [0, 0, 0, 1, 1, 1]


def test_overlaps_by_hand() -> None:
    big = [0, 0, 0, 2, 2, 2]  # holds the unit box: 1 of 8
    half = [0.5, 0, 0, 1.5, 1, 1]  # shares 0.5 with it, union 1.5
    apart = [5, 5, 5, 6, 6, 6]
    np.testing.assert_allclose(iou_of_corner_boxes([UNIT], [UNIT, big, half, apart]), [[1, 1 / 8, 1 / 3, 0]])
    np.testing.assert_allclose(iobb_of_corner_boxes([UNIT], [UNIT, big, half, apart]), [[1, 1, 0.5, 0]])
    np.testing.assert_allclose(iobb_of_corner_boxes([big], [UNIT]), [[1 / 8]])


def test_touching_and_empty_boxes_share_nothing() -> None:
    assert iou_of_corner_boxes([UNIT], [[1, 0, 0, 2, 1, 1]]) == 0
    point = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert iou_of_corner_boxes([point], [point]) == 0
    assert iobb_of_corner_boxes([point], [UNIT]) == 0


@pytest.mark.parametrize("box", [[1, 0, 0, 0, 1, 1], [0, 0, np.nan, 1, 1, 1], [0, 0, 0, 1, 1, np.inf]])
def test_impossible_boxes_are_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="expected finite lower <= upper"):
        iou_of_corner_boxes([box], [UNIT])


corner = st.tuples(*[st.integers(-5, 5)] * 3, *[st.integers(1, 6)] * 3).map(
    lambda v: [*v[:3], *(a + b for a, b in zip(v[:3], v[3:], strict=True))]
)


@given(corner, corner)
def test_iou_counts_voxels(a: list[int], b: list[int]) -> None:
    grids = [np.zeros((20, 20, 20), bool) for _ in range(2)]
    for grid, box in zip(grids, (a, b), strict=True):
        grid[tuple(slice(low + 6, high + 6) for low, high in zip(box[:3], box[3:], strict=True))] = True
    expected = (grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum()
    assert iou_of_corner_boxes([a], [b])[0, 0] == pytest.approx(expected)
    assert iobb_of_corner_boxes([a], [b])[0, 0] == pytest.approx((grids[0] & grids[1]).sum() / grids[0].sum())


def test_distances() -> None:
    np.testing.assert_allclose(distances([[0, 0, 0]], [[3, 4, 0], [0, 0, 2]]), [[5, 2]])
    assert distances(np.zeros((0, 3)), [[1, 2, 3]]).shape == (0, 1)


def test_suppression_keeps_the_surest_and_is_not_transitive() -> None:
    # on a line at 0, 4, 8 with reach 5: the first silences the second, which then silences nobody
    points = [[0, 0, 0], [4, 0, 0], [8, 0, 0]]
    assert suppress(points, [5, 5, 5]).tolist() == [0, 2]
    assert suppress(points, [3, 3, 3]).tolist() == [0, 1, 2]
    assert suppress(points, [9, 1, 1]).tolist() == [0]
    assert suppress(np.zeros((0, 3)), []).tolist() == []
