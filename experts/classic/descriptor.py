"""What every classic descriptor is built with: scaling of blocks, pooling over grid cells, windows of one second.

A descriptor is several blocks (a histogram, a profile, a colour…) in one vector. Each block is compressed so that no
outlier rules it and scaled to a norm of at most 1, so that blocks weigh alike however many numbers they hold; the
vector as a whole has norm at most 1.

Letters: B blocks, H and W height and width in pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
"""Real numbers of any precision; whatever becomes a token is float32."""


def signed_sqrt(values: Array) -> Array:
    """sign(v)·√|v|, float32 of the same shape: power normalisation evens out bursty counts.

    Source: Perronnin, Sánchez and Mensink, "Improving the Fisher Kernel", ECCV 2010, Section 3.2.
    """
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
    """Each row scaled to unit norm, except that rows far below `floor` stay small.

    Args:
        values: [..., n].
        floor: the norm at which a row comes out at 1/√2.
    """
    # The floor is added under the root, not tested for: the step from noise to signal is smooth, and a black frame or
    # a silent second gives a block near zero and not noise blown up to full size.
    norm = np.sqrt((np.square(values)).sum(-1, keepdims=True) + floor * floor)
    return (values / norm).astype(np.float32)


def centred(histogram: Array) -> Array:
    """√ of a histogram less the √ of the uniform one: what all histograms have in common tells nothing.

    Args:
        histogram: [..., n], each row summing to at most 1.
    """
    return (np.sqrt(np.maximum(histogram, 0)) - np.sqrt(1 / histogram.shape[-1])).astype(np.float32)


def join(blocks: Sequence[Array]) -> NDArray[np.float32]:
    """One vector of norm at most 1 out of B blocks of norm at most 1.

    Args:
        blocks: B of them, each [..., n_b], leading axes alike.

    Returns:
        float32 [..., Σ n_b].
    """
    return (np.concatenate(blocks, axis=-1) / np.sqrt(len(blocks))).astype(np.float32)


@lru_cache(maxsize=256)
def pooling_matrix(size: int, cells: int) -> Array:
    """Averages `size` pixels into `cells` equal cells: float32 [cells, size], each row summing to 1."""
    edges = np.linspace(0, size, cells + 1)
    pixels = np.arange(size)
    # A pixel that lies across an edge counts in both cells, by the part of it that lies in each: a frame of 7 pixels
    # has 4 cells too, and a frame that is a pixel larger gives nearly the same numbers.
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlap = np.clip(overlap, 0, None)
    return (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)


def cell_means(maps: Array, rows: int, columns: int) -> Array:
    """Mean of every cell of a grid laid over an image.

    Args:
        maps: [H, W, C].
        rows: of the grid.
        columns: of the grid.

    Returns:
        float32 [rows, columns, C].
    """
    height, width, channels = maps.shape
    # Two small matrix products (rows first, then columns) in place of a loop over cells.
    tall = pooling_matrix(height, rows) @ maps.reshape(height, -1).astype(np.float32)
    wide = np.matmul(pooling_matrix(width, columns), tall.reshape(rows, width, channels))
    return np.asarray(wide, np.float32)


def second_edges(start_s: float, end_s: float) -> NDArray[np.float64]:
    """Edges of windows of one second from `start_s` on.

    Returns:
        float64 [windows + 1], at least one window; seconds.
    """
    # Rounded to the nearest count: the last window takes up a rest of less than half a second, because a window of a
    # few frames would be noise; a longer rest is a window of its own.
    count = max(1, int(np.floor(end_s - start_s + 0.5)))
    edges = start_s + np.arange(count + 1, dtype=np.float64)
    edges[-1] = max(end_s, edges[-2] + 1e-3)
    return edges
