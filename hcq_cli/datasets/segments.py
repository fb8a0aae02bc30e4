"""Long videos cut in stretches of equal length, so that a query can say where in a video it was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import RaggedTokens
from hcq_cli.features.records import Ragged


@dataclass(frozen=True)
class Stretch:
    """A part of a video.

    Args:
        video: number of the video in its batch.
        start_s, end_s: seconds; None for a whole video.
    """

    video: int
    start_s: float | None = None
    end_s: float | None = None


def cut(durations_s: Sequence[float], segment_s: float) -> list[Stretch]:
    """Stretches of at most `segment_s` seconds, the stretches of a video equally long; a short video stays whole.

    Args:
        durations_s: of B videos, seconds.
        segment_s: the longest stretch, seconds.
    """
    found: list[Stretch] = []
    for video, duration_s in enumerate(durations_s):
        count = max(1, math.ceil(duration_s / segment_s - 1e-6))
        bounds = [at * duration_s / count for at in range(count + 1)]
        parts = [Stretch(video, *pair) for pair in pairwise(bounds)]
        found += parts if count > 1 else [Stretch(video)]
    return found


def cut_tokens(
    ragged: Mapping[str, RaggedTokens], stretches: Sequence[Stretch], durations_s: Sequence[float]
) -> dict[str, Ragged]:
    """The tokens of each stretch. A token without a time belongs to every stretch of its video.

    Args:
        ragged: expert -> tokens of B videos.
        stretches: from `cut`.
        durations_s: of the B videos, seconds.
    """
    videos = np.array([stretch.video for stretch in stretches], np.int64)
    counts = np.bincount(videos, minlength=len(durations_s))
    firsts = np.cumsum(counts) - counts
    lengths_s = np.maximum(np.asarray(durations_s, np.float64), 1e-9) / np.maximum(counts, 1)
    return {name: _cut_expert(tokens, counts, firsts, lengths_s) for name, tokens in ragged.items()}


def _cut_expert(
    tokens: RaggedTokens, counts: NDArray[np.int64], firsts: NDArray[np.int64], lengths_s: NDArray[np.float64]
) -> Ragged:
    video = np.repeat(np.arange(len(counts)), np.diff(tokens.offsets))
    timed = np.isfinite(tokens.times)
    # Rounding, or a token just past the end that the file announced, must not leave the last stretch.
    places = np.floor(np.where(timed, tokens.times, 0) / lengths_s[video]).astype(np.int64)
    places = np.clip(places, 0, counts[video] - 1)
    copies = np.where(timed, 1, counts[video])
    source = np.repeat(np.arange(len(video)), copies)
    nth = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies)
    owner = firsts[video[source]] + np.where(timed[source], places[source], nth)
    order = np.argsort(owner, kind="stable")
    offsets = np.zeros(int(counts.sum()) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(offsets) - 1), out=offsets[1:])
    return Ragged(tokens.features[source[order]], tokens.times[source[order]], offsets)


def part(tokens: Mapping[str, RaggedTokens], start: int, stop: int) -> dict[str, Ragged]:
    """Stretches `start` to `stop`."""
    found = {}
    for name, whole in tokens.items():
        first, last = whole.offsets[start], whole.offsets[stop]
        offsets = whole.offsets[start : stop + 1] - first
        found[name] = Ragged(whole.features[first:last], whole.times[first:last], offsets)
    return found
