"""Kernel order: codes in blocks of 256 videos, within a block all codes of one sub-quantizer side by side.

A scan takes one sub-quantizer's table and looks up many videos with it, so it wants the codes of many videos
next to each other: [N, S] becomes [B, S, 256], the last block padded with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

WIDTH = 256
"""Videos in a block."""


class Source(Protocol):
    """Codes that can be brought to a kernel part by part."""

    @property
    def videos(self) -> int:
        """How many there are, dead ones included."""
        ...

    @property
    def most_blocks(self) -> int | None:
        """How many blocks may be asked for at once; None for any number."""
        ...

    def part(self, start: int, stop: int) -> Blocks:
        """Blocks `start` to `stop` in kernel order."""
        ...


@dataclass(frozen=True)
class Blocks:
    """Codes in kernel order.

    Args:
        codes: uint8 [B, S, 256].
        videos: how many there are; B = ceil(videos / 256).
        dead: bool [videos], rows that no search may return; None where all are alive.
    """

    codes: np.ndarray
    videos: int
    dead: np.ndarray | None = None
    most_blocks = None

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.shape[2] != WIDTH or len(self.codes) != -(-self.videos // WIDTH):
            raise ValueError(f"{self.videos} videos do not lie in blocks of shape {self.codes.shape}")

    def part(self, start: int, stop: int) -> Blocks:
        """Blocks `start` to `stop`."""
        first, last = start * WIDTH, min(stop * WIDTH, self.videos)
        dead = None if self.dead is None else self.dead[first:last]
        return Blocks(self.codes[start:stop], last - first, dead)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """The codes uint8 [n, S] of `rows` int64 [n]."""
        return self.codes[rows // WIDTH, :, rows % WIDTH]


@dataclass(frozen=True)
class Rows:
    """Codes as a code file holds them, brought into kernel order when a scan asks for them.

    Args:
        codes: uint8 [N, S].
    """

    codes: np.ndarray
    most_blocks = 256

    @property
    def videos(self) -> int:
        """How many there are."""
        return len(self.codes)

    def part(self, start: int, stop: int) -> Blocks:
        """Blocks `start` to `stop`."""
        return to_blocks(self.codes[start * WIDTH : stop * WIDTH])


def to_blocks(codes: np.ndarray) -> Blocks:
    """Bring codes uint8 [n, S] into kernel order."""
    videos, subquantizers = codes.shape
    whole = videos // WIDTH
    blocks = np.zeros((-(-videos // WIDTH), subquantizers, WIDTH), np.uint8)
    blocks[:whole] = codes[: whole * WIDTH].reshape(whole, WIDTH, subquantizers).transpose(0, 2, 1)
    if whole < len(blocks):
        blocks[whole, :, : videos - whole * WIDTH] = codes[whole * WIDTH :].T
    return Blocks(blocks, videos)
