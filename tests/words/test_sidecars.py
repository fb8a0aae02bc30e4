"""Subtitles beside a video: which belong to it, how they are read, and that none can do harm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hcq_cli.errors import DamagedError
from hcq_cli.words.sentences import Sentence
from hcq_cli.words.sidecars import LARGEST, SubtitleFile, forget_folders, read_sidecar, sidecars_of

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Happy</i> {\\an8}birthday, <font color="#fff">Zoë</font>
said the man

2
00:00:02,000 --> 00:00:04,000
Salt &amp; pepper \\N a < b > c

3
01:00:05,5 --> 01:00:06,000
late
"""
VTT = """WEBVTT - a file

STYLE
::cue { color: red }

intro
00:01.000 --> 00:04.000 position:10%
<v Roger Bingham>We are in <00:00:02.500><c.yellow>New</c> York

NOTE happens --> never
said by nobody

00:07.000 --> 00:08.000
one
"""


def sentences(path: Path, data: bytes | str, language: str = "") -> list[Sentence]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_sidecar(SubtitleFile(str(path), language))


def test_srt_is_read_without_its_tags(tmp_path: Path) -> None:
    assert sentences(tmp_path / "a.srt", SRT, "en") == [
        Sentence("Happy birthday, Zoë said the man", "subtitles", 1.0, 2.5, "en"),
        Sentence("Salt & pepper a < b > c", "subtitles", 2.0, 4.0, "en"),
        Sentence("late", "subtitles", 3605.5, 3606.0, "en"),
    ]


def test_vtt_is_read_without_notes_and_styles(tmp_path: Path) -> None:
    assert sentences(tmp_path / "a.vtt", VTT) == [
        Sentence("We are in New York", "subtitles", 1.0, 4.0),
        Sentence("one", "subtitles", 7.0, 8.0),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_any_end_of_line(tmp_path: Path, encoding: str, end: str) -> None:
    read = sentences(tmp_path / "a.srt", SRT.replace("\n", end).encode(encoding))
    assert [each.text for each in read][:2] == ["Happy birthday, Zoë said the man", "Salt & pepper a < b > c"]


def test_old_encodings_go_by_the_language(tmp_path: Path) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\nС днём рождения\n"
    assert sentences(tmp_path / "a.ru.srt", cue.encode("cp1251"), "ru")[0].text == "С днём рождения"


def test_times_that_end_before_they_begin_and_lines_that_roll(tmp_path: Path) -> None:
    cue = "00:00:0{},000 --> 00:00:0{},000\n{}\n\n"
    text = cue.format(5, 1, "back") + cue.format(6, 7, "again") + cue.format(7, 9, "again")
    read = sentences(tmp_path / "a.srt", text)
    assert [(each.text, each.start_s, each.end_s) for each in read] == [("back", 5, 5), ("again", 6, 9)]


def test_the_name_says_which_video_and_language(tmp_path: Path) -> None:
    for name in (
        *("film.mp4", "film.part.mkv", "other.mp4", "film.srt", "film.en.srt", "film.pt_BR.forced.VTT"),
        *("film.part.srt", "film.mp4.de.vtt", "film.old-version.srt", "films.srt", "lone.srt"),
    ):
        (tmp_path / name).write_text("")
    forget_folders()
    found = {os.path.basename(each.path): each.language for each in sidecars_of(str(tmp_path / "film.mp4"))}
    assert found == {"film.srt": "", "film.en.srt": "en", "film.pt_BR.forced.VTT": "pt-BR", "film.mp4.de.vtt": "de"}
    assert [os.path.basename(each.path) for each in sidecars_of(str(tmp_path / "film.part.mkv"))] == ["film.part.srt"]
    assert sidecars_of(str(tmp_path / "other.mp4")) == () == sidecars_of(str(tmp_path / "gone" / "x.mp4"))


CUE = "1\n00:00:01,000 --> 00:00:02,000\n"


@pytest.mark.parametrize("text", ["<" * 200_000, "<a " * 100_000, "{\\" * 100_000, "&" * 200_000, "a\n" * 200_000])
def test_hostile_text_is_read_in_no_time(tmp_path: Path, text: str) -> None:
    began = time.process_time()
    sentences(tmp_path / "a.srt", CUE + text)
    assert time.process_time() - began < 5


def test_what_is_no_file_of_subtitles_is_said(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no subtitles"):
        sentences(tmp_path / "a.srt", os.urandom(5000))
    with (tmp_path / "b.srt").open("wb") as out:
        out.truncate(LARGEST + 1)
    with pytest.raises(DamagedError, match="too large"):
        read_sidecar(SubtitleFile(str(tmp_path / "b.srt"), ""))
    os.mkfifo(tmp_path / "c.srt")
    with pytest.raises(DamagedError, match="is a pipe"):
        read_sidecar(SubtitleFile(str(tmp_path / "c.srt"), ""))
    assert sentences(tmp_path / "d.srt", "") == []
