"""The disk fails, or the process is killed, at each call that changes it: index and code file are as before or after.

A second try completes, and nothing is left behind.

In the process of the test; test_index_writer.py kills real processes.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Faults, Killed
from handmade import names, random_codes, told, write_codes
from indexes import add, build

from hcq_cli.codes.codefile import open_codes
from hcq_cli.errors import EXIT_FAILED, HcqError
from hcq_cli.headers import decode
from hcq_cli.search.index import Index
from hcq_cli.search.index_draft import DATA_FILE
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.manifest import IndexManifest, generations
from hcq_cli.words.tokens import asked_words

SLOW = os.environ.get("HCQ_TEST_SLOW") == "1"
KINDS = ("kill before", "kill after", "ENOSPC", "EIO", "EROFS")
CALLS = ("fsync", "replace", "link", "unlink", "mkdir", "chmod")


class Disk(Faults):
    """Faults of names, syncs and folders, and of every write to a file."""

    def watched_file(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*arguments: Any, **more: Any) -> Any:
            file = opened(*arguments, **more)
            return Watched(file, self.watched(file.write)) if file.writable() else file

        return watching


class Watched:
    """A file of which each write is counted."""

    def __init__(self, file: Any, write: Callable[..., Any]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.close()


@contextmanager
def failing(at: int, kind: str) -> Iterator[Disk]:
    """Call number `at` fails; 0 for none."""
    disk = Disk(at, kind)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, disk.watched(getattr(os, name)))
        patch.setattr(pathlib.Path, "open", disk.watched_file(pathlib.Path.open))
        patch.setattr(tempfile, "TemporaryFile", disk.watched_file(tempfile.TemporaryFile))
        yield disk


def contents(folder: Path) -> dict[str, bytes]:
    """What the index and the code file of a folder hold, checked to the last byte."""
    found: dict[str, bytes] = {}
    if (folder / "codes.hcq").exists():
        file = open_codes(folder / "codes.hcq")
        file.verify()
        found["codes.hcq"] = b"".join(row.tobytes() for row in file.codes)
    if list((folder / "index").glob("manifest-*")):
        index = Index.open(folder / "index")
        index.verify()
        for part in index.ids():
            found |= {each: index.codes(index.rows_of(each)).tobytes() for each in part}
        if index.sentences:
            for each in ("v3", "v5", "v7", "x", "y"):
                hits = IndexWords(index).best(asked_words(f'"{each}"'), 9)
                found[f"says {each}"] = repr([hit.id for hit in hits]).encode()
        if "number" in index.columns.kinds:
            for each in [id for part in index.ids() for id in part]:
                found[f"columns of {each}"] = repr(index.values(index.rows_of(each)[-1], ["number"])).encode()
    return found


def litter(folder: Path) -> list[str]:
    """Files that nobody names."""
    held = generations(folder / "index")
    named = {"writer.lock"}
    for number in held.numbers():
        named |= {held.path(number).name, *decode(IndexManifest, held.read(number).body, folder).files()}
    inside = os.listdir(folder / "index") if (folder / "index").is_dir() else []
    return [name for name in inside if name not in named] + [p.name for p in folder.glob(".*.tmp")]


IDS = [*names(30), "x", "y"]


def encode(folder: Path, seed: int) -> Path:
    return write_codes(folder / "codes.hcq", names(30), random_codes(30, seed=seed))


def given(folder: Path) -> None:
    """An index of two segments, one of them with tombstones, and code files to write more with."""
    build(folder / "index", [encode(folder, 1)], lists=3, **told(folder, IDS))
    write_codes(folder / "more", ["v3.mp4", "x"], random_codes(2, seed=4))
    add(folder / "index", [folder / "more"], **told(folder, IDS))
    remove(folder / "index", ["v5.mp4"])
    write_codes(folder / "more", ["v7.mp4", "y"], random_codes(2, seed=5))


VERBS: dict[str, Callable[[Path], object]] = {
    "build": lambda folder: build(folder / "index", [folder / "more"], lists=2, **told(folder, IDS)),
    "add": lambda folder: add(folder / "index", [folder / "more"], **told(folder, IDS)),
    "remove": lambda folder: remove(folder / "index", ["v9.mp4", "x"]),
    "compact": lambda folder: compact(folder / "index"),
    "encode": lambda folder: encode(folder, 2),
    "first build": lambda folder: build(folder / "fresh", [folder / "more"]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_whatever_fails_old_or_new_and_a_second_try_completes(tmp_path: Path, verb: str) -> None:
    work, base = VERBS[verb], tmp_path / "base"
    base.mkdir()
    given(base)
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    before = contents(base)
    with failing(0, "EIO") as counted:
        work(whole)
    after = contents(whole)
    assert counted.calls > 8 and not litter(whole)
    for at in range(1, counted.calls + 1):
        for number, kind in enumerate(KINDS):
            if not SLOW and (at * len(KINDS) + number) % 67:
                continue
            folder = Path(shutil.copytree(base, tmp_path / "tried"))
            try:
                with failing(at, kind):
                    work(folder)
            except Killed:
                assert kind.startswith("kill")
            except HcqError as error:
                assert error.exit_code == EXIT_FAILED and error.hint, error.message
            except OSError:  # of a call that was given the name, which a real one repeats
                assert kind.startswith("E")
            found = contents(folder)
            assert found in (before, after), (at, kind)
            if kind.startswith("E"):
                assert not [name for name in litter(folder) if not DATA_FILE.fullmatch(name)], (at, kind)
            work(folder)
            assert contents(folder) == after and not litter(folder), (at, kind, litter(folder))
            shutil.rmtree(folder)
    np.testing.assert_equal(contents(base), before)
