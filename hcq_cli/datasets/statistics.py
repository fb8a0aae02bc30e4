"""Mean and deviation of features, which a model brings them to 0 and 1 with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.features import Features, portions
from hcq_cli.errors import HcqError

STATISTICS_VIDEOS = 20_000
"""They are taken from at most so many videos, evenly spaced."""


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and deviation of one expert's features.

    Args:
        mean, deviation: float32 [dim]; the deviation is 1 where a feature never changes.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def statistics(
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
    for part in portions(features, rows[::step], list(widths)):
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
