"""The reference's layers: gated units and their mixture, GhostVLAD (whose ghost does nothing), product quantizer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.options import QuantizerOptions


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


class ReferenceVLAD(nn.Module):
    """r_l = Σ_i a_il (z_i − c_l) over all tokens, masked ones included.

    Args:
        width: D.
        clusters: L.
        ghosts: columns behind the L of the clusters that are computed and dropped before the softmax.
        batch_norm: of the logits, one set of statistics for text and video.
    """

    def __init__(self, width: int, clusters: int, ghosts: int = 1, batch_norm: bool = True) -> None:
        super().__init__()
        self.active, self.normalized = clusters, batch_norm
        self.clusters = nn.Parameter(torch.randn(width, clusters + ghosts) * width**-0.5)
        self.centroids = nn.Parameter(torch.randn(1, width, clusters) * width**-0.5)
        self.norm = nn.BatchNorm1d(clusters)  # there, with its weights, even where it is not used

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Aggregate.

        Args:
            tokens: [B, T, D].
            mask: [B, T]; the logits of tokens with 0 become 0 before batch norm and softmax. None: all are real.

        Returns:
            [B, L, D], not normalised.
        """
        logits = (tokens @ self.clusters)[..., : self.active]
        if mask is not None:
            logits = logits * mask[..., None]
        if self.normalized:
            logits = self.norm(logits.flatten(0, 1)).view_as(logits)
        shares = logits.softmax(-1)
        return shares.transpose(1, 2) @ tokens - shares.sum(1)[..., None] * self.centroids[0].T


class ReferenceQuantizer(nn.Module):
    """One level's product quantizer: its codewords, to encode with.

    Args:
        options: its shape.
        width: D.
    """

    def __init__(self, options: QuantizerOptions, width: int) -> None:
        super().__init__()
        self.options = options
        self.codewords = nn.Parameter(F.normalize(torch.randn(options.M, options.K, width // options.M), dim=-1))
        # Idle here, since it cannot change which codeword is the nearest, but a checkpoint has it.
        self.norm = nn.BatchNorm1d(options.M, affine=False) if options.add_BN else None

    @torch.no_grad()
    def normalize_codebooks(self) -> None:
        """Bring every codeword to length 1, as the reference does before each step."""
        self.codewords.copy_(F.normalize(self.codewords, dim=-1))
