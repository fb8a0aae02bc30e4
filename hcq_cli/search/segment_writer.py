"""Writing a segment of an index: codes as they come, or inverted list after list, in bounded memory either way.

Memory grows by 16 bytes a video for the table of hashed ids, by 24 for a row that is a time segment of a video,
and by 8 more where codes lie by list; nothing else grows. Codes that shall lie by list are first dealt to a few
temporary files, each of some neighbouring lists; each file is then sorted in memory and appended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from hcq_cli.codes.codefile import CodeFile, NamesWriter
from hcq_cli.codes.container import ContainerWriter
from hcq_cli.errors import HcqError
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.scan.blocks import WIDTH, to_blocks
from hcq_cli.search.ivf import InvertedLists
from hcq_cli.search.segment import FORMAT, MOST_VIDEOS, HashTable, IndexSegment, TimeTable

BUCKET_BYTES = 64 << 20
"""Codes that are sorted in memory at a time, where lists are of like size."""
SLOTS_AT_ONCE = 1 << 16
"""Videos moved at a time when segments are merged."""
TRANSPOSED_AT_ONCE = 16 * WIDTH
"""Videos brought into kernel order at a time: few enough to be in the cache still when they are written."""
MOST_BUCKETS = 256
"""Files open at once."""


class SegmentWriter(ContainerWriter):
    """Streams a segment.

    Names come in the order of rows, codes in the order of slots; each may run ahead of the other.

    Args:
        subquantizers: S.
    """

    def __init__(self, path: Path, subquantizers: int) -> None:
        super().__init__(path, FORMAT, {})
        self._subquantizers = subquantizers
        self._hashes: list[np.ndarray] = [np.empty(0, np.uint64)]
        self._named = 0
        self._video_segments = [TimeTable.of_ids(PackedStrings.of([]))]
        self._order: list[np.ndarray] = [np.empty(0, np.uint32)]
        self._waiting = np.empty((0, subquantizers), np.uint8)
        self._list_sizes: np.ndarray | None = None

    def _begin(self) -> None:
        self._codes = self.section("codes", "|u1", (self._subquantizers, WIDTH), in_place=True)
        self._names = NamesWriter(self)

    def names(self, ids: PackedStrings, paths: PackedStrings) -> None:
        """The names of the next rows."""
        self._names.write(ids, paths)
        self._hashes.append(ids.hashes())
        found = TimeTable.of_ids(ids)
        self._video_segments.append(replace(found, rows=(found.rows + self._named).astype(np.uint32)))
        self._named += len(ids)

    def codes(self, codes: np.ndarray) -> None:
        """The codes uint8 [n, S] of the next slots."""
        if len(self._waiting):
            codes = np.concatenate([self._waiting, codes])
        # Only whole blocks can be written; what is left over waits for what comes next.
        whole = len(codes) // WIDTH * WIDTH
        for start in range(0, whole, TRANSPOSED_AT_ONCE):
            self._codes.write(to_blocks(codes[start : min(start + TRANSPOSED_AT_ONCE, whole)]).codes)
        self._waiting = codes[whole:].copy()  # a view would keep the whole batch in memory

    def listed(self, codes: np.ndarray, lists: np.ndarray, rows: np.ndarray, count: int) -> None:
        """The codes of the next slots where they lie by list: with the list of each, ascending, and its row.

        Args:
            codes: uint8 [n, S].
            lists: int64 [n].
            rows: int64 [n].
            count: lists in all.
        """
        self.codes(codes)
        self._order.append(rows.astype(np.uint32))
        sizes = np.bincount(lists, minlength=count)
        self._list_sizes = sizes if self._list_sizes is None else self._list_sizes + sizes

    def _end(self) -> None:
        self._codes.write(to_blocks(self._waiting).codes)
        hashes = np.concatenate(self._hashes)
        if len(hashes) > MOST_VIDEOS:
            raise HcqError(f"{self.path}: a segment holds at most {MOST_VIDEOS} videos", "split the code file")
        self._add_table("id", HashTable.of(hashes, np.arange(len(hashes), dtype=np.uint32)))
        cut = TimeTable.joined(self._video_segments)
        self._add_table("stretch", cut)
        self.add("stretch_starts", cut.starts, "<u4")
        self.add("stretch_ends", cut.ends, "<u4")
        if self._list_sizes is not None:
            rows = np.concatenate(self._order)
            slots = np.empty(len(rows), np.uint32)
            slots[rows] = np.arange(len(rows), dtype=np.uint32)  # the inverse of a permutation
            self.add("list_starts", np.concatenate([[0], np.cumsum(self._list_sizes)]), "<u4")
            self.add("order", rows, "<u4")
            self.add("slots", slots, "<u4")

    def _add_table(self, of: str, table: HashTable) -> None:
        self.add(f"{of}_hashes", table.hashes, "<u8")
        self.add(f"{of}_rows", table.rows, "<u4")


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
        # As few files as keep each within the memory for sorting it, each of as many lists as the others.
        count = min(MOST_BUCKETS, lists, max(1, -(-videos * self._record.itemsize // BUCKET_BYTES)))
        self._folder, self._lists_each = folder, -(-lists // count)
        self._count = -(-lists // self._lists_each)

    def __enter__(self) -> Buckets:
        # Unnamed files: they go with the process, however that ends.
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
        # Sorted by bucket, so that each file gets its records in one write.
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
            # Records came in the order of rows, and a stable sort keeps that inside each list.
            by_list = np.argsort(records["list"], kind="stable")
            yield records["codes"][by_list], records["list"][by_list].astype(np.int64), records["row"][by_list]


def write_segment(path: Path, file: CodeFile, ivf: InvertedLists | None, progress: Callable[[int], None]) -> None:
    """Write the segment of a code file; by inverted lists, where there are any.

    Args:
        progress: told how many rows have been read.

    Raises:
        HcqError: more rows than a segment can number.
    """
    with SegmentWriter(path, file.header.S) as writer, ExitStack() as stack:
        buckets, row = None, 0
        if ivf is not None:
            buckets = stack.enter_context(Buckets(path.parent, file.header.S, ivf.lists, len(file)))
        for codes, ids, paths in file.batches():
            if ivf is None or buckets is None:
                writer.codes(codes)
            else:
                buckets.deal(codes, ivf.assign(codes, file.codebooks), row)
            writer.names(ids, paths)
            row += len(ids)
            progress(len(ids))
        for codes, of_list, rows in buckets.lists() if buckets else ():
            writer.listed(codes, of_list, rows, ivf.lists if ivf else 0)


def merge_segments(
    path: Path, subquantizers: int, parts: Sequence[IndexSegment], lists: int, progress: Callable[[int], None]
) -> None:
    """Write the living videos of some segments as one, in the order of their rows.

    Args:
        subquantizers: S.
        parts: the segments.
        lists: that all of them lie by; 0 for none.
    """
    with SegmentWriter(path, subquantizers) as writer:
        for segment in parts:
            for ids, paths in segment.names():
                writer.names(ids, paths)
                progress(len(ids))
        if lists:
            _merge_lists(writer, subquantizers, parts, lists)
            return
        for segment in parts:
            for start in range(0, segment.videos, SLOTS_AT_ONCE):
                writer.codes(segment.living(start, min(start + SLOTS_AT_ONCE, segment.videos))[1])


def _merge_lists(writer: SegmentWriter, subquantizers: int, parts: Sequence[IndexSegment], lists: int) -> None:
    """Append the codes of segments that lie by the same lists: list after list, each from all segments."""
    starts = [segment.list_starts for segment in parts if segment.list_starts is not None]
    before, new_rows = 0, []
    for segment in parts:
        alive = segment.alive
        # A living row's new number is how many are alive before it. Those of dead rows are never used.
        new_rows.append((np.cumsum(alive) - alive + before).astype(np.uint32))
        before += int(alive.sum())
    sizes = sum((np.diff(of_segment) for of_segment in starts), np.zeros(lists, np.int64))
    for first, stop in _portions(sizes):
        # The empty piece: where no segment is left, the lists are written all the same, all of them empty.
        pieces = [(np.empty((0, subquantizers), np.uint8), np.empty(0, np.int64), np.empty(0, np.uint32))]
        for segment, begins, renumbered in zip(parts, starts, new_rows, strict=True):
            rows, codes = segment.living(int(begins[first]), int(begins[stop]))
            pieces.append((codes, segment.lists_of(rows), renumbered[rows]))
        codes, of_list, rows = (np.concatenate(column) for column in zip(*pieces, strict=True))
        by_list = np.argsort(of_list, kind="stable")
        writer.listed(codes[by_list], of_list[by_list], rows[by_list], lists)


def _portions(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of lists, first and one after the last, of no more videos together than are moved at once."""
    first = held = 0
    for number, size in enumerate(sizes.tolist()):
        if held and held + size > SLOTS_AT_ONCE:
            yield first, number
            first, held = number, 0
        held += size
    yield first, len(sizes)
