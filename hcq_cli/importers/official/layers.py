"""The reference's layers: gated units and their mixture, GhostVLAD (whose ghost does nothing), product quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


SETTLED = 1e-5
"""Mean squared change of a sub-codebook under which the k-means pass stops."""


@dataclass(frozen=True)
class ReferenceQuantized:
    """Vectors and what became of them.

    Args:
        vectors: [..., D], codewords side by side; gradients go straight through.
        codes: int64 [..., M].
        soft: [..., M, K], softmax over the batch-normalised similarities.
        chunks: [..., D], the input with every chunk L2-normalised.
        penalty: [...], the quantization term: squared distance, or the soft code's entropy with dual codebooks.
    """

    vectors: Tensor
    codes: Tensor
    soft: Tensor
    chunks: Tensor
    penalty: Tensor

    @staticmethod
    def stack(parts: list[ReferenceQuantized], dim: int) -> ReferenceQuantized:
        """Those of several levels along a new axis `dim`, field by field."""
        names = ("vectors", "codes", "soft", "chunks", "penalty")
        return ReferenceQuantized(*(torch.stack([getattr(part, name) for part in parts], dim) for name in names))


class ReferenceQuantizer(nn.Module):
    """One level's product quantizer.

    Args:
        options: its shape.
        width: D.
    """

    def __init__(self, options: QuantizerOptions, width: int) -> None:
        super().__init__()
        self.options = options
        shape = (options.M, options.K, width // options.M)
        self.codewords = nn.Parameter(F.normalize(torch.randn(shape), dim=-1))
        self.values = nn.Parameter(F.normalize(torch.randn(shape), dim=-1)) if options.dual_codebooks else None
        self.norm = nn.BatchNorm1d(options.M, affine=False) if options.add_BN else None

    @torch.no_grad()
    def normalize_codebooks(self) -> None:
        """Bring every codeword to length 1, as the reference does before each step."""
        for codebooks in (self.codewords, self.values):
            if codebooks is not None:
                codebooks.copy_(F.normalize(codebooks, dim=-1))

    def forward(self, x: Tensor) -> ReferenceQuantized:
        """Quantize.

        Args:
            x: [B, D], or [B, C, D]: captions are taken one after the other, each a batch of its own for batch norm.
        """
        if x.ndim == 3:
            return ReferenceQuantized.stack([self(x[:, caption]) for caption in range(x.shape[1])], 1)
        values = self.codewords if self.values is None else self.values
        chunks = F.normalize(x.unflatten(-1, (self.options.M, -1)), dim=-1)
        similarities = torch.einsum("bmd,mkd->bmk", chunks, self.codewords)
        if self.norm is not None:
            similarities = self.norm(similarities)
        codes = similarities.argmax(-1)
        soft = (self._visible(similarities) * self.options.alpha).softmax(-1)
        hard = values[torch.arange(self.options.M, device=codes.device), codes].flatten(1)
        chunks = chunks.flatten(1)
        through = chunks if self.values is None else torch.einsum("mkd,bmk->bmd", values, soft).flatten(1)
        vectors = through - (through - hard).detach()
        return ReferenceQuantized(vectors, codes, soft, chunks, self._penalty(chunks, hard, soft))

    def _visible(self, similarities: Tensor) -> Tensor:
        if self.options.mask_topK is None:
            return similarities
        kept = torch.zeros_like(similarities, dtype=torch.bool)
        kept.scatter_(-1, similarities.topk(self.options.mask_topK, -1).indices, True)
        return similarities.masked_fill(~kept, -torch.inf)

    def _penalty(self, chunks: Tensor, hard: Tensor, soft: Tensor) -> Tensor:
        if self.values is not None:
            return -(soft * (soft + 1e-6).log()).sum(-1).mean(-1)
        if self.options.pq_detach_opt == "features":
            chunks = chunks.detach()
        if self.options.pq_detach_opt == "codewords":
            hard = hard.detach()
        return (chunks - hard).square().sum(-1)

    @torch.no_grad()
    def cluster(self, texts: Tensor, videos: Tensor, iterations: int = 10) -> None:
        """Spherical k-means over an epoch's embeddings, from the codewords there are.

        Args:
            texts: [B, C, D].
            videos: [B, D].
            iterations: at most so many.

        Raises:
            ValueError: with dual codebooks, which learn through the soft attention instead.
        """
        if self.values is not None:
            raise ValueError("dual codebooks are not moved by k-means")
        points = torch.cat([texts.flatten(0, 1), videos]).unflatten(-1, (self.options.M, -1))
        points, start = F.normalize(points, dim=-1), F.normalize(self.codewords, dim=-1)
        moved = [_kmeans(points[:, m], start[m], iterations) for m in range(self.options.M)]
        self.codewords.copy_(torch.stack(moved))


def _kmeans(points: Tensor, codewords: Tensor, iterations: int) -> Tensor:
    """One sub-codebook: [n, d], [K, d] → [K, d].

    From its second round on, the reference compares the new directions with the means they come from (a buffer is
    reused), and those means, not of unit length, are what it keeps when they have settled.
    """
    kept = codewords
    for round_ in range(iterations):
        cells = (points @ codewords.T).argmax(-1)
        sizes = torch.bincount(cells, minlength=len(codewords)).to(points)[:, None]
        means = torch.zeros_like(codewords).index_add_(0, cells, points) / (sizes + 1e-6)
        if round_ > 0:
            kept = means
        codewords = F.normalize(means, dim=-1)
        if F.mse_loss(kept, codewords) <= SETTLED:
            return kept
        kept = codewords
    return kept
