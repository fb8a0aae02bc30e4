"""Clips of hits: their names, what they hold, and what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest
from sample_videos import clip, film, read_number
from witness import joined

from hcq_cli.api.clips import open_hit, save_clips, stretch
from hcq_cli.errors import NotFoundError, UsageError
from hcq_cli.search.moments import Moment
from hcq_cli.search.query import Hit, QueryResult
from hcq_cli.words.sentences import Sentence


def answer_of(*hits: tuple[Path, tuple[float, float, float] | None]) -> QueryResult:
    found = [
        Hit(rank, 1 / rank, path.name, str(path), moment=Moment("", *moment) if moment else None)
        for rank, (path, moment) in enumerate(hits, 1)
    ]
    return QueryResult("q", tuple(found), len(found), text_ms=0, scan_ms=0)


def seconds(path: Path) -> float:
    with av.open(str(path)) as opened:
        return float(opened.duration) / 1e6


def test_names_sort_and_nothing_is_written_over(tmp_path: Path, told) -> None:
    long = film(tmp_path / "a\nlong 🎬.mkv", [at / 25 for at in range(250)], options={"g": "25", "sc_threshold": "0"})
    short = clip(tmp_path / "short.avi", seconds=1.0)
    answer = answer_of((long, (3.0, 3.0, 6.0)), (short, None), (tmp_path / "gone.mp4", None))
    saved = save_clips(answer, tmp_path / "out", progress=told)
    assert [one.path and one.path.name for one in saved] == ["01-a_long 🎬-3.0s.mkv", "02-short-0.0s.avi", None]
    assert [one.copied for one in saved] == [True, True, False] and "gone.mp4: is not there" in saved[2].error
    assert seconds(saved[0].path) == pytest.approx(3, abs=0.1)
    assert saved[1].path.read_bytes() == short.read_bytes() and told.bars["clips"] == 3
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = save_clips(answer, tmp_path / "out")
    assert [one.path.name for one in again[:2]] == ["01-a_long 🎬-3.0s-2.mkv", "02-short-0.0s-2.avi"]
    assert all(path.read_bytes() == content for path, content in before.items())
    with pytest.raises(UsageError, match="is a file"):
        save_clips(answer, short)


def test_a_broken_video_costs_only_its_own_clip(tmp_path: Path) -> None:
    broken = tmp_path / ("x" * 240 + ".mp4")
    broken.write_bytes(b"no video")
    fine = clip(tmp_path / "fine.mp4", seconds=2.0)
    saved = save_clips(answer_of((broken, (0, 0, 1)), (fine, (0, 0, 1))), tmp_path / "out")
    assert saved[0].path is None and "no clip of it" in saved[0].error and saved[1].path.is_file()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["02-fine-0.0s.mp4"]


def test_of_a_long_moment_the_clip_is_about_its_second(tmp_path: Path) -> None:
    for moment, expected in (((30, 10, 50), (10, 50)), ((100, 10, 900), (95, 155)), ((12, 10, 900), (10, 70))):
        hit = answer_of((tmp_path / "a.mp4", moment)).hits[0]
        assert stretch(hit) == expected
        assert stretch(replace(hit, words=Sentence("hello", "speech", 4.0, 6.5))) == (3.0, 7.5)
        assert stretch(replace(hit, words=Sentence("a title", "caption"))) == expected
    assert stretch(answer_of((tmp_path / "a.mp4", None)).hits[0]) is None


def test_a_hit_is_opened_at_its_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "-a b.mp4", seconds=1.0)
    answer = answer_of((path, (0.5, 0, 1)), (tmp_path / "gone.mp4", None))
    players = tmp_path / "players"
    players.mkdir()
    monkeypatch.setenv("PATH", str(players))
    with pytest.raises(NotFoundError, match="no player on this machine"):
        open_hit(answer, 1)
    script = '#!/bin/sh\nfor a in "$@"; do echo "$a"; done > "{0}.part"\n/bin/mv "{0}.part" "{0}"\n'
    said_by = {"xdg-open": "what was found is at 0.5 s", "vlc": "from 0.5 s on", "mpv": "from 0.5 s on"}
    for name, said in said_by.items():
        done = tmp_path / f"{name}.arguments"
        (players / name).write_text(script.format(done))
        (players / name).chmod(0o755)
        assert open_hit(answer, 1).startswith(name) and said in open_hit(answer, 1)
        while not done.is_file():
            pass
        assert done.read_text().splitlines()[-1] == str(path)
    assert (tmp_path / "mpv.arguments").read_text().splitlines()[0] == "--start=0.5"
    with pytest.raises(NotFoundError, match="is not there"):
        open_hit(answer, 2)
    with pytest.raises(UsageError, match="there are 2 hits"):
        open_hit(answer, 3)


def test_of_joined_recordings_a_stretch_is_opened_that_begins_at_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player would show the first of them, or go by a clock that is not that of hits."""
    path = joined(tmp_path / "two.mp4", (0.0, 0.0), click_in=-1)
    done, player = tmp_path / "arguments", tmp_path / "mpv"
    player.write_text(
        f'#!/bin/sh\nfor a in "$@"; do echo "$a"; done > "{done}.part"\n/bin/mv "{done}.part" "{done}"\n'
    )
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for second, begins in ((3.0, 75), (1.0, 0)):
        done.unlink(missing_ok=True)
        assert "mpv plays" in open_hit(answer_of((path, (second, 0, 4))), 1)
        while not done.is_file():
            pass
        at, opened = done.read_text().splitlines()
        with av.open(opened) as film:
            assert abs(read_number(next(film.decode(video=0)).to_ndarray(format="rgb24")) - begins) <= 1
        # In the first one players are right.
        assert (at, opened == str(path)) == (("--start=0.0", False) if second == 3.0 else ("--start=1.0", True))
