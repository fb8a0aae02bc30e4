"""However many experts look and listen, a video is opened, read and decoded once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from sample_videos import clip

from experts.base import Clip, Sampling, State, Tokens
from experts.registry import load, presets
from hcq_cli.extraction.pipeline import extract_video
from hcq_cli.media import pyav
from hcq_cli.media.decoder import decoders_for


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


def test_a_run_decodes_every_video_once_and_says_so(hcq, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    paths = [clip(videos / f"{seed}.mp4", seconds=1.0 + seed, seed=seed) for seed in range(3)]
    packets = frames = 0
    for path in paths:
        with av.open(str(path)) as container:
            for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
                packets += 1
                frames += len(packet.decode()) if packet.stream.type == "video" else 0
    every = hcq("extract", videos, "--json", "--workers", "1").json
    assert (every["packets"], every["frames"], every["extracted"]) == (packets, frames, 3)
