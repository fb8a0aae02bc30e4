"""Features and captions into codes, called from a program."""

from __future__ import annotations

import numpy as np
import pytest

import hcq_cli as hcq
from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import DamagedError, NotFoundError, UsageError


def test_features_and_captions_are_encoded(workspace, told, tmp_path):
    videos = hcq.encode(workspace, output=tmp_path / "videos.hcq", progress=told)
    assert (videos.kind, videos.items, videos.rows, videos.config.bytes_per_video) == ("videos", 15, 15, 12)
    assert told.bars["encoding"] == 15
    assert len(open_codes(videos.codes)) == 15
    segments = hcq.encode(workspace, segment_s=1, output=tmp_path / "segments.hcq")
    assert segments.items == 15 and segments.rows > 45
    ids = list(open_codes(segments.codes).ids)
    assert ids[:4] == ["clip-0000.mp4", *(f"clip-0000.mp4#t={at:g},{at + 1:g}" for at in (0, 0.5, 1))]
    whole = hcq.encode(workspace, segments=False, output=tmp_path / "whole.hcq")
    # Behind its own row, which is the same with segments and without, a video has those of its segments.
    own = [row for row, id in enumerate(ids) if "#t=" not in id]
    assert np.array_equal(open_codes(segments.codes).codes[own], open_codes(whole.codes).codes)
    assert np.array_equal(open_codes(videos.codes).codes, open_codes(whole.codes).codes), "none is long enough"
    texts = hcq.encode_texts(workspace, workspace.captions, output=tmp_path / "texts.hcq")
    assert (texts.kind, texts.items) == ("texts", 98)
    assert list(open_codes(texts.codes).ids)[:2] == ["clip-0000.mp4#1", "clip-0000.mp4#2"]


def test_a_text_file_has_a_sentence_a_line(workspace, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("  a red   ball \n\n a bell\n", "utf-8")
    done = hcq.encode_texts(workspace, lines, output=tmp_path / "lines.hcq")
    codes = open_codes(done.codes)
    assert (list(codes.ids), list(codes.paths)) == (["lines.txt#1", "lines.txt#3"], ["a red ball", "a bell"])


def test_what_of_a_file_of_texts_is_not_encoded_is_said(workspace, told, tmp_path):
    table = tmp_path / "menu.csv"
    table.write_bytes(b"video;caption\na.mp4;caf\xe9\nb.mp4;tea\n")
    assert hcq.encode_texts(workspace, table, output=tmp_path / "menu.hcq", progress=told).items == 1
    assert told.warnings == [f"{table}: left out as wrong: 1 line (hcq captions check {table})"]
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"\xef\xbb\xbftea\r\n")  # as Windows writes it
    done = hcq.encode_texts(workspace, lines, output=tmp_path / "lines.hcq")
    assert list(open_codes(done.codes).paths) == ["tea"]
    lines.write_bytes(b"tea\ncaf\xe9\n")
    with pytest.raises(DamagedError, match=r"lines\.txt: is not UTF-8 \(byte 8\)"):
        hcq.encode_texts(workspace, lines, output=tmp_path / "lines.hcq")


def test_nothing_to_encode(workspace, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    with pytest.raises(UsageError, match="holds no caption"):
        hcq.encode_texts(workspace, tmp_path / "empty.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        hcq.encode_texts(workspace, tmp_path / "none.txt")
    with pytest.raises(NotFoundError):
        hcq.encode(hcq.Workspace(tmp_path))
