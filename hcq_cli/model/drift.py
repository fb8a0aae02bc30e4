"""Whether a trained model knows videos like these: by how near together their vectors lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import collate
from hcq_cli.datasets.dataset import has_tokens
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.checkpoint import Model

SAMPLE = 128
"""Videos looked at, evenly spaced over the collection."""
LEAST = 8
"""Of fewer videos, nothing is said."""
MOST_NEARER = 0.2
"""Held-out videos of a training set of 28 clips lay 0.17 nearer together than those trained on, and videos of other
kinds 0.25 (the demo's clips in a model of real ones, and real clips in the demo's model)."""


def drift_warning(model: Model, store: FeatureStore) -> str:
    """A sentence, if the videos of `store` are so unlike the training videos that the model hardly tells them apart.

    A model spreads what it was trained on, and lays together what it has never seen. It keeps vectors of training
    videos to correct hubs with (`hubness.texts`); without those, or with few videos, nothing is said: "".

    Args:
        model: trained.
        store: with the experts that the model knows.
    """
    hubness = model.network.hubness
    if hubness is None or int(hubness.texts.filled) < LEAST:
        return ""
    experts = model.known_experts(store.experts)
    rows = np.arange(len(store), dtype=np.int64)[:: -(-len(store) // SAMPLE) or 1]
    rows = rows[np.asarray(has_tokens(store, rows, experts).any(1))]
    if len(rows) < LEAST:
        return ""
    roots = np.sqrt(hubness.texts.weights.cpu().numpy())  # levels count as they do in the score
    own = _nearness(hubness.texts.bank[: int(hubness.texts.filled)].float().cpu().numpy() * roots)
    here = _nearness(model.encode_videos(collate(store.read(rows, experts), model.config.video.max_tokens)) * roots)
    if here <= own + MOST_NEARER:
        return ""
    return (
        f"the model was trained on other videos than these: it lays them {here:.2f} near together in the mean "
        f"(its own {own:.2f}), and can hardly tell them apart; train on captions of these, or: hcq fit"
    )


def _nearness(vectors: NDArray[np.float32]) -> float:
    """Mean cosine between two of the vectors, [n, L+1, D]."""
    flat = vectors.reshape(len(vectors), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    # Of the sum over all pairs n are of a vector with itself.
    return float((np.square(flat.sum(0)).sum() - len(flat)) / max(len(flat) * (len(flat) - 1), 1))
