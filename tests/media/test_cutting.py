"""Clips that were cut out, decoded again: which frames they show, and whether the sound is in step."""

from __future__ import annotations

import io
import resource
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from sample_videos import film, numbered, read_number, turn
from witness import joined, watch

from hcq_cli.errors import HcqError
from hcq_cli.media.cutting import CONTAINERS, cut_clip, cut_here, ending_of_clip
from hcq_cli.media.decoder import Sound
from hcq_cli.media.pyav import PyAVDecoder
from hcq_cli.media.thumbnails import thumbnail

FPS = 25
HZ = 48_000
BURST_S = (4.0, 4.5)
"""When there is sound."""
KINDS = {
    ".mp4": ("libx264", "aac"),
    ".mkv": ("libx264", "aac"),
    ".webm": ("libvpx", "libopus"),
    ".avi": ("mpeg4", "pcm_s16le"),
    ".ts": ("libx264", "aac"),
}


def source(folder: Path, ending: str, keys_s: float, seconds: float = 8.0) -> Path:
    """A film whose frames show their number, with a key frame every so many seconds and one burst of sound."""
    video, audio = KINDS[ending]
    times = [number / FPS for number in range(round(seconds * FPS))]
    at = np.arange(round(seconds * HZ)) / HZ
    sound = np.where((at >= BURST_S[0]) & (at < BURST_S[1]), 0.5 * np.sin(2 * np.pi * 700 * at), 0)
    options = {"g": str(round(keys_s * FPS)), "keyint_min": "1"}
    # No other key frames, however much the picture changes.
    options |= {"sc_threshold": "0" if video == "libx264" else "1000000000"} if video != "libvpx" else {}
    options |= {"deadline": "realtime", "cpu-used": "8"} if video == "libvpx" else {}
    images = [numbered(number) for number in range(len(times))]
    how = dict(codec=video, sound_codec=audio, options=options, ticks=FPS if ending == ".avi" else 90_000)
    return film(folder / f"film{keys_s}{ending}", times, images, sound.astype("f"), HZ, **how)


def shown(path: Path) -> tuple[list[float], list[int], float]:
    """Times and numbers of the frames of a clip, and when its burst of sound begins; on one clock, from 0."""
    times, numbers, loud = [], [], []
    with av.open(str(path)) as clip:
        zero_s = (clip.start_time or 0) / 1e6
        for frame in clip.decode(clip.streams.video[0]):
            times.append(frame.time - zero_s)
            numbers.append(read_number(frame.to_ndarray(format="rgb24")))
    with av.open(str(path)) as clip:
        for frame in clip.decode(clip.streams.audio[0]):
            samples = np.abs(frame.to_ndarray().astype("f")).max(0)
            samples /= 32768 if frame.format.name.startswith("s16") else 1
            if (samples > 0.1).any():
                loud.append(frame.time - zero_s + int(np.argmax(samples > 0.1)) / frame.sample_rate)
    return times, numbers, min(loud, default=-1.0)


@pytest.mark.parametrize("ending", KINDS)
@pytest.mark.parametrize("keys_s", [8.0, 1.0], ids=["encoded", "copied"])
def test_first_and_last_frame_and_the_sound(tmp_path: Path, ending: str, keys_s: float) -> None:
    path, target = source(tmp_path, ending, keys_s), tmp_path / f"clip{ending}"
    start_s, end_s = 3.2, 5.6
    copied = keys_s == 1.0 and ending != ".avi"  # which has no times
    assert cut_here(str(path), start_s, end_s, str(target), CONTAINERS[ending]) == copied
    times, numbers, burst_s = shown(target)
    first, last = round(start_s * FPS), round(end_s * FPS) - 1
    if copied:
        assert numbers[0] == 3 * FPS and abs(numbers[-1] - last) <= 4
    else:
        assert abs(numbers[0] - first) <= 1 and abs(numbers[-1] - last) <= 1
    assert numbers == sorted(numbers) and len(numbers) >= numbers[-1] - numbers[0]
    assert times[0] == pytest.approx(0, abs=0.041)
    at = times[numbers.index(round(BURST_S[0] * FPS))]
    assert burst_s == pytest.approx(at, abs=0.04)


