"""The frames an expert gets are those on the screen at the times it asked for, whatever the file is like."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from decoded_clips import clips_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_videos import film, numbered, read_number, turn

from experts.base import SEGMENT_S, Clip, Sampling
from hcq_cli.media.clips import ROUNDING_S, FrameGrid
from hcq_cli.media.decoder import CannotOpenError, decoders_for, open_media, upright_size

DECODERS = ["pyav", "decord"]


def seen(clips: list[Clip], sampling: Sampling) -> tuple[list[int], list[float]]:
    frames = [clip.frames(sampling) for clip in clips]
    numbers = [read_number(image) for f in frames for image in f.images]
    return numbers, [float(time) for f in frames for time in f.times]


def on_screen(times_s: np.ndarray, end_s: float, rate: float) -> list[int]:
    """For each k / rate the frame shown then: plain and slow."""
    chosen = []
    for k in range(int(np.ceil(end_s * rate)) + 1):
        if k / rate < end_s - ROUNDING_S:
            shown = np.flatnonzero(times_s <= k / rate + ROUNDING_S)
            chosen.append(int(shown[-1]) if len(shown) else 0)
    return sorted(set(chosen))


@pytest.mark.parametrize("by", DECODERS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [2.0, 3.0, 10.0, 60.0])
def test_constant_rate_with_b_frames(tmp_path: Path, by: str, suffix: str, rate: float) -> None:
    times = np.arange(75) / 25
    path = film(tmp_path / f"a{suffix}", times, options={"bf": "3", "g": "40"})
    sampling = Sampling(rate, 160)
    numbers, found = seen(clips_of(path, sampling, by=by), sampling)
    assert numbers == on_screen(times, 3.0, rate)
    np.testing.assert_allclose(found, times[numbers], atol=1e-3)


@pytest.mark.parametrize("by", DECODERS)
def test_variable_rate(tmp_path: Path, by: str) -> None:
    rng = np.random.default_rng(5)
    times = np.concatenate([[0.0], np.cumsum(rng.choice([0.02, 0.04, 0.3, 1.1], 60))])
    path = film(tmp_path / "vfr.mkv", times, options={"bf": "2"})
    sampling = Sampling(4.0, 160)
    numbers, found = seen(clips_of(path, sampling, by=by), sampling)
    last = len(times) - 1  # how long the last one is shown, the file does not say
    expected = on_screen(times, float(times[-1]) + 0.02, 4.0)
    assert [n for n in numbers if n != last] == [n for n in expected if n != last]
    np.testing.assert_allclose(found, times[numbers], atol=2e-3)


@pytest.mark.parametrize("by", DECODERS)
def test_file_that_starts_late_starts_at_zero(tmp_path: Path, by: str) -> None:
    path = film(tmp_path / "late.mkv", 7.0 + np.arange(20) / 10)
    sampling = Sampling(2.0, 160)
    numbers, found = seen(clips_of(path, sampling, by=by), sampling)
    assert numbers == [0, 5, 10, 15]
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, 1.5], atol=2e-3)


def test_picture_that_starts_after_the_sound(tmp_path: Path) -> None:
    sound = np.zeros(16_000 * 3, np.float32)
    path = film(tmp_path / "a.mkv", 1.0 + np.arange(20) / 10, sound=sound)
    sampling = Sampling(2.0, 160, 16_000)
    numbers, found = seen(clips_of(path, sampling), sampling)
    assert numbers == [0, 5, 10, 15]
    np.testing.assert_allclose(found, [1.0, 1.5, 2.0, 2.5], atol=2e-3)


@pytest.mark.parametrize("by", DECODERS)
@pytest.mark.parametrize(("times", "expected"), [([0.0], [0]), ([0.0, 1.0, 2.0], [0, 1, 2]), ([0.0, 0.04], [0])])
def test_few_frames_give_what_there_is(tmp_path: Path, by: str, times: list[float], expected: list[int]) -> None:
    sampling = Sampling(10.0, 160)
    path = film(tmp_path / "few.mp4", times)
    assert seen(clips_of(path, sampling, by=by), sampling)[0] == expected


@pytest.mark.parametrize("by", DECODERS)
@pytest.mark.parametrize(("clockwise", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_rotation(tmp_path: Path, by: str, clockwise: int, corner: tuple[int, int]) -> None:
    image = np.zeros((96, 160, 3), np.uint8)
    image[:32, :40] = (255, 0, 0)  # upper left as stored
    path = turn(film(tmp_path / "turned.mp4", [0, 0.1, 0.2], [image] * 3), clockwise)
    sampling = Sampling(10.0, 160)
    frame = clips_of(path, sampling, by=by)[0].frames(sampling).images[0]
    assert frame.shape[:2] == ((160, 96) if clockwise != 180 else (96, 160))
    places = {(y, x): frame[y, x, 0] for y in (0, -1) for x in (0, -1)}
    assert max(places, key=places.__getitem__) == corner


@pytest.mark.parametrize("by", DECODERS)
def test_pixels_that_are_not_square(tmp_path: Path, by: str) -> None:
    path = film(tmp_path / "wide.mp4", [0, 0.1], [numbered(n, 160, 96) for n in range(2)], pixel_aspect=Fraction(2))
    wide = Sampling(10.0, 100)
    assert clips_of(path, wide, by=by)[0].frames(wide).images.shape[1:3] == (30, 100)


@pytest.mark.parametrize("by", DECODERS)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (33, 17), (2, 200)])
def test_odd_sizes(tmp_path: Path, by: str, size: tuple[int, int]) -> None:
    height, width = size
    image = np.full((height, width, 3), (200, 40, 90), np.uint8)
    path = film(tmp_path / "odd.mp4", [0, 0.1], [image] * 2, pixels="yuv444p")
    small, large = Sampling(5.0, 16), Sampling(5.0, 640)
    clip = clips_of(path, small, large, by=by)[0]
    assert clip.frames(large).images.shape[1:] == (height, width, 3)
    assert max(clip.frames(small).images.shape[1:3]) == min(16, max(size))
    assert np.abs(clip.frames(large).images.mean((0, 1, 2)) - (200, 40, 90)).max() < 12


def test_ten_bit(tmp_path: Path) -> None:
    path = film(tmp_path / "deep.mkv", np.arange(10) / 10, pixels="yuv420p10le")
    sampling = Sampling(10.0, 160)
    assert seen(clips_of(path, sampling), sampling)[0] == list(range(10))


def test_a_frame_is_the_same_whatever_else_is_asked_for(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", np.arange(20) / 10)
    one, other = Sampling(2.0, 100), Sampling(10.0, 64)
    alone, together = clips_of(path, one)[0], clips_of(path, other, one)[0]
    np.testing.assert_array_equal(alone.frames(one).images, together.frames(one).images)


def test_clips_of_a_long_video_join_without_a_seam(tmp_path: Path) -> None:
    times = np.arange(350) / 5  # 70 s
    path = film(tmp_path / "long.mkv", times, sound=np.linspace(-0.5, 0.5, 70 * 16_000, dtype=np.float32))
    sampling = Sampling(2.0, 160, 16_000)
    clips = clips_of(path, sampling)
    assert [clip.start_s for clip in clips] == [0, SEGMENT_S, 2 * SEGMENT_S]
    numbers, _ = seen(clips, sampling)
    assert numbers == on_screen(times, 70.0, 2.0)
    for clip in clips:
        inside = clip.frames(sampling).times
        assert (inside >= clip.start_s).all() and (inside < clip.start_s + SEGMENT_S).all()
    sound = np.concatenate([clip.sound(16_000).samples for clip in clips])
    np.testing.assert_allclose(sound, np.linspace(-0.5, 0.5, 70 * 16_000), atol=1e-3)


def test_max_seconds(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", np.arange(50) / 10, sound=np.zeros(5 * 16_000, np.float32))
    sampling = Sampling(2.0, 160, 16_000)
    (clip,) = clips_of(path, sampling, max_seconds=2.0)
    assert clip.frames(sampling).times.max() < 2.0
    assert len(clip.sound(16_000).samples) == 2 * 16_000 and clip.end_s == 2.0


def test_both_decoders_agree_on_real_clips(shared: Path) -> None:
    sampling = Sampling(2.0, 64)
    for name in ("arm_wrestling.mp4", "asl_sign_bird.mkv", "grid_speaker_woman.mpg"):
        (a,), (b,) = (clips_of(shared / "videos" / name, sampling, by=by) for by in DECODERS)
        np.testing.assert_allclose(a.frames(sampling).times, b.frames(sampling).times, atol=2e-3)
        pictures = (clip.frames(sampling).images.astype(float) for clip in (a, b))
        assert np.abs(next(pictures) - next(pictures)).mean() < 6


def test_what_is_no_video_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("not a video at all\n" * 50)
    with pytest.raises(CannotOpenError, match="Invalid data"):
        open_media(decoders_for("auto"), str(path), True, [16_000])


@given(
    gaps=st.lists(st.integers(1, 2000), min_size=1, max_size=80),
    rate=st.sampled_from([0.5, 1.0, 2.0, 7.0, 10.0, 29.97]),
)
@settings(max_examples=150, deadline=None)
def test_grid_equals_the_plain_rule(gaps: list[int], rate: float) -> None:
    edges = np.concatenate([[0], np.cumsum(gaps)]) / 1000 * 4
    grid = FrameGrid(rate)
    chosen = [at for at in range(len(gaps)) if grid.wants(edges[at], edges[at + 1])]
    plain = on_screen(edges[:-1], float(edges[-1]), rate)
    # A time within the rounding of a frame's edge may count for either side.
    grid_times = np.arange(0, edges[-1] * rate + 1) / rate
    clear = all(np.abs(edges - time).min() > 2 * ROUNDING_S or time == 0 for time in grid_times)
    assert chosen == plain or not clear


@given(st.integers(1, 9000), st.integers(1, 9000), st.fractions(Fraction(1, 5), 5), st.integers(1, 700))
def test_upright_size_never_enlarges(width: int, height: int, aspect: Fraction, side: int) -> None:
    w, h = upright_size(width, height, aspect, side)
    assert 1 <= w <= max(width, 1) and 1 <= h <= max(height, 1) and max(w, h) <= max(side, 1)
    if min(w, h) > 20:
        assert w / h == pytest.approx(width * float(aspect) / height, rel=0.06)
