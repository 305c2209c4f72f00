"""Bags on 5 x 5 x 5 cells: which peaks stand for the lesions, and what they cost."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.batches import CELLS, bag, silent

from model.heads import channels_of
from resources.training.reports.matching import SIZE_SIGMA
from resources.training.targets.bags import bag_losses, find_peaks, size_error

LOW = -4.0


def output_of(peaks: dict[tuple[int, int, int], float], types: int = 2, kind: int = 0) -> torch.Tensor:
    """(1, channels, 5, 5, 5): logits of -4 but for some cells of one map."""
    out = torch.zeros(1, channels_of(types), *CELLS)
    out[:, :types] = LOW
    for cell, value in peaks.items():
        out[(0, kind, *cell)] = value
    return out.requires_grad_()


def cost(logit: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -((1 - p) ** 2) * math.log(p)


def moved(output: torch.Tensor) -> list[list[int]]:
    """Channel and cell of each value that a step would change."""
    assert output.grad is not None
    return output.grad[0].nonzero().tolist()


def test_the_highest_peak_stands_for_the_lesion() -> None:
    output = output_of({(1, 1, 1): 0.0, (3, 3, 3): 1.0, (3, 3, 4): 0.9})
    loss, wanted = bag_losses(output, silent(bags=(bag(weight=0.5),)), 1.0)
    assert (loss.item(), wanted.item()) == (pytest.approx(0.5 * cost(1.0)), 0.5)
    loss.backward()
    assert moved(output) == [[0, 3, 3, 3]]
    assert output.grad is not None
    assert output.grad[0, 0, 3, 3, 3] < 0  # a step raises it


def test_two_lesions_are_two_places_and_not_the_slope_of_one() -> None:
    output = output_of({(1, 1, 1): 0.0, (3, 3, 3): 1.0, (3, 3, 4): 0.9, (3, 3, 2): 0.9})
    loss, wanted = bag_losses(output, silent(bags=(bag(count=2),)), 1.0)
    assert (loss.item(), wanted.item()) == (pytest.approx(cost(1.0) + cost(0.0)), 2)
    loss.backward()
    assert moved(output) == [[0, 1, 1, 1], [0, 3, 3, 3]]


def test_two_bags_of_a_patch_want_two_places_the_larger_lesion_first() -> None:
    output = output_of({(1, 1, 1): 0.0, (3, 3, 3): 1.0})
    bags = (bag(weight=1.0), bag(weight=0.5, size_mm=10.0))
    for order in (bags, bags[::-1]):
        loss, _ = bag_losses(output, silent(bags=order), 0.0)
        assert loss.item() == pytest.approx(0.5 * cost(1.0) + cost(0.0))


def test_equal_cells_give_as_many_places_as_fit() -> None:
    """A flat map: every other cell of each axis, as the neighbours of each are taken; 27 in all."""
    output = output_of({})
    _, wanted = bag_losses(output, silent(bags=(bag(count=100),)), 1.0)
    assert wanted.item() == 27


def test_only_the_place_counts_and_an_empty_one_costs_nothing() -> None:
    where = torch.zeros(CELLS, dtype=torch.bool)
    output = output_of({(3, 3, 3): 1.0, (1, 1, 1): 0.5})
    loss, wanted = bag_losses(output, silent(bags=(bag(where=where),)), 1.0)
    assert (loss.item(), wanted.item()) == (0, 0)
    loss.backward()
    assert moved(output) == []
    where[1, 1] = True
    loss, _ = bag_losses(output, silent(bags=(bag(where=where),)), 1.0)
    assert loss.item() == pytest.approx(cost(0.5))


def test_a_known_lesion_is_not_the_one_that_is_sought() -> None:
    """Nor is the slope that it leaves outside of its own cells."""
    heat = torch.zeros(1, *CELLS)
    heat[0, 3, 3, 3] = 1.0
    output = output_of({(3, 3, 3): 3.0, (3, 3, 2): 2.0, (1, 1, 0): -1.0})
    loss, _ = bag_losses(output, silent(any_heat=heat, bags=(bag(),)), 1.0)
    assert loss.item() == pytest.approx(cost(-1.0))


def test_a_bag_of_any_type_shares_its_lesion_between_the_maps() -> None:
    output = output_of({(3, 3, 3): 1.0}, kind=1)
    loss, _ = bag_losses(output, silent(bags=(bag(type=-1),)), 1.0)
    logit = math.log((math.exp(4.0) + math.exp(4 * LOW)) / 2) / 4
    assert loss.item() == pytest.approx(cost(logit), rel=1e-5)
    loss.backward()
    assert [1, 3, 3, 3] in moved(output)


def test_sizes_within_tolerance_are_left_alone() -> None:
    told = math.log(2.0)  # 20 mm; the network's unit is 10 mm
    assert size_error(torch.tensor([told + 0.9 * SIZE_SIGMA]), 20.0).item() == 0
    assert size_error(torch.tensor([told - 0.9 * SIZE_SIGMA]), 20.0).item() == 0
    assert size_error(torch.tensor([told + SIZE_SIGMA + 0.5]), 20.0).item() == pytest.approx(0.5)
    assert size_error(torch.tensor([told - SIZE_SIGMA - 0.5]), 20.0).item() == pytest.approx(0.5)


def test_of_several_lesions_the_size_is_that_of_the_largest() -> None:
    sizes = torch.tensor([math.log(2.0), math.log(0.5), math.log(4.0)], requires_grad=True)
    error = size_error(sizes, 20.0)
    assert error.item() == pytest.approx(math.log(2) - SIZE_SIGMA, abs=1e-6)
    error.backward()
    assert sizes.grad is not None
    assert sizes.grad.tolist() == [0, 0, 1]  # what is smaller than told may be


def test_the_size_head_is_pulled_at_the_peak() -> None:
    output = output_of({(3, 3, 3): 1.0})  # size 10 mm everywhere
    loss, _ = bag_losses(output, silent(bags=(bag(size_mm=20.0),)), 2.0)
    assert loss.item() == pytest.approx(cost(1.0) + 2 * (math.log(2) - SIZE_SIGMA), rel=1e-5)
    loss.backward()
    assert moved(output) == [[0, 3, 3, 3], [5, 3, 3, 3]]  # two maps, three offsets, then the long diameter


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6))
def test_peaks_are_allowed_apart_and_in_order(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(6, 7, 8, generator=generator)
    allowed = torch.rand(6, 7, 8, generator=generator) < 0.5
    none = torch.zeros_like(allowed)
    found = find_peaks(score, allowed, none, none.clone(), count)
    assert len(found) <= count
    assert all(allowed[cell] for cell in found)
    values = [score[cell].item() for cell in found]
    assert values == sorted(values, reverse=True)
    if found:
        assert values[0] == score[allowed].max().item()
    for i, one in enumerate(found):
        assert all(max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1 for other in found[:i])


def test_the_order_of_bags_changes_nothing() -> None:
    output = output_of({(1, 1, 1): 0.0, (3, 3, 3): 1.0, (1, 3, 3): 0.4})
    bags = [bag(weight=0.3, size_mm=12.0), bag(type=1), bag(count=2, weight=0.7), bag(weight=0.2)]
    batch = silent(bags=tuple(bags))
    first = bag_losses(output, batch, 1.0)[0].item()
    for order in ((3, 1, 0, 2), (2, 3, 1, 0), (1, 0, 3, 2)):
        again = dataclasses.replace(batch, bags=tuple(bags[i] for i in order))
        assert bag_losses(output, again, 1.0)[0].item() == pytest.approx(first)
