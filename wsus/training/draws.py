"""Random numbers for the images of a batch, the same for an image whoever holds the rest of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Random numbers of `rows` of a batch of `batch` images: drawn for the whole batch, whoever holds the rest of it."""

    batch: int
    rows: slice
    device: torch.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """In [low, high), of a shape per image."""
        return low + (high - low) * torch.rand(self.batch, *shape, device=self.device)[self.rows]

    def normal(self, *shape: int) -> torch.Tensor:
        """Of mean 0 and deviation 1, of a shape per image."""
        return torch.randn(self.batch, *shape, device=self.device)[self.rows]

    def factors(self, spread: float) -> torch.Tensor:
        """One per image in [1 / (1 + spread), 1 + spread], even on a logarithmic scale."""
        return (1 + spread) ** (2 * self.uniform() - 1)

    def chosen(self, probability: float) -> torch.Tensor:
        """Which images a change befalls: bool, shape (B, 1, 1, 1)."""
        return self.uniform(1, 1, 1) < probability
