"""Writing a segment: names and codes as they come, or codes list after list, in bounded memory either way.

Memory grows by 16 bytes a video for the table of hashed ids, by as many for a row that is a stretch of a video, and
by 8 more where codes lie by list; nothing else grows. Codes that shall lie by list are first dealt to a few temporary
files, each of some neighbouring lists; each file is then sorted in memory and appended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from hcq_cli.codes.codefile import NamesWriter
from hcq_cli.codes.container import ContainerWriter
from hcq_cli.codes.strings import PackedStrings
from hcq_cli.errors import HcqError
from hcq_cli.scan.blocks import WIDTH, to_blocks
from hcq_cli.search.segment import FORMAT, MOST_VIDEOS, Batch, HashTable, Segment

BUCKET_BYTES = 64 << 20
"""Codes that are sorted in memory at a time, where lists are of like size."""
SLOTS_AT_ONCE = 1 << 16
"""Videos moved at a time when segments are merged."""
TURNED_AT_ONCE = 16 * WIDTH
"""Videos brought into kernel order at a time: few enough to be in the cache still when they are written."""
MOST_BUCKETS = 256
"""Files open at once."""

Assign = Callable[[np.ndarray], np.ndarray]
"""Codes uint8 [n, S] → the list of each, int64 [n]."""


class SegmentWriter:
    """Streams a segment; a context manager that puts the file in place when its block ends well.

    Names come in the order of rows, codes in the order of slots; each may run ahead of the other.

    Args:
        path: of the segment.
        subquantizers: S.
    """

    def __init__(self, path: Path, subquantizers: int) -> None:
        self.path, self._subquantizers = path, subquantizers
        self._container = ContainerWriter(path, FORMAT, {})
        self._hashes: list[np.ndarray] = [np.empty(0, np.uint64)]
        self._named = 0
        self._stretches = [HashTable(np.empty(0, np.uint64), np.empty(0, np.int64))]
        self._order: list[np.ndarray] = [np.empty(0, np.uint32)]
        self._waiting = np.empty((0, subquantizers), np.uint8)
        self._list_sizes: np.ndarray | None = None

    def __enter__(self) -> SegmentWriter:
        self._container.__enter__()
        self._codes = self._container.section("codes", "|u1", (self._subquantizers, WIDTH), in_place=True)
        self._names = NamesWriter(self._container)
        return self

    def names(self, ids: PackedStrings, paths: PackedStrings) -> None:
        """The names of the next rows."""
        self._names.write(ids, paths)
        self._hashes.append(ids.hashes())
        stretches = HashTable.of_stretches(ids)
        self._stretches.append(HashTable(stretches.hashes, stretches.rows + self._named))
        self._named += len(ids)

    def codes(self, codes: np.ndarray) -> None:
        """The codes uint8 [n, S] of the next slots."""
        if len(self._waiting):
            codes = np.concatenate([self._waiting, codes])
        whole = len(codes) // WIDTH * WIDTH
        for start in range(0, whole, TURNED_AT_ONCE):
            self._codes.write(to_blocks(codes[start : min(start + TURNED_AT_ONCE, whole)]).codes)
        self._waiting = codes[whole:].copy()

    def listed(self, codes: np.ndarray, lists: np.ndarray, rows: np.ndarray, count: int) -> None:
        """Likewise where codes lie by list: with the list of each, ascending, and its row; `count` lists in all."""
        self.codes(codes)
        self._order.append(rows.astype(np.uint32))
        sizes = np.bincount(lists, minlength=count)
        self._list_sizes = sizes if self._list_sizes is None else self._list_sizes + sizes

    def _finish(self) -> None:
        self._codes.write(to_blocks(self._waiting).codes)
        hashes = np.concatenate(self._hashes)
        if len(hashes) > MOST_VIDEOS:
            raise HcqError(f"{self.path}: a segment holds at most {MOST_VIDEOS} videos", "split the code file")
        self._add_table("id", hashes, np.arange(len(hashes), dtype=np.uint32))
        hashes, rows = (
            np.concatenate([getattr(part, name) for part in self._stretches]) for name in ("hashes", "rows")
        )
        self._add_table("stretch", hashes, rows)
        if self._list_sizes is not None:
            rows = np.concatenate(self._order)
            slots = np.empty(len(rows), np.uint32)
            slots[rows] = np.arange(len(rows), dtype=np.uint32)
            self._container.add("list_starts", np.concatenate([[0], np.cumsum(self._list_sizes)]), "<u4")
            self._container.add("order", rows, "<u4")
            self._container.add("slots", slots, "<u4")

    def _add_table(self, of: str, hashes: np.ndarray, rows: np.ndarray) -> None:
        table = HashTable.of(hashes, rows)
        self._container.add(f"{of}_hashes", table.hashes, "<u8")
        self._container.add(f"{of}_rows", table.rows, "<u4")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is None:
            try:
                self._finish()
            except BaseException as failure:
                self._container.__exit__(type(failure), failure, failure.__traceback__)
                raise
        return self._container.__exit__(kind, error, trace)


class Buckets:
    """Codes dealt to temporary files by list, given back list after list; a context manager.

    Args:
        folder: where the files lie, unnamed.
        subquantizers: S.
        lists: how many there are.
        videos: about how many will come.
    """

    def __init__(self, folder: Path, subquantizers: int, lists: int, videos: int) -> None:
        self._record = np.dtype([("list", "<u4"), ("row", "<u4"), ("codes", "u1", (subquantizers,))])
        count = min(MOST_BUCKETS, lists, max(1, -(-videos * self._record.itemsize // BUCKET_BYTES)))
        self._folder, self._lists_each = folder, -(-lists // count)
        self._count = -(-lists // self._lists_each)

    def __enter__(self) -> Buckets:
        with ExitStack() as stack:
            self._files: list[IO[bytes]] = [
                stack.enter_context(tempfile.TemporaryFile(dir=self._folder)) for _ in range(self._count)
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def deal(self, codes: np.ndarray, lists: np.ndarray, first_row: int) -> None:
        """Put away codes uint8 [n, S] of neighbouring rows, with the list int64 [n] of each."""
        records = np.empty(len(codes), self._record)
        records["list"], records["codes"] = lists, codes
        records["row"] = np.arange(first_row, first_row + len(codes))
        bucket = lists // self._lists_each
        by_bucket = np.argsort(bucket, kind="stable")
        bounds = np.searchsorted(bucket[by_bucket], np.arange(self._count + 1))
        records = records[by_bucket]
        for number, file in enumerate(self._files):
            if bounds[number] < bounds[number + 1]:
                file.write(records[bounds[number] : bounds[number + 1]].data.cast("B"))

    def lists(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Codes uint8 [n, S], lists and rows int64 [n] of some lists at a time: by list, inside a list by row."""
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read(), self._record)
            file.close()
            by_list = np.argsort(records["list"], kind="stable")
            yield records["codes"][by_list], records["list"][by_list].astype(np.int64), records["row"][by_list]


