"""Where the features of a data set are read from: a store on disk, or a copy of it in memory; their statistics.

Reads are by row. Letters: N videos, n tokens of all of them. The order of the videos of a read is the order of the
rows asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import in_order
from hcq_cli.errors import HcqError
from hcq_cli.features.records import Ragged

READ_AT_ONCE = 256
"""Videos read at a time where all of a data set are gone through."""
STATISTICS_VIDEOS = 20_000
"""Statistics are taken from at most so many videos, evenly spaced."""


class Features(Protocol):
    """Where features come from: a store, or a copy of it in memory."""

    @property
    def experts(self) -> Collection[str]:
        """Names of those it holds."""
        ...

    def read(self, rows: NDArray[np.int64], experts: Sequence[str] | None = None, /) -> Mapping[str, Ragged]:
        """The tokens of some videos, by expert."""
        ...


@dataclass(frozen=True)
class MemoryFeatures:
    """Features of a data set that fits in memory.

    Args:
        tokens: by expert, of all videos.
        position: int64, row → video of `tokens`; −1 for rows that are not held.
    """

    tokens: Mapping[str, Ragged]
    position: NDArray[np.int64]

    @property
    def experts(self) -> Collection[str]:
        """As `Features.experts`."""
        return self.tokens.keys()

    def read(self, rows: NDArray[np.int64], experts: Sequence[str] | None = None, /) -> dict[str, Ragged]:
        """As `Features.read`."""
        at = self.position[rows]
        return {name: _take(self.tokens[name], at) for name in (experts if experts is not None else self.tokens)}


def _take(tokens: Ragged, at: NDArray[np.int64]) -> Ragged:
    """The tokens of the videos at positions `at`, without a loop over videos."""
    first, counts = tokens.offsets[at], tokens.offsets[at + 1] - tokens.offsets[at]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # Within a video source rows and rows of the result run alike: each video's run is the count shifted by a
    # constant.
    source = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
    return Ragged(tokens.features[source], tokens.times[source], offsets)


def cached_in_memory(features: Features, rows: NDArray[np.int64], experts: Sequence[str], limit_mb: int) -> Features:
    """`features` read into memory, those of `rows` alone, if they are not larger than `limit_mb`; else themselves.

    Every epoch reads every video, in another order: from a store each batch would be a read of scattered rows.
    """
    blocks: list[Mapping[str, Ragged]] = []
    room = limit_mb << 20
    for block in read_blocks(features, rows, experts):
        blocks.append(block)
        room -= sum(tokens.features.nbytes + tokens.times.nbytes for tokens in block.values())
        if room < 0:  # known only while reading: what was read so far is let go
            return features
    position = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
    position[rows] = np.arange(len(rows))
    return MemoryFeatures({name: _joined([block[name] for block in blocks]) for name in experts}, position)


def _joined(blocks: Sequence[Ragged]) -> Ragged:
    counts = np.concatenate([np.diff(block.offsets) for block in blocks])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    features, times = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("features", "times"))
    return Ragged(features, times, offsets)


def read_blocks(
    features: Features, rows: NDArray[np.int64], experts: Sequence[str]
) -> Iterator[Mapping[str, Ragged]]:
    """The features of `rows`, a few hundred videos at a time."""
    for at in in_order(len(rows), READ_AT_ONCE):
        yield features.read(rows[at], experts)


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and deviation of one expert's features, with which a model brings them to 0 and 1.

    Args:
        mean, deviation: float32 [dim]; the deviation is 1 where a feature never changes.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def feature_statistics(
    features: Features, rows: NDArray[np.int64], widths: Mapping[str, int]
) -> dict[str, FeatureStatistics]:
    """Of the tokens of some videos, by expert.

    Args:
        features: where they are read from.
        rows: int64 [N], the training videos.
        widths: experts to measure, and how wide their features are.

    Raises:
        HcqError: a feature is NaN or infinite.
    """
    step = -(-len(rows) // STATISTICS_VIDEOS) or 1
    sums = {name: np.zeros((2, dim)) for name, dim in widths.items()}
    counts = dict.fromkeys(widths, 0)
    for block in read_blocks(features, rows[::step], list(widths)):
        for name, tokens in block.items():
            # Sum and sum of squares in one pass, in float64: their difference below would lose in float32 all that a
            # feature with a large mean and a small deviation has to say.
            x = tokens.features.astype(np.float64)
            sums[name] += np.stack([x.sum(0), np.square(x).sum(0)])
            counts[name] += len(x)
    found = {}
    for name, (first, second) in sums.items():
        mean, square = first / max(counts[name], 1), second / max(counts[name], 1)
        # One bad number spoils the sums, and the square is infinite wherever the mean is: one look suffices.
        if not np.isfinite(square).all():
            raise HcqError(f"features of expert {name!r} are NaN or infinite", "hcq features verify")
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        # What is left of a constant feature is rounding; divided by that it would be noise of size 1.
        changes = deviation > 1e-5 * (np.abs(mean) + 1e-8)
        found[name] = FeatureStatistics(mean.astype(np.float32), np.where(changes, deviation, 1).astype(np.float32))
    return found
