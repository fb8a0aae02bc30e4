"""An expert of one's own: how bright a picture is, and where. All there is to know is in `experts/base.py`."""

from __future__ import annotations

import numpy as np

from experts.base import Clip, Sampling, State, Tokens

GRID = 4


class Brightness:
    """Mean brightness of 8 × 8 points in each cell of a 4 × 4 grid; one token a second."""

    name = "brightness"
    dim = GRID * GRID
    version = "1"
    weights = ""
    sampling = Sampling(frames_per_second=1.0, max_side=64)

    # Optional, shown by `hcq experts`.
    licence = ""
    about = "sees how bright the picture is, and where"

    def prepare(self, device: str) -> None:
        """Nothing to load. A network would be put on `device` here."""

    def extract(self, clip: Clip) -> Tokens:
        """One token for each sampled frame, or none and why."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        gray = frames.images.mean(3, dtype=np.float32) / 255
        rows, columns = (np.linspace(0, side - 1, 8 * GRID).round().astype(int) for side in gray.shape[1:])
        points = gray[:, rows][:, :, columns].reshape(len(frames), GRID, 8, GRID, 8)
        cells = points.mean((2, 4)).astype(np.float32)
        return Tokens(cells.reshape(len(frames), self.dim), frames.times)
