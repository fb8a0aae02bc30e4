"""The reference's product quantizer and its k-means pass, dead cells included."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.options import QuantizerOptions

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
