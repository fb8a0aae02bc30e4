"""Transcripts: the last line about a content counts, and half a line harms no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from feature_samples import video

from experts.base import Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.transcripts import TRANSCRIPTS, read_transcripts, write_transcripts


def spoken(id: str, content: str, *words: str) -> VideoFeatures:
    tokens = Tokens(np.ones((len(words), 3), np.float32), np.arange(len(words), dtype=np.float32), words=list(words))
    return replace(video(id, [], content), tokens={"speech": tokens}, identities={"speech": "speech|1|||"})


def test_transcripts_come_back_by_content(tmp_path: Path) -> None:
    write_transcripts(tmp_path, video("silent"))
    assert not (tmp_path / TRANSCRIPTS).exists() and read_transcripts(tmp_path, "c0") == {}
    write_transcripts(tmp_path, spoken("a", "c1", "hello", "🎬 there"))
    with (tmp_path / TRANSCRIPTS).open("ab") as torn:  # a process was killed here
        torn.write(b'{"id": "half')
    write_transcripts(tmp_path, spoken("b", "c2", "other"))
    assert read_transcripts(tmp_path, "c1") == {"speech": [(0.0, "hello"), (1.0, "🎬 there")]}
    write_transcripts(tmp_path, spoken("renamed", "c1", "again"))
    assert read_transcripts(tmp_path, "c1") == {"speech": [(0.0, "again")]}
    assert read_transcripts(tmp_path, "c2") == {"speech": [(0.0, "other")]}
