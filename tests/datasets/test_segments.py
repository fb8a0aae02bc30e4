"""How videos are cut, and the tokens of each segment against a plain loop."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.datasets.segments import WHOLE, Cutting, VideoSegment, cut_tokens, cut_video, look_edges, shot_edges
from hcq_cli.features.records import Ragged

TEN = Cutting(10.0, shots=False)


def bounds(segments: list[VideoSegment]) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in segments]


def test_windows_overlap_by_half_up_to_the_end() -> None:
    assert bounds(cut_video(0, 20.0, TEN)) == [(0, 10), (5, 15), (10, 20)]
    assert bounds(cut_video(0, 20.00001, TEN))[-1] == (10, 20.00001), "the clock of a container is not exact"
    assert bounds(cut_video(0, 21.0, TEN))[-1] == (15, 21)
    assert [segment.last for segment in cut_video(3, 21.0, TEN)] == [False, False, False, True]
    assert [cut_video(0, duration, TEN) for duration in (0.0, math.nan, 9.0, 15.0)] == [[], [], [], []]
    assert cut_video(0, 7200.0, WHOLE) == [] and len(cut_video(0, 7200.0, Cutting())) == 1439


@given(st.floats(0, 300), st.floats(1, 100))
def test_every_second_lies_in_a_window_and_none_is_short(duration_s: float, window_s: float) -> None:
    found = bounds(cut_video(0, duration_s, Cutting(window_s, shots=False)))
    assert not found or (found[0][0], found[-1][1]) == (0, duration_s)
    for start_s, end_s in found:
        assert window_s / 2 < end_s - start_s <= window_s + 0.051
    assert all(after[0] < before[1] < after[1] for before, after in pairwise(found))


def middles_of(edges: list[float], duration_s: float) -> np.ndarray:
    """What the expert `scene` says of shots between these edges: it looks at thirty seconds at a time."""
    every = sorted({0.0, *edges, *(30.0 * piece for piece in range(math.ceil(duration_s / 30))), duration_s})
    return np.array([(start + end) / 2 for start, end in pairwise(every)], np.float32)


@given(st.lists(st.integers(20, 600), max_size=100), st.sampled_from([0.5, 1.5, 7.0]))
def test_edges_of_shots_are_found_again_from_their_middles(tenths: list[int], rest_s: float) -> None:
    edges = (np.cumsum(tenths) / 10).tolist()
    duration_s = (edges[-1] if edges else 0) + rest_s
    # An edge at the end of a piece cannot be told from that end.
    assert shot_edges(middles_of(edges, duration_s)) == pytest.approx([edge for edge in edges if edge % 30], abs=0.05)


def test_shots_are_segments_and_long_ones_are_windows() -> None:
    edges = shot_edges(middles_of([4.0, 4.4, 12.0, 29.5], 30.0))
    found = bounds(cut_video(0, 30.0, Cutting(), edges))
    expected = [(0, 4), (4, 12), (12, 22), (17, 27), (22, 30)]
    assert np.allclose(found, expected, atol=1e-3), "a flash of 0.4 s belongs to the next shot"
    assert bounds(cut_video(0, 30.0, Cutting())) == bounds(cut_video(0, 30.0, TEN))
    assert bounds(cut_video(0, 30.0, TEN, edges)) == bounds(cut_video(0, 30.0, TEN))
    assert bounds(cut_video(0, 14.0, Cutting(), edges)) == []


def test_where_the_look_changes_at_once_a_shot_begins() -> None:
    rng = np.random.default_rng(0)
    looks = np.repeat(rng.normal(size=(3, 64)), [7, 5, 8], axis=0) + 0.1 * rng.normal(size=(20, 64))
    times = np.arange(20, dtype=np.float32) / 2
    assert look_edges(looks.astype(np.float32), times) == [3.5, 6.0]
    # Where everything changes all the time nothing is a cut; nor where nothing does, or nothing is known.
    assert look_edges(rng.normal(size=(20, 64)).astype(np.float32), times) == []
    assert look_edges(np.zeros((20, 64), np.float32), times) == look_edges(np.ones((20, 64), np.float32), times) == []
    assert look_edges(looks.astype(np.float32), np.full(20, np.nan, np.float32)) == []
    assert look_edges(looks[:1].astype(np.float32), times[:1]) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 12)), max_size=6), st.floats(1, 40), st.integers(0, 9))
def test_every_token_lies_in_the_segments_of_its_time(
    videos: list[tuple[float, int]], window_s: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    durations = [duration for duration, _ in videos]
    times = [np.where(rng.random(n) < 0.2, np.nan, rng.random(n) * (d + 1)).astype("f") for d, n in videos]
    offsets = np.cumsum([0, *map(len, times)])
    joined = np.concatenate([np.zeros(0, np.float32), *times])
    features = np.arange(len(joined), dtype=np.float32)[:, None]
    cutting = Cutting(window_s, shots=False)
    segments = [one for video, duration in enumerate(durations) for one in cut_video(video, duration, cutting)]
    cut, own = cut_tokens({"e": Ragged(features, joined, offsets)}, segments)
    found = cut["e"]
    for at, segment in enumerate(segments):
        tokens = range(offsets[segment.video], offsets[segment.video + 1])
        end_s = math.inf if segment.last else segment.end_s
        inside = {token for token in tokens if segment.start_s <= joined[token] < end_s}
        untimed = {token for token in tokens if math.isnan(joined[token])}
        part = slice(found.offsets[at], found.offsets[at + 1])
        has, seconds = set(found.features[part, 0].astype(int)), found.times[part]
        assert bool(own[at]) == bool(inside)
        assert untimed <= has and (has == inside | untimed if inside else len(has - untimed) <= 1)
        timed = np.isfinite(seconds)
        assert (np.diff(seconds[timed]) >= 0).all() and (seconds[timed] >= 0).all()
        order = found.features[part, 0].astype(int)[timed]
        assert np.allclose(seconds[timed], np.maximum(joined[order] - segment.start_s, 0), atol=1e-4)


def test_a_token_that_speaks_of_a_short_shot_is_lent_to_it() -> None:
    heard = Ragged(np.arange(4, dtype=np.float32)[:, None], np.array([5, 15, 25, 90], "f"), np.array([0, 4]))
    shots = [VideoSegment(0, *pair) for pair in ((0, 4), (6, 9), (40, 80), (80, 100))]
    cut, own = cut_tokens({"sound": heard}, shots)
    parts = [cut["sound"].features[a:b, 0].tolist() for a, b in pairwise(cut["sound"].offsets)]
    assert (parts, own.tolist()) == ([[0], [0], [], [3]], [False, False, False, True])


def test_hours_are_looked_at_without_copies_of_them() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(1000, 64)), 20, axis=0).astype(np.float32)
    tracemalloc.start()
    edges = look_edges(features, np.arange(len(features), dtype=np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert edges == [20.0 * scene for scene in range(1, 1000)]
    assert peak < features.nbytes / 2
