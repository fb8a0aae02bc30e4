"""From folders, files, globs and lists to inputs with ids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcq_cli.errors import NotFoundError
from hcq_cli.media.inputs import find_inputs, read_list

ODD = ["with space.mp4", "quo\"te's.mp4", "new\nline.mp4", "😀.mkv", "-dash.webm", os.fsdecode(b"bytes\xff\xfe.mov")]


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(str(path)))
    return folder


def ids(*names: str | Path) -> list[str]:
    return list(find_inputs(map(str, names)).videos)


def test_a_folder_gives_relative_ids_whatever_the_names(tmp_path: Path) -> None:
    make(tmp_path, *ODD, "a/b/c.MP4", "a/notes.txt", "a/song.mp3")
    assert ids(tmp_path) == sorted([*ODD, "a/b/c.MP4"])
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in find_inputs([str(tmp_path)]).videos.values())


def test_a_file_named_itself_may_have_any_name(tmp_path: Path) -> None:
    make(tmp_path, "song.mp3", "x")
    assert ids(tmp_path / "song.mp3", tmp_path / "x") == ["song.mp3", "x"]


def test_patterns_leave_out_of_folders_by_name_or_by_path_below_the_root(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "a.proxy.mp4", "raw/b.mp4", "raw/deep/c.mp4", "kept/raw.mp4", "kept/d.proxy.mp4")
    found = find_inputs([str(tmp_path)], exclude=["*.proxy.mp4", "raw/"])
    assert list(found.videos) == ["a.mp4", "kept/raw.mp4"]
    assert sorted(os.path.relpath(item.path, tmp_path) for item in found.passed_over) == [
        *("a.proxy.mp4", "kept/d.proxy.mp4", "raw")
    ]
    with pytest.raises(NotFoundError, match="everything in this folder is excluded"):
        find_inputs([str(tmp_path)], exclude=["*"])
    below = find_inputs([str(tmp_path), str(tmp_path / "raw" / "b.mp4")], exclude=["raw/*"])
    assert "raw/b.mp4" in below.videos  # named itself
    assert "raw/deep/c.mp4" not in below.videos


def test_globs(tmp_path: Path) -> None:
    make(tmp_path, "a1.mp4", "a2.mp4", "b.mp4", "deep/er/a3.mp4", "[odd].mp4")
    assert ids(tmp_path / "a*.mp4") == ["a1.mp4", "a2.mp4"]
    assert ids(f"{tmp_path}/**/a3.mp4") == ["a3.mp4"]
    assert ids(tmp_path / "[odd].mp4") == ["[odd].mp4"]


def test_the_same_file_counts_once_and_itself_rather_than_a_link(tmp_path: Path) -> None:
    make(tmp_path, "z.mp4")
    (tmp_path / "a.mp4").symlink_to("z.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert ids(tmp_path, tmp_path / "z.mp4") == ["z.mp4"]


def test_ids_that_would_clash_get_their_folders_in_front(tmp_path: Path) -> None:
    make(tmp_path, "one/x.mp4", "two/x.mp4", "deep/two/x.mp4")
    assert ids(tmp_path / "one" / "x.mp4", tmp_path / "two" / "x.mp4", tmp_path / "deep/two/x.mp4") == sorted(
        ["x.mp4", "two/x.mp4", "deep/two/x.mp4"]
    )
    assert ids(tmp_path / "one", tmp_path / "two") == ["two/x.mp4", "x.mp4"]


def test_what_cannot_be_read_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "good.mp4")
    (tmp_path / "broken.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = find_inputs([str(tmp_path), str(tmp_path / "missing.mp4"), str(tmp_path / "no*match")])
    assert list(found.videos) == ["good.mp4"]
    errors = {os.path.basename(item.path): item.error for item in found.unusable}
    assert errors == {
        "broken.mp4": "broken symbolic link to nowhere",
        "pipe.mp4": "not a regular file",
        "missing.mp4": "no such file or folder",
        "no*match": "no file matches",
    }


@pytest.mark.parametrize("what", ["empty", "missing", "*.mp4"])
def test_nothing_at_all_is_an_error(tmp_path: Path, what: str) -> None:
    make(tmp_path, "empty/notes.txt")
    with pytest.raises(NotFoundError, match=r"no videos in this folder|no such file|no file matches"):
        find_inputs([str(tmp_path / what)])


NAMES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(NAMES), st.sampled_from(["\n", "\r\n", "\0"]))
def test_lists_round_trip(names: list[str], end: str) -> None:
    assert read_list("".join(name + end for name in names).encode()) == names


def test_names_with_newlines_travel_in_nul_separated_lists() -> None:
    assert read_list(b"a\nb.mp4\0bytes\xff.mp4\0") == ["a\nb.mp4", os.fsdecode(b"bytes\xff.mp4")]


def test_what_looks_like_a_video_is_taken_or_told(tmp_path: Path) -> None:
    names = "a.mp4 b.f4v c.insv dvd.vob x.m2t w.asf clip.rmvb old.3g2 tape.dv cam.mxf d.divx r.rm t.tod e.WTV r.264"
    make(
        tmp_path, *names.split(), "index.ts", "moving.gif", "still.gif", "cam.mod", "tune.mod", "notes.txt", "no name"
    )
    make(tmp_path, "song.ogg", "film.ogg")
    (tmp_path / "film.ogg").write_bytes(b"OggS" + bytes(22) + b"\x01\x2a\x80theora" + bytes(30))
    (tmp_path / "moving.gif").write_bytes(b"GIF89a" + bytes(20) + b"NETSCAPE2.0")
    (tmp_path / "still.gif").write_bytes(b"GIF89a" + bytes(20))
    (tmp_path / "cam.mod").write_bytes(b"\x00\x00\x01\xba" + bytes(60))
    (tmp_path / "real.ts").write_bytes((b"\x47" + bytes(187)) * 4)
    (tmp_path / "film.part").write_bytes(b"\x1aE\xdf\xa3" + bytes(60))
    found = find_inputs([str(tmp_path)])
    assert list(found.videos) == sorted([*names.split(), "moving.gif", "cam.mod", "film.ogg", "real.ts"])
    assert [(os.path.basename(item.path), item.reason[:11]) for item in found.passed_over] == [
        ("film.part", "looks like ")
    ]
    assert ids(tmp_path / "film.part", tmp_path / "index.ts") == ["film.part", "index.ts"]


LEFT_OUT = ["@eaDir/a.mp4/SYNOPHOTO_FILM_M.mp4", ".Trash-1000/files/b.mp4", "$RECYCLE.BIN/c.mp4", "x/.@__thumb/d.mp4"]


def test_trash_and_previews_are_left_out_said_and_taken_when_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", *LEFT_OUT, "._a.mp4", "GX010001.LRV", ".trashed-169-e.mp4", "Trash/kept.mp4")
    found = find_inputs([str(tmp_path)])
    assert list(found.videos) == ["Trash/kept.mp4", "a.mp4"]
    told = {os.path.relpath(item.path, tmp_path) for item in found.passed_over}
    assert told == {
        *("@eaDir", ".Trash-1000", "$RECYCLE.BIN", "x/.@__thumb"),
        *("._a.mp4", "GX010001.LRV", ".trashed-169-e.mp4"),
    }
    every = find_inputs([str(tmp_path)], everything=True)
    assert len(every.videos) == 9 and not every.passed_over
    assert ids(tmp_path / "$RECYCLE.BIN", tmp_path / "._a.mp4") == ["._a.mp4", "c.mp4"]
