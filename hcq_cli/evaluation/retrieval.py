"""Retrieval over a set of captioned videos: by codes and by the dense vectors, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.features import Features
from hcq_cli.datasets.parts import Part
from hcq_cli.evaluation.metrics import Metrics, summarise, text_to_video_ranks, video_to_text_ranks
from hcq_cli.evaluation.scores import DenseScores, LookUpScores, Scores
from hcq_cli.model.checkpoint import Model
from hcq_cli.model.vectors import Encoded, Progress, encode_both


@dataclass(frozen=True)
class Both:
    """Text-to-video and video-to-text.

    Args:
        t2v, v2t: the two directions.
    """

    t2v: Metrics
    v2t: Metrics

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Both directions as `hcq eval --json` and metrics.jsonl hold them."""
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


def both_ways(t2v: Scores, v2t: Scores, owner: NDArray[np.int64]) -> Both:
    """Metrics of scores [Q, N] and [N, Q]; `owner` int64 [Q] is each caption's video."""
    return Both(summarise(text_to_video_ranks(t2v, owner)), summarise(video_to_text_ranks(v2t, owner)))


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
    scores = DenseScores(texts, videos, model.config.level_weights)
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
    t2v = LookUpScores(model.search_vectors(texts), model.quantize(videos, "videos"), books, scale)
    v2t = LookUpScores(model.search_vectors(videos), model.quantize(texts, "texts"), books, scale)
    return both_ways(t2v, v2t, owner)
