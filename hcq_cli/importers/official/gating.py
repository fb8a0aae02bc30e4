"""The reference's coarse text embedding: one gated unit an expert, mixed by weights from [CLS]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReferenceUnit(nn.Module):
    """a = W h + b; u = a ∘ σ(BN(W' a + b')).

    Args:
        hidden: width of h.
        width: D.
        kind: `gbn` as above, `gem` without batch norm, `lin` a alone.
        normalize: whether u is L2-normalised (`lin` always is).
    """

    def __init__(self, hidden: int, width: int, kind: str = "gbn", normalize: bool = True) -> None:
        super().__init__()
        self.kind, self.normalized = kind, normalize or kind == "lin"
        self.embed = nn.Linear(hidden, width)
        self.gate = nn.Linear(width, width) if kind != "lin" else None
        self.norm = nn.BatchNorm1d(width) if kind != "lin" else None  # idle in `gem`, but there

    def forward(self, h: Tensor) -> Tensor:
        """Vectors h [B, hidden] of captions → [B, D]."""
        a = self.embed(h)
        if self.gate is not None and self.norm is not None:
            gates = self.gate(a)
            a = a * torch.sigmoid(self.norm(gates) if self.kind == "gbn" else gates)
        return F.normalize(a, dim=-1) if self.normalized else a


class ReferenceMixture(nn.Module):
    """The units of all experts, summed with softmax or with equal weights; the sum is not normalised.

    Args:
        hidden, width, kind, normalize: as in `ReferenceUnit`.
        experts: names.
        weights: `emb`, a softmax over one logit an expert, or `none`.
        dropout: of h before those logits.
    """

    def __init__(
        self,
        hidden: int,
        width: int,
        experts: Sequence[str],
        kind: str = "gbn",
        normalize: bool = True,
        weights: str = "emb",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.units = nn.ModuleDict({name: ReferenceUnit(hidden, width, kind, normalize) for name in experts})
        learned = {name: nn.Linear(hidden, 1) for name in experts}
        self.weights = nn.ModuleDict(learned) if weights == "emb" else None

    def forward(self, h: Tensor) -> Tensor:
        """Vectors h [B, hidden] of captions → [B, D], not of length 1."""
        units = torch.stack([unit(h) for unit in self.units.values()], 1)
        if self.weights is None:
            return units.mean(1)
        logits = torch.cat([layer(self.dropout(h)) for layer in self.weights.values()], -1)
        return (logits.softmax(-1)[..., None] * units).sum(1)
