"""Muon against the singular value decomposition, and what it does to a network."""

import torch
from torch import nn

from resources.training.muon import Muon, orthogonal, step_of


def test_singular_values_become_about_one_and_their_vectors_stay() -> None:
    random = torch.Generator().manual_seed(1)
    for shape in ((8, 27), (27, 8)):
        matrix = torch.randn(shape, generator=random)
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        found = orthogonal(3 * matrix)
        inner = u.T @ found @ v.T
        assert inner.diagonal().min() > 0.6
        assert inner.diagonal().max() < 1.3
        assert (inner - inner.diagonal().diag()).abs().max() < 1e-3
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_rows_of_a_step_are_about_one_long() -> None:
    for shape in ((8, 27), (27, 8)):
        step = step_of(torch.randn(shape, generator=torch.Generator().manual_seed(2)))
        assert 0.6 < step.square().sum(1).mean().sqrt() < 1.3


def test_a_first_step_goes_down_the_gradient_by_its_rate() -> None:
    network = nn.Sequential(nn.Conv3d(2, 4, 1, bias=False), nn.Conv3d(4, 1, 1))
    kernel, bias = network[0].weight, network[1].bias
    assert bias is not None
    before = kernel.detach().clone()
    optimizer = Muon(network, rate=0.01, weight_decay=0.0, kernel_rate=0.1)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"]
    network(torch.randn(3, 2, 2, 2, 2, generator=torch.Generator().manual_seed(3))).sum().backward()
    gradient, old = kernel.grad.clone(), bias.detach().clone()  # type: ignore[union-attr]
    optimizer.step()
    torch.testing.assert_close(before - kernel.detach(), 0.1 * step_of(gradient.flatten(1)).view_as(kernel))
    torch.testing.assert_close(old - bias.detach(), torch.full_like(old, 0.01))  # AdamW's first step
    assert set(optimizer.state[kernel]) == {"momentum"}
    assert set(optimizer.state[bias]) == {"step", "exp_avg", "exp_avg_sq"}
