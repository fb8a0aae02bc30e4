"""What `describe_frame` gives of a picture in a mirror, made of what it gave of the picture itself.

Left and right change places in the grids, directions of gradients and of texture turn over, and waves across the
picture that begin with a rise begin with a fall. So a mirrored token is the token with its numbers in another order,
some with the other sign: nothing need be seen again to know a copy that somebody mirrored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experts.classic.appearance import (
    CHROMA_TERMS,
    FIGURES,
    GRID,
    HARMONICS,
    LUMA_TERMS,
    NAMES_GRID,
    ORIENTATIONS,
    THUMB,
)
from experts.classic.image_descriptors import FAMILIES, NAMES, NEIGHBOURS, PATTERNS, uniform_patterns

Reordered = tuple[NDArray[np.int64], NDArray[np.float32]]


def in_mirror() -> Reordered:
    """How a token is made that of the mirrored picture: order int64 [dim] and signs float32 [dim], such that
    `features[:, order] * signs` is what would be seen, but for pixels on the edges of cells."""
    names, across = _same(len(NAMES)), np.array([-1, 1, 1, 1, 1, 1], np.float32)
    colour = [names, _grid(NAMES_GRID, len(NAMES)), _grid(GRID, 3), _grid(GRID, 3)]
    gradients = _grid(GRID, ORIENTATIONS, -np.arange(ORIENTATIONS) % ORIENTATIONS)
    structure = [_patterns(), _grid(2, FAMILIES), gradients, _grid(GRID)]
    layout = [_waves(LUMA_TERMS), _waves(CHROMA_TERMS), _waves(CHROMA_TERMS)]
    ground = [names, names, _grid(GRID)]
    shape = _grid(GRID, 8, (4 - np.arange(8)) % 8)
    figure = [names, _same(6), (np.arange(6), across), shape, _grid(THUMB), _same(HARMONICS)]
    blocks = colour + structure + layout + ground + FIGURES * figure
    begins = np.cumsum([0, *(len(order) for order, _ in blocks)])
    order = np.concatenate([order + begin for (order, _), begin in zip(blocks, begins, strict=False)])
    return order, np.concatenate([signs for _, signs in blocks])


def _same(count: int) -> Reordered:
    return np.arange(count), np.ones(count, np.float32)


def _grid(side: int, bins: int = 1, turned: NDArray[np.int64] | None = None) -> Reordered:
    """Cells [side, side, bins] from right to left, in each its bins turned over, int64 [bins]."""
    bins_there = np.arange(bins) if turned is None else turned
    cells = np.arange(side * side * bins).reshape(side, side, bins)[:, ::-1, bins_there]
    return cells.ravel(), np.ones(cells.size, np.float32)


def _waves(terms: int) -> Reordered:
    """Cosine terms [terms, terms] but for the mean: those of odd frequency across the picture change their sign."""
    signs = np.ones((terms, terms), np.float32)
    signs[:, 1::2] = -1
    return np.arange(terms * terms - 1), signs.ravel()[1:]


def _patterns() -> Reordered:
    """Local binary patterns: the neighbours of a pixel, counted from the right around it, then from the left."""
    places = [NEIGHBOURS.index((dy, -dx)) for dy, dx in NEIGHBOURS]
    codes = np.arange(256)
    turned = sum((codes >> bit & 1) << place for bit, place in enumerate(places))
    order = np.zeros(PATTERNS, np.int64)
    order[uniform_patterns()[codes]] = uniform_patterns()[turned]
    return order, np.ones(PATTERNS, np.float32)
