"""Of several tracks of sound one that can be heard, of the picture's programme; those passed over are said."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from decoded_clips import decoder
from sample_videos import numbered, tone

from experts.base import Clip, Sampling, State, Tokens
from hcq_cli.extraction.pipeline import extract_video

HZ = 8000


def tracks(path: Path, sounds: Sequence[np.ndarray], languages: Sequence[str] = (), codec: str = "pcm_s16le") -> Path:
    """A film of one picture a second with several tracks of sound, float32 [n] at 8 kHz each."""
    seconds = len(sounds[0]) // HZ
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=1)
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        voices = [container.add_stream(codec, rate=HZ, layout="mono") for _ in sounds]
        for voice, language in zip(voices, languages, strict=False):
            voice.metadata["language"] = language
        for second in range(seconds):
            frame = av.VideoFrame.from_ndarray(numbered(second), "rgb24")
            frame.pts = second
            container.mux(picture.encode(frame))
            for voice, sound in zip(voices, sounds, strict=True):
                piece = np.ascontiguousarray(sound[None, second * HZ : (second + 1) * HZ])
                heard = av.AudioFrame.from_ndarray((piece * 32767).astype(np.int16), "s16", "mono")
                heard.sample_rate, heard.pts = HZ, second * HZ
                container.mux(voice.encode(heard))
        for stream in (picture, *voices):
            container.mux(stream.encode(None))
    return path


class Ear:
    """Keeps the sound it gets."""

    name, dim, version, weights = "ear", 1, "1", ""
    sampling = Sampling(1.0, 64, HZ)

    def __init__(self) -> None:
        self.heard: list[np.ndarray] = []

    def prepare(self, device: str) -> None: ...

    def extract(self, clip: Clip) -> Tokens:
        self.heard.append(clip.sound(HZ).samples)
        return Tokens.none(1, State.NOTHING_FOUND)


def listen(path: Path) -> tuple[int, list[str]]:
    """The pitch of what was heard in Hz, 0 for silence; and the warnings."""
    ear = Ear()
    found = extract_video(str(path), [ear], decoder("pyav"))
    samples = np.concatenate(ear.heard)
    silent = np.abs(samples).max(initial=0) < 1e-3
    pitch = 0 if silent else round(float(np.argmax(np.abs(np.fft.rfft(samples)))) * HZ / len(samples))
    return pitch, [str(warning) for warning in found.warnings]


def pitched(*pitches_hz: float, seconds: int = 4, from_s: int = 0) -> list[np.ndarray]:
    sounds = []
    for pitch_hz in pitches_hz:
        sound = tone(seconds, HZ, pitch_hz) if pitch_hz else np.zeros(seconds * HZ, np.float32)
        sound[: from_s * HZ] = 0
        sounds.append(sound)
    return sounds


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi"])
def test_the_first_track_may_be_empty(tmp_path: Path, suffix: str) -> None:
    """As recorders of screens and cameras with several microphones write it."""
    path = tracks(tmp_path / f"empty{suffix}", pitched(0, 0, 500, 300, from_s=3))
    pitch, warnings = listen(path)
    assert pitch == 500
    assert warnings == ["of its 4 sound tracks 3 is heard, not 1, 2, 4; 1 is silent"]


def test_the_track_of_a_player_is_taken_where_it_is_heard(tmp_path: Path) -> None:
    """Also where another one begins before it, as a comment on a film does."""
    first, second = *pitched(500, seconds=6, from_s=4), *pitched(300, seconds=6)
    path = tracks(tmp_path / "film.mkv", [first, second], ["eng", "deu"])
    assert listen(path) == (500, ["of its 2 sound tracks 1 (eng) is heard, not 2 (deu)"])


def test_all_tracks_silent(tmp_path: Path) -> None:
    pitch, warnings = listen(tracks(tmp_path / "quiet.mkv", pitched(0, 0)))
    assert pitch == 0 and warnings == ["of its 2 sound tracks 1 is heard, not 2"]


def test_one_track_is_nothing_to_talk_about(tmp_path: Path) -> None:
    assert listen(tracks(tmp_path / "one.mkv", pitched(500))) == (500, [])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="only ffmpeg writes several programmes")
def test_the_sound_belongs_to_the_programme_of_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "programmes.ts"
    inputs = ["color=red:s=160x120", "anullsrc=r=48000", "color=blue:s=160x120", "sine=r=48000"]
    sources = [word for source in inputs for word in ("-f", "lavfi", "-t", "2", "-i", source)]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:v", "-map", "3:a", "-c:v", "mpeg2video", "-c:a", "mp2"]
    programmes = ["-program", "title=a:st=0:st=1", "-program", "title=b:st=2:st=3"]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *maps, *programmes, "-t", "2", path], check=True)
    assert listen(path) == (0, [])
