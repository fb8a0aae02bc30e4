"""k-means of all S sub-quantizers at once, spherical or plain, with empty cells re-seeded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_BYTES = 2 << 20
"""Bound of the similarities held at once: points are taken in blocks that stay in the cache."""


def kmeans(points: Tensor, codewords: Tensor, iterations: int, *, spherical: bool) -> Tensor:
    """Move codewords to the means of their cells; an empty cell takes over a badly fitting point.

    (The reference turns an empty cell into a zero vector, and it stays one.)

    Args:
        points: [n, S, d].
        codewords: [S, K, d], where to start.
        iterations: how often to assign and move.
        spherical: whether points are of length 1 (or 0) and codewords shall be: means become mean directions.

    Returns:
        [S, K, d]. With fewer than K distinct points some come twice.
    """
    for _ in range(iterations):
        codes, fit = assign(points, codewords)
        count, cells = codewords.shape[1], codes + torch.arange(codewords.shape[0]) * codewords.shape[1]
        sums = torch.zeros_like(codewords).flatten(0, 1)
        sums.index_add_(0, cells.flatten(), points.flatten(0, 1))
        sizes = torch.bincount(cells.flatten(), minlength=len(sums)).view(-1, count)
        means, lost = sums.view_as(codewords), sizes == 0
        if spherical:
            lost = lost | (means.square().sum(-1) < 1e-12)
        means = F.normalize(means, dim=-1) if spherical else means / sizes.clamp_min(1)[..., None]
        codewords = _reseed(means, lost, points, fit)
    return codewords


def assign(points: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codeword of each chunk, int64 [n, S], and how near it is: −½‖point − codeword‖², [n, S]."""
    count = codewords.shape[1]
    rows = max(1, min(len(points), BLOCK_BYTES // (4 * count)))
    books = max(1, BLOCK_BYTES // (4 * count * rows))
    fits, codes = [], []
    for part, words in zip(points.transpose(0, 1).split(books), codewords.split(books), strict=True):
        half_norms = -0.5 * words.square().sum(-1)[:, None]
        found = [torch.baddbmm(half_norms, block, words.mT).max(-1) for block in part.split(rows, 1)]
        fit, code = (torch.cat(blocks, 1) for blocks in zip(*found, strict=True))
        fits.append(fit - 0.5 * part.square().sum(-1))
        codes.append(code)
    return torch.cat(codes).T, torch.cat(fits).T


def _reseed(codewords: Tensor, lost: Tensor, points: Tensor, fit: Tensor) -> Tensor:
    """Give the j-th lost cell of each sub-quantizer the j-th worst-fitting of its points."""
    if not lost.any():
        return codewords
    worst = fit.argsort(0)
    turn = (lost.cumsum(1) - 1).clamp(min=0) % len(points)
    chosen = worst.T.gather(1, turn)
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    return torch.where(lost[..., None] & (fresh.square().sum(-1, keepdim=True) > 0), fresh, codewords)


def start_codewords(points: Tensor, codewords: Tensor, generator: torch.Generator) -> Tensor:
    """Random points as first codewords, [S, K, d]; where points are too few, the old codewords keep the rest."""
    count = min(len(points), codewords.shape[1])
    keys = torch.rand(codewords.shape[0], len(points), generator=generator)
    chosen = keys.argsort(1)[:, :count]
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    return torch.cat([fresh, codewords[:, count:]], 1)
