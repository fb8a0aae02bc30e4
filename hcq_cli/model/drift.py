"""Whether a model knows videos like these: drift is 0 where it does, from `REFIT` on another should be made.

A trained model lays together what it has never seen: how much nearer to each other these videos lie than those that
it was trained on tells it. Codewords that were fitted to some videos (`hcq fit`) give back less of others: how much
more is lost of a collection than of those.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import VideoBatch, collate
from hcq_cli.datasets.dataset import has_tokens, rows_by_id
from hcq_cli.features.store import FeatureStore
from hcq_cli.model.video_model import VideoModel

SAMPLE = 128
"""Videos looked at, evenly spaced over the collection."""
LEAST = 8
"""Of fewer videos, nothing is said."""
MOST_NEARER = 0.2
"""That videos may lie in a trained model. Held-out videos of a training set of 28 clips lay 0.17 nearer together than
those trained on, and videos of other kinds 0.25 (the demo's clips in a model of real ones, and the other way)."""
REFIT = 0.15
"""A drift from which on a model should be made anew. Models fitted to 50 and 28 of 56 real clips lost 0.04 and 0.22
more of all of them than of their own, and of the 28 new ones alone 0.43."""


def _sample(model: VideoModel, store: FeatureStore, rows: NDArray[np.int64]) -> VideoBatch | None:
    """About `SAMPLE` of some rows, evenly spaced, that have tokens; None where these are fewer than `LEAST`."""
    experts = model.config.known_experts(store.experts)
    rows = rows[:: -(-len(rows) // SAMPLE) or 1]
    rows = rows[np.asarray(has_tokens(store, rows, experts).any(1))]
    return collate(store.read(rows, experts), model.config.video.max_tokens) if len(rows) >= LEAST else None


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


def drift(
    model: VideoModel, store: FeatureStore, fitted_loss: float | None, without: Collection[str] = ()
) -> float | None:
    """How far a collection lies from what a model was made of.

    Args:
        model: fitted; or trained, which keeps vectors of training videos (`VideoModel.nearness`).
        store: with the experts that the model knows.
        fitted_loss: `mean_loss` of the videos that it was fitted to; None of a trained one.
        without: ids of videos that were taken out of the collection.

    Returns:
        What its codes lose more, or how much nearer these videos lie in the measure of that; 0 where it is nothing.
        None where the collection has too few videos, or nobody knows what the model was made of.
    """
    batch = _sample(model, store, rows_by_id(store, without))
    if batch is None or (fitted_loss is None and model.nearness is None):
        return None
    if fitted_loss is None:
        here = mean_nearness(model.encode_videos(batch), model.config.level_weights)
        more = (here - (model.nearness or 0.0)) * REFIT / MOST_NEARER
    else:
        codes, books = model.encode_codes(batch), model.codebooks
        given_back = books[np.arange(len(books)), codes].reshape(len(codes), -1)
        turned = model.encode_video_queries(batch).reshape(len(codes), -1)
        more = mean_loss(turned, given_back) - fitted_loss
    return round(min(max(more, 0.0), 1.0), 4)


def mean_loss(vectors: NDArray[np.float32], given_back: NDArray[np.float32]) -> float:
    """Share of vectors that their codes do not give back, the mean of 1 − cos² between the two; lengths do not count.

    Args:
        vectors: [n, …].
        given_back: [n, …], the codewords of their codes, side by side.
    """
    flat, coded = vectors.reshape(len(vectors), -1), given_back.reshape(len(vectors), -1)
    lengths = np.linalg.norm(flat, axis=1) * np.linalg.norm(coded, axis=1)
    cosines = (flat * coded).sum(1) / np.maximum(lengths, 1e-9)
    return float((1 - np.square(cosines)).mean())
