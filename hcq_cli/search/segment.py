"""A segment: an immutable part of an index. Codes in kernel order, names, and a sorted table of hashed ids.

codes      uint8 [B, S, 256]   see blocks.py
ids, paths names of the rows
id_hashes  uint64 [N] sorted, id_rows uint32 [N] the row of each: find an id without reading all of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcq_cli.codes.codefile import NamesWriter, read_names
from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.codes.strings import Strings
from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.search.blocks import WIDTH, Blocks, to_blocks

FORMAT = "hcq-segment"
TOMBSTONES = "hcq-tombstones"
REMEDY = "hcq index build"
MOST_VIDEOS = 2**32 - 1


@dataclass(frozen=True)
class Batch:
    """Some videos on their way into a segment.

    Args:
        codes: uint8 [n, S].
        ids: n of them.
        paths: n of them.
    """

    codes: np.ndarray
    ids: Strings
    paths: Strings


class Segment:
    """An open segment.

    Args:
        path: of the file.
        subquantizers: S of the index it belongs to.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, or of another shape.
    """

    def __init__(self, path: Path, subquantizers: int) -> None:
        self._container, self.path = Container(path, FORMAT, REMEDY), path
        self._hashes = self._container.map("id_hashes", "<u8")
        self._rows = self._container.map("id_rows", "<u4")
        self.videos = len(self._hashes)
        codes = self._container.map("codes", "|u1", (subquantizers, WIDTH))
        if len(self._rows) != self.videos or len(codes) != -(-self.videos // WIDTH):
            raise DamagedError(f"{path}: its sections do not fit together", REMEDY)
        self.blocks = Blocks(codes, self.videos)
        self.ids = read_names(self._container, "ids", self.videos)
        self.paths = read_names(self._container, "paths", self.videos)

    @property
    def nbytes(self) -> int:
        """Bytes of all sections."""
        return sum(section.nbytes for section in self._container.sections.values())

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte. Raises DamagedError."""
        self._container.verify(progress)

    def find(self, video_id: str) -> list[int]:
        """The rows with this id, ascending."""
        wanted = Strings.of([video_id])
        return [row for _, row in self.matches(wanted, wanted.hashes())]

    def matches(self, ids: Strings, hashes: np.ndarray) -> Iterator[tuple[int, int]]:
        """Pairs (number among `ids`, row here) of equal ids, given the `hashes` uint64 [n] of `ids`."""
        low, high = np.searchsorted(self._hashes, hashes, "left"), np.searchsorted(self._hashes, hashes, "right")
        for number in np.flatnonzero(low < high).tolist():
            for row in sorted(self._rows[low[number] : high[number]].tolist()):
                if row < self.videos and self.ids.raw(row) == ids.raw(number):
                    yield number, row

    def replaced_within(self) -> np.ndarray:
        """The rows int64 [n] whose id comes again further down."""
        again = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        last: dict[bytes, int] = {}
        replaced = []
        for row in sorted({*self._rows[again].tolist(), *self._rows[again + 1].tolist()}):
            name = self.ids.raw(row)
            if name in last:
                replaced.append(last[name])
            last[name] = row
        return np.array(replaced, np.int64)

    def batches(self, dead: np.ndarray | None, rows: int = 1 << 16) -> Iterator[Batch]:
        """The living videos, `rows` at a time; `dead` is bool [N]."""
        for start in range(0, self.videos, rows):
            stop = min(start + rows, self.videos)
            alive = np.arange(stop - start) if dead is None else np.flatnonzero(~dead[start:stop])
            codes = self.blocks.rows(start + alive)
            yield Batch(codes, self.ids.part(start, stop).take(alive), self.paths.part(start, stop).take(alive))


def write_segment(path: Path, subquantizers: int, batches: Iterable[Batch]) -> None:
    """Stream `batches` into a segment; memory grows by 16 bytes a video and no more.

    Raises:
        HcqError: more videos than a segment can number.
    """
    hashes: list[np.ndarray] = []
    waiting = np.empty((0, subquantizers), np.uint8)
    with ContainerWriter(path, FORMAT, {}) as writer:
        codes = writer.section("codes", "|u1", (subquantizers, WIDTH), in_place=True)
        names = NamesWriter(writer)
        for batch in batches:
            waiting = np.concatenate([waiting, batch.codes])
            whole = len(waiting) // WIDTH * WIDTH
            codes.write(to_blocks(waiting[:whole]).codes)
            waiting = waiting[whole:]
            names.write(batch.ids, batch.paths)
            hashes.append(batch.ids.hashes())
        codes.write(to_blocks(waiting).codes)
        unsorted = np.concatenate([np.empty(0, np.uint64), *hashes])
        if len(unsorted) > MOST_VIDEOS:
            raise HcqError(f"{path}: a segment holds at most {MOST_VIDEOS} videos", "split the code file")
        order = np.argsort(unsorted, kind="stable")
        writer.add("id_hashes", unsorted[order], "<u8")
        writer.add("id_rows", order, "<u4")


def replaced_by(newer: Segment, older: Segment) -> np.ndarray:
    """The rows int64 [n] of `older` whose id is in `newer` too."""
    found: list[int] = []
    step = 1 << 16
    for start in range(0, newer.videos, step):
        ids = newer.ids.part(start, min(start + step, newer.videos))
        found += [row for _, row in older.matches(ids, ids.hashes())]
    return np.unique(np.array(found, np.int64))


def write_tombstones(path: Path, dead: np.ndarray) -> None:
    """Write which rows of a segment are dead, bool [N]."""
    with ContainerWriter(path, TOMBSTONES, {}) as writer:
        writer.add("rows", np.flatnonzero(dead), "<u4")


def read_tombstones(path: Path, videos: int) -> np.ndarray:
    """Which of `videos` rows are dead, bool [N].

    Raises:
        DamagedError: the file is damaged or names rows that are not there.
    """
    container = Container(path, TOMBSTONES, REMEDY)
    container.verify()
    rows = container.map("rows", "<u4")
    if rows.max(initial=0) >= max(videos, 1):
        raise DamagedError(f"{path}: names rows that its segment does not have", REMEDY)
    dead = np.zeros(videos, bool)
    dead[rows] = True
    return dead
