"""Codes of a trained model, made as many as a measurement wants.

A new video is an old one in which some codes are exchanged for one of the nearest codewords of the same
sub-quantizer. So neighbours, gaps and the use of the codewords stay those of the model; uniform noise would have none
of them, and what prunes a scan or partitions a collection would be measured on nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NEAREST = 8
"""Codewords that one may be exchanged for, itself not among them."""
EXCHANGED = 0.5
"""Share of the codes that are drawn anew."""
ROWS_AT_ONCE = 1 << 14


def neighbours(codebooks: np.ndarray) -> np.ndarray:
    """The nearest codewords of each codeword, the nearest first: float32 [S, K, d] → uint8 [S, K, ≤ NEAREST]."""
    # ⟨c, c'⟩ − ½‖c'‖² is largest where the distance is least; the product alone finds the longest of a rotated model.
    nearness = codebooks @ codebooks.transpose(0, 2, 1) - np.square(codebooks).sum(2)[:, None] / 2
    own = np.arange(codebooks.shape[1])
    nearness[:, own, own] = -np.inf
    count = max(1, min(NEAREST, codebooks.shape[1] - 1))
    return np.argsort(-nearness, axis=2, kind="stable")[:, :, :count].astype(np.uint8)


def extend(codes: np.ndarray, codebooks: np.ndarray, videos: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The given codes, then new ones, until there are as many as wanted: uint8 [n, S] at a time.

    Args:
        codes: uint8 [n, S] of real videos, at least one.
        codebooks: float32 [S, K, d].
        videos: how many in all.
        seed: of the choice.
    """
    random, near = np.random.default_rng(seed), neighbours(codebooks)
    for start in range(0, min(len(codes), videos), ROWS_AT_ONCE):
        yield np.asarray(codes[start : min(start + ROWS_AT_ONCE, videos)])
    columns = np.arange(codes.shape[1])
    for start in range(len(codes), videos, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, videos - start)
        chosen = np.minimum(codes[np.sort(random.integers(0, len(codes), count))], codebooks.shape[1] - 1)
        drawn = random.integers(0, 256, chosen.shape, np.uint8)
        other = near[columns, chosen, drawn % near.shape[2]]
        yield np.where(random.integers(0, 256, chosen.shape, np.uint8) < 256 * EXCHANGED, other, chosen)
