"""Retrieval over a set of captioned videos: by codes and by the dense vectors, both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.data.batches import collate, in_order
from hcq_cli.evaluation.metrics import Metrics, summarise, text_to_video_ranks, video_to_text_ranks
from hcq_cli.model.checkpoint import Model
from hcq_cli.search.blocks import to_blocks
from hcq_cli.search.kernel import default_threads, scan
from hcq_cli.search.table import tables
from hcq_cli.training.dataset import Features, Part

VIDEOS_AT_ONCE = 64
QUERIES_AT_ONCE = 256

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Both:
    """Text-to-video and video-to-text.

    Args:
        t2v, v2t: the two directions.
    """

    t2v: Metrics
    v2t: Metrics

    def to_dict(self) -> dict[str, dict[str, float]]:
        """For JSON."""
        return {"t2v": self.t2v.to_dict(), "v2t": self.v2t.to_dict()}


@dataclass(frozen=True)
class Retrieval:
    """How a model retrieves.

    Args:
        quantized: by the uint8 codes (t2v: videos are codes; v2t: captions are codes); of HCT `dense`.
        dense: by the float vectors.
        bytes_per_video: S.
        dense_bytes_per_video: of the float32 vectors.
        videos, texts: how many.
    """

    quantized: Both
    dense: Both
    bytes_per_video: int
    dense_bytes_per_video: int
    videos: int
    texts: int


def encode_part(
    model: Model, features: Features, rows: NDArray[np.int64], done: Progress | None = None
) -> NDArray[np.float32]:
    """Dense levels of the videos of `rows`: float32 [N, L+1, D]."""
    parts = [np.zeros((0, model.config.levels + 1, model.config.embedding_width), np.float32)]
    for at in in_order(len(rows), VIDEOS_AT_ONCE):
        batch = collate(features.read(rows[at], list(model.config.experts)), model.config.video.max_tokens)
        parts.append(model.encode_videos(batch))
        if done is not None:
            done(len(at))
    return np.concatenate(parts)


def look_up_scores(
    levels: NDArray[np.float32], codes: NDArray[np.uint8], codebooks: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Hybrid scores of every query with every coded item, by the tables and the scan that `hcq query` searches with.

    They are canonical sums (`search.kernel`), so what ties in a search ties here, and nothing else does.

    Args:
        levels: float32 [Q, L+1, D], dense queries, as `Model.search_vectors` gives them.
        codes: uint8 [N, S].
        codebooks: float32 [S, K, d].
        scale: float32 [S].

    Returns:
        float64 [Q, N].
    """
    scores, blocks = np.zeros((len(levels), len(codes))), to_blocks(codes)
    for first in range(0, len(levels), QUERIES_AT_ONCE):
        table = tables(levels[first : first + QUERIES_AT_ONCE], codebooks, scale)
        found = scan([blocks], table, len(codes), threads=default_threads())
        np.put_along_axis(scores[first : first + QUERIES_AT_ONCE], found.rows, found.scores, 1)
    return scores


def dense_scores(
    queries: NDArray[np.float32], items: NDArray[np.float32], weights: Sequence[float]
) -> NDArray[np.float32]:
    """Σ_l w_l cos_l: float32 [Q, L+1, D] × [N, L+1, D] → [Q, N]."""
    weighted = queries * np.asarray(weights, np.float32)[:, None]
    scores = weighted.reshape(len(queries), -1) @ items.reshape(len(items), -1).T
    return np.asarray(scores, np.float32)


def both_ways(t2v: NDArray[np.floating], v2t: NDArray[np.floating], owner: NDArray[np.int64]) -> Both:
    """Metrics of scores [Q, N] and [N, Q]; `owner` int64 [Q] is each caption's video."""
    return Both(summarise(text_to_video_ranks(t2v, owner)), summarise(video_to_text_ranks(v2t, owner)))


@dataclass(frozen=True)
class Encoded:
    """A set of captioned videos as dense vectors.

    Args:
        videos: float32 [N, L+1, D].
        texts: float32 [Q, L+1, D].
        owner: int64 [Q], position of each text's video.
    """

    videos: NDArray[np.float32]
    texts: NDArray[np.float32]
    owner: NDArray[np.int64]


def encode_both(model: Model, features: Features, part: Part, done: Progress | None = None) -> Encoded:
    """The dense vectors of the videos of `part` and of their captions; `done` is called as in `evaluate`."""
    return Encoded(encode_part(model, features, part.rows, done), model.encode_texts(part.sentences), part.owner)


def evaluate(model: Model, features: Features, part: Part, done: Progress | None = None) -> Retrieval:
    """Retrieve every caption's video and every video's captions among those of `part`.

    Args:
        model: trained.
        features: where the videos' features are read from.
        part: the videos and their captions; at least one.
        done: called with the number of videos encoded since the last call.
    """
    return measure(model, encode_both(model, features, part, done))


def measure(model: Model, encoded: Encoded) -> Retrieval:
    """`evaluate`, of vectors that are there already."""
    videos, texts, owner = encoded.videos, encoded.texts, encoded.owner
    scores = dense_scores(texts, videos, model.config.level_weights)
    dense = both_ways(scores, scores.T, owner)
    return Retrieval(
        dense if model.config.kind == "hct" else _by_codes(model, texts, videos, owner),
        dense,
        model.config.bytes_per_video,
        model.config.dense_bytes_per_video,
        len(videos),
        len(texts),
    )


def _by_codes(
    model: Model, texts: NDArray[np.float32], videos: NDArray[np.float32], owner: NDArray[np.int64]
) -> Both:
    books, scale = model.codebooks, model.scale
    t2v = look_up_scores(model.search_vectors(texts), model.quantize(videos), books, scale)
    v2t = look_up_scores(model.search_vectors(videos), model.quantize(texts), books, scale)
    return both_ways(t2v, v2t, owner)
