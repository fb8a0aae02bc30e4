"""Frames of one clip look alike."""

from __future__ import annotations

import numpy as np
from real_clips import tokens_of as _tokens

from experts import registry


def test_two_halves_of_a_clip_look_alike(shared):
    """Frames of a clip are nearer to each other than to those of other clips."""
    appearance = registry.load(["appearance"])[0]
    names = ["beetle_on_flower.mp4", "fireworks_brown_sky.mp4", "city_cyclists.mp4", "corgis_playing.mp4"]
    tokens = [_tokens(appearance, shared / "videos" / name, 3.0).features for name in names]
    early, late = (
        np.stack([part.mean(0) for part in halves]) for halves in zip(*((f[:3], f[3:]) for f in tokens), strict=True)
    )
    centre = (early.mean(0) + late.mean(0)) / 2
    assert ((early - centre) @ (late - centre).T).argmax(1).tolist() == [0, 1, 2, 3]
