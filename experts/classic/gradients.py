"""Texture and gradient structure of grey images: local binary patterns and histograms of oriented gradients."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from experts.classic.descriptor import Array, pooling

PATTERNS = 59
"""58 uniform patterns (at most two changes around the circle) and one for all others."""
FAMILIES = 10
"""Patterns of 0 to 8 ones (9 families), told apart by that number alone, and one for all others."""
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
TOLERANCE = 3
"""Grey levels a neighbour must lie above the centre, so that coding noise on flat areas is no texture."""


@lru_cache(maxsize=1)
def _uniform() -> NDArray[np.int64]:
    """Number of the uniform pattern of each of the 256 patterns: [256]."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    numbers = np.full(256, PATTERNS - 1, np.int64)
    numbers[uniform] = np.arange(uniform.sum())
    return numbers


@lru_cache(maxsize=1)
def pattern_families() -> NDArray[np.int64]:
    """Family 0..9 of each of the 59 patterns: its number of ones, the same however the texture is turned."""
    ones = np.array([code.bit_count() for code in range(256)])
    families = np.full(PATTERNS, FAMILIES - 1, np.int64)
    inside = _uniform() < PATTERNS - 1
    families[_uniform()[inside]] = ones[inside]
    return families


def pattern_map(gray: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Local binary pattern of every inner pixel (Ojala et al., PAMI 2002): [h, w] -> [h - 2, w - 2] in 0..58."""
    wide = gray.astype(np.int16)
    height, width = wide.shape
    centre = wide[1:-1, 1:-1] + TOLERANCE
    code = np.zeros(centre.shape, np.uint8)
    for bit, (dy, dx) in enumerate(NEIGHBOURS):
        code |= (wide[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] >= centre).astype(np.uint8) << bit
    return _uniform()[code]


def cell_counts(numbers: NDArray[np.int64], bins: int, rows: int, columns: int, weight: Array | None = None) -> Array:
    """Histogram of `numbers` in each cell of a grid, as shares of its pixels: [h, w] -> [rows, columns, bins]."""
    height, width = numbers.shape
    row = np.arange(height) * rows // height
    column = np.arange(width) * columns // width
    cell = (row[:, None] * columns + column) * bins + numbers
    counts = np.bincount(cell.ravel(), None if weight is None else weight.ravel(), minlength=rows * columns * bins)
    return (counts.reshape(rows, columns, bins) * (rows * columns / numbers.size)).astype(np.float32)


def oriented_gradients(gray: Array, rows: int, columns: int, bins: int, signed: bool = False) -> Array:
    """Histogram of gradient directions in each cell, weighted by strength (Dalal and Triggs, CVPR 2005).

    Args:
        gray: [h, w], about 0..1.
        bins: directions over half a turn, or over a whole one if `signed`.

    Returns:
        float32 [rows, columns, bins], mean strength; not normalised.
    """
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    strength, angle = cv2.cartToPolar(dx, dy)
    turn = angle * (bins / (2 * np.pi if signed else np.pi))
    low = np.floor(turn)
    part = turn - low
    first = low.astype(np.int64) % bins
    below = cell_counts(first, bins, rows, columns, strength * (1 - part))
    return below + cell_counts((first + 1) % bins, bins, rows, columns, strength * part)


def low_frequencies(plane: Array, count: int) -> Array:
    """The lowest `count` × `count` terms of the cosine transform of a plane without its mean: [count² - 1]."""
    small = pooling(plane.shape[0], 16) @ plane @ pooling(plane.shape[1], 16).T
    return np.asarray(cv2.dct(np.ascontiguousarray(small))[:count, :count].ravel()[1:] / 16, np.float32)
