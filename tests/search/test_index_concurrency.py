"""Many readers and writers of one index at a time, each a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from handmade import names, plain_scan, quantizer, random_codes, random_levels, told, write_codes
from indexes import add, build

from hcq_cli.errors import HcqError
from hcq_cli.scan.table import tables
from hcq_cli.search import index_writer
from hcq_cli.search.index import Index
from hcq_cli.search.index_words import IndexWords
from hcq_cli.search.index_writer import compact, remove
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import search_levels
from hcq_cli.words.tokens import asked_words

SLOW = os.environ.get("HCQ_TEST_SLOW") == "1"
READERS, SECONDS = (16, 60.0) if SLOW else (4, 1.0)
SEEN = 9
"""Generations that readers must have met before the writer stops: two compactions are among them."""
WRITERS, ADDS = (8, 50) if SLOW else (4, 5)
IDS = [*names(10), *(f"{writer}-{number}" for writer in range(WRITERS) for number in range(ADDS))]
FIRST = 400
processes = multiprocessing.get_context("fork")


def step_of(generation: int) -> tuple[str, int]:
    """What the writer does to make a generation; the first is the build."""
    return ("add", "remove", "add", "compact")[(generation - 2) % 4], generation


def fresh(generation: int) -> tuple[list[str], np.ndarray]:
    """What an add of that generation brings: two new videos, and one that replaces an old one."""
    ids = [f"n{generation}-a", f"n{generation}-b", f"v{generation * 7 % FIRST}.mp4"]
    return ids, random_codes(3, seed=1000 + generation)


@cache
def state(generation: int) -> dict[str, bytes]:
    """The videos of a generation in the order of their rows, with their codes."""
    if generation == 1:
        return {video: codes.tobytes() for video, codes in zip(names(FIRST), random_codes(FIRST), strict=True)}
    videos, (action, _) = dict(state(generation - 1)), step_of(generation)
    if action == "add":
        for video, codes in zip(*fresh(generation), strict=True):
            videos.pop(video, None)
            videos[video] = codes.tobytes()
    elif action == "remove":
        videos.pop(f"n{generation - 1}-a")
    return videos


def right_answer(generation: int) -> tuple[list[str], list[float]]:
    videos = state(generation)
    codes = np.stack([np.frombuffer(row, np.uint8) for row in videos.values()])
    scores, rows = plain_scan(codes, tables(random_levels(1), *quantizer())[0], 10)
    return [list(videos)[row] for row in rows], scores.tolist()


def read(folder: Path, stop: Event, reads: object, failures: object) -> None:
    newest = 0
    try:
        while not stop.is_set():
            index = Index.open(folder)
            time.sleep(0.01)  # the writer goes on while this generation is read
            answer = search_levels(index, [""], random_levels(1), 10, params=SearchParams(exact=True))[0]
            ids, scores = right_answer(index.generation)
            assert [hit.id for hit in answer.hits] == ids, f"generation {index.generation}"
            assert [hit.score for hit in answer.hits] == scores
            assert index.videos == len(state(index.generation))
            assert index.generation >= newest
            newest = index.generation
            reads.put(newest)  # type: ignore[attr-defined]
    except BaseException as failure:
        failures.put(repr(failure))  # type: ignore[attr-defined]


def write(folder: Path, generation: int) -> None:
    action, _ = step_of(generation)
    if action == "add":
        ids, codes = fresh(generation)
        add(folder, [write_codes(folder.parent / "fresh.hcq", ids, codes)])
    elif action == "remove":
        remove(folder, [f"n{generation - 1}-a"])
    else:
        compact(folder)


@pytest.mark.parametrize("lists", [0, 8], ids=["flat", "listed"])
def test_every_answer_is_right_for_some_generation(tmp_path: Path, lists: int) -> None:
    folder = tmp_path / "index"
    build(folder, [write_codes(tmp_path / "c", names(FIRST), random_codes(FIRST))], lists=lists)
    stop, reads, failures = processes.Event(), processes.SimpleQueue(), processes.SimpleQueue()
    counts: list[int] = []
    readers = [processes.Process(target=read, args=(folder, stop, reads, failures)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    generation, until = 1, time.monotonic() + SECONDS
    while time.monotonic() < until or (len(set(counts)) < SEEN and failures.empty()):
        generation += 1
        write(folder, generation)
        while not reads.empty():
            counts.append(reads.get())
    stop.set()
    for reader in readers:
        while reader.is_alive():
            while not reads.empty():
                counts.append(reads.get())
            reader.join(0.05)
    assert failures.empty(), failures.get()
    assert Index.open(folder).generation == generation
    assert len(counts) >= READERS
    assert len(set(counts)) >= SEEN
    Index.open(folder).verify()


def add_some(folder: Path, writer: int) -> None:
    for number in range(ADDS):
        video = f"{writer}-{number}"
        codes = write_codes(folder.parent / video, [video], random_codes(1, seed=writer))
        add(folder, [codes], wait_s=600, **told(folder.parent, IDS))


def test_no_add_is_lost_between_writers(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    build(folder, [write_codes(tmp_path / "c", names(10), random_codes(10))], lists=3, **told(tmp_path, IDS))
    writers = [processes.Process(target=add_some, args=(folder, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    index = Index.open(folder)
    index.verify()
    assert index.videos == 10 + WRITERS * ADDS
    for writer in range(WRITERS):
        for number in range(ADDS):
            (row,) = index.rows_of(f"{writer}-{number}")
            assert np.array_equal(index.codes([row])[0], random_codes(1, seed=writer)[0])
            assert index.values(row, ["number"]) == {"number": 10 + writer * ADDS + number}
            said = IndexWords(index).best(asked_words(f'"{writer} {number}"'), 9)
            assert [each.id for each in said] == [f"{writer}-{number}"]


def add_without_lock(folder: Path, writer: int, acknowledged: object) -> None:
    @contextmanager
    def nothing(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
        yield

    index_writer.writer_lock = nothing
    for number in range(ADDS):
        video = f"{writer}-{number}"
        codes = write_codes(folder.parent / video, [video], random_codes(1, seed=writer))
        with suppress(HcqError, OSError):  # refused, or what it was writing was cleared by another
            add(folder, [codes])
            acknowledged.put(video)  # type: ignore[attr-defined]


def test_without_a_lock_that_excludes_no_acknowledged_add_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    build(folder, [write_codes(tmp_path / "c", names(10), random_codes(10))])
    told = processes.SimpleQueue()
    writers = [processes.Process(target=add_without_lock, args=(folder, writer, told)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    acknowledged = []
    while not told.empty():
        acknowledged.append(told.get())
    assert acknowledged
    index = Index.open(folder)
    index.verify()
    assert [video for video in acknowledged if not index.rows_of(video)] == []
