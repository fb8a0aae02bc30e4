"""A segment of an index: an immutable file of codes in kernel order, names, and sorted tables of hashed ids.

codes      uint8 [B, S, 256]   see scan/blocks.py
ids, paths names of the rows
id_hashes  uint64 [N] sorted, id_rows uint32 [N] the row of each: find an id without reading all of them
stretch_hashes, stretch_rows   the same for rows that are time segments of a video, by the id of that video

A row is the place of a video in the order the segment was given it, whatever the codes lie like. Where the index has
inverted lists (ivf.py) the codes lie list after list, inside a list by row, and three sections tell where:

list_starts uint32 [lists+1]  the first slot of each list, and N
order       uint32 [N]        the row of each slot
slots       uint32 [N]        the slot of each row

Segments are written by segment_writer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import read_names
from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.codes.ids import PACKED_FRAGMENT, find_segments
from hcq_cli.errors import DamagedError
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.scan.blocks import WIDTH, Blocks

FORMAT = "hcq-segment"
TOMBSTONES = "hcq-tombstones"
REMEDY = "hcq index build"
MOST_VIDEOS = 2**32 - 1
"""Rows are numbered in 32 bits."""
NAMES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class HashTable:
    """Rows by the hash of a name; several may share one.

    A sorted array with a binary search: it is used as it lies in the file, so opening an index builds nothing.

    Args:
        hashes: uint64 [n], ascending.
        rows: uint32 [n], the row of each.
    """

    hashes: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, rows: np.ndarray) -> HashTable:
        """Sort hashes [n] and their rows [n]; equal hashes come in any order."""
        order = np.argsort(hashes)
        return cls(hashes[order], rows[order])

    @classmethod
    def of_video_segments(cls, ids: PackedStrings) -> HashTable:
        """The rows of `ids` that are time segments, by the ids of their videos."""
        rows, videos = find_segments(ids)
        return cls.of(videos.hashes(), rows)

    def look_up(self, hashes: np.ndarray) -> Iterator[tuple[int, int]]:
        """Pairs (number among `hashes` uint64 [n], row) of equal hashes, by number, then by row."""
        low, high = np.searchsorted(self.hashes, hashes, "left"), np.searchsorted(self.hashes, hashes, "right")
        for number in np.flatnonzero(low < high).tolist():
            for row in sorted(self.rows[low[number] : high[number]].tolist()):
                yield number, row


class IndexSegment:
    """An open segment of an index.

    What an array of the file says is taken for true only where that can do no harm: a file whose checksums are right
    may still be forged or made by a faulty program, and must give a DamagedError, never a wrong memory access.

    Args:
        path: of the file.
        subquantizers: S of the index it belongs to.
        lists: of the inverted lists that its codes lie by; 0 for none.
        digest: that the manifest says it has; empty for any.

    Attributes:
        videos: N, dead ones included.
        blocks: the codes, for a kernel.
        list_starts: int64 [lists+1], or None.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, or of another shape.
    """

    def __init__(self, path: Path, subquantizers: int, lists: int = 0, digest: str = "") -> None:
        self._container, self.path = Container(path, FORMAT, REMEDY, digest), path
        self._by_id = HashTable(self._container.map("id_hashes", "<u8"), self._container.map("id_rows", "<u4"))
        self.videos = len(self._by_id.hashes)
        codes = self._container.map("codes", "|u1", (subquantizers, WIDTH))
        columns, order = [self._by_id.rows], None
        self._slots: np.ndarray | None = None
        self.list_starts: np.ndarray | None = None
        if lists:
            self.list_starts = self._read_list_starts(lists)
            order, self._slots = self._container.map("order", "<u4"), self._container.map("slots", "<u4")
            columns += [order, self._slots]
        if any(len(column) != self.videos for column in columns) or len(codes) != -(-self.videos // WIDTH):
            raise DamagedError(f"{path}: its sections do not fit together", REMEDY)
        self.blocks = Blocks(codes, self.videos, None, order)
        self.ids = read_names(self._container, "ids", self.videos)
        self.paths = read_names(self._container, "paths", self.videos)

    def _read_list_starts(self, lists: int) -> np.ndarray:
        # Read whole and verified, unlike the large sections: a wrong start would send every query astray.
        starts = self._container.read("list_starts", "<u4").astype(np.int64)
        if len(starts) != lists + 1 or starts[0] != 0 or starts[-1] != self.videos or (np.diff(starts) < 0).any():
            raise DamagedError(f"{self.path}: its lists are not the {lists} of the partition", REMEDY)
        return starts

    @cached_property
    def _by_video(self) -> HashTable:
        if "stretch_hashes" not in self._container.sections:  # an index of before there was such a table
            return HashTable.of_video_segments(self.ids)
        table = HashTable(self._container.map("stretch_hashes", "<u8"), self._container.map("stretch_rows", "<u4"))
        if len(table.hashes) != len(table.rows):
            raise DamagedError(f"{self.path}: its sections do not fit together", REMEDY)
        return table

    @property
    def nbytes(self) -> int:
        """Bytes of all sections."""
        return self._container.nbytes

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte. Raises DamagedError."""
        self._container.verify(progress)

    def codes_of(self, rows: np.ndarray) -> np.ndarray:
        """The codes uint8 [n, S] of `rows` int64 [n]. Raises DamagedError."""
        slots = rows if self._slots is None else self._slots[rows].astype(np.int64)
        # The last block is padded: a slot beyond N would read padding, and pass it off as codes.
        if slots.max(initial=0) >= max(self.videos, 1):
            raise DamagedError(f"{self.path}: rows lie outside its codes", REMEDY)
        return self.blocks.at(slots)

    def lists_of(self, rows: np.ndarray) -> np.ndarray:
        """The list int64 [n] that each of `rows` int64 [n] lies in; the segment must have lists."""
        assert self._slots is not None and self.list_starts is not None
        return np.searchsorted(self.list_starts, self._slots[rows], "right") - 1

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row. Raises DamagedError."""
        if not 0 <= row < self.videos:
            raise DamagedError(f"{self.path}: its codes name a row {row} that it does not have", REMEDY)
        return self.ids[row], self.paths[row]

    def names(self, dead: np.ndarray | None) -> Iterator[tuple[PackedStrings, PackedStrings]]:
        """Ids and paths of the living videos in the order of rows, some at a time; `dead` is bool [N]."""
        for start in range(0, self.videos, NAMES_AT_ONCE):
            stop = min(start + NAMES_AT_ONCE, self.videos)
            ids, paths = self.ids.part(start, stop), self.paths.part(start, stop)
            if dead is not None:
                alive = np.flatnonzero(~dead[start:stop])
                ids, paths = ids.take(alive), paths.take(alive)
            yield ids, paths

    def rows_of(self, ids: PackedStrings) -> np.ndarray:
        """The rows int64 [n], ascending, that have one of these ids, or are time segments of a video that has."""
        hashes = ids.hashes()
        # Two ids may share a hash, so each candidate is compared letter by letter.
        rows = [
            row for at, row in self._by_id.look_up(hashes) if row < self.videos and self.ids.raw(row) == ids.raw(at)
        ]
        for at, row in self._by_video.look_up(hashes):
            # As bytes: a query does this for every segment of every hit.
            if row < self.videos and (cut := PACKED_FRAGMENT.search(raw := self.ids.raw(row))):
                rows += [row] if raw[: cut.start()] == ids.raw(at) else []
        return np.unique(np.array(rows, np.int64))

    @cached_property
    def first_rows(self) -> np.ndarray:
        """For each row the first one of the same video, int64 [N]: another than itself where a video has several."""
        if not len(self._by_video.rows):
            return np.arange(self.videos)
        videos = np.zeros(self.videos, np.uint64)
        for table in (self._by_id, self._by_video):
            within = table.rows < self.videos
            videos[table.rows[within]] = table.hashes[within]
        _, firsts, video = np.unique(videos, return_index=True, return_inverse=True)
        return firsts[video]

    def alive(self, dead: np.ndarray | None) -> np.ndarray:
        """Which rows can be found, bool [N]; `dead` is bool [N], or None for no row."""
        return np.ones(self.videos, bool) if dead is None else ~dead

    def video_segments(self, dead: np.ndarray | None) -> int:
        """How many living rows are time segments of a video; `dead` is bool [N]."""
        rows = self._by_video.rows
        return len(rows) if dead is None else int((~dead[rows[rows < self.videos]]).sum())

    def count_videos(self, dead: np.ndarray | None) -> int:
        """How many videos, or captions, its living rows are of; `dead` is bool [N]."""
        alive = self.alive(dead)
        table, by_id = self._by_video, self._by_id
        within = table.rows < self.videos
        within[within] = alive[table.rows[within]]
        hashes = table.hashes[within]
        videos = hashes[np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])]
        # A video that has a row of its own beside those of its segments is counted there.
        places = np.minimum(np.searchsorted(by_id.hashes, videos), max(self.videos - 1, 0))
        whole = np.zeros(len(videos), bool)
        if len(videos):
            whole = (by_id.hashes[places] == videos) & alive[np.minimum(by_id.rows[places], self.videos - 1)]
        return int(alive.sum()) - len(hashes) + int((~whole).sum())

    def replaced_within(self) -> np.ndarray:
        """The rows int64 [n] whose id a later row has, too."""
        hashes, rows = self._by_id.hashes, self._by_id.rows
        # Equal ids have equal hashes, and those are neighbours: only where neighbours are equal are ids compared.
        again = np.flatnonzero(hashes[1:] == hashes[:-1])
        last: dict[bytes, int] = {}
        replaced = []
        for row in sorted({*rows[again].tolist(), *rows[again + 1].tolist()}):
            name = self.ids.raw(row)
            if name in last:
                replaced.append(last[name])
            last[name] = row
        return np.array(replaced, np.int64)

    def replaced_by(self, newer: IndexSegment) -> np.ndarray:
        """The rows int64 [n] whose video is in the segment `newer` too, however each of them was cut in time."""
        found = [np.empty(0, np.int64)]
        for ids, _ in newer.names(None):
            videos = find_segments(ids)[1]
            found += [self.rows_of(ids), self.rows_of(PackedStrings.of(list(dict.fromkeys(videos))))]
        return np.unique(np.concatenate(found))

    def living(self, dead: np.ndarray | None, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The living videos of some neighbouring slots: rows int64 [n] and codes uint8 [n, S].

        Raises:
            DamagedError: a slot names a row that is not there.
        """
        rows, codes = self.blocks.rows_of(np.arange(first, stop)), self.blocks.between(first, stop)
        if rows.max(initial=0) >= max(self.videos, 1):
            raise DamagedError(f"{self.path}: its codes name rows that it does not have", REMEDY)
        if dead is None or not dead[rows].any():
            return rows, codes  # without a copy
        alive = ~dead[rows]
        return rows[alive], codes[alive]


def write_tombstones(path: Path, dead: np.ndarray) -> None:
    """Write which rows of a segment are dead, bool [N]."""
    with ContainerWriter(path, TOMBSTONES, {}) as writer:
        writer.add("rows", np.flatnonzero(dead), "<u4")


def read_tombstones(path: Path, videos: int, digest: str = "") -> np.ndarray:
    """Which of `videos` rows are dead, bool [N]; `digest` is what the manifest says of the file.

    Raises:
        DamagedError: the file is damaged or names rows that are not there.
    """
    container = Container(path, TOMBSTONES, REMEDY, digest)
    container.verify()
    rows = container.map("rows", "<u4")
    if rows.max(initial=0) >= max(videos, 1):
        raise DamagedError(f"{path}: names rows that its segment does not have", REMEDY)
    dead = np.zeros(videos, bool)
    dead[rows] = True
    return dead
