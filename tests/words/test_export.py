"""Sentences as subtitles and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hcq_cli.words.export import exported, file_of
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.sidecars import SubtitleFile, read_sidecar

SENTENCES = [
    Sentence("talk", "name"),
    Sentence("later", "speech", 3725.5, 3727.5, "en"),
    Sentence("fish & <chips>", "speech", 1.0, 1.0),
    Sentence("quick", "ocr", 2.5, 2.5),
]


def test_srt_and_vtt_are_read_back_in_the_order_of_time(tmp_path: Path) -> None:
    for format in ("srt", "vtt"):
        path = tmp_path / f"a.{format}"
        path.write_text("".join(exported(SENTENCES, format)))
        read = [(each.text, each.start_s, each.end_s) for each in read_sidecar(SubtitleFile(str(path), ""))]
        assert read[1:] == [("quick", 2.5, 4.5), ("later", 3725.5, 3727.5)]
        assert read[0][1:] == (1.0, 2.5)  # until the next begins
        assert read[0][0] == ("fish & <chips>" if format == "vtt" else "fish &")
    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00:01,000 --> 00:00:02,500\n")


def test_jsonl_holds_everything() -> None:
    lines = [json.loads(line) for line in exported(SENTENCES, "jsonl", id="a.mp4", path="/a.mp4")]
    assert [line["text"] for line in lines] == [each.text for each in SENTENCES]
    assert lines[1] == {
        **{"id": "a.mp4", "path": "/a.mp4", "text": "later", "source": "speech"},
        **{"start_s": 3725.5, "end_s": 3727.5, "language": "en"},
    }


@pytest.mark.parametrize(
    ("id", "file"),
    [("a/b.mp4", "a/b.mp4.srt"), ("../../x.mp4", "x.mp4.srt"), ("/etc/x", "etc/x.srt"), ("..", "video.srt")],
)
def test_a_file_never_lies_outside_of_its_folder(id: str, file: str) -> None:
    assert str(file_of(id, "srt")) == file
