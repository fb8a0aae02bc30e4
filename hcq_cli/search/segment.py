"""A segment of an index: an immutable file of codes in kernel order, names, and sorted tables of hashed ids.

codes      uint8 [B, S, 256]   see scan/blocks.py
ids, paths names of the rows
id_hashes  uint64 [N] sorted, id_rows uint32 [N] the row of each: find an id without reading all of them
stretch_hashes, stretch_rows   the same for rows that are time segments of a video, by the id of that video, those of
                               one video in the order of time
stretch_starts, stretch_ends   uint32, where each begins and ends, milliseconds; an earlier hcq did not write them

A row is the place of a video in the order the segment was given it, whatever the codes lie like. Where the index has
inverted lists (ivf.py) the codes lie list after list, inside a list by row, and three sections tell where:

list_starts uint32 [lists+1]  the first slot of each list, and N
order       uint32 [N]        the row of each slot
slots       uint32 [N]        the slot of each row

Segments are written by segment_writer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.codes.codefile import read_names
from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.codes.ids import PACKED_FRAGMENT, find_segments
from hcq_cli.errors import DamagedError
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.scan.blocks import WIDTH, Blocks
from hcq_cli.search.manifest import REMEDY, SegmentEntry

if TYPE_CHECKING:
    from hcq_cli.search.sentence_vectors import SentenceVectors
    from hcq_cli.words.table import WordsTable

FORMAT = "hcq-segment"
TOMBSTONES = "hcq-tombstones"
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

    def look_up(self, hashes: np.ndarray) -> Iterator[tuple[int, int]]:
        """Pairs (number among `hashes` uint64 [n], row) of equal hashes, by number, then by row."""
        low, high = np.searchsorted(self.hashes, hashes, "left"), np.searchsorted(self.hashes, hashes, "right")
        for number in np.flatnonzero(low < high).tolist():
            for row in sorted(self.rows[low[number] : high[number]].tolist()):
                yield number, row


@dataclass(frozen=True)
class TimedRows:
    """The time segments of one video, in the order of time: the row of each, where it begins and ends, seconds."""

    rows: list[int]
    starts_s: list[float]
    ends_s: list[float]


@dataclass(frozen=True)
class TimeTable(HashTable):
    """Rows that are time segments of a video, by the hash of its id, those of one video in the order of time.

    Args:
        starts, ends: uint32 [n], milliseconds.
    """

    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of_ids(cls, ids: PackedStrings) -> TimeTable:
        """The segments among `ids`."""
        rows, videos, times = find_segments(ids)
        return cls.joined([cls(videos.hashes(), rows, *times.T)])

    @classmethod
    def joined(cls, parts: Sequence[TimeTable]) -> TimeTable:
        """The segments of several, in any order, as one table."""
        hashes, rows, starts, ends = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("hashes", "rows", "starts", "ends")
        )
        order = np.lexsort((rows, ends, starts, hashes))
        return cls(hashes[order], rows[order], starts[order], ends[order])

    def between(self, firsts: np.ndarray, stops: np.ndarray, dead: np.ndarray | None = None) -> list[TimedRows]:
        """The segments from each of some places, int64 [n], to another; `dead` is bool, by row, or None for none."""
        bounds = np.append(0, np.cumsum(stops - firsts))
        places = np.arange(bounds[-1]) + np.repeat(firsts - bounds[:-1], stops - firsts)
        if dead is not None:
            living = ~dead[self.rows[places]]
            places, bounds = places[living], np.append(0, np.cumsum(living))[bounds]
        rows, starts, ends = self.rows[places], self.starts[places] / 1000, self.ends[places] / 1000
        columns = rows.tolist(), starts.tolist(), ends.tolist()
        return [TimedRows(*(column[a:b] for column in columns)) for a, b in pairwise(bounds.tolist())]


class IndexSegment:
    """An open segment of an index.

    What an array of the file says is taken for true only where that can do no harm: a file whose checksums are right
    may still be forged or made by a faulty program, and must give a DamagedError, never a wrong memory access.

    Args:
        subquantizers: S of the index it belongs to.
        lists: of the inverted lists that its codes lie by; 0 for none.
        digest: that the manifest says it has; empty for any.

    Attributes:
        videos: N, dead ones included.
        blocks: the codes, for a kernel.
        list_starts: int64 [lists+1], or None.
        entry: what the manifest says, or will say, of it.
        dead: the rows that cannot be found, bool [N]; None for none. What tells of rows tells of the living ones.
        words, vectors: the table of its sentences and their vectors, or None.

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
        self.entry = SegmentEntry(path.name, self.videos)
        self.dead: np.ndarray | None = None
        self.words: WordsTable | None = None
        self.vectors: SentenceVectors | None = None
        self.ids = read_names(self._container, "ids", self.videos)
        self.paths = read_names(self._container, "paths", self.videos)

    def _read_list_starts(self, lists: int) -> np.ndarray:
        # Read whole and verified, unlike the large sections: a wrong start would send every query astray.
        starts = self._container.read("list_starts", "<u4").astype(np.int64)
        if len(starts) != lists + 1 or starts[0] != 0 or starts[-1] != self.videos or (np.diff(starts) < 0).any():
            raise DamagedError(f"{self.path}: its lists are not the {lists} of the partition", REMEDY)
        return starts

    @cached_property
    def _by_video(self) -> TimeTable:
        sections = self._container.sections
        if "stretch_starts" not in sections:  # of an earlier hcq; where it says that there are none, none is read
            none = "stretch_hashes" in sections and not sections["stretch_hashes"].nbytes
            return TimeTable.of_ids(PackedStrings.of([]) if none else self.ids)
        columns = (self._container.map(f"stretch_{name}", "<u4") for name in ("rows", "starts", "ends"))
        table = TimeTable(self._container.map("stretch_hashes", "<u8"), *columns)
        lengths = {len(each) for each in (table.hashes, table.rows, table.starts, table.ends)}
        if len(lengths) > 1 or table.rows.max(initial=0) >= max(self.videos, 1):
            raise DamagedError(f"{self.path}: its sections do not fit together", REMEDY)
        return table

    def without(self, gone: np.ndarray) -> IndexSegment:
        """The same segment where more rows are dead, bool [N]."""
        _ = self.owners  # found once, for all that are made of it
        other = copy(self)
        other.dead = gone if self.dead is None else self.dead | gone
        return other

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

    def names(self, *, every: bool = False) -> Iterator[tuple[PackedStrings, PackedStrings]]:
        """Ids and paths of the living rows in their order, some at a time; or of `every` row."""
        for start in range(0, self.videos, NAMES_AT_ONCE):
            stop = min(start + NAMES_AT_ONCE, self.videos)
            ids, paths = self.ids.part(start, stop), self.paths.part(start, stop)
            if self.dead is not None and not every:
                alive = np.flatnonzero(~self.dead[start:stop])
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
            if cut := PACKED_FRAGMENT.search(raw := self.ids.raw(row)):
                rows += [row] if raw[: cut.start()] == ids.raw(at) else []
        return np.unique(np.array(rows, np.int64))

    @property
    def first_rows(self) -> np.ndarray:
        """For each row the first one of the same video, uint32 [N]: another than itself where a video has several."""
        return self._videos[0]

    @cached_property
    def _videos(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The video of each row: its first row, uint32 [N], and its number c among those that are cut in time, uint32
        [N]; and `bounds` int64 [C + 2]: its segments are bounds[c]:bounds[c+1] of their table. The last number is of
        all that are not cut."""
        cut, whole = self._by_video, self._by_id
        if not len(cut.rows):
            return np.arange(self.videos, dtype=np.uint32), np.zeros(self.videos, np.uint32), np.zeros(2, np.int64)
        if whole.rows.max(initial=0) >= self.videos:
            raise DamagedError(f"{self.path}: its tables name rows that it does not have", REMEDY)
        # Both tables are sorted: videos are numbered as they come in that of ids, those that lie there in segments
        # alone behind them. Nothing is sorted again, since every process that asks an index does this.
        ids = np.cumsum(np.append(True, whole.hashes[1:] != whole.hashes[:-1])[: self.videos])
        begins = np.flatnonzero(np.append(True, cut.hashes[1:] != cut.hashes[:-1]))
        places = np.minimum(np.searchsorted(whole.hashes, cut.hashes[begins]), self.videos - 1)
        alone = whole.hashes[places] != cut.hashes[begins]
        numbers = np.where(alone, ids[-1] + 1 + np.arange(len(begins)), ids[places])
        bounds = np.append(begins, [len(cut.rows)] * 2)
        videos = np.zeros(self.videos, np.int64)  # a forged table may name no video of a row
        videos[whole.rows] = ids
        videos[cut.rows] = np.repeat(numbers, np.diff(bounds[:-1]))
        firsts = np.empty(ids[-1] + 1 + len(begins), np.uint32)
        firsts[videos[::-1]] = np.arange(self.videos)[::-1]  # of the rows of a video the lowest is written last
        cuts = np.full(len(firsts), len(begins), np.uint32)
        cuts[numbers] = np.arange(len(begins))
        return firsts[videos], cuts[videos], bounds

    @cached_property
    def owners(self) -> np.ndarray:
        """The first row of the video that each slot's row is of, uint32 [N], for `Blocks.owners`."""
        return self.first_rows if self.blocks.order is None else self.first_rows[self.blocks.order]

    def segments_of(self, rows: np.ndarray) -> list[TimedRows]:
        """The living time segments of the video that each of `rows` int64 [n] is of. Raises DamagedError."""
        # By row, and not by the hash of the id: a query would wait for memory, forty times a hit.
        _, cuts, bounds = self._videos
        return self._by_video.between(bounds[cuts[rows]], bounds[cuts[rows] + 1], self.dead)

    @property
    def alive(self) -> np.ndarray:
        """Which rows can be found, bool [N]."""
        return np.ones(self.videos, bool) if self.dead is None else ~self.dead

    @property
    def video_segments(self) -> int:
        """How many living rows are time segments of a video."""
        return int(self.alive[self._by_video.rows].sum())

    def count_videos(self) -> int:
        """How many videos, or captions, its living rows are of."""
        alive = self.alive
        if not len(self._by_video.rows):
            return int(alive.sum())
        return int(np.count_nonzero(np.bincount(self.first_rows[alive])))

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
        for ids, _ in newer.names():
            videos = find_segments(ids)[1]
            found += [self.rows_of(ids), self.rows_of(PackedStrings.of(list(dict.fromkeys(videos))))]
        return np.unique(np.concatenate(found))

    def living(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The living videos of some neighbouring slots: rows int64 [n] and codes uint8 [n, S].

        Raises:
            DamagedError: a slot names a row that is not there.
        """
        rows, codes = self.blocks.rows_of(np.arange(first, stop)), self.blocks.between(first, stop)
        if rows.max(initial=0) >= max(self.videos, 1):
            raise DamagedError(f"{self.path}: its codes name rows that it does not have", REMEDY)
        if self.dead is None or not self.dead[rows].any():
            return rows, codes  # without a copy
        alive = ~self.dead[rows]
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
