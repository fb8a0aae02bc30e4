"""Tokens of films, which fill the memory by the hour: their features stay in the store until rows are asked for.

Letters: B videos, n tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.features.records import ExpertKey, Ragged, as_bytes
from hcq_cli.features.shard import Shard


class FeaturesPlace(NamedTuple):
    """Where the features of one video begin.

    Args:
        shard: that holds them.
        offset: bytes from its start.
    """

    shard: Shard
    offset: int


class StoredFeatures:
    """Features [n, dim] that are read when rows of them are asked for; used like an array.

    Args:
        dim: their width.
        places: of each of the B videos; of one without tokens any.
        offsets: int64 [B+1], where the tokens of each video begin.
    """

    def __init__(self, dim: int, places: Sequence[FeaturesPlace | None], offsets: NDArray[np.int64]) -> None:
        self.shape = (int(offsets[-1]), dim)
        self._places, self._offsets = places, offsets

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows, float32 [rows, dim], neighbours read in one go."""
        wanted = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else rows
        found = np.empty((len(wanted), self.shape[1]), np.float32)
        owners = np.searchsorted(self._offsets, wanted, "right") - 1
        breaks = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(owners) != 0)) + 1
        for first, last in pairwise([0, *breaks.tolist(), len(wanted)] if len(wanted) else []):
            place, row = self._places[owners[first]], int(wanted[first] - self._offsets[owners[first]])
            assert place is not None
            place.shard.fill(as_bytes(found[first:last]), place.offset + 4 * self.shape[1] * row)
        return found

    def of(self, video: int) -> StoredFeatures:
        """Those of one of the videos alone."""
        return StoredFeatures(
            self.shape[1], [self._places[video]], self._offsets[video : video + 2] - self._offsets[video]
        )


@dataclass(frozen=True)
class StoredRagged:
    """As `Ragged`, its features in the store."""

    features: StoredFeatures
    times: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """B, videos; not tokens."""
        return len(self.offsets) - 1

    def of(self, video: int) -> StoredRagged:
        """The tokens of one of the videos alone."""
        first, last = self.offsets[video : video + 2].tolist()
        return StoredRagged(self.features.of(video), self.times[first:last], self.offsets[video : video + 2] - first)


AnyRagged = Ragged | StoredRagged


def stored_tokens(places: Sequence[tuple[Shard, ExpertKey, int] | None], dim: int) -> StoredRagged:
    """The tokens of some videos, read once to be checked, and again when they are asked for.

    Args:
        places: of each of the B videos its shard, expert and number there; None of a video that lacks the expert.
        dim: width of the features.

    Raises:
        DamagedError: names the file and the video that are damaged.
    """
    counts = []
    for one in places:
        begin, end = (0, 0) if one is None else one[0].token_columns(one[1]).offsets[one[2] : one[2] + 2].tolist()
        counts.append(end - begin)
    offsets = np.append(0, np.cumsum(counts)).astype(np.int64)
    times, begins = np.empty(offsets[-1], np.float32), list[FeaturesPlace | None]()
    for one, first, last in zip(places, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        begins.append(None)
        if one is not None and last > first:
            shard, key, at = one
            shard.check_tokens(key, at, as_bytes(times[first:last]))
            columns = shard.token_columns(key)
            begins[-1] = FeaturesPlace(shard, columns.features + 4 * dim * int(columns.offsets[at]))
    return StoredRagged(StoredFeatures(dim, begins, offsets), times, offsets)
