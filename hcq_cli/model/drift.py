"""Whether a trained model knows videos like these: by how near together their vectors lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import collate
from hcq_cli.datasets.dataset import has_tokens
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.video_model import VideoModel

SAMPLE = 128
"""Videos looked at, evenly spaced over the collection."""
LEAST = 8
"""Of fewer videos, nothing is said."""
MOST_NEARER = 0.2
"""Held-out videos of a training set of 28 clips lay 0.17 nearer together than those trained on, and videos of other
kinds 0.25 (the demo's clips in a model of real ones, and real clips in the demo's model)."""


def drift_warning(model: VideoModel, store: FeatureStore) -> str:
    """A sentence, if the videos of `store` are so unlike the training videos that the model hardly tells them apart.

    A model spreads what it was trained on, and lays together what it has never seen. It keeps vectors of training
    videos to correct hubs with (`hubness.texts`); without those, or with few videos, nothing is said: "".

    Args:
        model: trained.
        store: with the experts that the model knows.
    """
    own, config = model.nearness, model.config
    if own is None:
        return ""
    experts = config.known_experts(store.experts)
    rows = np.arange(len(store), dtype=np.int64)[:: -(-len(store) // SAMPLE) or 1]
    rows = rows[np.asarray(has_tokens(store, rows, experts).any(1))]
    if len(rows) < LEAST:
        return ""
    vectors = model.encode_videos(collate(store.read(rows, experts), config.video.max_tokens))
    here = mean_nearness(vectors, config.level_weights)
    if here <= own + MOST_NEARER:
        return ""
    return (
        f"the model was trained on other videos than these: it lays them {here:.2f} near together in the mean "
        f"(its own {own:.2f}), and can hardly tell them apart; train on captions of these, or: hcq fit"
    )


def mean_nearness(vectors: NDArray[np.float32], weights: Sequence[float]) -> float:
    """Mean cosine between two videos.

    Args:
        vectors: [n, L+1, D].
        weights: of the L+1 levels, which count as they do in the score.
    """
    roots = np.sqrt(np.asarray(weights, np.float32))[:, None]
    flat = (vectors * roots).reshape(len(vectors), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    # Of the sum over all pairs n are of a vector with itself.
    return float((np.square(flat.sum(0)).sum() - len(flat)) / max(len(flat) * (len(flat) - 1), 1))
