"""Losses on grids of 5 x 5 x 5 cells, worked by hand."""

import math

import pytest
import torch

from resources.training.targets.losses import any_type, focal_cells, geometry_cells, positive_weight

LOGIT_3_4 = math.log(3)  # p = 3/4
SHAPE = (1, 1, 5, 5, 5)


def grid(value: float = 0.0, **cells: float) -> torch.Tensor:
    """5 x 5 x 5 cells of one value but for those named "zyx"."""
    out = torch.full(SHAPE, value)
    for name, other in cells.items():
        z, y, x = (int(digit) for digit in name[1:])
        out[0, 0, z, y, x] = other
    return out


def test_a_cell_of_a_lesion_its_slope_and_the_rest() -> None:
    """p = 1/2 everywhere but in the lesion, where p = 3/4."""
    loss = focal_cells(grid(_222=LOGIT_3_4), grid(_222=1.0, _223=0.5))[0, 0]
    assert loss[2, 2, 2].item() == pytest.approx(-((1 / 4) ** 2) * math.log(3 / 4))  # 0.0180
    assert loss[2, 2, 3].item() == pytest.approx(-((1 / 2) ** 4) * (1 / 2) ** 2 * math.log(1 / 2))  # 0.0108
    rest = -((1 / 2) ** 2) * math.log(1 / 2)  # 0.1733
    assert loss[0, 0, 0].item() == pytest.approx(rest)
    assert loss.sum().item() == pytest.approx(0.0179801 + 0.0108304 + 123 * 0.1732868, rel=1e-5)


def test_the_weight_of_the_lesions_is_that_of_their_own_cells() -> None:
    heat = grid(_222=1.0, _444=1.0, _223=0.9)
    assert positive_weight(heat, grid(0.5, _222=1.0, _444=2.0)).item() == 3


def test_gradients_are_exactly_zero_where_nothing_is_known() -> None:
    logits = grid(_222=0.3).requires_grad_()
    weight = grid(0.0, _222=1.0, _000=0.5)
    (focal_cells(logits, grid(_222=1.0)) * weight).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].nonzero().tolist() == [[0, 0, 0], [2, 2, 2]]
    assert logits.grad[0, 0, 2, 2, 2] < 0 < logits.grad[0, 0, 0, 0, 0]


def test_the_maximum_over_types_is_never_above_it_and_exact_where_types_agree() -> None:
    equal = torch.full((1, 8, 1, 1, 1), -1.5)
    assert any_type(equal).item() == pytest.approx(-1.5)
    one = torch.full((1, 8, 1, 1, 1), -9.0)
    one[0, 3] = 2.0
    assert any_type(one).item() == pytest.approx(2.0 - math.log(8) / 4)
    random = torch.randn(2, 8, 5, 5, 5, generator=torch.Generator().manual_seed(0)) * 4
    assert (any_type(random) <= random.amax(1) + 1e-5).all()
    assert (any_type(random) >= random.amax(1) - math.log(8) / 4 - 1e-5).all()
    single = torch.randn(1, 1, 5, 5, 5)
    torch.testing.assert_close(any_type(single), single[:, 0])


def test_maps_that_are_about_equal_share_a_lesion_of_unknown_type() -> None:
    logits = torch.tensor([0.0, 0.0, -2.0]).reshape(1, 3, 1, 1, 1).requires_grad_()
    any_type(logits).sum().backward()
    assert logits.grad is not None
    shares = logits.grad.flatten()
    # exp(4 * 0), exp(4 * 0), exp(4 * -2), divided by their sum
    torch.testing.assert_close(shares, torch.tensor([1.0, 1.0, math.exp(-8)]) / (2 + math.exp(-8)))


def test_geometry_is_learnt_only_where_and_as_far_as_it_was_measured() -> None:
    predicted = torch.zeros(1, 6, 5, 5, 5, requires_grad=True)
    wanted = torch.full((1, 6, 5, 5, 5), float("nan"))
    weight = torch.zeros(1, 6, 5, 5, 5)
    wanted[0, :5, 2, 2, 2] = torch.tensor([0.5, -0.25, 0.0, 1.0, -2.0])
    weight[0, :5, 2, 2, 2] = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])  # nobody measured the z extent
    cells = geometry_cells(predicted, wanted, weight)
    assert cells.nonzero().tolist() == [[0, 2, 2, 2]]
    assert cells.sum().item() == 0.5 + 0.25 + 0.0 + 1.0 + 0.5 * 2.0
    cells.sum().backward()
    assert predicted.grad is not None
    assert predicted.grad[0, :, 2, 2, 2].tolist() == [-1.0, 1.0, 0.0, -1.0, 0.5, 0.0]
    assert (predicted.grad != 0).sum() == 4
