"""Kernel order: codes in blocks of 256 videos, within a block all codes of one sub-quantizer side by side.

A scan takes one sub-quantizer's table and looks up many videos with it, so it wants the codes of many videos
next to each other: [N, S] becomes [B, S, 256], the last block padded with zeros.

A slot is a place in kernel order, a row the place of a video in the order it came. They are the same, unless the
codes of an index lie by inverted list (search/ivf.py); then `order` tells the row of each slot.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import ClassVar

import numpy as np

WIDTH = 256
"""Videos in a block."""


@dataclass(frozen=True)
class Blocks:
    """Codes in kernel order.

    Args:
        codes: uint8 [B, S, 256].
        videos: how many there are; B = ceil(videos / 256).
        dead: bool, by row, rows that no search may return; None where all are alive.
        order: uint32 [videos], the row of each slot; None where it is the slot's own number.
        owners: uint32 [videos], the number of the video that each slot's row is of: of each only the best row is
            found. None where every row is found for itself.
    """

    codes: np.ndarray
    videos: int
    dead: np.ndarray | None = None
    order: np.ndarray | None = None
    owners: np.ndarray | None = None
    most_blocks: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.shape[2] != WIDTH or len(self.codes) != -(-self.videos // WIDTH):
            raise ValueError(f"{self.videos} videos do not lie in blocks of shape {self.codes.shape}")

    def part(self, start: int, stop: int) -> Blocks:
        """Blocks `start` to `stop`; where codes lie in an `order`, rows go on counting through the whole."""
        first, last = start * WIDTH, min(stop * WIDTH, self.videos)
        codes, owners = self.codes[start:stop], None if self.owners is None else self.owners[first:last]
        if self.order is not None:
            # `dead` is by row, and the rows of these slots may lie anywhere: it is handed on whole.
            return Blocks(codes, last - first, self.dead, self.order[first:last], owners)
        return Blocks(codes, last - first, None if self.dead is None else self.dead[first:last], None, owners)

    def rows_of(self, slots: np.ndarray) -> np.ndarray:
        """The rows int64 [n] of `slots` int64 [n]."""
        return slots if self.order is None else self.order[slots].astype(np.int64)

    def alive(self, rows: np.ndarray) -> np.ndarray:
        """Which of `rows` int64 [n] may be found, bool [n]."""
        if self.dead is None:
            return np.ones(len(rows), bool)
        # A damaged `order` may name rows that are not there: they count as dead, as in the C kernels.
        return (rows < len(self.dead)) & ~self.dead[np.minimum(rows, len(self.dead) - 1)]

    def at(self, slots: np.ndarray) -> np.ndarray:
        """The codes uint8 [n, S] of `slots` int64 [n]."""
        return self.codes[slots // WIDTH, :, slots % WIDTH]

    def between(self, first: int, stop: int) -> np.ndarray:
        """The codes uint8 [stop - first, S] of neighbouring slots."""
        subquantizers = self.codes.shape[1]
        # A transpose of bytes: NumPy does it five times slower than native/transpose.c.
        if (native := _native()) is None or not self.codes.flags.c_contiguous:
            return self.at(np.arange(first, stop))
        codes = np.empty((stop - first, subquantizers), np.uint8)
        native.from_blocks(self.codes, first, stop - first, subquantizers, codes)
        return codes


@dataclass(frozen=True)
class RowMajorCodes(Blocks):
    """Codes uint8 [N, S] as a code file holds them, brought into kernel order when a scan asks for them."""

    # What is brought into kernel order at a time is held in memory: 16 MiB at 256 bytes a video.
    most_blocks: ClassVar[int | None] = 256

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or len(self.codes) != self.videos:
            raise ValueError(f"{self.videos} videos are not the rows of codes of shape {self.codes.shape}")

    def part(self, start: int, stop: int) -> Blocks:
        """Blocks `start` to `stop`, `WIDTH` rows each, brought into kernel order now."""
        rows = slice(start * WIDTH, stop * WIDTH)
        dead, owners = (None if column is None else column[rows] for column in (self.dead, self.owners))
        return replace(to_blocks(self.codes[rows]), dead=dead, owners=owners)

    def at(self, slots: np.ndarray) -> np.ndarray:
        """The codes uint8 [n, S] of `slots` int64 [n]."""
        return self.codes[slots]

    def between(self, first: int, stop: int) -> np.ndarray:
        """The codes uint8 [stop - first, S] of neighbouring slots."""
        return self.codes[first:stop]


def to_blocks(codes: np.ndarray) -> Blocks:
    """Bring codes uint8 [n, S] into kernel order."""
    videos, subquantizers = codes.shape
    if (native := _native()) is not None:
        # Sixteen rows by sixteen codes at a time, in registers; it pads the last block with zeros itself.
        blocks = np.empty((-(-videos // WIDTH), subquantizers, WIDTH), np.uint8)
        native.to_blocks(np.ascontiguousarray(codes), videos, subquantizers, blocks)
        return Blocks(blocks, videos)
    whole = videos // WIDTH
    # Zeros, because the last block is padded, and a scan may look up what lies in the padding.
    blocks = np.zeros((-(-videos // WIDTH), subquantizers, WIDTH), np.uint8)
    blocks[:whole] = codes[: whole * WIDTH].reshape(whole, WIDTH, subquantizers).transpose(0, 2, 1)
    if whole < len(blocks):
        blocks[whole, :, : videos - whole * WIDTH] = codes[whole * WIDTH :].T
    return Blocks(blocks, videos)


@cache
def _native() -> ModuleType | None:
    """The compiled transpose (native/transpose.c); None where it could not be compiled."""
    try:
        return importlib.import_module("hcq_cli.scan._transpose")
    except ImportError:
        return None
