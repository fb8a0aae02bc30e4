"""Captioned videos as dense vectors in memory: what quantizers are fitted on and retrieval is measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import collate, in_order
from hcq_cli.datasets.features import Features
from hcq_cli.datasets.splits import Split
from hcq_cli.model.checkpoint import Model

VIDEOS_AT_ONCE = 64
FIT_VECTORS = 32_768

Progress = Callable[[int], None]
"""Called with the number of videos encoded since the last call."""


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

    @property
    def all(self) -> NDArray[np.float32]:
        """Videos and texts one after the other, float32 [N + Q, L+1, D]."""
        return np.concatenate([self.videos, self.texts])


def encode_both(model: Model, features: Features, part: Split, done: Progress | None = None) -> Encoded:
    """The dense vectors of the videos of `part` and of their captions.

    Raises:
        HcqError: the features lack every expert of the model.
    """
    experts = model.known_experts(features.experts)
    videos = [np.zeros((0, model.config.levels + 1, model.config.embedding_width), np.float32)]
    for at in in_order(len(part), VIDEOS_AT_ONCE):
        batch = collate(features.read(part.rows[at], experts), model.config.video.max_tokens)
        videos.append(model.encode_videos(batch))
        if done is not None:
            done(len(at))
    return Encoded(np.concatenate(videos), model.encode_texts(part.sentences), part.owner)


def training_vectors(model: Model, features: Features, part: Split, limit: int = FIT_VECTORS) -> Encoded:
    """Dense vectors of training videos and captions to fit quantizers on, at most `limit` together.

    Of a larger set every so-manyth video is taken, with all its captions as far as there is room.
    """
    captions = len(part.sentences) / max(len(part), 1)
    step = -(-int(len(part) * (1 + captions)) // limit) or 1
    kept = Split(part.rows[::step], list(part.captions)[::step], part.groups[::step])
    encoded = encode_both(model, features, kept)
    room = max(limit - len(encoded.videos), 0)
    return Encoded(encoded.videos[:limit], encoded.texts[:room], encoded.owner[:room])
