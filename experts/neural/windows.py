"""Where the windows lie that a network of fixed length looks at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def even_windows(length_s: float, window_s: float, step_s: float) -> NDArray[np.float64]:
    """Starts of windows spread evenly over a stretch: as many as fit best, overlapping or apart by a little.

    Args:
        length_s: of the stretch, seconds.
        window_s: of a window, seconds.
        step_s: starts are whole multiples of this, so that windows lie on the grid of the frames.

    Returns:
        float64 [n], n at least 1, seconds from the start of the stretch. The first is 0; the last ends with the
        stretch if that is as long as a window.
    """
    count = max(1, math.floor(length_s / window_s + 0.5))
    last = max(0.0, length_s - window_s)
    starts = np.linspace(0.0, last, count) if count > 1 else np.zeros(1)
    return np.floor(starts / step_s + 1e-6) * step_s


def window_middles(starts: NDArray[np.float64], window_s: float, start_s: float, end_s: float) -> NDArray[np.float32]:
    """The middle of what each window shows, seconds of the video; a window longer than the stretch ends with it.

    Args:
        starts: [n], seconds from the start of the stretch.
        window_s: seconds.
        start_s: of the stretch, seconds of the video.
        end_s: of the stretch.
    """
    ends = np.minimum(starts + window_s, max(end_s - start_s, 0.0))
    return (start_s + (starts + np.maximum(ends, starts)) / 2).astype(np.float32)
