"""The expert scene: cuts where they are."""

from __future__ import annotations

import numpy as np
import pytest

from experts.base import Clip, Frames
from experts.classic.appearance import describe_frame
from experts.contract import check_expert
from experts.registry import load

pytest.importorskip("scenedetect")
GROUNDS = [(200, 40, 40), (30, 60, 200), (240, 240, 240)]


def shots(seconds=(2.0, 1.5, 3.0)):
    """Frames of three shots, each of one colour with a square that moves."""
    images, times = [], []
    for colour, length_s in zip(GROUNDS, seconds, strict=True):
        for at in range(round(length_s * 10)):
            image = np.full((90, 160, 3), colour, np.uint8)
            image[20:50, 5 + at : 35 + at] = 128
            images.append(image)
            times.append(len(times) / 10)
    return Frames(np.stack(images), np.array(times, np.float32))


def clip_of(expert, frames):
    return Clip(0.0, float(frames.times[-1]) + 0.1, True, False, {expert.sampling: frames})


def test_one_vector_a_shot_the_mean_of_its_frames():
    scene = load(["scene"])[0]
    frames = shots()
    tokens = scene.extract(clip_of(scene, frames))
    assert tokens.times == pytest.approx([1.0, 2.75, 5.0], abs=0.01)
    within = np.stack([describe_frame(image) for image in frames.images[20:35]])
    assert np.abs(tokens.features[1] - within.mean(0)).max() < 0.05
    assert np.linalg.norm(tokens.features[1] - tokens.features[0]) > 0.2


def test_a_flash_is_one_cut_and_not_two():
    scene = load(["scene"])[0]
    frames = shots((3.0, 0.1, 3.0))
    frames.images[31:] = frames.images[:30]
    assert len(scene.extract(clip_of(scene, frames))) == 2


def test_a_network_may_look_at_the_shots(tmp_path):
    import tiny_networks

    folder = tiny_networks.save("dinov2", tmp_path)
    scene, appearance = load([f"scene={folder}"])[0], load([f"appearance={folder}"])[0]
    frames = shots()
    tokens = scene.extract(clip_of(scene, frames))
    assert tokens.features.shape == (3, 32) and appearance.weights in scene.weights
    looked = Frames(frames.images[[3, 7, 12, 16]], np.zeros(4, np.float32))
    wanted = appearance.extract(Clip(0, 1, True, False, {appearance.sampling: looked})).features.mean(0)
    assert np.abs(tokens.features[0] - wanted).max() < 0.05


def test_scene_keeps_the_contract():
    check_expert(load(["scene"])[0])
