"""Optimised product quantization: a rotation and Euclidean k-means in turn (Ge et al., CVPR 2013, non-parametric)."""

from __future__ import annotations

import torch
from torch import Tensor

from hcq_cli.training.codebooks import Usage, usage_of
from hcq_cli.training.kmeans import assign, kmeans


def nearest(chunks: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codeword of each chunk and its squared distance.

    Args:
        chunks: [M, n, d].
        codewords: [M, K, d].

    Returns:
        int64 [M, n] and float [M, n].
    """
    codes, fit = assign(chunks.transpose(0, 1), codewords)
    return codes.T, (-2 * fit.T).clamp_min(0)


def kmeans_step(chunks: Tensor, codewords: Tensor) -> Tensor:
    """Codewords [M, K, d] moved once to the means of their cells of chunks [M, n, d]."""
    return kmeans(chunks.transpose(0, 1), codewords, 1, spherical=False)


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
    return usage_of(points.unflatten(1, (len(codewords), -1)), codewords)


def _cut(points: Tensor, books: int) -> Tensor:
    return points.unflatten(1, (books, -1)).transpose(0, 1)


def _rebuilt(chunks: Tensor, codewords: Tensor) -> Tensor:
    codes, _ = nearest(chunks, codewords)
    chosen = codewords.gather(1, codes[..., None].expand(-1, -1, codewords.shape[-1]))
    return chosen.transpose(0, 1).flatten(1)
