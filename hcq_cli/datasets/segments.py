"""Long videos cut into time segments, so that a query finds the second and not only the video.

A video is cut where its shots end: where the expert `scene` says so, else where the look of its frames changes at
once. Long shots, and videos of which neither is known, are cut into windows of which each overlaps half of the next:
what happens at the edge of one lies in the middle of another.
Letters: B videos, G segments of all of them, n tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from experts.base import SEGMENT_S
from hcq_cli.features.records import Ragged
from hcq_cli.features.stored_tokens import AnyRagged, StoredFeatures

SHOTS, LOOK = "scene", "appearance"
"""The expert that says where shots end, and that by whose tokens one can see it else."""
LONGEST = 1.5
"""Windows that a video, or a shot, may last and stay in one piece: two windows would be nearly the same."""
SHORTEST_SHOT_S = 1.0
"""Of shorter shots several make a segment: a flash is no moment, and has hardly a token of its own."""
CHANGE, TIMES_THE_USUAL = 0.2, 5.0
"""Frames look so differently where a shot ends, by their cosine: at least, and in proportion to the video's median.
Of neighbouring descriptors of 20 films joined of the demo's clips 1 in 100 changes more inside of a clip, and 1 in
100 less from one to the next."""
LOOKS_AT_ONCE = 1024
TOLERANCE_S = 0.05
"""Ids give segments to tenths of a second; the clock of a container is not more exact either."""


@dataclass(frozen=True)
class Cutting:
    """How videos are cut.

    Args:
        window_s: length of a window, seconds; None to leave all videos whole.
        shots: whether to cut where shots end, too.
    """

    window_s: float | None = 10.0
    shots: bool = True


WHOLE = Cutting(None, shots=False)
"""Videos are not cut."""


@dataclass(frozen=True)
class VideoSegment:
    """A time slice of a video.

    Args:
        video: number of the video in its batch.
        start_s, end_s: seconds.
        last: whether the video ends with it: it then has what lies behind its end, too.
    """

    video: int
    start_s: float
    end_s: float
    last: bool = False


def cut_video(video: int, duration_s: float, cutting: Cutting, edges: Sequence[float] = ()) -> list[VideoSegment]:
    """The segments of a video in the order of time; none of a short one, or one whose duration is not known.

    Args:
        video: its number in its batch.
        duration_s: seconds; 0 or NaN if unknown.
        cutting: how to cut.
        edges: where shots end and the next begin, seconds, as `shot_edges` or `look_edges` give them.
    """
    window_s = cutting.window_s
    if window_s is None or not duration_s > LONGEST * window_s:
        return []
    kept = [0.0]
    for edge_s in edges if cutting.shots else ():
        if edge_s - kept[-1] >= SHORTEST_SHOT_S and duration_s - edge_s >= SHORTEST_SHOT_S:
            kept.append(edge_s)
    bounds = [bound for shot in pairwise([*kept, duration_s]) for bound in _windows(*shot, window_s)]
    return [VideoSegment(video, *bound, last=number == len(bounds)) for number, bound in enumerate(bounds, 1)]


def _windows(start_s: float, end_s: float, window_s: float) -> list[tuple[float, float]]:
    """Windows over a stretch of time, each half over the next, the last one shorter; one where it is not long."""
    length_s, step_s = end_s - start_s, window_s / 2
    if length_s <= LONGEST * window_s:
        return [(start_s, end_s)]
    count = 1 + math.ceil((length_s - window_s - TOLERANCE_S) / step_s)
    starts = [start_s + number * step_s for number in range(count)]
    return [*((start, start + window_s) for start in starts[:-1]), (starts[-1], end_s)]


def look_edges(features: NDArray[np.float32] | StoredFeatures, times: NDArray[np.float32]) -> list[float]:
    """Where shots seem to begin, by how frames look: at the first frame of each, seconds, the first shot left out.

    Args:
        features: float32 [n, dim], a token a frame.
        times: float32 [n], rising, seconds.
    """
    if len(times) < 2 or not np.isfinite(times).all():
        return []
    changes = np.empty(len(times) - 1, np.float32)
    for start in range(0, len(changes), LOOKS_AT_ONCE):  # hours of them all at once would be held three times
        looks = features[start : start + LOOKS_AT_ONCE + 1]
        looks = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
        changes[start : start + LOOKS_AT_ONCE] = 1 - (looks[1:] * looks[:-1]).sum(1)
    least = max(CHANGE, TIMES_THE_USUAL * float(np.median(changes)))
    return [float(time) for time in times[1:][changes >= least]]


def shot_edges(middles: NDArray[np.float32]) -> list[float]:
    """Where shots begin, seconds, the first one left out.

    Args:
        middles: float32 [shots] of `experts.scene`, which sees pieces of `SEGMENT_S` seconds: inside of a piece a
            shot begins where the one before it ends, and so lasts twice from there to its middle.
    """
    edges: list[float] = []
    # A piece at a time, so that what rounding adds does not grow over hours. Its last shot ends because the piece
    # does: that is no cut.
    for piece, group in groupby(middles[np.isfinite(middles)].tolist(), lambda time: int(time // SEGMENT_S)):
        edge_s = float(piece * SEGMENT_S)
        for middle_s in list(group)[:-1]:
            edge_s = max(edge_s, 2 * middle_s - edge_s)
            edges.append(edge_s)
    return edges


def cut_tokens(
    ragged: Mapping[str, AnyRagged], segments: Sequence[VideoSegment]
) -> tuple[dict[str, Ragged], NDArray[np.bool_]]:
    """The tokens of some segments, with times that count from the segment's start, as those of a whole video do.

    A token without a time belongs to every segment of its video. Where an expert has none in a segment, but looks at
    the video so rarely that its next one speaks of that segment too, it gets that one.

    Args:
        ragged: expert -> tokens of B videos.
        segments: G of them, those of a video together.

    Returns:
        expert -> tokens of the G segments; bool [G], which of them have a token of their own: the others are as
        good as empty.
    """
    own = np.zeros(len(segments), bool)
    found = {name: _cut_expert(tokens, segments, own) for name, tokens in ragged.items()}
    return found, own


def _cut_expert(tokens: AnyRagged, segments: Sequence[VideoSegment], own: NDArray[np.bool_]) -> Ragged:
    """The tokens of one expert, segment after segment; marks in `own`, bool [G], who has one of its own."""
    taken: list[NDArray[np.int64]] = []
    for video, group in groupby(segments, lambda segment: segment.video):
        part, first = list(group), int(tokens.offsets[video])
        times = tokens.times[first : int(tokens.offsets[video + 1])]
        # Stable, so that tokens of one time stay in their order; those without a time come last.
        order = np.argsort(times, kind="stable")
        timed = int(np.isfinite(times).sum())
        at, untimed = times[order[:timed]], order[timed:]
        starts = np.searchsorted(at, [segment.start_s for segment in part])
        stops = np.searchsorted(at, [math.inf if segment.last else segment.end_s for segment in part])
        own[len(taken) : len(taken) + len(part)] |= starts < stops
        for segment, start, stop in zip(part, starts.tolist(), stops.tolist(), strict=True):
            inside = order[start:stop] if start < stop else order[_nearest(at, segment)]
            taken.append(first + np.concatenate([inside, untimed]))
    lengths = [len(one) for one in taken]
    source = np.concatenate([np.empty(0, np.int64), *taken])
    begins = np.repeat([segment.start_s for segment in segments], lengths).astype(np.float32)
    times = np.maximum(tokens.times[source] - begins, 0)  # of a token without a time: none
    return Ragged(tokens.features[source], times, np.append(0, np.cumsum(lengths)).astype(np.int64))


def _nearest(times: NDArray[np.float32], segment: VideoSegment) -> NDArray[np.int64]:
    """The token of ascending times [n] that speaks of a segment in which none lies: its number, or none."""
    if len(times) < 2:
        return np.empty(0, np.int64)
    middle = (segment.start_s + segment.end_s) / 2
    number = int(np.abs(times - middle).argmin())
    # A token stands for the time up to half way to the next one.
    reach = float(np.median(np.diff(times))) / 2
    return np.array([number] if abs(float(times[number]) - middle) <= reach else [], np.int64)
