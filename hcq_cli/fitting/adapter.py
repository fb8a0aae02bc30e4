"""What captions have taught a fitted model: a linear map of its texts that stays near to the identity.

    q' = q + (q · downᵀ) · up

It is a map of low rank (Hu et al., "LoRA", ICLR 2022) on vectors of frozen networks. One side is enough, since a
score is an inner product: what a map of the videos could do, that of the texts does, and their codes need not know.
It is linear, because a text is the sum of what several text encoders read, and each adds its own part.

Letters: Q texts, D width of a vector, r rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TextAdapter(nn.Module):
    """The map; nothing is changed before it is learned (`adaptation.py`).

    Args:
        width: D.
        rank: r.
    """

    down: Tensor
    up: Tensor

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("down", torch.zeros(rank, width))
        self.register_buffer("up", torch.zeros(rank, width))

    def forward(self, texts: Tensor) -> Tensor:
        """[..., D] → [..., D]."""
        return texts + (texts @ self.down.T) @ self.up