def test_where_the_sound_begins_first_a_clip_begins_with_the_picture_that_is_on(tmp_path: Path) -> None:
    """A second counts from the first sample or picture: there frames have lower numbers than seconds tell."""
    times = [0.1 + number / FPS for number in range(75)]
    path = film(tmp_path / "film.ts", times, None, np.zeros(3 * HZ, "f"), HZ, codec="libx264", sound_codec="aac")
    with closing(PyAVDecoder().open(str(path), True, [])) as media:
        pictures = [(one.time_s, read_number(one.rgb(160))) for one in media if not isinstance(one, Sound)]
    assert pictures[0][0] >= 0.1
    for start_s in (1.37, 2.5):
        cut_here(str(path), start_s, 2.9, str(tmp_path / f"{start_s}.ts"), CONTAINERS[".ts"])
        assert shown(tmp_path / f"{start_s}.ts")[1][0] == [number for at, number in pictures if at <= start_s][-1]


@pytest.mark.parametrize(("audio", "options"), [("pcm_s16le", {}), ("ac3", {}), ("mp3", {"bf": "2"})])
def test_the_sound_of_an_avi_is_in_step(tmp_path: Path, audio: str, options: dict[str, str]) -> None:
    """Its packets of sound are as long as they like, and of pictures that come out of order it says no time."""
    times = [number / 10 for number in range(70)]
    at = np.arange(7 * HZ) / HZ
    sound = np.where((at >= BURST_S[0]) & (at < BURST_S[1]), 0.5 * np.sin(2 * np.pi * 700 * at), 0).astype("f")
    options = {"g": "10", "sc_threshold": "1000000000", **options}
    path = film(tmp_path / "film.avi", times, None, sound, HZ, 0.0, "mpeg4", audio, options, ticks=10)
    with closing(PyAVDecoder().open(str(path), True, [HZ])) as media:
        pieces = list(media)
    loud = [(one.start_s, np.abs(one.samples).max(0) > 0.1) for one in pieces if isinstance(one, Sound)]
    begins_s = min(start_s + np.argmax(samples) / HZ for start_s, samples in loud if samples.any())
    shown_s = {read_number(one.rgb(160)): one.time_s for one in pieces if not isinstance(one, Sound)}
    for start_s in (1.3, 2.04, 2.5, 3.17, 3.66):
        target = tmp_path / f"{start_s}.avi"
        assert not cut_here(str(path), start_s, 4.45, str(target), CONTAINERS[".avi"])
        clip_s, numbers, burst_s = shown(target)
        assert -0.1 < shown_s[numbers[0]] - start_s < 0.001 and np.diff(numbers).tolist() == [1] * (len(numbers) - 1)
        assert burst_s - clip_s[numbers.index(40)] == pytest.approx(begins_s - shown_s[40], abs=0.03)


MENDED = {
    "restarts.ts": (0.0, 0.0, 0.0),
    "leaps.ts": (50.0, 3600.0, 20.0),
    "restarts.mpg": (0.0, 0.0, 0.0),
    "joined.mp4": (0.0, 0.0, 0.0),
    "joined.mkv": (0.0, 70.0, 0.0),
    "joined.flv": (0.0, 0.0, 0.0),
    "joined.avi": (0.0, 0.0, 0.0),
}
"""Recordings behind one another, each of 2 s, and when the clock of each begins."""


