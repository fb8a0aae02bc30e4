"""Files whose clock goes back, leaps or stands still: everything in them is seen and heard, in order, at its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from decoded_clips import clips_of
from sample_videos import film
from witness import check, joined, part, watch

from experts.base import Sampling


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_a_clock_that_starts_again(tmp_path: Path, suffix: str) -> None:
    witness, found = watch(joined(tmp_path / f"restart{suffix}", (0.0, 0.0)))
    check(witness, found, 100, 3.0)
    (warning,) = map(str, found.warnings)
    assert "its clock goes back" in warning and "joined" in warning


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("begins_s", [(0.0, 3600.0), (3600.0, 0.0), (0.0, 3600.0, 2.0), (50.0, 40.0, 42.0, 41.0)])
def test_a_clock_that_leaps(tmp_path: Path, suffix: str, begins_s: tuple[float, ...]) -> None:
    witness, found = watch(joined(tmp_path / f"leap{suffix}", begins_s))
    check(witness, found, 50 * len(begins_s), 3.0)
    assert len(found.warnings) == 1 and "its clock" in str(found.warnings[0])


OTHER_NUMBERS = {
    "tracks": {"mpegts_start_pid": "512"},
    "programme": {"mpegts_start_pid": "512", "mpegts_pmt_start_pid": "5000", "mpegts_service_id": "7"},
}


@pytest.mark.parametrize("other", OTHER_NUMBERS)
@pytest.mark.parametrize("turn", [0, 1])
def test_recordings_of_several_recorders(tmp_path: Path, other: str, turn: int) -> None:
    """Their tracks have other numbers; FFmpeg goes on with those that it has found first, and finds no more."""
    options = [{}, OTHER_NUMBERS[other], {}, OTHER_NUMBERS[other]][turn:][:3]
    parts = [
        part(tmp_path / f"{at}.ts", 50 * at, 50, at, 1.0 if at == 1 else None, **each)
        for at, each in enumerate(options)
    ]
    path = tmp_path / "several.ts"
    path.write_bytes(parts[0] + parts[1][: -188 // 2] + parts[2])  # the second was cut off within a packet
    witness, found = watch(path)
    check(witness, found, 150, 3.0)
    (warning,) = map(str, found.warnings)
    assert "3 recordings behind one another" in warning


@pytest.mark.parametrize("what", ["sound comes later", "pictures come later", "another codec", "swapped numbers"])
def test_a_recording_with_other_tracks_behind_it(tmp_path: Path, what: str) -> None:
    whole = part(tmp_path / "whole.ts", 50, 50, 0.0, 1.0)
    first = tmp_path / "first.ts"
    part(tmp_path / "both.ts", 0, 50, 0.0, None)
    codec = "mpeg2video" if what == "another codec" else "libx264"
    with av.open(str(tmp_path / "both.ts")) as source, av.open(str(first), "w") as target:
        video, audio = source.streams
        kept = {
            "sound comes later": [video],
            "pictures come later": [audio],
            "another codec": [audio],
            "swapped numbers": [audio, video],
        }[what]
        anew = target.add_stream(codec, rate=25) if what == "another codec" else None
        if anew is not None:
            anew.width, anew.height, anew.pix_fmt = video.width, video.height, "yuv420p"
        copies = {stream: target.add_stream_from_template(stream) for stream in kept}
        for packet in source.demux():
            if packet.stream in copies and packet.dts is not None:
                packet.stream = copies[packet.stream]
                target.mux(packet)
            elif anew is not None and packet.stream is video:
                for frame in packet.decode():
                    target.mux(anew.encode(frame))
        if anew is not None:
            target.mux(anew.encode(None))
    joined_up = tmp_path / "joined.ts"
    joined_up.write_bytes(first.read_bytes() + whole)
    witness, found = watch(joined_up)
    assert min(witness.loud_s) == pytest.approx(3.0, abs=0.2) and found.duration_s == pytest.approx(4.0, abs=0.3)
    seen = set(range(50, 100)) if what == "pictures come later" else set(range(100))
    assert len(seen - set(witness.numbers)) <= 4
    assert "2 recordings behind one another" in str(found.warnings[0])


def with_clock(path: Path, time_of: Callable[[int], int]) -> Path:
    """A film of 100 pictures, 25 a second, with other times, milliseconds."""
    plain = film(path.with_name("plain.mkv"), np.arange(100) / 25, codec="ffv1")
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream, packet.pts = copy, time_of(packet.pts)
                packet.dts = packet.pts
                target.mux(packet)
    return path


def test_pictures_whose_clock_stands_still_are_all_seen(tmp_path: Path) -> None:
    path = with_clock(tmp_path / "still.mkv", lambda ms: min(ms, 2000))
    witness, found = watch(path)
    assert len(set(range(100)) - set(witness.numbers)) <= 2
    np.testing.assert_allclose(witness.times, np.array(witness.numbers) / 25, atol=0.1)
    assert "from 2.0 s on have one time" in str(found.warnings[0])


def test_that_the_clock_of_pictures_stands_still_is_told_once(tmp_path: Path) -> None:
    # Of ten pictures the last four have the time of one.
    path = with_clock(tmp_path / "halting.mkv", lambda ms: ms - 40 * max(ms // 40 % 10 - 6, 0))
    witness, found = watch(path)
    assert witness.numbers == sorted(witness.numbers)
    assert len([warning for warning in found.warnings if "one time" in str(warning)]) == 1


@pytest.mark.parametrize("step_ms", [1000, 500])
def test_times_rounded_to_seconds_do_not_run_away(tmp_path: Path, step_ms: int) -> None:
    path = with_clock(tmp_path / "rounded.mkv", lambda ms: ms // step_ms * step_ms)
    witness, found = watch(path)
    assert len(set(range(100)) - set(witness.numbers)) <= 5 and witness.numbers == sorted(witness.numbers)
    np.testing.assert_allclose(witness.times, np.array(witness.numbers) / 25, atol=0.1)
    assert found.duration_s == pytest.approx(4.0, abs=0.1)


def test_pictures_without_any_time_follow_one_another(tmp_path: Path) -> None:
    path = film(tmp_path / "camera.h264", np.arange(50) / 25, codec="libx264")  # a bare stream, as some write it
    witness, found = watch(path)
    assert len(set(range(50)) - set(witness.numbers)) <= 2 and witness.numbers == sorted(witness.numbers)
    np.testing.assert_allclose(witness.times, np.array(witness.numbers) / 25, atol=0.1)
    assert found.duration_s == pytest.approx(2.0, abs=0.1) and "one time" not in str(found.warnings)


def test_many_short_parts(tmp_path: Path) -> None:
    witness, found = watch(joined(tmp_path / "many.ts", (0.0,) * 8, count=12, click_in=-1))
    assert len(set(range(96)) - set(witness.numbers)) <= 8 and witness.numbers == sorted(witness.numbers)
    assert found.duration_s == pytest.approx(96 / 25, abs=0.8) and "7 times more" not in str(found.warnings)


def test_a_pause_is_kept(tmp_path: Path) -> None:
    """Some seconds in which nothing comes are time that passed, not another clock."""
    witness, found = watch(joined(tmp_path / "pause.ts", (0.0, 6.0)))
    assert found.duration_s == pytest.approx(8.0, abs=0.2) and not found.warnings
    assert min(witness.loud_s) == pytest.approx(7.0, abs=0.1)


def flv_from(data: bytes, more_s: float) -> bytes:
    """The tags of an FLV without its header, their times moved on."""
    out, at = bytearray(data), 13
    while at + 11 < len(out):
        size = int.from_bytes(out[at + 1 : at + 4])
        ms = (int.from_bytes(out[at + 4 : at + 7]) | out[at + 7] << 24) + round(more_s * 1000)
        out[at + 4 : at + 7], out[at + 7] = (ms & 0xFFFFFF).to_bytes(3), ms >> 24
        at += 11 + size + 4
    return bytes(out[13:])


@pytest.mark.parametrize("more_s", [0.0, 3600.0])
def test_a_recorder_that_connects_again(tmp_path: Path, more_s: float) -> None:
    """It goes on writing tags behind those of the first connection, on the new one's clock."""
    first = part(tmp_path / "a.flv", 0, 50, 0.0)
    second = part(tmp_path / "b.flv", 50, 50, 0.0, click_at_s=1.0)
    path = tmp_path / "again.flv"
    path.write_bytes(first + flv_from(second, more_s))
    witness, found = watch(path)
    check(witness, found, 100, 3.0)
    assert any("its clock" in str(warning) for warning in found.warnings)


