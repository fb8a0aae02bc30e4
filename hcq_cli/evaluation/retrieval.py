"""Retrieval over a set of captioned videos: by codes and by the dense vectors, text to video and video to text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.features import Features
from hcq_cli.datasets.splits import Split
from hcq_cli.evaluation.metrics import Metrics, score_blocks, summarise, text_to_video_ranks, video_to_text_ranks
from hcq_cli.evaluation.scores import DenseScores, LookUpScores, Scores
from hcq_cli.files import write_json
from hcq_cli.headers import decode_file
from hcq_cli.model.encoding import Encoded, Progress, encode_both
from hcq_cli.model.trained_model import Model

FORMAT, VERSION = "hcq-evaluation", 1
"""Of what `hcq eval` measured last, kept in the workspace for `hcq report`."""


@dataclass(frozen=True)
class RetrievalMetrics:
    """Recalls and ranks of both directions.

    Args:
        t2v: text-to-video.
        v2t: video-to-text.
    """

    t2v: Metrics
    v2t: Metrics

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Both directions as `hcq eval --json` and metrics.jsonl hold them."""
        return {"t2v": self.t2v.to_dict(), "v2t": self.v2t.to_dict()}


@dataclass(frozen=True)
class RecallPoint:
    """One way of storing the videos, and how well it retrieves: a line of the table, a point of the picture.

    Args:
        name: "codes", "dense", or a post-compression method.
        bytes_per_video: it takes.
        metrics: both ways.
    """

    name: str
    bytes_per_video: int
    metrics: RetrievalMetrics


@dataclass(frozen=True)
class RetrievalResult:
    """How a model retrieves.

    Args:
        quantized: by the uint8 codes (t2v: videos are codes; v2t: captions are codes); of HCT `dense`.
        dense: by the float vectors.
        bytes_per_video: S.
        dense_bytes_per_video: of the float32 vectors.
        videos, texts: how many.
    """

    quantized: RetrievalMetrics
    dense: RetrievalMetrics
    bytes_per_video: int
    dense_bytes_per_video: int
    videos: int
    texts: int

    def points(self) -> list[RecallPoint]:
        """The model's codes and its dense vectors; HCT, which has no codes, its dense vectors alone."""
        codes = RecallPoint("codes", self.bytes_per_video, self.quantized)
        dense = RecallPoint("dense", self.dense_bytes_per_video, self.dense)
        return [codes, dense] if self.bytes_per_video != self.dense_bytes_per_video else [dense]


def evaluate(model: Model, features: Features, split: Split, done: Progress | None = None) -> RetrievalResult:
    """Retrieve every caption's video and every video's captions among those of `split`.

    Args:
        features: where the videos' features are read from.
        split: the videos and their captions; at least one.
        done: called with the number of videos encoded since the last call.
    """
    return evaluate_vectors(model, encode_both(model, features, split, done))


def evaluate_vectors(model: Model, encoded: Encoded) -> RetrievalResult:
    """`evaluate`, of vectors that are there already."""
    videos, texts, owner = encoded.videos, encoded.texts, encoded.owner
    scores = DenseScores(texts, videos, model.config.level_weights)
    dense = both_directions(scores, scores.T, owner)
    quantized = dense
    if model.config.known_kind.has_codes:
        # Unlike the dense scores the two directions are not each other's transpose, for each has its own side
        # quantized.
        codes = model.quantize(texts, "texts")
        v2t = LookUpScores(model.search_vectors(videos), codes, model.codebooks, model.scale)
        quantized = both_directions(scores_of_captions(model, encoded), v2t, owner)
    return RetrievalResult(
        quantized,
        dense,
        bytes_per_video=model.config.bytes_per_video,
        dense_bytes_per_video=model.config.dense_bytes_per_video,
        videos=len(videos),
        texts=len(texts),
    )


def scores_of_captions(model: Model, encoded: Encoded) -> Scores:
    """Scores [Q, N] of captions with videos, as a search has them: queries stay floats, videos are codes (if any)."""
    if not model.config.known_kind.has_codes:
        return DenseScores(encoded.texts, encoded.videos, model.config.level_weights)
    codes = model.quantize(encoded.videos, "videos")
    return LookUpScores(model.search_vectors(encoded.texts), codes, model.codebooks, model.scale)


def found_by_captions(model: Model, encoded: Encoded) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What each caption finds.

    Returns:
        float64 [Q], the rank of its own video, from 1, of ties the middle; int64 [Q], the video that stands first.
    """
    scores, first = scores_of_captions(model, encoded), np.empty(len(encoded.owner), np.int64)
    for at, block in score_blocks(scores):
        first[at : at + len(block)] = block.argmax(1)
    return text_to_video_ranks(scores, encoded.owner) + 1, first


def both_directions(t2v: Scores, v2t: Scores, owner: NDArray[np.int64]) -> RetrievalMetrics:
    """Metrics of both directions.

    Args:
        t2v: scores of captions with videos, [Q, N].
        v2t: scores of videos with captions, [N, Q].
        owner: int64 [Q], each caption's video.
    """
    return RetrievalMetrics(summarise(text_to_video_ranks(t2v, owner)), summarise(video_to_text_ranks(v2t, owner)))


@dataclass(frozen=True)
class SavedEvaluation:
    """Recall against bytes.

    Args:
        title: how many videos and captions of which split.
        model: its hash.
        points: codes, dense vectors, and what was compared with them.
    """

    title: str
    model: str
    points: tuple[RecallPoint, ...]


def write_evaluated(path: Path, found: SavedEvaluation) -> None:
    """Replace what was measured before. Raises OSError where it cannot be written."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(found)})


def read_evaluated(path: Path) -> SavedEvaluation:
    """What was measured last.

    Raises:
        NotFoundError: nothing was.
        DamagedError: the file is damaged, foreign, or of a newer hcq.
    """
    absent = "the model was not evaluated yet"
    return decode_file(SavedEvaluation, path, "hcq eval", format_name=FORMAT, version=VERSION, absent=absent)
