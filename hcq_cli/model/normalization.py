"""Batch normalisation whose statistics see only what the mask lets through."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """Batch norm over all leading axes; padding takes no part in it, so its amount changes nothing.

    A batch of a single row, and one with no row at all, are fine (unlike `torch.nn.BatchNorm1d`).

    Args:
        channels: F, size of the last axis.
        momentum: share of the newest batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: [..., F].
            mask: bool [...], True where `x` counts; None if all of it does.
        """
        x = x.float()  # statistics of bfloat16 would be too coarse
        mean, var = self._batch_statistics(x, mask) if self.training else (self.running_mean, self.running_var)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    def _batch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
        if len(rows) == 0:
            return self.running_mean, self.running_var
        var, mean = torch.var_mean(rows, dim=0, correction=0)
        with torch.no_grad():
            unbiased = var * (len(rows) / max(len(rows) - 1, 1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, var
