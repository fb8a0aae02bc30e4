"""SIGKILL at every write, sync, rename and removal of each writer: the last generation is whole."""

from __future__ import annotations

import os
import pathlib
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import HEADER, names, plain_scan, quantizer, random_codes, random_levels, write_codes
from indexes import add, build
from killed import killed_at

from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels

SLOW = os.environ.get("HCQ_TEST_SLOW") == "1"
CALLS = ("fsync", "replace", "unlink", "chmod", "open")
Videos = dict[str, np.ndarray]


class Counted:
    """A file whose writes are counted; the last one before the kill is torn in half."""

    def __init__(self, file: Any, due: Callable[[], bool]) -> None:
        self._file, self._due = file, due

    def write(self, data: Any) -> int:
        if self._due():
            self._file.write(bytes(data)[: len(bytes(data)) // 2])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Counted:
        self._file.__enter__()
        return self

    def __exit__(self, *failure: Any) -> Any:
        return self._file.__exit__(*failure)


def count_writes(due: Callable[[], bool]) -> None:
    """Have writes of files that are open count, too."""
    opened, spooled = pathlib.Path.open, tempfile.TemporaryFile
    pathlib.Path.open = lambda *a, **n: Counted(opened(*a, **n), due)  # type: ignore[method-assign, assignment]
    tempfile.TemporaryFile = lambda *a, **n: Counted(spooled(*a, **n), due)  # type: ignore[assignment]


def held(index: Index) -> Videos:
    """What an index finds: ids with codes, in the order of rows."""
    found: Videos = {}
    first = 0
    for segment in index.segments:
        for row in range(segment.videos):
            if segment.alive[row]:
                found[index.name(first + row)[0]] = index.codes([first + row])[0]
        first += segment.videos
    return found


def assert_holds(index: Index, expected: Videos) -> None:
    index.verify()
    found = held(index)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[video], codes) for video, codes in expected.items())
    levels, codes = random_levels(1), np.stack(list(expected.values()))
    rows = plain_scan(codes, tables(levels, *quantizer())[0], 5)[1]
    answer = search_levels(index, [""], levels, 5, params=SearchParams(exact=True))[0]
    assert [hit.id for hit in answer.hits] == [list(expected)[row] for row in rows]


@pytest.mark.parametrize("lists", [0, 3], ids=["flat", "listed"])
def test_a_kill_at_any_instant_leaves_the_last_generation(tmp_path: Path, lists: int) -> None:
    folder, first = tmp_path / "index", write_codes(tmp_path / "first", names(40), random_codes(40))
    more = write_codes(tmp_path / "more", ["v3.mp4", "x"], random_codes(2, seed=4))
    before = dict(zip(names(40), random_codes(40), strict=True))
    added = {key: row for key, row in before.items() if key != "v3.mp4"}
    added |= dict(zip(["v3.mp4", "x"], random_codes(2, seed=4), strict=True))
    fewer = {key: row for key, row in added.items() if key not in ("v5.mp4", "x")}
    nothing: Videos = {}
    stages: list[tuple[Callable[[], object], Videos, Videos]] = [
        (lambda: build(folder, [first], lists=lists), nothing, before),
        (lambda: add(folder, [more]), before, added),
        (lambda: remove(folder, ["v5.mp4", "x"]), added, fewer),
        (lambda: compact(folder), fewer, fewer),
        (lambda: build(folder, [first], lists=lists), fewer, before),
    ]
    for number, (action, old, new) in enumerate(stages):
        step = 0 if SLOW else number
        while killed_at(step + 1, action, CALLS, count_writes):
            step += 1 if SLOW else 17
            if old is nothing and not list(folder.glob("manifest-*")):
                continue
            index = Index.open(folder)
            assert_holds(index, new if list(held(index)) == list(new) else old)
        assert step > 8
        assert_holds(Index.open(folder), new)
        assert not list(folder.glob(".*.tmp"))
        assert HEADER.S == Index.open(folder).header.S
