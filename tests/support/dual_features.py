"""A feature store in which dual encoders have looked at a few made-up videos, as `hcq extract` would write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from feature_samples import write_in_turn

from experts.base import Clip, Frames, Waveform
from experts.registry import load
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore

NAMES = [f"{number}.mp4" for number in range(6)]


def clip(number: int, rate: float | None, side: int, hz: int | None) -> Clip:
    """Three seconds of one colour and one tone; the last of them is silent."""
    from experts.base import Sampling

    rng = np.random.default_rng(number)
    frames, sound = {}, {}
    if rate:
        times = np.arange(0, 3, 1 / rate).astype(np.float32)
        colour = rng.integers(0, 255, 3)
        images = np.clip(colour + rng.normal(0, 20, (len(times), 48, 64, 3)), 0, 255).astype(np.uint8)
        frames[Sampling(rate, side)] = Frames(images, times)
    if hz and number < len(NAMES) - 1:
        wave = np.sin(np.arange(3 * hz) * rng.uniform(0.01, 0.3)).astype(np.float32)
        sound[hz] = Waveform(wave, hz, 0.0)
    return Clip(0.0, 3.0, True, bool(sound), frames, sound)


def write_store(folder: Path, sources: Mapping[str, str]) -> FeatureStore:
    """Features of `NAMES` by the dual encoders at these sources, by the name of their expert."""
    experts = load([f"{name}={source}" for name, source in sources.items()])
    for expert in experts:
        expert.prepare("cpu")
    for number, name in enumerate(NAMES):
        asked = [(each, each.sampling) for each in experts]
        tokens = {
            each.name: each.extract(clip(number, s.frames_per_second, s.max_side, s.audio_hz)) for each, s in asked
        }
        identities = {each.name: f"{each.name}|1|{each.weights}||" for each in experts}
        facts = (name, f"/videos/{name}", f"c-{name}", 100, 1, 3.0, "pyav", [])
        write_in_turn(folder, VideoFeatures(*facts, tokens, identities))
    return FeatureStore.open(folder)
