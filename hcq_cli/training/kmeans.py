"""Spherical k-means of all S sub-quantizers at once, with empty cells re-seeded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_BYTES = 64 << 20
"""Bound of the similarities held at once; points are taken in blocks of this size."""


def spherical_kmeans(points: Tensor, codewords: Tensor, iterations: int) -> Tensor:
    """Move codewords to the mean directions of their cells; an empty cell takes over a badly fitting point.

    (The reference turns an empty cell into a zero vector, and it stays one.)

    Args:
        points: [n, S, d], unit or zero.
        codewords: [S, K, d], where to start.
        iterations: how often to assign and move.

    Returns:
        [S, K, d], unit codewords. With fewer than K distinct points some come twice.
    """
    for _ in range(iterations):
        codes, fit = assign(points, codewords)
        count, cells = codewords.shape[1], codes + torch.arange(codewords.shape[0]) * codewords.shape[1]
        sums = torch.zeros_like(codewords).flatten(0, 1)
        sums.index_add_(0, cells.flatten(), points.flatten(0, 1))
        sizes = torch.bincount(cells.flatten(), minlength=len(sums)).view(-1, count)
        means = sums.view_as(codewords)
        lost = (sizes == 0) | (means.square().sum(-1) < 1e-12)
        codewords = _reseed(F.normalize(means, dim=-1), lost, points, fit)
    return codewords


def assign(points: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codeword of each chunk, int64 [n, S], and its cosine [n, S]."""
    block = max(1, BLOCK_BYTES // (4 * codewords.shape[0] * codewords.shape[1]))
    fits, codes = [], []
    for part in points.split(block):
        fit, code = (part.transpose(0, 1) @ codewords.transpose(1, 2)).max(-1)
        fits.append(fit.T)
        codes.append(code.T)
    return torch.cat(codes), torch.cat(fits)


def _reseed(codewords: Tensor, lost: Tensor, points: Tensor, fit: Tensor) -> Tensor:
    """Give the j-th lost cell of each sub-quantizer the j-th worst-fitting of its points."""
    if not lost.any():
        return codewords
    worst = fit.argsort(0)
    turn = (lost.cumsum(1) - 1).clamp(min=0) % len(points)
    chosen = worst.T.gather(1, turn)
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    return torch.where(lost[..., None] & (fresh.square().sum(-1, keepdim=True) > 0), fresh, codewords)


def distinct_rows(points: Tensor) -> int:
    """How many different vectors there are among [n, …]."""
    return len(torch.unique(points.flatten(1), dim=0))


def start_codewords(points: Tensor, codewords: Tensor, generator: torch.Generator) -> Tensor:
    """Random points as first codewords, [S, K, d]; where points are too few, the old codewords keep the rest."""
    count = min(len(points), codewords.shape[1])
    keys = torch.rand(codewords.shape[0], len(points), generator=generator)
    chosen = keys.argsort(1)[:, :count]
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    return torch.cat([fresh, codewords[:, count:]], 1)
