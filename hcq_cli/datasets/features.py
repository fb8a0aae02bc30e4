"""Where the features of a data set are read from, by row: a store, or a copy of it in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import RaggedTokens, in_order
from hcq_cli.features.records import Ragged

READ_AT_ONCE = 256


class Features(Protocol):
    """Where features come from: a store, or a copy of it in memory."""

    @property
    def experts(self) -> Collection[str]:
        """Names of those it holds."""
        ...

    def read(self, rows: NDArray[np.int64], experts: Sequence[str] | None = None, /) -> Mapping[str, RaggedTokens]:
        """The tokens of some videos, by expert."""
        ...


@dataclass(frozen=True)
class MemoryFeatures:
    """Features of a data set that fits in memory.

    Args:
        tokens: by expert, of all videos.
        position: int64, row → video of `tokens`; −1 for rows that are not held.
    """

    tokens: Mapping[str, RaggedTokens]
    position: NDArray[np.int64]

    @property
    def experts(self) -> Collection[str]:
        """As `Features.experts`."""
        return self.tokens.keys()

    def read(self, rows: NDArray[np.int64], experts: Sequence[str] | None = None, /) -> dict[str, Ragged]:
        """As `Features.read`."""
        at = self.position[rows]
        return {name: _take(self.tokens[name], at) for name in (experts if experts is not None else self.tokens)}


def _take(tokens: RaggedTokens, at: NDArray[np.int64]) -> Ragged:
    first, counts = tokens.offsets[at], tokens.offsets[at + 1] - tokens.offsets[at]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    source = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
    return Ragged(tokens.features[source], tokens.times[source], offsets)


def held_in_memory(features: Features, rows: NDArray[np.int64], experts: Sequence[str], limit_mb: int) -> Features:
    """`features` read into memory, those of `rows` alone, if they are not larger than `limit_mb`; else themselves."""
    parts: list[Mapping[str, RaggedTokens]] = []
    room = limit_mb << 20
    for at in in_order(len(rows), READ_AT_ONCE):
        parts.append(features.read(rows[at], experts))
        room -= sum(tokens.features.nbytes + tokens.times.nbytes for tokens in parts[-1].values())
        if room < 0:
            return features
    position = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
    position[rows] = np.arange(len(rows))
    return MemoryFeatures({name: _joined([part[name] for part in parts]) for name in experts}, position)


def _joined(parts: Sequence[RaggedTokens]) -> Ragged:
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    features, times = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "times"))
    return Ragged(features, times, offsets)


def portions(
    features: Features, rows: NDArray[np.int64], experts: Sequence[str]
) -> Iterator[Mapping[str, RaggedTokens]]:
    """The features of `rows`, a few hundred videos at a time."""
    for at in in_order(len(rows), READ_AT_ONCE):
        yield features.read(rows[at], experts)
