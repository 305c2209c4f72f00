"""Muon: steps along orthogonal matrices for the kernels of convolutions, AdamW for everything else.

After Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum of a
kernel, written as a matrix of outputs by inputs, is replaced by the nearest matrix whose singular values are
about one, so all directions are learnt equally fast. Batch norm makes the length of a kernel irrelevant,
which is why kernels know no weight decay here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration: singular values from 0.01 to 1 come to lie between about 0.7 and 1.2."""


class Muon(torch.optim.AdamW):
    """rate: AdamW's, weight_decay too. kernel_rate: how far a step moves the weights of each output of a
    kernel, together (new ones are 0.6 long).

    Each group says its highest rate as "highest", "lr" being what the next step takes, and what the state of
    its parameters is as "moments", if that is not AdamW's.
    """

    def __init__(self, network: nn.Module, rate: float, weight_decay: float, kernel_rate: float):
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
        kernels = [m.weight for m in convolutions]
        ids = {id(kernel) for kernel in kernels}
        rest = [p for p in network.parameters() if id(p) not in ids]
        groups = [
            {"params": rest, "highest": rate},
            {"params": kernels, "highest": kernel_rate, "moments": ("momentum",)},
        ]
        super().__init__(groups, rate, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Kernels first; AdamW passes over them then, for their gradients are gone."""
        group = self.param_groups[1]
        for kernel in group["params"]:
            if kernel.grad is not None:
                if "momentum" not in self.state[kernel]:
                    self.state[kernel]["momentum"] = torch.zeros_like(kernel)
                momentum = self.state[kernel]["momentum"]
                momentum.lerp_(kernel.grad, 1 - MOMENTUM)
                ahead = kernel.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                kernel.sub_(step_of(ahead.flatten(1)).view_as(kernel), alpha=group["lr"])
                kernel.grad = None
        return super().step(closure)


def step_of(matrix: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs) -> the same shape: about orthogonal, and with more outputs than inputs so much longer
    that the rows' lengths are about one.
    """
    outputs, inputs = matrix.shape
    return orthogonal(matrix) * max(1.0, outputs / inputs) ** 0.5


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About u v^T of the singular value decomposition u s v^T of a matrix; 0 stays 0."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
