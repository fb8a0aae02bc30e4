"""What a token says of the mirrored picture, against the token of the mirrored picture."""

from __future__ import annotations

import cv2
import numpy as np

from experts.classic.appearance import Appearance, describe_frame
from experts.classic.mirror import in_mirror


def picture(seed: int) -> np.ndarray:
    """A slope of light, grain, and shapes: uint8 [96, 128, 3]."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0, 120, 128)[None, :, None] + np.linspace(0, 60, 96)[:, None, None]
    image = np.clip(light + rng.normal(0, 6, (96, 128, 3)), 0, 255).astype(np.uint8)
    cv2.circle(image, (30, 40), 16, rng.integers(0, 256, 3).tolist(), -1)
    corners = np.array([[80, 20], [116, 34], [92, 70]], np.int32)
    cv2.fillPoly(image, [corners], rng.integers(0, 256, 3).tolist())
    return image


def test_a_mirrored_token_is_the_token_of_the_mirrored_picture() -> None:
    order, signs = in_mirror()
    assert sorted(order.tolist()) == list(range(Appearance().dim)) and set(signs.tolist()) == {-1, 1}
    for seed in range(4):
        seen, there = describe_frame(picture(seed)), describe_frame(np.ascontiguousarray(picture(seed)[:, ::-1]))
        assert seen @ there < 0.9 * np.linalg.norm(seen) * np.linalg.norm(there)
        assert np.abs(seen[order] * signs - there).max() < 0.02


def test_a_picture_mirrored_twice_is_itself() -> None:
    order, signs = in_mirror()
    token = np.random.default_rng(0).normal(size=len(order)).astype(np.float32)
    assert np.array_equal((token[order] * signs)[order] * signs, token)
