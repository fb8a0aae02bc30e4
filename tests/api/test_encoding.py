"""Features and captions into codes, called from a program."""

from __future__ import annotations

import pytest

import hcq_cli as hcq
from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import NotFoundError, UsageError


def test_features_and_captions_are_encoded(workspace, told, tmp_path):
    videos = hcq.encode(workspace, output=tmp_path / "videos.hcq", progress=told)
    assert (videos.kind, videos.items, videos.rows, videos.config.bytes_per_video) == ("videos", 15, 15, 12)
    assert told.bars["encoding"] == 15
    assert len(open_codes(videos.codes)) == 15
    segments = hcq.encode(workspace, segment_s=2, output=tmp_path / "segments.hcq")
    assert (segments.items, segments.rows) == (15, 29)
    texts = hcq.encode_texts(workspace, workspace.captions, output=tmp_path / "texts.hcq")
    assert (texts.kind, texts.items) == ("texts", 98)
    assert list(open_codes(texts.codes).ids)[:2] == ["clip-0000.mp4#1", "clip-0000.mp4#2"]


def test_a_text_file_has_a_sentence_a_line(workspace, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("  a red   ball \n\n a bell\n", "utf-8")
    done = hcq.encode_texts(workspace, lines, output=tmp_path / "lines.hcq")
    codes = open_codes(done.codes)
    assert (list(codes.ids), list(codes.paths)) == (["lines.txt#1", "lines.txt#3"], ["a red ball", "a bell"])


def test_nothing_to_encode(workspace, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    with pytest.raises(UsageError, match="holds no caption"):
        hcq.encode_texts(workspace, tmp_path / "empty.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        hcq.encode_texts(workspace, tmp_path / "none.txt")
    with pytest.raises(NotFoundError):
        hcq.encode(hcq.Workspace(tmp_path))
