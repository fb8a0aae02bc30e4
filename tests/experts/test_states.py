"""Which state an expert reports, and on which second its tokens lie."""

import numpy as np
import pytest
import toys

from experts import registry
from experts.base import Clip, Frames, Sampling, State, Waveform

HZ = 16_000


@pytest.fixture(scope="module")
def audio():
    return registry.load(["audio"])[0]


@pytest.fixture(scope="module")
def motion():
    return registry.load(["motion"])[0]


def _hear(expert, samples, start_s=0.0, clip_start_s=0.0):
    end_s = start_s + len(samples) / HZ
    clip = Clip(clip_start_s, end_s, False, True, {}, {HZ: Waveform(samples.astype(np.float32), HZ, start_s)})
    return expert.extract(clip)


def _watch(expert, frames, start_s=0.0):
    return expert.extract(Clip(start_s, start_s + 30, True, False, {expert.sampling: frames}))


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


def test_one_token_a_second_of_motion(motion):
    frames = toys.moving("right", np.random.default_rng(0), seconds=3.3)
    tokens = _watch(motion, frames)
    assert tokens.times[:2].tolist() == [0.5, 1.5]
    assert len(tokens) == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_motion_needs_two_frames(motion, count):
    frames = toys.moving("right", np.random.default_rng(0))
    tokens = _watch(motion, Frames(frames.images[:count], frames.times[:count]))
    assert tokens.state is (State.TOKENS if count == 2 else State.NO_FRAMES)


def test_motion_of_a_slow_rate_is_the_motion(motion):
    """Five frames a second of the same course say nearly the same as ten: speeds count, not pixels a frame."""
    fine = toys.moving("left", np.random.default_rng(2))
    coarse = Frames(fine.images[::2], fine.times[::2])
    a, b = _watch(motion, fine).features[0], _watch(motion, coarse).features[0]
    other = _watch(motion, toys.moving("up", np.random.default_rng(2))).features[0]
    assert a @ b > a @ other + 0.1


def test_two_stills_an_hour_apart_in_time_are_borne(motion):
    frames = toys.moving("still", np.random.default_rng(3))
    times = np.array([0.0, 29.9], np.float32)
    assert np.isfinite(_watch(motion, Frames(frames.images[:2], times)).features).all()


def test_a_stuck_clock_is_borne(motion):
    frames = toys.moving("left", np.random.default_rng(3))
    tokens = _watch(motion, Frames(frames.images, np.zeros(len(frames), np.float32)))
    assert np.isfinite(tokens.features).all()


def test_a_clip_without_a_face_says_nothing_found():
    face = registry.load(["face"])[0]
    frames = toys.moving("spin", np.random.default_rng(4))
    assert _watch(face, frames).state is State.NOTHING_FOUND


def test_no_experts_share_a_sampling_by_accident():
    """Equal samplings would be one resize; different ones must hash differently for the decoder's table."""
    samplings = [expert.sampling for expert in registry.load(registry.presets["classic"])]
    assert len(set(samplings)) == len(samplings)
    assert Sampling(2.0, 256) == samplings[0]
