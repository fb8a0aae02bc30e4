"""`hcq words`: what an index knows of what is said, and that it is handed on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import names, random_codes, write_codes

from hcq_cli import Workspace, export_words

Run = Callable[..., Any]
CUE = "1\n00:00:03,000 --> 00:00:04,000\n{}\n"


@pytest.fixture
def indexed(hcq: Run, tmp_path: Path) -> Path:
    ids = [*names(2), "sub/talk.mp4"]
    for name in ids:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "v1.de.srt").write_text(CUE.format("guten Tag"))
    (tmp_path / "sub" / "talk.srt").write_text(CUE.format("hello"))
    write_codes(tmp_path / "w" / "codes.hcq", ids, random_codes(3), folder=str(tmp_path))
    hcq("index", "build", "-w", "w")
    return tmp_path


def test_info_and_export(hcq: Run, indexed: Path) -> None:
    info = hcq("words", "info", "-w", "w", "--json").json
    assert info["sentences"] == {"name": 3, "subtitles": 2} and info["languages"] == {"de": 1}
    assert info["videos"] == 3 and info["bytes"] > 1000
    assert "subtitles" in hcq("words", "info", "-w", "w").out
    one = hcq("words", "export", "talk", "-w", "w")
    assert one.out == "1\n00:00:03,000 --> 00:00:04,000\nhello\n\n"
    done = hcq("words", "export", "-w", "w", "--format", "vtt", "-o", "out", "--json").json
    assert done == {"output": "out", "videos": 2, "sentences": 2}
    assert (indexed / "out" / "sub" / "talk.mp4.vtt").read_text().endswith("hello\n\n")
    lines = hcq("words", "export", "-w", "w", "--format", "jsonl").out.splitlines()
    assert sorted({json.loads(line)["id"] for line in lines}) == ["sub/talk.mp4", "v0.mp4", "v1.mp4"]
    hcq("words", "export", "-w", "w", "--format", "jsonl", "--source", "subtitles", "-o", "words.jsonl")
    kept = [json.loads(line)["text"] for line in (indexed / "words.jsonl").read_text().splitlines()]
    assert sorted(kept) == ["guten Tag", "hello"]
    german = hcq("words", "export", "-w", "w", "--format", "jsonl", "--language", "fr,DE").out.splitlines()
    assert [json.loads(line)["text"] for line in german] == ["guten Tag"]
    assert (
        "no such words in d, in fr" in hcq("words", "export", "-w", "w", "--language", "d,fr", "-o", "d", code=10).err
    )
    hcq("index", "remove", "sub/talk.mp4", "-w", "w")
    assert hcq("words", "info", "-w", "w", "--json").json["sentences"] == {"name": 2, "subtitles": 1}


def test_a_language_is_its_dialects_too(hcq: Run, tmp_path: Path) -> None:
    (tmp_path / "v0.mp4").write_bytes(b"")
    for language in ("pt", "pt-BR", "ptx", "en"):
        (tmp_path / f"v0.{language}.srt").write_text(CUE.format(language))
    (tmp_path / "v0.srt").write_text(CUE.format("none"))
    write_codes(tmp_path / "w" / "codes.hcq", names(1), random_codes(1), folder=str(tmp_path))
    hcq("index", "build", "-w", "w")
    for asked, found in (("pt", {"pt", "pt-BR"}), ("pt-br,en", {"pt-BR", "en"})):
        lines = hcq("words", "export", "v0", "-w", "w", "--language", asked).out.splitlines()
        assert set(lines[2::4]) == found


def test_a_folder_is_listed_once_whatever_number_of_files_it_gets(
    hcq: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names(5):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).with_suffix(".srt").write_text(CUE.format("hello"))
    write_codes(tmp_path / "w" / "codes.hcq", names(5), random_codes(5), folder=str(tmp_path))
    hcq("index", "build", "-w", "w")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".v1.mp4.srt.left.tmp").write_text("by one that was killed")
    listed, listdir = list[str](), os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder=".": listed.append(str(folder)) or listdir(folder))
    export_words(Workspace(tmp_path / "w"), output=tmp_path / "out")
    assert sorted(listdir(tmp_path / "out")) == sorted(f"{name}.srt" for name in names(5))
    assert sum(folder.endswith("out") for folder in listed) == 1


def test_what_cannot_be_is_said(hcq: Run, indexed: Path) -> None:
    assert "need a folder" in hcq("words", "export", "-w", "w", code=2).err
    assert "known are" in hcq("words", "export", "-w", "w", "--format", "ass", "-o", "x", code=2).err
    assert "known are" in hcq("words", "export", "-w", "w", "--source", "smell", "-o", "x", code=2).err
    assert "near it are" in hcq("words", "export", "v11.mp4", "-w", "w", code=10).err
    (indexed / "kept.srt").write_text("kept")
    assert "no such words" in hcq("words", "export", "v0", "-w", "w", "-o", "kept.srt", code=10).err
    assert (indexed / "kept.srt").read_text() == "kept"
    hcq("index", "build", "-w", "w", "--no-words")
    assert "hcq index build" in hcq("words", "info", "-w", "w", code=10).err
    assert not (indexed / "x").exists()
