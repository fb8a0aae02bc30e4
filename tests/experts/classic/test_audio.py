"""The audio expert: what counts as silence, and on which second tokens lie."""

from __future__ import annotations

import numpy as np
import pytest
import toys

from experts import registry
from experts.base import Clip, State, Waveform

HZ = 16_000


@pytest.fixture(scope="module")
def audio():
    return registry.load(["audio"])[0]


def _hear(expert, samples, start_s=0.0, clip_start_s=0.0):
    end_s = start_s + len(samples) / HZ
    clip = Clip(clip_start_s, end_s, False, True, {}, {HZ: Waveform(samples.astype(np.float32), HZ, start_s)})
    return expert.extract(clip)


@pytest.mark.parametrize("level", [0.0, 1e-5, 2e-4])
def test_what_cannot_be_heard_is_silent(audio, level):
    noise = np.random.default_rng(0).normal(0, 1, 2 * HZ) * level
    assert _hear(audio, noise).state is State.SILENT


def test_a_constant_offset_is_silent(audio):
    assert _hear(audio, np.full(2 * HZ, 0.5)).state is State.SILENT


def test_a_whisper_is_heard(audio):
    noise = np.random.default_rng(0).normal(0, 1, 2 * HZ) * 1e-3
    assert len(_hear(audio, noise)) == 2


def test_no_track_and_an_empty_track_differ(audio):
    assert audio.extract(Clip(0, 3, True, False)).state is State.NO_STREAM
    assert audio.extract(Clip(0, 3, True, True)).state is State.NO_FRAMES


def test_silent_seconds_have_no_token_and_a_click_lies_in_its_own(audio):
    samples = np.zeros(10 * HZ)
    samples[int(4.3 * HZ) : int(4.31 * HZ)] = 0.8
    samples[int(8.7 * HZ) : int(8.71 * HZ)] = 0.8
    assert _hear(audio, samples).times.tolist() == [4.5, 8.5]


def test_sound_that_begins_late_keeps_the_clock_of_the_stretch(audio):
    tone = np.sin(np.arange(2 * HZ) * 0.3)
    assert _hear(audio, tone, start_s=61.0, clip_start_s=60.0).times.tolist() == [61.5, 62.5]


def test_sound_beyond_full_scale_and_not_a_number_is_borne(audio):
    tone = 40 * np.sin(np.arange(HZ) * 0.3)
    tone[1000:1100] = np.nan
    tone[2000:2100] = np.inf
    assert np.isfinite(_hear(audio, tone).features).all()


def test_loudness_moves_little_but_the_blocks_of_loudness(audio):
    tone = toys.sounding("major chord", np.random.default_rng(1)).samples
    loud, quiet = _hear(audio, tone * 0.9).features[0], _hear(audio, tone * 0.3).features[0]
    assert loud @ quiet / np.linalg.norm(loud) / np.linalg.norm(quiet) > 0.9
