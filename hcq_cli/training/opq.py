"""Optimised product quantization: a rotation and Euclidean k-means in turn (Ge et al., CVPR 2013, non-parametric)."""

from __future__ import annotations

import torch
from torch import Tensor

from hcq_cli.training.codebooks import Usage
from hcq_cli.training.kmeans import BLOCK_BYTES


def nearest(chunks: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codeword of each chunk and its squared distance.

    Args:
        chunks: [M, n, d].
        codewords: [M, K, d].

    Returns:
        int64 [M, n] and float [M, n].
    """
    half = codewords.square().sum(-1)[:, None] / 2
    block = max(1, BLOCK_BYTES // (4 * codewords.shape[0] * codewords.shape[1]))
    found = [(part @ codewords.mT - half).max(-1) for part in chunks.split(block, 1)]
    closeness, codes = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return codes, (chunks.square().sum(-1) - 2 * closeness).clamp_min(0)


def kmeans_step(chunks: Tensor, codewords: Tensor) -> Tensor:
    """Codewords moved to the means of their cells; an empty cell takes over the worst-fitting points.

    Args:
        chunks: [M, n, d].
        codewords: [M, K, d].
    """
    codes, distance = nearest(chunks, codewords)
    books, count, width = codewords.shape
    cells = (codes + torch.arange(books)[:, None] * count).flatten()
    sums = torch.zeros(books * count, width).index_add_(0, cells, chunks.flatten(0, 1)).view_as(codewords)
    sizes = torch.bincount(cells, minlength=books * count).view(books, count, 1)
    empty = sizes[..., 0] == 0
    worst = distance.argsort(1, descending=True)
    turn = (empty.cumsum(1) - 1).clamp(min=0) % chunks.shape[1]
    fresh = chunks.gather(1, worst.gather(1, turn)[..., None].expand(-1, -1, width))
    return torch.where(empty[..., None], fresh, sums / sizes.clamp(min=1))


def optimised_quantizer(points: Tensor, books: int, words: int, rounds: int, seed: int) -> tuple[Tensor, Tensor]:
    """A rotation R and codewords that bring ‖X R − quantized‖² down.

    Args:
        points: [n, D].
        books, words: M and K.
        rounds: how often both take their turn; k-means goes on for as long again with the rotation fixed.
        seed: of the first rotation and the first codewords.

    Returns:
        R [D, D], orthogonal, for `x @ R`; codewords [M, K, d].
    """
    generator, width = torch.Generator().manual_seed(seed), points.shape[1]
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    start = torch.randint(len(points), (books, words), generator=generator)
    codewords = _cut(points @ rotation, books).gather(1, start[..., None].expand(-1, -1, width // books))
    for _ in range(rounds):
        chunks = _cut(points @ rotation, books)
        codewords = kmeans_step(chunks, codewords)
        left, _, right = torch.linalg.svd(points.T @ _rebuilt(chunks, codewords))
        rotation = left @ right
    chunks = _cut(points @ rotation, books)
    for _ in range(rounds):
        codewords = kmeans_step(chunks, codewords)
    return rotation, codewords


def euclidean_usage(points: Tensor, codewords: Tensor) -> Usage:
    """Which codewords [M, K, d] the vectors [n, D] choose."""
    books, words, _ = codewords.shape
    codes, _ = nearest(_cut(points, books), codewords)
    used = torch.bincount((codes + torch.arange(books)[:, None] * words).flatten(), minlength=books * words) > 0
    return Usage(100.0 * float(used.float().mean()), words)


def _cut(points: Tensor, books: int) -> Tensor:
    return points.unflatten(1, (books, -1)).transpose(0, 1)


def _rebuilt(chunks: Tensor, codewords: Tensor) -> Tensor:
    codes, _ = nearest(chunks, codewords)
    chosen = codewords.gather(1, codes[..., None].expand(-1, -1, codewords.shape[-1]))
    return chosen.transpose(0, 1).flatten(1)
