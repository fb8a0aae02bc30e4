"""One video through its experts: what becomes of each, and of a file that is broken in some way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from sample_videos import clip, film, tone

from experts.base import Clip, Sampling, State, Tokens
from experts.registry import load, presets
from hcq_cli.extraction.pipeline import extract_video
from hcq_cli.media import pyav
from hcq_cli.media.decoder import decoders_for


class Stub:
    """An expert that answers with what it is told."""

    dim, version, weights = 1, "1", ""

    def __init__(self, name: str, sampling: Sampling, answers: list[State | Exception]) -> None:
        self.name, self.sampling, self.answers, self.clips = name, sampling, answers, list[Clip]()

    def prepare(self, device: str) -> None: ...

    def extract(self, clip: Clip) -> Tokens:
        answer = self.answers[len(self.clips) % len(self.answers)]
        self.clips.append(clip)
        if isinstance(answer, Exception):
            raise answer
        if answer is not State.TOKENS:
            return Tokens.none(1, answer)
        return Tokens(np.full((1, 1), clip.start_s, np.float32), np.array([clip.start_s], np.float32))


EYE, EAR = Sampling(1.0, 64), Sampling(None, audio_hz=16_000)


def run(path: Path, *experts: Stub, **options):
    return extract_video(str(path), experts, decoders_for("pyav"), **options)


@pytest.mark.parametrize(
    ("answers", "state", "count"),
    [
        ([State.NOTHING_FOUND, State.TOKENS, State.SILENT], State.TOKENS, 1),
        ([State.SILENT, State.NOTHING_FOUND, State.NO_FRAMES], State.NOTHING_FOUND, 0),
        ([State.NO_FRAMES, State.SILENT, State.NO_FRAMES], State.SILENT, 0),
        ([State.TOKENS], State.TOKENS, 3),
        ([State.TOKENS, ValueError("no")], State.FAILED, 0),
    ],
)
def test_states_of_several_clips(tmp_path: Path, answers: list, state: State, count: int) -> None:
    path = film(tmp_path / "long.mkv", np.arange(140) / 2)
    kept = Stub("kept", EYE, [State.TOKENS])
    found = run(path, Stub("eye", EYE, answers), kept)
    assert found.error is None
    assert (found.tokens["eye"].state, len(found.tokens["eye"])) == (state, count)
    assert found.tokens["kept"].times.tolist() == [0, 30, 60]
    if state is State.FAILED:
        assert [(r.expert, r.message) for r in found.warnings] == [("eye", "ValueError: no")]


def test_missing_tracks_are_answered_without_asking(tmp_path: Path) -> None:
    eye, ear = Stub("eye", EYE, [State.TOKENS]), Stub("ear", EAR, [State.TOKENS])
    mute = run(film(tmp_path / "mute.mkv", [0, 0.5]), eye, ear)
    assert mute.tokens["ear"].state is State.NO_STREAM and mute.tokens["eye"].state is State.TOKENS
    blind = run(film(tmp_path / "blind.wav", sound=tone(0.5)), eye, ear)
    assert blind.tokens["eye"].state is State.NO_STREAM and blind.tokens["ear"].state is State.TOKENS
    assert len(eye.clips) == len(ear.clips) == 1


def test_an_expert_asks_for_a_track_the_file_lacks_and_the_file_is_no_failure(tmp_path: Path) -> None:
    found = run(film(tmp_path / "mute.mkv", [0, 0.5]), Stub("ear", EAR, [State.TOKENS]))
    assert found.error is None and found.tokens["ear"].state is State.NO_STREAM


@pytest.mark.parametrize("keep", [0.4, 0.7])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_cut_off_in_the_middle(tmp_path: Path, suffix: str, keep: float) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 160, 3)).astype(np.uint8) for _ in range(40)]
    early = {"movflags": "faststart"} if suffix == ".mp4" else {}
    path = film(tmp_path / f"cut{suffix}", np.arange(40) / 10, noise, options={"g": "10"}, container_options=early)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    eye = Stub("eye", Sampling(10.0, 64), [State.TOKENS])
    found = run(path, eye)
    assert found.error is None
    frames = eye.clips[0].frames(eye.sampling)
    assert 0.5 * keep * 40 < len(frames) < 40
    if suffix != ".ts":  # a transport stream does not know how long it was
        assert any("of 3.9 s could be decoded" in warning.message for warning in found.warnings)


def test_an_avi_cut_off_is_told_by_its_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 160, 3)).astype(np.uint8) for _ in range(40)]
    path = film(tmp_path / "cut.avi", np.arange(40) / 10, noise, codec="mpeg4", ticks=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    eye = Stub("eye", Sampling(10.0, 64), [State.TOKENS])
    found = run(path, eye)
    assert 10 < len(eye.clips[0].frames(eye.sampling)) < 25 and found.duration_s == pytest.approx(4.0)
    assert any("of 4.0 s could be decoded" in warning.message for warning in found.warnings)


def test_a_break_costs_what_refers_to_it_and_no_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 160, 3)).astype(np.uint8) for _ in range(40)]
    path = film(tmp_path / "hole.mkv", np.arange(40) / 10, noise, options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = len(data) * 37 // 100
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    eye = Stub("eye", Sampling(10.0, 64), [State.TOKENS])
    found = run(path, eye)
    times = eye.clips[0].frames(eye.sampling).times
    assert found.error is None and times[-1] > 3.5 and 25 < len(times) <= 40


def test_decord_corrupted_keeps_28_frames(shared: Path) -> None:
    eye = Stub("eye", Sampling(10.0, 64), [State.TOKENS])
    found = run(shared / "videos" / "edge" / "decord__corrupted.mp4", eye)
    assert len(eye.clips[0].frames(eye.sampling)) == 28
    assert any("broken at 2.8 s" in warning.message for warning in found.warnings)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    import av

    path, picture = tmp_path / "song.m4a", film(tmp_path / "cover.png", [0], codec="png", pixels="rgb24")
    with av.open(str(path), "w", format="mp4") as out, av.open(str(picture)) as cover:
        voice = out.add_stream("aac", rate=16_000, layout="mono")
        art = out.add_stream_from_template(cover.streams.video[0])
        art.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tone(0.5)[None, :1024].copy(), "fltp", "mono")
        frame.sample_rate = 16_000
        out.mux(voice.encode(frame))
        out.mux(voice.encode(None))
        for packet in cover.demux():
            if packet.size:
                packet.stream = art
                out.mux(packet)
    found = run(path, Stub("eye", EYE, [State.TOKENS]), Stub("ear", EAR, [State.TOKENS]))
    assert found.tokens["eye"].state is State.NO_STREAM and found.tokens["ear"].state is State.TOKENS


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.full((1, 1), np.nan), np.zeros(4)])
def test_an_expert_that_breaks_its_word_fails(tmp_path: Path, bad: np.ndarray) -> None:
    expert = Stub("eye", EYE, [State.TOKENS])
    expert.extract = lambda clip: Tokens(bad, np.zeros(len(bad), np.float32))  # type: ignore[method-assign]
    found = run(film(tmp_path / "a.mkv", [0.0]), expert, Stub("kept", EYE, [State.TOKENS]))
    assert found.tokens["eye"].state is State.FAILED and found.tokens["kept"].state is State.TOKENS


def test_a_play_list_that_calls_itself_a_video_reaches_for_nothing(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1.0)
        port = server.getsockname()[1]
        (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n")
        found = run(tmp_path / "list.mp4", Stub("eye", EYE, [State.TOKENS]))
        with pytest.raises(TimeoutError):
            server.accept()
    assert found.error


# However many experts look and listen, a video is opened, read and decoded once


class Counted:
    """A container of PyAV that counts what is read from it, whoever reads."""

    def __init__(self, container: Any, counts: Counter[str]) -> None:
        self._container, self._counts = container, counts

    def demux(self, *arguments: Any) -> Any:
        for packet in self._container.demux(*arguments):
            self._counts["packets"] += 1
            yield packet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return clip(tmp_path / "a.mp4", seconds=3.0, fps=25.0)


@pytest.fixture
def counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts, from when the film is made, files opened, packets read and pieces decoded."""
    counted = Counter[str]()
    opened, decoded = av.open, pyav.PyAVMedia._decode

    def count_opening(*arguments: Any, **options: Any) -> Counted:
        counted["files"] += 1
        return Counted(opened(*arguments, **options), counted)

    def count_decoding(self: Any, packet: Any) -> Any:
        counted["decodings"] += 1
        for piece in decoded(self, packet):
            counted["pieces"] += 1
            yield piece

    monkeypatch.setattr(av, "open", count_opening)
    monkeypatch.setattr(pyav.PyAVMedia, "_decode", count_decoding)
    return counted


