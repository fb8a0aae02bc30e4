"""Cutting tokens into segments against a plain loop."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.datasets.segments import cut_tokens, cut_videos, segment_range
from hcq_cli.features.records import Ragged


def test_segments_are_equally_long_and_no_longer_than_asked() -> None:
    found = cut_videos([65.0, 30.0, 0.0, 30.1], 30.0)
    assert [(segment.video, segment.start_s) for segment in found] == [
        (0, 0.0), (0, 65 / 3), (0, 130 / 3), (1, None), (2, None), (3, 0.0), (3, 15.05),
    ]  # fmt: skip
    assert found[2].end_s == 65.0


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 12)), max_size=6), st.floats(1, 40), st.integers(0, 9))
def test_every_token_lies_in_the_segment_of_its_time(
    videos: list[tuple[float, int]], segment_s: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    durations = [duration for duration, _ in videos]
    times = [np.where(rng.random(n) < 0.2, np.nan, rng.random(n) * (d + 1)).astype("f") for d, n in videos]
    offsets = np.cumsum([0, *map(len, times)])
    joined = np.concatenate([np.zeros(0, np.float32), *times])
    features = np.arange(len(joined), dtype=np.float32)[:, None]
    segments = cut_videos(durations, segment_s)
    found = cut_tokens({"e": Ragged(features, joined, offsets)}, segments, durations)["e"]
    for at, segment in enumerate(segments):
        count = sum(other.video == segment.video for other in segments)
        place = at - min(i for i, other in enumerate(segments) if other.video == segment.video)
        length = max(durations[segment.video], 1e-9) / count
        wanted = [
            token
            for token in range(offsets[segment.video], offsets[segment.video + 1])
            if math.isnan(joined[token]) or min(int(np.float64(joined[token]) / length), count - 1) == place
        ]
        inside = found.features[found.offsets[at] : found.offsets[at + 1], 0]
        assert inside.tolist() == wanted
        alone = segment_range({"e": found}, at, at + 1)["e"]
        assert alone.features[:, 0].tolist() == wanted and alone.offsets.tolist() == [0, len(wanted)]
