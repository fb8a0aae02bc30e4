"""Long videos cut into time slices of equal length, so that a query can say where in a video it was found.

Letters: B videos, G segments of all of them, n tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hcq_cli.features.records import Ragged


@dataclass(frozen=True)
class VideoSegment:
    """A time slice of a video.

    Args:
        video: number of the video in its batch.
        start_s, end_s: seconds; None for a whole video.
    """

    video: int
    start_s: float | None = None
    end_s: float | None = None


def cut_videos(durations_s: Sequence[float], segment_s: float) -> list[VideoSegment]:
    """Segments of at most `segment_s` seconds, the segments of a video equally long; a short video stays whole.

    Args:
        durations_s: of B videos, seconds.
        segment_s: the longest segment, seconds.
    """
    found: list[VideoSegment] = []
    for video, duration_s in enumerate(durations_s):
        # The tolerance keeps 60.0000001 seconds of a container's clock from being three segments of thirty.
        count = max(1, math.ceil(duration_s / segment_s - 1e-6))
        bounds = [at * duration_s / count for at in range(count + 1)]
        segments = [VideoSegment(video, *pair) for pair in pairwise(bounds)]
        found += segments if count > 1 else [VideoSegment(video)]
    return found


def cut_tokens(
    ragged: Mapping[str, Ragged], segments: Sequence[VideoSegment], durations_s: Sequence[float]
) -> dict[str, Ragged]:
    """The tokens of each segment. A token without a time belongs to every segment of its video.

    Args:
        ragged: expert -> tokens of B videos.
        segments: the G of `cut_videos`.
        durations_s: of the B videos, seconds.
    """
    videos = np.array([segment.video for segment in segments], np.int64)
    counts = np.bincount(videos, minlength=len(durations_s))
    firsts = np.cumsum(counts) - counts
    lengths_s = np.maximum(np.asarray(durations_s, np.float64), 1e-9) / np.maximum(counts, 1)
    return {name: _cut_expert(tokens, counts, firsts, lengths_s) for name, tokens in ragged.items()}


def _cut_expert(
    tokens: Ragged, counts: NDArray[np.int64], firsts: NDArray[np.int64], lengths_s: NDArray[np.float64]
) -> Ragged:
    """The tokens of one expert, segment after segment.

    Args:
        tokens: of B videos.
        counts: int64 [B], segments of each video.
        firsts: int64 [B], number of each video's first segment.
        lengths_s: float64 [B], how long each video's segments are.
    """
    video = np.repeat(np.arange(len(counts)), np.diff(tokens.offsets))
    timed = np.isfinite(tokens.times)
    # Rounding, or a token just past the end that the file announced, must not leave the last segment.
    places = np.floor(np.where(timed, tokens.times, 0) / lengths_s[video]).astype(np.int64)
    places = np.clip(places, 0, counts[video] - 1)
    # A token without a time becomes as many copies as its video has segments, the j-th copy for the j-th segment.
    copies = np.where(timed, 1, counts[video])
    source = np.repeat(np.arange(len(video)), copies)
    nth_copy = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies)
    owner = firsts[video[source]] + np.where(timed[source], places[source], nth_copy)
    # Stable, so that the tokens of a segment stay in order of time.
    order = np.argsort(owner, kind="stable")
    offsets = np.zeros(int(counts.sum()) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(offsets) - 1), out=offsets[1:])
    return Ragged(tokens.features[source[order]], tokens.times[source[order]], offsets)


def segment_range(tokens: Mapping[str, Ragged], start: int, stop: int) -> dict[str, Ragged]:
    """The tokens of segments `start` to `stop`, views of those of all of them."""
    found = {}
    for name, whole in tokens.items():
        first, last = whole.offsets[start], whole.offsets[stop]
        offsets = whole.offsets[start : stop + 1] - first
        found[name] = Ragged(whole.features[first:last], whole.times[first:last], offsets)
    return found