class Both:
    """An expert that wants both senses, at rates and sizes of its own."""

    dim, version, weights = 1, "1", ""

    def __init__(self, name: str, rate: float = 7.0, side: int = 90, hz: int = 16_000) -> None:
        self.name, self.sampling = name, Sampling(rate, side, hz)

    def prepare(self, device: str) -> None: ...

    def extract(self, clip: Clip) -> Tokens:
        frames, sound = clip.frames(self.sampling), clip.sound(self.sampling.audio_hz or 0)
        assert len(frames) and len(sound.samples)
        return Tokens(np.ones((1, 1), np.float32), np.zeros(1, np.float32), State.TOKENS)


def test_all_experts_together_read_and_decode_what_one_does(path: Path, counts: Counter[str]) -> None:
    alone = extract_video(str(path), [Both("one")], decoders_for("pyav"))
    of_one = dict(counts)
    counts.clear()
    experts = load(presets["classic"])
    for expert in experts:
        expert.prepare("cpu")
    others = [Both("slow", 0.5, 640), Both("fast", 25.0, 48), Both("same", 7.0, 90)]
    together = extract_video(str(path), [*experts, *others], decoders_for("pyav"))
    assert of_one["files"] == 1 and of_one["packets"] > 75 and of_one["pieces"] > 75
    assert dict(counts) == of_one
    assert (together.packets, together.frames) == (alone.packets, alone.frames) == (of_one["packets"], 75)
    assert set(together.tokens) == {"appearance", "motion", "audio", "face", "slow", "fast", "same"}
