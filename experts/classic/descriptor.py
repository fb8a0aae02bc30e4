"""What the classic experts share: second-long windows, and blocks that join into one well-scaled vector.

A descriptor is several blocks (a histogram, a profile, a colour…). Each block is compressed so that no outlier
rules it and scaled to a norm of at most 1, so that blocks weigh alike whatever their width; the vector as a
whole has norm at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
"""Real numbers; whatever becomes a token is float32."""


def signed_sqrt(values: Array) -> Array:
    """sign(v)·√|v|: evens out bursty counts (power normalisation, Perronnin et al., ECCV 2010)."""
    return (np.sign(values) * np.sqrt(np.abs(values))).astype(np.float32)


def compress(values: Array, unit: float, full: float) -> Array:
    """Logarithmic scale that keeps the sign and is bounded: 0 → 0, ±`full` and beyond → ±1.

    Args:
        values: any shape.
        unit: below it the scale is about linear.
        full: where it ends.
    """
    scaled = np.sign(values) * np.log1p(np.abs(values) / unit) / np.log1p(full / unit)
    return np.clip(scaled, -1, 1).astype(np.float32)


def soft_unit(values: Array, floor: float = 1e-3) -> Array:
    """Scale each row to unit norm, but leave rows far below `floor` small: noise must not be blown up to a signal.

    Args:
        values: [..., n].
        floor: the norm at which a row comes out at 1/√2.
    """
    norm = np.sqrt((np.square(values)).sum(-1, keepdims=True) + floor * floor)
    return (values / norm).astype(np.float32)


def centred(histogram: Array) -> Array:
    """√ of a histogram less the √ of the uniform one: what all have in common says nothing and is left out.

    Args:
        histogram: [..., n], each row summing to at most 1.
    """
    return (np.sqrt(np.maximum(histogram, 0)) - np.sqrt(1 / histogram.shape[-1])).astype(np.float32)


def join(blocks: Sequence[Array]) -> NDArray[np.float32]:
    """One vector of norm at most 1 out of blocks of norm at most 1.

    Args:
        blocks: each [..., n_i], leading axes alike.

    Returns:
        float32 [..., Σ n_i].
    """
    return (np.concatenate(blocks, axis=-1) / np.sqrt(len(blocks))).astype(np.float32)


@lru_cache(maxsize=256)
def pooling(size: int, cells: int) -> Array:
    """Averages `size` pixels into `cells` equal cells, a pixel on an edge shared: float32 [cells, size]."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlap = np.clip(overlap, 0, None)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


def cell_means(maps: Array, rows: int, columns: int) -> Array:
    """Mean of every cell of a grid laid over an image.

    Args:
        maps: [height, width, channels].

    Returns:
        float32 [rows, columns, channels].
    """
    height, width, channels = maps.shape
    tall = pooling(height, rows) @ maps.reshape(height, -1).astype(np.float32)
    wide = np.matmul(pooling(width, columns), tall.reshape(rows, width, channels))
    return np.asarray(wide, np.float32)


def second_edges(start_s: float, end_s: float) -> NDArray[np.float64]:
    """Edges of windows of one second from `start_s`; the last one takes up a rest of less than half a second.

    Returns:
        float64 [windows + 1], at least one window; seconds.
    """
    count = max(1, int(np.floor(end_s - start_s + 0.5)))
    edges = start_s + np.arange(count + 1, dtype=np.float64)
    edges[-1] = max(end_s, edges[-2] + 1e-3)
    return edges
