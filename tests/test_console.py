"""The one printer: what goes where, and that no file name can steer a terminal or break JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hcq_cli.console import Console, plain, printable
from hcq_cli.errors import NotFoundError

HOSTILE = ["a\nb", "\x1b[31mred", "\x07bell", "\x9b31m", "\u202egnp.exe", "bad\udcff.mp4", "tab\there"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_a_terminal_unescaped(name, capsys):
    Console().table(["video"], [[name]])
    Console().note(name)
    Console().warn(name)
    out, err = capsys.readouterr()
    assert printable(name).isprintable() and printable(name) in out
    control = {character for character in name if not character.isprintable()} - {"\n"}
    assert not control & set(out + err)


def test_names_that_can_be_printed_stay():
    assert printable("Müller 🎬 'quoted' \"x\".mp4") == "Müller 🎬 'quoted' \"x\".mp4"
    assert printable("bad\udcff.mp4") == "bad\\xff.mp4"


def test_json_mode_prints_one_document_and_nothing_else(capsys):
    console = Console(json_mode=True)
    console.text("for people")
    console.table(["a"], [[1]])
    console.result({"path": Path("a/b"), "score": np.float32(0.5), "rows": np.arange(2), "lost": float("nan")})
    out, _ = capsys.readouterr()
    assert json.loads(out) == {"path": "a/b", "score": 0.5, "rows": [0, 1], "lost": None}


def test_what_json_cannot_take_is_made_plain():
    assert plain({1: (Path("x"), float("inf"), None, True)}) == {"1": ["x", None, None, True]}


def test_quiet_keeps_warnings_and_errors_alone(capsys):
    console = Console(quiet=True)
    console.note("a note")
    console.detail("a detail")
    console.warn("a warning")
    console.error(NotFoundError("nothing there", "hcq index build"))
    out, err = capsys.readouterr()
    assert not out and "a note" not in err and "a detail" not in err
    assert "warning: a warning" in err and "error: nothing there" in err and "→ hcq index build" in err


def test_no_bar_where_nobody_looks(capsys):
    with Console().progress("stage", 2, "videos") as bar:
        bar.advance(1, detail="\x1b[31m")
        bar.update(completed=2)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LONG = "/mnt/nas/family videos/2019/summer-holidays-in-the-mountains/first week/GOPR0123-what-a-day.MP4"


def test_in_80_columns_a_path_is_broken_between_folders_and_no_name_is(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, and nothing but text
    Console().table(
        ["rank", "score", "confidence", "video"], [[1, "0.488", "0.70", LONG], [10, "0.1", "0.1", "b.mp4"]]
    )
    lines = sys.stdout.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    broken = [line[28:].strip() for line in lines if "/" in line or "GOPR" in line]
    assert len(broken) >= 2 and "".join(broken) == LONG
    assert all(line.endswith(("/", " ", ".MP4")) for line in broken)
    assert any(line.split() == ["10", "0.1", "0.1", "b.mp4"] for line in lines)


def test_beside_a_long_sentence_a_name_is_whole(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    name, said = (
        "VID_20230714_181512_a_long_name_of_a_phone.mp4",
        "and then a small dog runs across a green lawn (speech)",
    )
    Console().table(
        ["rank", "at", "video", "words"], [[1, "0:20", f"holidays in 2023/{name}", said], [2, "", "b.mp4", ""]]
    )
    shown = sys.stdout.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert name in shown and all(word in shown for word in said.split())


def test_a_name_longer_than_the_line_loses_no_letter(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    Console().table(["rank", "video"], [[1, "v/" + "x" * 170 + ".mp4"]])
    shown = sys.stdout.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("x") == 170


@pytest.mark.parametrize("rows", [[["a", ""], ["b", ""]], [["日本語" * 40, ""]], []])
def test_a_column_may_be_empty_to_its_name(monkeypatch, rows):
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    Console().table(["name", ""], rows)
    shown = sys.stdout.getvalue()
    assert "name" in shown and all(shown.count(letter) == str(rows).count(letter) for letter in "日b")
