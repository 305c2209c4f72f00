"""Random numbers from one seeded generator: the same seed draws the same patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Draw:
    """Scalars are drawn on the CPU whatever the device, so a patient is the same on both."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        """A normal number, held within 2.5 sd of the mean."""
        return mean + sd * max(-2.5, min(2.5, float(torch.randn((), generator=self.generator))))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def choice(self, values: Sequence[T]) -> T:
        return values[self.integer(0, len(values) - 1)]

    def weighted(self, weights: dict[str, float]) -> str:
        """A key, with a probability in proportion to its weight."""
        left = self.uniform(0, sum(weights.values()))
        for key, weight in weights.items():
            left -= weight
            if left <= 0:
                return key
        return key

    def fork(self) -> Draw:
        """A generator of its own, so that what follows does not depend on how much is drawn from it."""
        return Draw(self.integer(0, 2**31 - 1))