@pytest.mark.parametrize("suffix", [".mkv", ".wmv"])
def test_a_file_that_starts_late_is_as_long_as_it_is(tmp_path: Path, suffix: str) -> None:
    """Matroska and ASF say when they end, counted from 0."""
    path = tmp_path / f"late{suffix}"
    part(path, 0, 50, 100.0, click_at_s=1.0)
    witness, found = watch(path)
    check(witness, found, 50, 1.0)
    assert not found.warnings


def test_a_subtitle_after_the_end_makes_no_film_longer(tmp_path: Path) -> None:
    source, text, path = tmp_path / "a.mkv", tmp_path / "late.srt", tmp_path / "subtitled.mkv"
    part(source, 0, 50, 0.0)
    text.write_text("1\n00:10:00,000 --> 00:10:05,000\ntoo late\n")
    with av.open(str(source)) as plain, av.open(str(text)) as late, av.open(str(path), "w") as container:
        copies = {stream: container.add_stream_from_template(stream) for stream in [*plain.streams, *late.streams]}
        for packet in [*plain.demux(), *late.demux()]:
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                container.mux(packet)
    with av.open(str(path)) as said:
        assert said.duration > 600e6
    _, found = watch(path)
    assert found.duration_s == pytest.approx(2.0, abs=0.1) and not found.warnings


