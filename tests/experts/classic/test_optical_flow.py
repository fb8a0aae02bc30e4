"""Camera and things are kept apart, and speeds are speeds."""

from __future__ import annotations

import numpy as np
import pytest

from experts.base import Frames
from experts.classic import optical_flow


def test_an_affine_flow_is_fitted_exactly():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-0.5, 0.5, (2, 200)).astype(np.float32)
    truth = rng.normal(size=(4, 3, 2)).astype(np.float32)
    flow = np.stack([np.ones_like(x), x, y], -1) @ truth
    model = optical_flow.fit_affine(flow, np.ones((4, 200), np.float32), x, y)
    assert np.allclose(model, truth, atol=0.05)


def test_the_camera_and_a_thing_are_kept_apart():
    """A panning camera, and a thing over a ninth of the frame that moves the other way."""
    fields = np.full((1, optical_flow.FIELD, optical_flow.FIELD, 2), (0.3, -0.1), np.float32)
    fields[0, 10:21, 10:21] = (-0.5, 0.4)
    x, y = optical_flow.point_coordinates(120, 160)
    model, thing = optical_flow.split_camera(fields, x, y)
    assert model[0, 0] == pytest.approx([0.3, -0.1], abs=0.02)
    assert thing[0, 15, 15] == pytest.approx([-0.8, 0.5], abs=0.05)
    assert np.abs(thing[0, :8]).max() < 0.03


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-2, 0), (0, 2), (0, -2)])
def test_a_shifted_picture_moves_at_its_speed(dx, dy):
    """2 pixels in a tenth of a second over 160 pixels are 0.125 frame sides a second, for the camera alone."""
    cv2 = pytest.importorskip("cv2")
    coarse = np.random.default_rng(5).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    large = cv2.resize(coarse, (200, 160), interpolation=cv2.INTER_CUBIC)
    images = np.stack([large[20 - at * dy : 140 - at * dy, 20 - at * dx : 180 - at * dx] for at in range(4)])
    pairs = optical_flow.measure_pairs(Frames(images, (np.arange(4) / 10).astype(np.float32)))
    assert pairs.camera[:, :2] == pytest.approx(np.tile([dx / 16, dy / 16], (3, 1)), abs=0.02)
    assert np.abs(pairs.course[:, optical_flow.ENERGY]).max() < 0.02
