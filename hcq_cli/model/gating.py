"""The coarse text embedding: gated units mixed by weights that the sentence itself gives (section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.normalization import MaskedBatchNorm


class GatedMixture(nn.Module):
    """a = W h + b; u = a ∘ σ(BN(W' a + b')); u L2-normalised; the G units summed with softmax weights of h.

    All units are computed at once. G = 1 is the single unit of the paper's figure.

    Args:
        hidden: width of the text encoder's [CLS] vector h.
        width: D.
        units: G.
    """

    def __init__(self, hidden: int, width: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.embed = nn.Linear(hidden, units * width)
        self.gate_weight = nn.Parameter(torch.empty(units, width, width))
        self.gate_bias = nn.Parameter(torch.zeros(units * width))
        self.norm = MaskedBatchNorm(units * width)
        self.mixture = nn.Linear(hidden, units) if units > 1 else None
        nn.init.uniform_(self.gate_weight, -(width**-0.5), width**-0.5)

    def forward(self, h: Tensor) -> Tensor:
        """The coarse text embedding.

        Args:
            h: [B, hidden].

        Returns:
            [B, D], L2-normalised.
        """
        a = self.embed(h).unflatten(-1, (self.units, -1))
        gates = torch.einsum("bgi,goi->bgo", a, self.gate_weight).flatten(1) + self.gate_bias
        units = F.normalize(a * torch.sigmoid(self.norm(gates)).unflatten(-1, (self.units, -1)), dim=-1)
        if self.mixture is None:
            return units[:, 0]
        weights = self.mixture(h).softmax(-1)
        return F.normalize(torch.einsum("bg,bgd->bd", weights, units), dim=-1)