def test_an_avi_in_which_every_other_chunk_is_empty(tmp_path: Path) -> None:
    """As a remux with twice the rate writes it."""
    path = film(tmp_path / "twice.avi", np.arange(50) / 25, codec="mpeg4", ticks=50)
    witness, found = watch(path)
    assert witness.numbers == sorted(witness.numbers) and len(witness.numbers) >= 49
    np.testing.assert_allclose(witness.times, np.array(witness.numbers) / 25, atol=0.05)
    assert found.duration_s == pytest.approx(2.0, abs=0.1) and not found.warnings


@pytest.mark.parametrize("suffix", [".ts", ".flv"])
@pytest.mark.parametrize(("count", "sound_s"), [(25, 1.0), (26, 0.97)])
def test_parts_that_overlap_a_little_do_not_add_up(tmp_path: Path, suffix: str, count: int, sound_s: float) -> None:
    """Encoders add sound at both ends: 0.03 to 0.1 s more than lie between a part's beginning and the next one's."""
    path, joins, data = tmp_path / f"joined{suffix}", 12, b""
    for at in range(joins):
        piece = part(path.with_stem("part"), at * count, count, 0.0 if suffix == ".flv" else at, 0.5, sound_s)
        data += flv_from(piece, at) if at and suffix == ".flv" else piece
    path.write_bytes(data)
    witness, found = watch(path)
    assert found.duration_s == pytest.approx(joins, abs=0.2) and not found.warnings
    numbers = np.array(witness.numbers)
    np.testing.assert_allclose(witness.times, numbers // count + numbers % count / 25, atol=0.15)
    loud = np.array(witness.loud_s)
    clicks = loud[np.flatnonzero(np.diff(loud, prepend=-1) > 0.5)]
    np.testing.assert_allclose(clicks, np.arange(joins) + 0.5, atol=0.2)


@pytest.mark.parametrize("size", [160, 800, 1600])
def test_sound_whose_clock_stands_still_is_not_laid_over_itself(tmp_path: Path, size: int) -> None:
    """Nor left out; where the clock goes on, the sound does too."""
    path = tmp_path / "still.mkv"
    with av.open(str(path), "w") as container:
        voice = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for at in range(0, 48_000, size):
            sound = np.full((1, size), at // 1600 / 30, np.float32)
            frame = av.AudioFrame.from_ndarray(sound, "fltp", "mono")
            frame.sample_rate, frame.pts = 16_000, min(at, 16_000) + max(0, at - 24_000)
            for packet in voice.encode(frame):
                packet.pts = packet.dts = frame.pts
                container.mux(packet)
    samples = np.concatenate([clip.sound(16_000).samples for clip in clips_of(path, Sampling(None, audio_hz=16_000))])
    assert len(samples) == 48_000
    np.testing.assert_allclose(samples[::1600], np.arange(30) / 30, atol=0.01)
