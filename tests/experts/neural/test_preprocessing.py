"""Odd frames become presentable, and windows lie evenly over a piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.neural.preprocessing import SLIMMEST, SMALLEST, even_windows, presentable, side_for, window_middles


@pytest.mark.parametrize(("height", "width"), [(1, 300), (300, 1), (3, 3), (90, 160)])
def test_no_side_is_too_short_or_too_slim(height, width):
    image = np.full((height, width, 3), 7, np.uint8)
    shown = presentable(image)
    assert min(shown.shape[:2]) >= SMALLEST and max(shown.shape[:2]) <= SLIMMEST * min(shown.shape[:2])
    assert (shown == 7).all() and (shown is image) == ((height, width) == (90, 160))


@pytest.mark.parametrize(
    ("settings", "side"),
    [({}, 512), ({"size": 224}, 512), ({"size": {"shortest_edge": 384}}, 768), ({"crop_size": [300, 256]}, 600)],
)
def test_frames_are_asked_for_at_twice_what_a_processor_crops(settings, side):
    assert side_for(settings) == side


@given(st.floats(0.01, 30), st.floats(0.1, 12), st.floats(0.02, 1))
def test_windows_lie_on_the_grid_and_within_the_segment(length_s, window_s, step_s):
    starts = even_windows(length_s, window_s, step_s)
    assert starts[0] == 0 and (np.diff(starts) >= 0).all()
    assert np.allclose(starts / step_s, np.round(starts / step_s), atol=1e-6)
    assert starts[-1] <= max(0.0, length_s - window_s) + 1e-6
    assert len(starts) == max(1, int(length_s / window_s + 0.5))


def test_the_middle_of_a_window_is_that_of_what_it_shows():
    middles = window_middles(np.array([0.0, 4.0]), window_s=5.0, start_s=60.0, end_s=67.0)
    assert middles.tolist() == [62.5, 65.5]  # the second window ends with the piece, at 67 s