def write_segment(path: Path, subquantizers: int, batches: Iterable[Batch]) -> None:
    """Stream `batches` into a segment.

    Raises:
        HcqError: more videos than a segment can number.
    """
    with SegmentWriter(path, subquantizers) as writer:
        for batch in batches:
            writer.codes(batch.codes)
            writer.names(batch.ids, batch.paths)


def write_listed(
    path: Path, subquantizers: int, batches: Iterable[Batch], videos: int, lists: int, assign: Assign
) -> None:
    """Stream `batches` of about so many `videos` into a segment whose codes lie by the `lists` that `assign` names.

    Raises:
        HcqError: more videos than a segment can number.
    """
    row = 0
    with (
        SegmentWriter(path, subquantizers) as writer,
        Buckets(path.parent, subquantizers, lists, videos) as buckets,
    ):
        for batch in batches:
            buckets.deal(batch.codes, assign(batch.codes), row)
            writer.names(batch.ids, batch.paths)
            row += len(batch.ids)
        for codes, of_list, rows in buckets.lists():
            writer.listed(codes, of_list, rows, lists)


Parts = Sequence[tuple[Segment, np.ndarray | None]]
"""Segments with what is dead in each, bool [N] or None."""


def merge_segments(path: Path, subquantizers: int, parts: Parts, progress: Callable[[int], None]) -> None:
    """Write the living videos of some segments as one, in the order of their rows."""
    with SegmentWriter(path, subquantizers) as writer:
        for segment, dead in parts:
            _merge_names(writer, segment, dead, progress)
            for start in range(0, segment.videos, SLOTS_AT_ONCE):
                writer.codes(segment.coded(dead, start, min(start + SLOTS_AT_ONCE, segment.videos))[1])


def merge_listed(path: Path, subquantizers: int, parts: Parts, lists: int, progress: Callable[[int], None]) -> None:
    """Likewise where codes lie by list: the lists are merged one by one."""
    with SegmentWriter(path, subquantizers) as writer:
        before, new_rows = 0, []
        for segment, dead in parts:
            _merge_names(writer, segment, dead, progress)
            alive = np.ones(segment.videos, bool) if dead is None else ~dead
            new_rows.append((np.cumsum(alive) - alive + before).astype(np.uint32))
            before += int(alive.sum())
        sizes = sum((np.diff(_starts(segment)) for segment, _ in parts), np.zeros(lists, np.int64))
        for first, stop in _portions(sizes):
            pieces = [(np.empty((0, subquantizers), np.uint8), np.empty(0, np.int64), np.empty(0, np.uint32))]
            for (segment, dead), renumbered in zip(parts, new_rows, strict=True):
                starts = _starts(segment)
                rows, codes = segment.coded(dead, int(starts[first]), int(starts[stop]))
                pieces.append((codes, segment.lists_of(rows), renumbered[rows]))
            codes, of_list, rows = (np.concatenate(column) for column in zip(*pieces, strict=True))
            by_list = np.argsort(of_list, kind="stable")
            writer.listed(codes[by_list], of_list[by_list], rows[by_list], lists)


def _starts(segment: Segment) -> np.ndarray:
    assert segment.list_starts is not None
    return segment.list_starts


def _portions(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of lists, first and one after the last, of no more videos together than are moved at once."""
    first = held = 0
    for number, size in enumerate(sizes.tolist()):
        if held and held + size > SLOTS_AT_ONCE:
            yield first, number
            first, held = number, 0
        held += size
    yield first, len(sizes)


def _merge_names(
    writer: SegmentWriter, segment: Segment, dead: np.ndarray | None, progress: Callable[[int], None]
) -> None:
    for ids, paths in segment.names(dead):
        writer.names(ids, paths)
        progress(len(ids))
