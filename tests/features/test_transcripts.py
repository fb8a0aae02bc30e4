"""Transcripts: the last line about a content counts, and half a line harms no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_samples import video

from experts.base import Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.transcripts import (
    TRANSCRIPTS,
    Transcripts,
    read_transcripts,
    transcripts_digest,
    write_transcripts,
)
from hcq_cli.features.writer import FeatureWriter
from hcq_cli.files import append_lines


def spoken(id: str, content: str, *words: str) -> VideoFeatures:
    tokens = Tokens(np.ones((len(words), 3), np.float32), np.arange(len(words), dtype=np.float32), words=list(words))
    return replace(video(id, [], content), tokens={"speech": tokens}, identities={"speech": "speech|1|||"})


def test_what_shares_have_heard_is_put_together(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path):
        pass
    (tmp_path / "logs").mkdir()
    (tmp_path / TRANSCRIPTS).write_text('{"torn')
    for number in (1, 2):
        (tmp_path / "logs" / f"words-{number}-of-2.jsonl").write_text(
            json.dumps({"content_hash": f"c{number}", "expert": "ocr", "words": [[1.0, f"word {number}"]]}) + "\n"
        )
    with FeatureWriter(tmp_path) as writer:
        writer.compact()
    assert [read_transcripts(tmp_path, f"c{number}") for number in (1, 2)] == [
        {"ocr": [(1.0, "word 1")]},
        {"ocr": [(1.0, "word 2")]},
    ]
    assert not list((tmp_path / "logs").iterdir())


def test_what_a_share_hears_while_its_log_is_taken_in_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FeatureWriter(tmp_path) as writer:
        (tmp_path / "logs").mkdir()
        write_transcripts(tmp_path, spoken("a", "c1", "before"), "logs/words-1-of-2.jsonl")

        def append(path: Path, data: bytes) -> bool:
            monkeypatch.undo()
            write_transcripts(tmp_path, spoken("b", "c2", "meanwhile"), "logs/words-1-of-2.jsonl")
            return append_lines(path, data)

        monkeypatch.setattr("hcq_cli.features.transcripts.append_lines", append)
        writer.compact()
        writer.compact()
    assert read_transcripts(tmp_path, "c1") == {"speech": [(0.0, "before")]}
    assert read_transcripts(tmp_path, "c2") == {"speech": [(0.0, "meanwhile")]}


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


def test_many_are_looked_up_with_begin_and_end(tmp_path: Path) -> None:
    assert Transcripts(tmp_path).of("c1") == {} and transcripts_digest(tmp_path) == ""
    write_transcripts(tmp_path, spoken("a", "c1", "hello"))
    with (tmp_path / TRANSCRIPTS).open("ab") as torn:
        torn.write(b'{"id": "half')
    before = transcripts_digest(tmp_path)
    timed = spoken("b", "c2", "one", "two")
    spans = ((0.5, 1.25), (2.0, 2.0))
    write_transcripts(tmp_path, replace(timed, tokens={"speech": replace(timed.tokens["speech"], spans=spans)}))
    many = Transcripts(tmp_path)
    assert many.of("c1") == {"speech": [(0.0, 0.0, "hello")]}
    assert many.of("c2") == {"speech": [(0.5, 1.25, "one"), (2.0, 2.0, "two")]}
    assert many.of("c3") == {} and read_transcripts(tmp_path, "c2") == {"speech": [(0.0, "one"), (1.0, "two")]}
    assert len({before, transcripts_digest(tmp_path)}) == 2