@pytest.mark.parametrize("name", MENDED)
def test_of_joined_recordings_the_second_that_is_named_is_cut_out_and_shown(tmp_path: Path, name: str) -> None:
    path = joined(tmp_path / name, MENDED[name], click_in=2)  # which sounds from 5.0 to 5.2 s
    for start_s, end_s in ((0.4, 1.2), (1.6, 2.8), (2.6, 3.6), (4.4, 5.6)):
        target = tmp_path / f"{start_s}{ending_of_clip(path)}"
        copied = cut_here(str(path), start_s, end_s, str(target), CONTAINERS[target.suffix])
        times, numbers, burst_s = shown(target)
        assert -3.5 <= start_s * FPS - numbers[0] <= (FPS if copied else 3.5)
        assert abs(numbers[-1] - end_s * FPS) <= 4.5
        assert numbers == sorted(numbers) and len(numbers) >= numbers[-1] - numbers[0] - 4
        assert times[numbers.index(numbers[-1])] == pytest.approx((numbers[-1] - numbers[0]) / FPS, abs=0.12)
        assert burst_s == pytest.approx(5.0 - numbers[0] / FPS if start_s < 5 < end_s else -1, abs=0.12)
    witness, _ = watch(path)
    for second in (0.513, 1.913, 2.113, 3.513, 4.493, 5.513):
        image = np.asarray(Image.open(io.BytesIO(thumbnail(str(path), second, format="PNG"))))
        at = np.searchsorted(witness.times, second, side="right") - 1
        assert read_number(image) == witness.numbers[at]


def test_a_clip_that_is_encoded_keeps_both_channels(tmp_path: Path) -> None:
    at = np.arange(2 * HZ) / HZ
    left = np.stack([0.5 * np.sin(2 * np.pi * 500 * at), np.zeros_like(at)], axis=1).astype("f")
    images = [numbered(number) for number in range(50)]
    path = film(tmp_path / "left.mkv", np.arange(50) / FPS, images, left, HZ, options={"g": "50"})
    assert not cut_here(str(path), 1.2, 1.8, str(tmp_path / "clip.mkv"), CONTAINERS[".mkv"])
    with av.open(str(tmp_path / "clip.mkv")) as clip:
        samples = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], axis=1)
    power = (samples.astype("f") ** 2).mean(1)
    assert power[0] > 0.05 and power[1] < 0.001 * power[0]


def test_a_picture_that_is_turned_stays_upright(tmp_path: Path) -> None:
    path = turn(source(tmp_path, ".mp4", 8.0), 90)
    for start_s, copied, size, rotation in ((2.0, False, (96, 160), 0), (0.5, True, (160, 96), -90)):
        target = tmp_path / f"{start_s}.mp4"
        assert cut_here(str(path), start_s, 3.0, str(target), CONTAINERS[".mp4"]) == copied
        with av.open(str(target)) as clip:
            assert (clip.streams.video[0].width, clip.streams.video[0].height) == size
            assert abs(next(clip.decode(video=0)).rotation) == abs(rotation)


def test_a_child_writes_a_new_file_or_none(tmp_path: Path) -> None:
    path = source(tmp_path, ".mkv", 1.0)
    odd = path.rename(tmp_path / "-o 'dd\n\udcff 🎬.mkv")
    target = tmp_path / "out" / "01.mkv"
    assert cut_clip(odd, 3.0, 4.0, target) is True and shown(target)[1][0] == 75
    before = target.read_bytes()
    with pytest.raises(FileExistsError):
        cut_clip(odd, 3.0, 4.0, target)
    assert target.read_bytes() == before
    with pytest.raises(HcqError, match="no clip of it"):
        cut_clip(odd, 30.0, 40.0, tmp_path / "out" / "late.mkv")
    (tmp_path / "no.mkv").write_bytes(b"nothing")
    with pytest.raises(HcqError, match="no clip of it"):
        cut_clip(tmp_path / "no.mkv", 0, 1, tmp_path / "out" / "no.mkv")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["01.mkv"]


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    path = source(tmp_path, ".mkv", 8.0)
    # Children inherit the limit: a write beyond it fails as on a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(HcqError, match="full") as caught:
            cut_clip(path, 1.0, 7.0, tmp_path / "out" / "01.mkv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "01.mkv" in caught.value.message
    assert list((tmp_path / "out").iterdir()) == []


def test_the_ending_of_a_clip() -> None:
    assert [ending_of_clip(name) for name in ("a.MKV", "b.wmv", "c")] == [".mkv", ".mp4", ".mp4"]
