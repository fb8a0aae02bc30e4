"""Films of numbered frames with a burst of sound, alone and joined; and who notes what experts get of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decoded_clips import decoder
from sample_videos import film, numbered, read_number

from experts.base import Clip, Sampling, State, Tokens
from hcq_cli.extraction.pipeline import ExtractedVideo, extract_video
from hcq_cli.media.decoder import CannotOpenError

HZ = 48_000
CODECS = {
    ".ts": ("libx264", "mp2"),
    ".mpg": ("mpeg2video", "mp2"),
    ".mkv": ("libx264", "mp2"),
    ".wmv": ("wmv2", "libmp3lame"),
    ".flv": ("libx264", "libmp3lame"),
    ".mp4": ("libx264", "libmp3lame"),
    ".mov": ("libx264", "libmp3lame"),
    ".f4v": ("libx264", "libmp3lame"),
    ".asf": ("wmv2", "libmp3lame"),
    ".avi": ("mpeg4", "libmp3lame"),
    ".nut": ("wmv2", "libmp3lame"),
}
"""Of pictures and of sound."""


class Witness:
    """Notes the numbers of the frames it gets, their times, and when something can be heard."""

    name, dim, version, weights = "witness", 1, "1", ""
    sampling = Sampling(25.0, 160, 16_000)

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.loud_s: list[float] = []
        self.samples = 0

    def prepare(self, device: str) -> None: ...

    def extract(self, clip: Clip) -> Tokens:
        frames, sound = clip.frames(self.sampling), clip.sound(16_000)
        self.numbers += [read_number(image) for image in frames.images]
        self.times += frames.times.tolist()
        loud = np.flatnonzero(np.abs(sound.samples) > 0.2) / 16_000 + sound.start_s
        self.loud_s += [round(float(at), 3) for at in loud]
        self.samples += len(sound.samples)
        return Tokens.none(1, State.NOTHING_FOUND)


def watch(path: Path, by: str = "pyav") -> tuple[Witness, ExtractedVideo]:
    witness = Witness()
    found = extract_video(str(path), [witness], decoder(by))
    if found.error is not None:
        raise CannotOpenError(found.error)
    return witness, found


def part(
    path: Path,
    first: int,
    count: int,
    at_s: float,
    click_at_s: float | None = None,
    sound_s: float | None = None,
    **container_options: str,
) -> bytes:
    """A film of `count` frames at 25 a second, numbered from `first`, whose clock begins at `at_s`; its bytes."""
    sound = np.zeros(round((sound_s or count / 25) * HZ), np.float32)
    if click_at_s is not None:
        sound[round(click_at_s * HZ) :][: HZ // 5] = 0.8 * np.sign(np.sin(np.arange(HZ // 5) / 8))
    codec, sound_codec = CODECS[path.suffix]
    images = [numbered(first + at) for at in range(count)]
    options = {"g": "10", "bf": "2"} if codec == "libx264" else {"g": "10"}
    ticks = 25 if codec in ("mpeg2video", "mpeg4") else 90_000
    times_s = at_s + np.arange(count) / 25
    more = {"ticks": ticks, "container_options": container_options}
    film(path, times_s, images, sound, HZ, at_s, codec, sound_codec, options, **more)
    return path.read_bytes()


def joined(path: Path, begins_s: tuple[float, ...], count: int = 50, click_in: int = 1) -> Path:
    """Films of `count` frames behind one another, each with a clock that begins at its own second."""
    parts = [
        part(path.with_stem(f"part{at}"), at * count, count, begin_s, 1.0 if at == click_in else None)
        for at, begin_s in enumerate(begins_s)
    ]
    path.write_bytes(b"".join(parts))
    return path


def check(witness: Witness, found: ExtractedVideo, count: int, click_s: float) -> None:
    seconds = count / 25
    missing = sorted(set(range(count)) - set(witness.numbers))
    assert len(missing) <= 4, missing  # codecs drop or delay a picture where a stream begins
    assert witness.numbers == sorted(witness.numbers) and witness.times == sorted(witness.times)
    np.testing.assert_allclose(witness.times, np.array(witness.numbers) / 25, atol=0.3)
    assert found.duration_s == pytest.approx(seconds, abs=0.3)
    assert min(witness.loud_s) == pytest.approx(click_s, abs=0.2), witness.loud_s[:3]
    assert max(witness.loud_s) == pytest.approx(click_s + 0.2, abs=0.2)
    assert witness.samples / 16_000 == pytest.approx(seconds, abs=0.3)
