"""Audio networks on real clips: the features are what the model gives when called directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_networks import AUDIO, expert_name
from transformers import AutoFeatureExtractor, AutoModel

from experts.base import State
from experts.contract import example_clip
from experts.registry import load

CLOSE = dict(rtol=0, atol=1e-4)
SILENT_DB = -70
EAR = {"ast": (16_000, 10.24), "clap": (48_000, 10.0), "clap-fused": (48_000, 10.0), "whisper": (16_000, 30.0)}


def expert_of(kind, networks):
    expert = load([f"{expert_name(kind)}={networks(kind)}"])[0]
    expert.prepare("cpu")
    return expert


def sound_vectors(kind, model, rows):
    """[k, dim] of one window."""
    with torch.inference_mode():
        if kind == "whisper":
            states = model.encoder(rows["input_features"]).last_hidden_state[0]
            return states.reshape(30, 50, -1).mean(1).numpy()
        if kind == "ast":
            return model(rows["input_values"]).pooler_output.numpy()
        found = model.get_audio_features(input_features=rows["input_features"], is_longer=torch.tensor([[False]]))
        return getattr(found, "pooler_output", found).numpy()


@pytest.mark.parametrize("kind", AUDIO)
@pytest.mark.parametrize("video", ["grid_speaker_woman.mpg", "boy_scooter_with_white_dog.mp4"])
def test_audio_is_the_model_called_directly(kind, video, networks, first_segment, shared):
    expert = expert_of(kind, networks)
    sound = first_segment(shared / "videos" / video, expert.sampling).sound(EAR[kind][0])
    clip = first_segment(shared / "videos" / video, expert.sampling)
    tokens = expert.extract(clip)
    hz, window_s = EAR[kind]
    extractor = AutoFeatureExtractor.from_pretrained(networks(kind))
    model = AutoModel.from_pretrained(networks(kind))
    length_s = len(sound.samples) / hz
    count = max(1, int(length_s / window_s + 0.5))
    wanted, times = [], []
    for k in range(count):
        start = k * max(0.0, length_s - window_s) / max(1, count - 1)
        first = int(start * hz + 1e-6)
        samples = sound.samples[first : first + round(window_s * hz)]
        rows = extractor(samples, sampling_rate=hz, return_tensors="pt")
        if kind == "clap-fused":  # its extractor made a window of 10 s four copies of itself
            rows["input_features"] = rows["input_features"][:, :1]
        found = sound_vectors(kind, model, rows)
        each_s = window_s / len(found)
        for at, vector in enumerate(found):
            left, right = start + at * each_s, min(start + (at + 1) * each_s, length_s)
            part = samples[round(at * each_s * hz) : round((at + 1) * each_s * hz)]
            spans = part[: len(part) // (hz // 20) * (hz // 20)].reshape(-1, hz // 20)
            if len(spans) and 10 * np.log10(np.square(spans - part.mean()).mean(1).max() + 1e-20) > SILENT_DB:
                wanted.append(vector)
                times.append((left + right) / 2)
    assert tokens.features.shape == (len(wanted), expert.dim)
    assert np.allclose(tokens.features, np.stack(wanted), **CLOSE)
    assert np.allclose(tokens.times - sound.start_s, times, atol=2e-3)


@pytest.mark.parametrize("kind", AUDIO)
def test_silence_gives_no_token(kind, networks):
    expert = expert_of(kind, networks)
    clip = example_clip(expert.sampling, 4.0)
    ((hz, sound),) = clip.sound_by_hz.items()
    sound.samples[:] = 0.25  # a constant is not heard either
    assert expert.extract(clip).state is State.SILENT
    sound.samples[hz : 2 * hz] = np.sin(np.arange(hz) / 10)
    tokens = expert.extract(clip)
    assert tokens.times.tolist() == ([1.5] if kind == "whisper" else [2.0])
