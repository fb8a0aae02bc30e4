"""One clock for all experts: the frame with the time t is the one that is shown at t, a click is heard in its second.

Every frame of the films carries its number, so what an expert was given is told by the picture and not by a decoder.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from decoded_clips import decoder
from sample_videos import film, numbered, read_number, remux, tone, turn

from experts.base import Clip, Sampling, State, Tokens
from experts.classic.audio import Audio
from hcq_cli.extraction.pipeline import extract_video
from hcq_cli.media.decoder import CannotOpenError
from hcq_cli.media.pyav import PyAVDecoder
from hcq_cli.media.sniffing import PROTECTED

RNG = np.random.default_rng(5)
HZ = 48_000
PACES = {
    "25": np.arange(100) / 25,
    "29.97": np.arange(120) * 1001 / 30_000,
    "variable": np.concatenate([[0.0], np.cumsum(RNG.choice([0.02, 0.04, 0.3, 0.7], 40))]),
    "starts at 7 s": 7 + np.arange(100) / 25,
}
FILES = {
    ".mp4": ("libx264", "aac"),
    ".mov": ("libx264", "pcm_s16le"),
    ".mkv": ("libx264", "aac"),
    ".ts": ("libx264", "mp2"),
    ".webm": ("libvpx", "libopus"),
    ".avi": ("libx264", "pcm_s16le"),
}


class Counter:
    """Reads the number of every frame it gets."""

    name, dim, version, weights = "counter", 1, "1", ""

    def __init__(self, rate: float) -> None:
        self.sampling = Sampling(rate, 160)

    def prepare(self, device: str) -> None: ...

    def extract(self, clip: Clip) -> Tokens:
        frames = clip.frames(self.sampling)
        upright = [image if image.shape[1] > image.shape[0] else np.rot90(image) for image in frames.images]
        numbers = np.array([[read_number(image)] for image in upright], np.float32).reshape(-1, 1)
        return Tokens(numbers, frames.times)


def click(at_s: float, seconds: float, hz: int = HZ) -> np.ndarray:
    """Silence with a burst of noise of 20 ms."""
    sound = np.zeros(round(seconds * hz), np.float32)
    first = round(at_s * hz)
    sound[first : first + hz // 50] = 0.8 * np.sign(np.random.default_rng(0).standard_normal(hz // 50))
    return sound


def given(path: Path, by: str, rate: float = 3.0) -> tuple[np.ndarray, np.ndarray, Tokens]:
    """Numbers and times [n] of the frames an expert got, and what was heard."""
    ear = Audio()
    ear.prepare("cpu")
    found = extract_video(str(path), [Counter(rate), ear], decoder(by))
    if found.error is not None:
        raise CannotOpenError(found.error)
    counted = found.tokens["counter"]
    return counted.features[:, 0].astype(int), counted.times, found.tokens["audio"]


def check_frames(numbers: np.ndarray, times: np.ndarray, shown_s: np.ndarray, rate: float) -> None:
    """Each frame at its own time and none but those on the screen at k / rate, within one frame."""
    frame_s = float(np.diff(shown_s).max())
    np.testing.assert_allclose(times, shown_s[numbers], atol=frame_s)
    asked = np.arange(0, shown_s[-1], 1 / rate)
    due = np.searchsorted(shown_s, asked + 1e-6, side="right") - 1  # on the screen at each k / rate
    assert len(numbers) == len(set(numbers)) and list(numbers) == sorted(numbers)
    near = [np.abs(numbers - one).min() for one in due]
    assert max(near) <= 1, (numbers, due)
    assert max(np.abs(due - one).min() for one in numbers[numbers < len(shown_s) - 1]) <= 1, (numbers, due)


# An AVI has one frame rate and starts at zero; VP8 has no B-frames, and is slow to make.
FILMS = [
    *((suffix, pace, b_frames) for suffix in (".mp4", ".mkv", ".ts") for pace in PACES for b_frames in (0, 3)),
    *((".mov", pace, 3) for pace in PACES),
    (".webm", "variable", 0),
    *((".avi", "25", b_frames) for b_frames in (0, 3)),
]


@pytest.mark.parametrize("by", ["pyav", "decord"])
@pytest.mark.parametrize(("suffix", "pace", "b_frames"), FILMS)
def test_the_frame_of_a_time_is_the_one_shown_then(
    tmp_path: Path, by: str, suffix: str, pace: str, b_frames: int
) -> None:
    times = PACES[pace]
    codec, sound_codec = FILES[suffix]
    options = {"bf": str(b_frames), "g": "40"} if codec == "libx264" else {"g": "40"}
    ticks = 25 if suffix == ".avi" else 90_000
    sound = click(2.5, 4.0)
    path = tmp_path / f"film{suffix}"
    film(path, times, None, sound, HZ, float(times[0]), codec, sound_codec, options, ticks=ticks)
    if by == "decord" and suffix == ".ts":
        with pytest.raises(CannotOpenError, match="decord"):  # it knows what it cannot do; auto then takes PyAV
            given(path, by)
        return
    numbers, found, heard = given(path, by)
    check_frames(numbers, found, times - times[0], 3.0)
    assert heard.times.tolist() == [2.5]


@pytest.mark.parametrize("by", ["pyav", "decord"])
@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_a_turned_film_keeps_its_clock(tmp_path: Path, by: str, clockwise: int) -> None:
    times = PACES["29.97"]
    # Stored so that turning makes it upright; rot90 counts counterclockwise.
    images = [np.ascontiguousarray(np.rot90(numbered(at), clockwise // 90)) for at in range(len(times))]
    path = turn(film(tmp_path / "turned.mp4", times, images, options={"bf": "2"}), clockwise)
    seen: list[tuple[int, int]] = []

    class Watcher(Counter):
        def extract(self, clip: Clip) -> Tokens:
            frames = clip.frames(self.sampling)
            seen.extend(image.shape[:2] for image in frames.images)
            return super().extract(clip)

    tokens = extract_video(str(path), [Watcher(3.0)], decoder(by)).tokens["counter"]
    assert set(seen) == {(96, 160)}
    check_frames(tokens.features[:, 0].astype(int), tokens.times, times, 3.0)


@pytest.mark.parametrize("by", ["pyav", "decord"])
@pytest.mark.parametrize("late_s", [0.0, 0.4, 1.25, 3.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_click_is_heard_in_its_second_when_the_sound_starts_late(
    tmp_path: Path, by: str, late_s: float, suffix: str
) -> None:
    times = np.arange(150) / 25
    path = film(
        tmp_path / f"late{suffix}",
        times,
        sound=click(4.5 - late_s, 6.0 - late_s),
        hz=HZ,
        sound_at_s=late_s,
        sound_codec=FILES[suffix][1],
    )
    numbers, found, heard = given(path, by)
    check_frames(numbers, found, times, 3.0)
    assert heard.times.tolist() == [4.5]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_click_is_heard_in_its_second_when_the_picture_starts_late(tmp_path: Path, suffix: str) -> None:
    times = 1.5 + np.arange(100) / 25
    path = film(tmp_path / f"late{suffix}", times, sound=click(3.5, 5.5), hz=HZ, sound_codec=FILES[suffix][1])
    numbers, found, heard = given(path, "pyav")
    np.testing.assert_allclose(found, times[numbers], atol=0.04)
    assert heard.times.tolist() == [3.5]


def test_every_second_of_a_long_film_is_heard_in_its_place(tmp_path: Path) -> None:
    """Clicks in every third second over three clips; the flash of the same moment is in the picture."""
    clicks = np.zeros(75 * 16_000, np.float32)
    for second in range(1, 75, 3):
        clicks[round((second + 0.5) * 16_000) :][:320] = 0.8
    times = np.arange(75 * 10) / 10
    path = film(tmp_path / "long.mkv", times, sound=clicks)
    numbers, _, heard = given(path, "pyav", 1.0)
    assert numbers.tolist() == [10 * second for second in range(75)]
    assert heard.times.tolist() == [second + 0.5 for second in range(1, 75, 3)]


@pytest.mark.parametrize("b_frames", [0, 2])
def test_mpeg4_in_avi_as_old_cameras_write_it(tmp_path: Path, b_frames: int) -> None:
    """Such a file has no presentation times at all, and its pictures are not in the order of its packets."""
    times = np.arange(100) / 25
    images = [numbered(at) for at in range(100)]
    path = film(tmp_path / "old.avi", times, images, codec="mpeg4", options={"bf": str(b_frames)}, ticks=25)
    for by in ("pyav", "decord"):
        numbers, found, _ = given(path, by, 25.0)
        assert len(numbers) >= 99 and numbers.tolist() == list(range(len(numbers)))
        np.testing.assert_allclose(found, times[numbers], atol=0.001)


def test_a_film_with_pixels_that_are_not_square_keeps_its_clock(tmp_path: Path) -> None:
    times = PACES["variable"]
    path = film(tmp_path / "wide.mkv", times, pixel_aspect=Fraction(4, 3), options={"bf": "2"})
    numbers, found, heard = given(path, "pyav")
    check_frames(numbers, found, times, 3.0)
    assert heard.state is State.NO_STREAM


def test_a_packet_of_no_bytes_shows_the_picture_before_it_on(tmp_path: Path) -> None:
    times = np.arange(75) / 25
    path = film(tmp_path / "empty.mov", times, codec="mjpeg", pixels="yuvj420p")
    empty = {10, 11, 12, 30, *range(40, 75)}
    data = bytearray(path.read_bytes())
    table = data.index(b"stsz") + 16
    sizes = np.frombuffer(data, ">u4", len(times), table).copy()
    for at in sorted(empty, reverse=True):  # its bytes go to the sample before, whose decoder stops at its own end
        sizes[at - 1], sizes[at] = sizes[at - 1] + sizes[at], 0
    data[table : table + 4 * len(times)] = sizes.tobytes()
    path.write_bytes(data)
    found = extract_video(str(path), [Counter(25.0)], decoder("pyav"))
    tokens = found.tokens["counter"]
    numbers = tokens.features[:, 0].astype(int)
    assert numbers.tolist() == [at for at in range(len(times)) if at not in empty]
    np.testing.assert_allclose(tokens.times, times[numbers], atol=0.001)
    assert not found.warnings and found.duration_s >= times[-1]


REFRESH = {
    "recovery points": ("libx264", {"x264-params": "intra-refresh=1:keyint=50:bframes=0"}, 4.0, 4.5),
    "key frames": ("libx264", {"g": "50", "bf": "3", "sc_threshold": "0"}, 4.0, 4.01),
    "key frames, H.265": ("libx265", {"x265-params": "keyint=50:bframes=3:log-level=none"}, 4.0, 4.01),
    "none": ("libx264", {"g": "1000", "bf": "0", "sc_threshold": "0"}, 6.0, 7.5),
    "none, H.265": ("libx265", {"x265-params": "keyint=1000:bframes=0:log-level=none"}, 6.0, 7.5),
}


@pytest.mark.parametrize("refresh", REFRESH)
def test_pictures_come_back_after_a_broken_packet(tmp_path: Path, refresh: str) -> None:
    """At the next recovery point; where a camera sends none, one packet does not cost the rest of the film."""
    codec, options, from_s, until_s = REFRESH[refresh]
    times = np.arange(250) / 25
    whole = film(tmp_path / "whole.mkv", times, codec=codec, options=options)

    def broken(at: int, data: bytes) -> bytes:
        return data[:4] + b"\xff" * (len(data) - 4) if at == 60 else data

    found = extract_video(str(remux(whole, tmp_path / "b.mkv", broken)), [Counter(25.0)], decoder("pyav"))
    given = found.tokens["counter"].times
    assert given[given < 2.2].size == 55 and given.max() == pytest.approx(times[-1], abs=0.05)
    back = given[given > 2.5]
    assert from_s <= back.min() <= until_s and len(back) >= 25 * (10 - until_s) - 1
    (warning,) = map(str, found.warnings)
    assert "broken at 2." in warning and ("smeared" in warning) == refresh.startswith("none")


def test_a_film_that_is_encrypted_is_said_to_be_and_gives_no_noise(tmp_path: Path) -> None:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    path = film(
        tmp_path / "bought.mp4", np.arange(20) / 10, sound=tone(2.0), sound_codec="aac", container_options=key
    )
    media = PyAVDecoder().open(str(path), True, [16_000])
    assert list(media) == [] and media.warnings == [PROTECTED]


@pytest.mark.parametrize("begin", ["within a group of pictures", "a key picture, and a gap"])
def test_an_avi_that_was_cut_keeps_its_clock(tmp_path: Path, begin: str) -> None:
    """It has no times but the order of its packets, in which pictures do not come out."""
    path = film(tmp_path / "whole.avi", np.arange(100) / 25, codec="mpeg4", options={"g": "40", "bf": "2"}, ticks=25)
    with av.open(str(path)) as source, av.open(str(tmp_path / "cut.avi"), "w") as target:
        copy = target.add_stream_from_template(source.streams[0])
        for packet in [packet for packet in source.demux() if packet.size]:
            number = packet.dts
            if number >= 20 or (begin.startswith("a key") and not number):
                packet.stream, packet.pts, packet.dts = copy, None, max(0, number - 20)
                target.mux(packet)
    shown = [(one.time_s, read_number(one.rgb(160))) for one in PyAVDecoder().open(str(target.name), True, [])]
    at_s, number = next(one for one in shown if 40 <= one[1] < 100)
    assert at_s == pytest.approx((number - 20) / 25, abs=0.09)
