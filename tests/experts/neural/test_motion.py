"""Video networks on real clips: the features are what the model gives when called directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_networks import MOTION, expert_name
from transformers import AutoImageProcessor, AutoModel

from experts.registry import load

CLOSE = dict(rtol=0, atol=1e-4)
PACE = {"videomae": (4, 7.5), "timesformer": (3, 30 / 32), "vjepa2": (6, 4.0)}


def expert_of(kind, networks):
    expert = load([f"{expert_name(kind)}={networks(kind)}"])[0]
    expert.prepare("cpu")
    return expert


def clip_vector(model, pixels):
    with torch.inference_mode():
        kind = model.config.model_type
        name = "pixel_values_videos" if kind == "vjepa2" else "pixel_values"
        states = model(**{name: pixels[None]}).last_hidden_state[0]
        return (states[0] if kind == "timesformer" else states.mean(0)).numpy()


@pytest.mark.parametrize("kind", MOTION)
@pytest.mark.parametrize("video", ["asl_sign_book.mkv", "woman_archery_gym.avi", "dog_running_on_lawn.mp4"])
def test_motion_is_the_model_called_directly(kind, video, networks, first_segment, shared):
    expert = expert_of(kind, networks)
    clip = first_segment(shared / "videos" / video, expert.sampling)
    frames = clip.frames(expert.sampling)
    length, rate = PACE[kind]
    seconds = min(clip.end_s, frames.times[-1] + max(1 / rate, np.median(np.diff(frames.times))))
    count = max(1, int(seconds / (length / rate) + 0.5))
    tokens = expert.extract(clip)
    assert tokens.features.shape == (count, expert.dim)
    processor, model = AutoImageProcessor.from_pretrained(networks(kind)), AutoModel.from_pretrained(networks(kind))
    for k, (vector, middle) in enumerate(zip(tokens.features, tokens.times, strict=True)):
        free = max(0.0, seconds - length / rate)
        start = int(k * free / max(1, count - 1) * rate + 1e-6) / rate
        shown = [max(i for i, t in enumerate(frames.times) if t <= start + s / rate + 0.002) for s in range(length)]
        pixels = processor(images=[frames.images[i] for i in shown], return_tensors="pt")["pixel_values"]
        pixels = pixels.reshape(length, 3, 32, 32)
        assert np.allclose(clip_vector(model, pixels), vector, **CLOSE)
        assert middle == pytest.approx((start + min(start + length / rate, seconds)) / 2, abs=1e-3)
