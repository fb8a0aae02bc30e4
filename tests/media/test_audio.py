"""The sound: mono, at the rate asked for, at the right time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from decoded_clips import clips_of
from sample_videos import film, tone

from experts.base import Sampling
from hcq_cli.media.audio import AudioConverter, decode_sound

HEAR = Sampling(None, audio_hz=16_000)


def click(at_s: float, seconds: float, hz: int) -> np.ndarray:
    sound = np.zeros(round(seconds * hz), np.float32)
    sound[round(at_s * hz) : round((at_s + 0.005) * hz)] = 0.9
    return sound


def onset_s(path: Path) -> float:
    (clip,) = clips_of(path, HEAR)
    sound = clip.sound(16_000)
    return sound.start_s + float(np.argmax(np.abs(sound.samples) > 0.2)) / sound.hz


@pytest.mark.parametrize(("hz", "codec", "suffix"), [(44_100, "pcm_s16le", ".mkv"), (48_000, "aac", ".mp4")])
def test_a_click_stays_where_it_was(tmp_path: Path, hz: int, codec: str, suffix: str) -> None:
    path = film(tmp_path / f"a{suffix}", sound=click(1.0, 2.0, hz), hz=hz, sound_codec=codec)
    # AAC as this muxer writes it carries its priming of 1024 samples in front, and says so.
    assert onset_s(path) == pytest.approx(1.0, abs=0.002 if codec != "aac" else 1100 / hz)


def test_sound_that_starts_late_is_laid_late(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", np.arange(30) / 10, sound=click(0.5, 1.0, 16_000), sound_at_s=1.25)
    (clip,) = clips_of(path, HEAR, Sampling(1.0, 64))
    assert clip.sound(16_000).start_s == pytest.approx(1.25, abs=0.002)
    assert onset_s(path) != 0
    sound = clip.sound(16_000)
    assert sound.start_s + np.argmax(np.abs(sound.samples) > 0.2) / 16_000 == pytest.approx(1.75, abs=0.002)


def test_a_gap_is_silence(tmp_path: Path) -> None:
    import av

    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start in [*range(0, 16_000, 1000), *range(32_000, 48_000, 1000)]:
            frame = av.AudioFrame.from_ndarray(np.full((1, 1000), 0.5, np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 16_000, start
            container.mux(voice.encode(frame))
        container.mux(voice.encode(None))
    (clip,) = clips_of(path, HEAR)
    samples = clip.sound(16_000).samples
    assert len(samples) == 48_000
    assert np.abs(samples[16_100:31_900]).max() == 0
    assert np.abs(samples[100:15_900] - 0.5).max() < 0.01 and np.abs(samples[32_100:47_900] - 0.5).max() < 0.01


@pytest.mark.parametrize("back_s", [0.05, 0.3, 0.7, 3600.0])
def test_sound_that_goes_back_far_is_kept_and_a_little_too_much_left_out(back_s: float) -> None:
    """What goes back so far comes here from broken files alone: `FileClock` mends what it can."""
    import av

    converter, sounds = AudioConverter([16_000]), []
    for number in range(200):
        frame = av.AudioFrame.from_ndarray(np.full((1, 320), number / 256, np.float32), "fltp", "mono")
        frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
        frame.pts = 320 * number - round(16_000 * back_s) * (number // 50)
        sounds += converter.convert(frame, 0.0)
    samples = np.concatenate([sound.samples for sound in [*sounds, *converter.finish()]])
    left_out_s = 4.0 - len(samples) / 16_000
    assert (np.diff(samples) >= 0).all() and samples[-1] == pytest.approx(199 / 256, abs=1e-3)
    assert left_out_s == pytest.approx(3 * back_s if back_s < 0.5 else 0.0, abs=0.11)


def test_sound_after_an_overlap_and_a_gap_is_not_laid_over_what_there_is() -> None:
    import av

    converter, reached_s = AudioConverter([16_000]), 0.0
    # A part begins 0.2 s before the one before it ends, and has a gap before so much could be left out.
    for at in [*range(50), 40, 41, 42, *range(47, 67)]:
        frame = av.AudioFrame.from_ndarray(np.full((1, 960), 0.5, np.float32), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * at - 480 * (at > 45), Fraction(1, 48_000)
        for sound in converter.convert(frame, 0.0):
            assert sound.start_s >= reached_s - 1e-3
            reached_s = sound.start_s + len(sound.samples) / sound.hz
    assert reached_s == pytest.approx(67 * 0.02 - 0.01, abs=0.02)


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    left = tone(1.0)
    both = film(tmp_path / "both.mkv", sound=np.stack([left, left], 1))
    quieter = film(tmp_path / "quieter.mkv", sound=np.stack([left, left / 50], 1))
    loud, quiet = (clips_of(path, HEAR)[0].sound(16_000).samples for path in (both, quieter))
    np.testing.assert_allclose(loud, left, atol=2e-3)
    np.testing.assert_allclose(quiet, left * 0.51, atol=2e-3)


@pytest.mark.parametrize("noise", [0.0, 0.005])  # nothing, and that of a socket without a microphone
def test_one_side_that_is_heard_alone_is_as_loud_as_it_is(tmp_path: Path, noise: float) -> None:
    left = tone(1.0)
    sides = np.stack([left, noise * left[::-1]], 1)
    for at, both in enumerate((sides, sides[:, ::-1])):
        path = film(tmp_path / f"{at}.mkv", sound=np.ascontiguousarray(both))
        np.testing.assert_allclose(clips_of(path, HEAR)[0].sound(16_000).samples, left, atol=2e-3)


def test_resampling_keeps_length_and_pitch(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", sound=tone(2.0, 44_100, 1000.0), hz=44_100)
    samples = clips_of(path, HEAR)[0].sound(16_000).samples
    assert abs(len(samples) - 32_000) <= 2
    assert np.argmax(np.abs(np.fft.rfft(samples[:16_000]))) == 1000


def test_two_rates_from_one_pass(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", sound=tone(1.0, 48_000), hz=48_000)
    (clip,) = clips_of(path, HEAR, Sampling(None, audio_hz=8000))
    assert (len(clip.sound(16_000).samples), len(clip.sound(8000).samples)) == (16_000, 8000)


@pytest.mark.parametrize(
    ("layout", "suffix"),
    [("7.1", ".mkv"), ("12c", ".mkv"), ("40 channels", ".mkv"), ("7.1", ".caf"), ("6.1", ".caf")],
)
def test_more_channels_than_eight(tmp_path: Path, layout: str, suffix: str) -> None:
    """A broken file may say so, and PyAV then finds more planes than there are; a CAF has an order of its own."""
    path = surround(tmp_path / f"many{suffix}", layout, {at: np.full(1600, 0.1) for at in range(40)})
    (clip,) = clips_of(path, HEAR)
    np.testing.assert_allclose(clip.sound(16_000).samples, np.full(1600, 0.1), atol=1e-4)


def surround(path: Path, layout: str, heard: Mapping[int, np.ndarray]) -> Path:
    """A file at 16 kHz; `heard` is what each channel says, the others being silent, those there are not left out."""
    import av

    with av.open(str(path), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout=layout)
        sound = np.zeros((len(next(iter(heard.values()))), voice.codec_context.layout.nb_channels), np.int16)
        for channel in range(sound.shape[1]):
            sound[:, channel] = heard.get(channel, 0.0 * sound[:, 0]) * 32_767
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", voice.codec_context.layout.name)
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(voice.encode(frame))
        container.mux(voice.encode(None))
    return path


@pytest.mark.parametrize(("layout", "channel"), [("5.1", 2), ("5.1", 3), ("7.1", 2), ("3.0", 2), ("12c", 7)])
def test_what_one_channel_of_surround_sound_says_is_as_loud_as_it_is(
    tmp_path: Path, layout: str, channel: int
) -> None:
    (clip,) = clips_of(surround(tmp_path / "voice.mkv", layout, {channel: tone(2.0)}), HEAR)
    np.testing.assert_allclose(clip.sound(16_000).samples, tone(2.0), atol=1e-3)


def test_a_voice_under_louder_music_is_as_much_quieter_as_it_is_in_the_film(tmp_path: Path) -> None:
    music = {0: tone(2.0, pitch_hz=300), 1: tone(2.0, pitch_hz=700)}
    path = surround(tmp_path / "film.mkv", "5.1", {**music, 2: 0.25 * tone(2.0, pitch_hz=1000)})
    (clip,) = clips_of(path, HEAR)
    heard = np.abs(np.fft.rfft(clip.sound(16_000).samples[-16_000:]))
    assert heard[[300, 700]] == pytest.approx(4 * heard[1000], rel=0.02)
    assert heard[300] > 0.3 * np.abs(np.fft.rfft(tone(2.0, pitch_hz=300)[-16_000:]))[300]


def test_low_tones_of_their_own_do_not_drown_a_voice(tmp_path: Path) -> None:
    sound = {2: tone(2.0), 3: 2 * tone(2.0, pitch_hz=60)}
    (clip,) = clips_of(surround(tmp_path / "film.wav", "5.1", sound), HEAR)
    heard, alone = (np.abs(np.fft.rfft(x[-16_000:])) for x in (clip.sound(16_000).samples, tone(2.0)))
    assert heard[440] == pytest.approx(alone[440], rel=0.05) and heard[60] < 0.1 * heard[440]


def pieces_of_surround(channels: Sequence[int], level: float) -> np.ndarray:
    """A piece of 5.1, [1, 6 * 1024] with its channels in turn; those named at this level, the others silent."""
    sound = np.zeros((1024, 6), np.float32)
    sound[:, channels] = level
    return sound.reshape(1, -1)


@pytest.mark.parametrize(
    ("before", "lasts_s"),
    [(pieces_of_surround([3], 0.3), 600), (pieces_of_surround([2], np.nan), 0), (pieces_of_surround([2], 1e30), 0)],
    ids=["low tones alone", "no numbers", "beyond all measure"],
)
def test_what_was_before_does_not_keep_surround_sound_from_being_mixed(before: np.ndarray, lasts_s: float) -> None:
    """Low tones before minutes of silence left powers so small that a hundredth of them is zero; a damaged piece
    left some that are no numbers, and all that followed was as quiet as the mean."""
    import av

    mixer, loudest = AudioConverter([16_000]), 0.0
    silence, voice = pieces_of_surround([], 0.0), pieces_of_surround([2], 0.3)
    for piece in [before, *[silence] * round(lasts_s * 16_000 / 1024), *[voice] * 20]:
        frame = av.AudioFrame.from_ndarray(piece, "flt", "5.1")
        frame.sample_rate = 16_000
        loudest = max([float(np.abs(sound.samples).max(initial=0.0)) for sound in mixer.convert(frame, 0.0)] or [0.0])
    assert loudest == pytest.approx(0.3, abs=1e-3)


def test_channels_in_an_order_of_their_own_do_not_crash_the_decoder(tmp_path: Path) -> None:
    """Where a decoder itself sets the order, which cannot be kept from it."""
    import av

    path = tmp_path / "own.caf"
    with av.open(str(path), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(np.full((1, 8 * 1600), 1750, np.int16), "s16", "7.1")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(voice.encode(frame))
    with av.open(str(path)) as container:
        converter = AudioConverter([16_000])
        frames = [frame for packet in container.demux() for frame in decode_sound(packet)]
        assert {frame.layout.name for frame in frames} == {"7.1"}
        sounds = [sound for frame in frames for sound in converter.convert(frame, 0.0)]
    np.testing.assert_allclose(np.concatenate([sound.samples for sound in sounds]), 1750 / 32768, atol=1e-4)


@pytest.mark.parametrize("lag", [0, 1])
def test_opposite_channels_do_not_cancel_out(tmp_path: Path, lag: int) -> None:
    """As a microphone that is wired the wrong way round gives them, or an adapter of a balanced line."""
    left = tone(2.0)
    right = -np.roll(left, lag)
    path = film(tmp_path / "opposite.mkv", sound=np.stack([left, right], 1))
    samples = clips_of(path, HEAR)[0].sound(16_000).samples
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(np.sqrt(np.mean(left**2)), rel=0.05)


def test_the_mean_stays_where_channels_know_nothing_of_each_other(tmp_path: Path) -> None:
    both = np.random.default_rng(0).uniform(-0.9, 0.9, (32_000, 2)).astype(np.float32)
    path = film(tmp_path / "noise.mkv", sound=both)
    samples = clips_of(path, HEAR)[0].sound(16_000).samples
    np.testing.assert_allclose(samples, both.mean(1), atol=1e-3)
