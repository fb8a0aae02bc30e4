"""What a training run learns from: features by row, captions, and which videos are the same one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.data.batches import RaggedTokens, in_order
from hcq_cli.errors import HcqError
from hcq_cli.features.records import Ragged
from hcq_cli.model.config import ExpertConfig

READ_AT_ONCE = 256
STATISTICS_VIDEOS = 20_000
"""Mean and deviation of the features are taken from at most so many videos, evenly spaced."""


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
class Part:
    """One part of the data set (train, validation or test).

    Args:
        rows: int64 [N], rows of the features.
        captions: of each video, at least one.
        groups: int64 [N]; videos of the same content have the same number.
    """

    rows: NDArray[np.int64]
    captions: Sequence[Sequence[str]]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sentences(self) -> list[str]:
        """All captions, video after video."""
        return [caption for captions in self.captions for caption in captions]

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 [sentences], the position of each one's video."""
        return np.repeat(np.arange(len(self.captions)), [len(captions) for captions in self.captions])


@dataclass(frozen=True)
class TrainingData:
    """Everything a run learns from.

    Args:
        features: of all rows.
        experts: those that have tokens for some training video.
        train, validation: parts; validation may be empty. Test videos are not here at all.
        explanation: where the validation videos come from, a sentence.
        warnings: what is doubtful, a sentence each.
    """

    features: Features
    experts: dict[str, ExpertConfig]
    train: Part
    validation: Part
    explanation: str = ""
    warnings: list[str] = field(default_factory=list)


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


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and deviation of one expert's features.

    Args:
        mean, deviation: float32 [dim]; the deviation is 1 where a feature never changes.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def statistics(
    features: Features, rows: NDArray[np.int64], experts: Mapping[str, ExpertConfig]
) -> dict[str, FeatureStatistics]:
    """Of the tokens of the training videos, by expert.

    Raises:
        HcqError: a feature is NaN or infinite.
    """
    step = -(-len(rows) // STATISTICS_VIDEOS) or 1
    sums = {name: np.zeros((2, item.dim)) for name, item in experts.items()}
    counts = dict.fromkeys(experts, 0)
    for part in portions(features, rows[::step], list(experts)):
        for name, tokens in part.items():
            x = tokens.features.astype(np.float64)
            sums[name] += np.stack([x.sum(0), np.square(x).sum(0)])
            counts[name] += len(x)
    found = {}
    for name, (first, second) in sums.items():
        mean, square = first / max(counts[name], 1), second / max(counts[name], 1)
        if not np.isfinite(square).all():
            raise HcqError(f"features of expert {name!r} are NaN or infinite", "hcq features verify")
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        changes = deviation > 1e-5 * (np.abs(mean) + 1e-8)
        found[name] = FeatureStatistics(mean.astype(np.float32), np.where(changes, deviation, 1).astype(np.float32))
    return found
