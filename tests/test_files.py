"""Files that last: nothing is ever seen half written, whatever dies when."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from killed import killed_at

from hcq_cli import files
from hcq_cli.errors import DamagedError, HcqError, LockedError
from hcq_cli.files import (
    Generations,
    NotRegularError,
    atomic_open,
    atomic_path,
    remove_leftovers,
    write_json,
    write_text,
    writer_lock,
)


def generations(folder: Path, version: int = 1) -> Generations:
    return Generations(folder, "hcq-test", version, "hcq make")


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


def test_a_lock_empties_no_file_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "writer.lock").symlink_to(tmp_path / "diary")
    with pytest.raises(NotRegularError, match=r"writer\.lock"), writer_lock(tmp_path / "store"):
        pass
    assert (tmp_path / "diary").read_text() == "mine"


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


def test_generations_follow_each_other_and_the_last_few_stay(tmp_path: Path) -> None:
    held = generations(tmp_path / "folder")
    assert (held.read().generation, held.read().body) == (0, {})
    for number in range(1, 7):
        assert held.publish({"number": number, "name": "caf\udce9"}).generation == number
        assert held.read().body["number"] == number
    assert held.numbers() == list(range(7 - files.KEPT_GENERATIONS, 7))
    assert held.read(5).body["number"] == 5


def test_a_generation_follows_the_one_it_was_made_from_or_is_refused(tmp_path: Path) -> None:
    held = generations(tmp_path)
    held.publish({"by": "first"}, after=0)
    held.publish({"by": "second"}, after=1)
    for after in (0, 1):
        with pytest.raises(LockedError, match="another hcq process has been writing"):
            held.publish({"by": "late"}, after=after)
    assert held.read().body == {"by": "second"} and held.numbers() == [1, 2]
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_generation_whose_number_was_dropped_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, write_text = generations(tmp_path), files.write_text
    held.publish({"by": "first"})

    def overtaken(path: Path, text: str, *, exclusive: bool) -> None:
        monkeypatch.setattr(files, "write_text", write_text)
        for number in range(2, 3 + files.KEPT_GENERATIONS):  # until there is no generation 2 any more
            held.publish({"by": f"other {number}"})
        write_text(path, text, exclusive=exclusive)

    monkeypatch.setattr(files, "write_text", overtaken)
    with pytest.raises(LockedError, match="another hcq process has been writing"):
        held.publish({"by": "late"}, after=1)
    assert held.numbers() == [3, 4, 5] and held.read().body == {"by": "other 5"}


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


def test_every_truncation_and_every_flipped_bit_is_found(tmp_path: Path) -> None:
    held = generations(tmp_path)
    held.publish({"shards": [{"name": "a.h5", "bytes": 12}], "text": "x"})
    path, body = held.path(1), held.read().body
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError) as caught:
            held.read()
        assert str(path) in caught.value.message and caught.value.hint
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert held.read().body == body
        except DamagedError:
            continue
    path.write_bytes(b'{"body":' + b"[" * 100_000)
    with pytest.raises(DamagedError):
        held.read()
    os.truncate(path, 1 << 40)
    with pytest.raises(DamagedError, match="too large"):
        held.read()


def test_a_foreign_and_a_newer_folder_are_refused_by_name(tmp_path: Path) -> None:
    Generations(tmp_path / "other", "hcq-other", 1, "").publish({})
    with pytest.raises(DamagedError, match="hcq-other"):
        generations(tmp_path / "other").read()
    generations(tmp_path / "newer", version=2).publish({})
    with pytest.raises(DamagedError, match="version 2, this hcq reads up to 1") as caught:
        generations(tmp_path / "newer").read()
    assert caught.value.hint == "upgrade hcq"


def test_readers_always_see_a_whole_generation(tmp_path: Path) -> None:
    held, done, seen = generations(tmp_path), threading.Event(), []
    held.publish({"number": 1, "filling": "x"})

    def write() -> None:
        for number in range(2, 120):
            held.publish({"number": number, "filling": "x" * (number * 50)})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        manifest = held.read()
        assert manifest.body["number"] == manifest.generation
        seen.append(manifest.generation)
    writer.join()
    assert seen == sorted(seen) and len(set(seen)) > 3


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


HOLD = """
import sys, time
from pathlib import Path
from hcq_cli.files import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path) -> None:
    holder = python(HOLD, tmp_path)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="another hcq process"), writer_lock(tmp_path):
            pass
        threading.Timer(0.3, lambda: holder.send_signal(signal.SIGKILL)).start()
        started = time.monotonic()
        with writer_lock(tmp_path, wait_s=20):
            assert 0.2 < time.monotonic() - started < 15
    finally:
        holder.kill()
        holder.communicate()
    with writer_lock(tmp_path):
        pass


COUNT = """
import sys
from pathlib import Path
from hcq_cli.files import Generations, writer_lock
folder = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with writer_lock(folder, wait_s=60):
        held = Generations(folder, "hcq-test", 1, "")
        held.publish({"count": held.read().body.get("count", 0) + 1})
"""


def test_no_writer_loses_the_update_of_another(tmp_path: Path) -> None:
    writers = [python(COUNT, tmp_path, 15) for _ in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    assert generations(tmp_path).read().body == {"count": 60}


def test_killed_at_every_step_the_last_generation_is_whole(tmp_path: Path) -> None:
    """Each writer makes a data file and then names it; whatever a reader finds named is there and whole."""
    step, killed = 0, True
    while killed:
        step += 1
        held = generations(tmp_path / str(step))
        for number in (1, 2, 3):
            write_text(held.folder / f"data-{number}", "x" * number)
            held.publish({"data": [f"data-{number}"], "length": number})

        def work(held: Generations = held) -> None:
            write_text(held.folder / "data-4", "x" * 4)
            held.publish({"data": ["data-4"], "length": 4})

        killed = killed_at(step, work, ("fsync", "replace", "rename", "unlink", "chmod", "open", "close"))
        manifest = held.read()
        assert manifest.generation in (3, 4)
        assert all(
            (held.folder / name).read_text() == "x" * manifest.body["length"] for name in manifest.body["data"]
        )
        remove_leftovers(held.folder)
        assert not list(held.folder.glob(".*.tmp"))
        assert held.publish({"data": [], "length": 0}).generation == manifest.generation + 1
    assert step > 8 and manifest.generation == 4


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
