"""Files that last: nothing is ever seen half written, whatever dies when."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from hcq_cli import files
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.files import NotRegularError, atomic_open, atomic_path, remove_leftovers, write_json, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    with atomic_open(target) as out:
        out.write(b"first")
        assert not target.exists()
    assert target.read_bytes() == b"first"
    with pytest.raises(RuntimeError), atomic_open(target) as out:
        out.write(b"half of the sec")
        raise RuntimeError
    assert target.read_bytes() == b"first"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_library_may_write_the_file_itself(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with atomic_path(target) as temporary:
        temporary.unlink()  # h5py and safetensors make the file anew
        temporary.write_bytes(b"x")
        assert temporary.parent == tmp_path
    assert target.read_bytes() == b"x"


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write_text(tmp_path / "ours", "x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["🎬" * 60, "x" * 250, "new\nline 'and\" \udcff.json", "-dash", ".dot"])
def test_any_name_a_file_system_takes(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / name, {"name": name})
    assert json.loads((tmp_path / name).read_text()) == {"name": name}


def test_text_keeps_undecodable_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "list", "caf\udce9\n")
    assert (tmp_path / "list").read_bytes() == b"caf\xe9\n"


@pytest.mark.parametrize("name", ["a.h5", "…", ".a", "-a", "a b", "bad\udcff.h5", "x" * 255])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert files.plain_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "a/", "/a", "a/b", "../a", "a\\b", "a\0", "\ud800", "x" * 256, 1, None, b"a", ["a"]]
)
def test_anything_else_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"outside|surrogates"):
        files.plain_name(name)


def strange(folder: Path) -> dict[str, Path]:
    """What is no file, by the word that the message has for it."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "file").write_text("mine")
    (folder / "link").symlink_to("file")
    return {kind: folder / kind for kind in ("pipe", "folder", "link")} | {"device": Path("/dev/zero")}


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    for kind, path in strange(tmp_path).items():
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT):
            with pytest.raises(NotRegularError, match=f"{path}: is a {kind}") as caught:
                files.open_regular(path, flags)
            assert caught.value.exit_code == 4 and caught.value.hint
        if kind != "link":
            with pytest.raises(NotRegularError, match=kind):
                files.read_regular(path, links=True)
    assert files.read_regular(tmp_path / "link", links=True) == files.read_regular(tmp_path / "file") == b"mine"
    with pytest.raises(FileNotFoundError):
        files.open_regular(tmp_path / "nothing")


def test_what_is_put_in_a_files_place_meanwhile_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks = files._refuse_irregular, []

    def once_blind(path: Path | str, mode: int) -> None:
        looks.append(path)
        if len(looks) > 1:
            look(path, mode)

    monkeypatch.setattr(files, "_refuse_irregular", once_blind)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc").is_dir() else 0
    for path in strange(tmp_path).values():
        for flags in (os.O_RDONLY, os.O_WRONLY):
            looks.clear()
            with pytest.raises(NotRegularError):
                files.open_regular(path, flags)
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_folder_is_none_where_a_link_leads_to_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").write_text("")
    files.need_folder(tmp_path / "folder")
    files.need_folder(tmp_path / "nothing")
    for name in ("link", "file"):
        with pytest.raises(NotRegularError, match=f"{name}: is a {name}, not a folder"):
            files.need_folder(tmp_path / name)


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".file.abc.tmp", "file", ".hidden", "file.tmp"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.tmp").mkdir()
    assert remove_leftovers(tmp_path) == 1
    left = [".folder.tmp", ".hidden", "file", "file.tmp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_whoever_tidies_up_before_a_file_is_held_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, tidied = os.open, 0

    def make_and_tidy(path: Path, flags: int, *mode: int) -> int:
        nonlocal tidied
        made = make(path, flags, *mode)
        if (
            flags & os.O_EXCL and tidied < 2
        ):  # another writer of this file, in the instant between making it and holding it
            tidied += 1
            files.remove_leftovers(tmp_path)
            assert not list(tmp_path.iterdir())
        return made

    monkeypatch.setattr(os, "open", make_and_tidy)
    with atomic_open(tmp_path / "a") as out:
        out.write(b"all")
        files.remove_leftovers(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"all" and tidied == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_must_be_new_takes_no_others_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_links(*_: object) -> None:
        raise PermissionError

    for name in ("linked", "without links"):
        with atomic_open(tmp_path / name, exclusive=True) as out:
            out.write(b"first")
        with pytest.raises(FileExistsError), atomic_open(tmp_path / name, exclusive=True) as out:
            out.write(b"second")
        assert (tmp_path / name).read_bytes() == b"first" and not list(tmp_path.glob(".*.tmp"))
        monkeypatch.setattr(os, "link", without_links)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with files.atomic_folder(tmp_path / "a") as fresh:
        (fresh / "x").write_text("1")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "x").read_text() == "1"
    with pytest.raises(HcqError, match=str(tmp_path / "b")), files.atomic_folder(tmp_path / "b"):
        raise OSError(28, "No space left on device")
    (tmp_path / ".a.abcd.tmp").mkdir()
    (tmp_path / ".c.abcd.tmp").mkdir()
    files.remove_leftover_folders(tmp_path, "a")
    files.remove_folder(tmp_path / "a")
    files.remove_folder(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == [".c.abcd.tmp"]
    (tmp_path / "link").symlink_to(tmp_path / ".c.abcd.tmp")
    with pytest.raises(DamagedError):
        files.remove_folder(tmp_path / "link")


@pytest.mark.parametrize("kind", ["ENOSPC", "EDQUOT", "EIO", "EROFS"])
def test_a_disk_that_fails_is_told_with_the_file_and_the_space(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(HcqError, match=f"{tmp_path}/file: ") as told, atomic_path(tmp_path / "file") as temporary:
        temporary.write_bytes(bytes(3 << 20))
    full = kind in ("ENOSPC", "EDQUOT")
    assert ("3 MB or more are needed" in told.value.message) == full and told.value.hint
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_path(tmp_path / "file"):
        (tmp_path / "elsewhere").read_bytes()  # no error of what is being written
