"""What can be searched, an index or a code file as it is, and the search for the best rows in it.

Where an index has inverted lists, a search looks into some of them only, or into everything where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from hcq_cli.codes.codefile import CodeHeader, open_codes
from hcq_cli.codes.ids import video_of
from hcq_cli.model.confidence import ChanceScores
from hcq_cli.model.exported_text_encoder import ExportedTextEncoder
from hcq_cli.packed_strings import PackedStrings
from hcq_cli.scan.blocks import Blocks, CodeSource, RowMajorCodes
from hcq_cli.scan.kernels import kernel, scan
from hcq_cli.scan.topk import Kernel, TopK, Visits, merge_one, stack
from hcq_cli.search.ivf import InvertedLists
from hcq_cli.search.segment import HashTable, TimedRows, TimeTable

QUERIES_AT_ONCE = 64
"""Queries whose tables are held together: some 2 KiB a sub-quantizer each, 36 MiB at 256."""


class SearchableCodes(Protocol):
    """Something to search: an `Index`, or a code file as it is. Rows are numbered through all its codes.

    Attributes:
        path: of the index or of the code file.
        header: the model that made the codes, and their sizes.
        codebooks: float32 [S, K, d].
        scale: float32 [S].
        ivf: the inverted lists that its codes lie by, or None.
        rows: how many a search can find.
        checkpoints: where its model may lie, the likeliest first.
        missing: segments of an index, in groups, that the last search could not reach.
    """

    path: Path
    header: CodeHeader
    codebooks: np.ndarray
    scale: np.ndarray
    ivf: InvertedLists | None
    rows: int
    checkpoints: list[Path]
    missing: Sequence[range]

    @property
    def missing_rows(self) -> int:
        """How many rows these have."""
        ...

    @property
    def sentences(self) -> int:
        """In its words, by which videos are found, too; 0 where it has none."""
        ...

    @property
    def videos(self) -> int:
        """How many videos, or captions, its rows are of: fewer where videos have time segments."""
        ...

    def text_encoder(self, *, lasting: bool = False, threads: int = 1) -> ExportedTextEncoder | None:
        """The exported text encoder of its model, if it has one."""
        ...

    @property
    def chance_scores(self) -> ChanceScores | None:
        """What scores generic sentences reach in it, for confidences; None where that was not measured."""
        ...

    def sources(self, *, by_video: bool = False) -> Sequence[CodeSource]:
        """Its codes, for the scan: of every row, or of each video the best row (`Blocks.owners`)."""
        ...

    def list_starts(self) -> list[np.ndarray]:
        """Where each inverted list begins in each source, int64 [lists+1]; empty where there are none."""
        ...

    def list_sizes(self) -> np.ndarray:
        """How many of its videos lie in each inverted list, int64 [lists]."""
        ...

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row."""
        ...

    def id(self, row: int) -> str:
        """Id of a row."""
        ...

    def codes(self, rows: Sequence[int]) -> np.ndarray:
        """Codes uint8 [n, S] of rows."""
        ...

    def rows_of(self, item_id: str) -> list[int]:
        """The rows of a video and of all its segments, of one segment, or of a caption."""
        ...

    def segments_of(self, rows: Sequence[int]) -> list[TimedRows]:
        """The time segments of the video that each of some rows is of."""
        ...

    def ids(self) -> Iterable[PackedStrings]:
        """All ids, some at a time."""
        ...


@runtime_checkable
class FindsElsewhere(Protocol):
    """A collection that others scan (groups.py)."""

    def find_best(self, levels: np.ndarray, tables: np.ndarray, k: int, hits: int, params: SearchParams) -> TopK:
        """As `find`."""
        ...


class SearchableCodeFile:
    """A code file searched without an index.

    Args:
        path: of the code file.

    Raises:
        NotFoundError, DamagedError: it is missing or damaged.
    """

    ivf: InvertedLists | None = None
    chance_scores: ChanceScores | None = None
    sentences = missing_rows = 0
    missing: Sequence[range] = ()

    def __init__(self, path: Path) -> None:
        self._file = open_codes(path)
        self.path, self.header, self.rows = path, self._file.header, len(self._file)
        self.codebooks, self.scale, self.checkpoints = self._file.codebooks, self._file.scale, self._file.checkpoints

    @cached_property
    def _by_video(self) -> tuple[HashTable, TimeTable]:
        """The rows by the hashes of their ids; those of segments by those of their videos."""
        ids = self._file.ids
        return HashTable.of(ids.hashes(), np.arange(len(ids))), TimeTable.of_ids(ids)

    @cached_property
    def _owners(self) -> np.ndarray:
        """The number of the video that each row is of, uint32 [N]."""
        videos = np.empty(self.rows, np.uint64)
        for table in self._by_video:
            videos[table.rows] = table.hashes
        return np.unique(videos, return_inverse=True)[1].astype(np.uint32)

    @cached_property
    def videos(self) -> int:
        """How many videos, or captions, its rows are of."""
        by_id, by_video = self._by_video
        whole = len(np.unique(by_id.hashes)) - len(by_video.hashes)
        return whole + len(np.setdiff1d(by_video.hashes, by_id.hashes))

    def text_encoder(self, *, lasting: bool = False, threads: int = 1) -> None:
        """A code file has none: it is searched with the checkpoint."""

    def sources(self, *, by_video: bool = False) -> list[RowMajorCodes]:
        """See `SearchableCodes.sources`; the first time by video it reads all ids."""
        cut = by_video and self.header.kind == "videos" and self.videos < self.rows
        return [RowMajorCodes(self._file.codes, self._owners if cut else None)]

    def list_starts(self) -> list[np.ndarray]:
        """A code file has no lists."""
        return []

    def list_sizes(self) -> np.ndarray:
        """A code file has no lists."""
        return np.zeros(0, np.int64)

    def name(self, row: int) -> tuple[str, str]:
        """Id and path of a row."""
        return self._file.ids[row], self._file.paths[row]

    def id(self, row: int) -> str:
        """Id of a row."""
        return self._file.ids[row]

    def codes(self, rows: Sequence[int]) -> np.ndarray:
        """Codes uint8 [n, S] of rows."""
        return self._file.codes[list(rows)]

    def rows_of(self, item_id: str) -> list[int]:
        """The last row of an id, and those of all segments of a video; the first time it reads all ids."""
        wanted, ids = PackedStrings.of([item_id]).hashes(), self._file.ids
        own = [row for table in self._by_video for _, row in table.look_up(wanted)]
        of_name = [row for row in own if ids[row] == item_id]
        return of_name[-1:] + [row for row in own if ids[row] != item_id == video_of(ids[row])]

    def segments_of(self, rows: Sequence[int]) -> list[TimedRows]:
        """See `SearchableCodes.segments_of`; the first time it reads all ids."""
        videos = PackedStrings.of([video_of(self._file.ids[row]) for row in rows])
        return self._by_video[1].of_videos(videos)

    def ids(self) -> list[PackedStrings]:
        """All ids."""
        return [self._file.ids]


@dataclass(frozen=True)
class SearchParams:
    """How far a search goes, by what, and what it finds.

    Args:
        nprobe: inverted lists to look into; None for those that the tuning of the index admits.
        exact: look into all.
        kernel: the name of the one to scan with; None for the fastest.
        by: what a hit is: a "video", found by its best moment or as a whole, or a "segment", a moment of one.
        threads: cores to scan with.
    """

    nprobe: int | None = None
    exact: bool = False
    kernel: str | None = None
    by: str = "video"
    threads: int = 1


def find(
    collection: SearchableCodes,
    levels: np.ndarray,
    tables: np.ndarray,
    k: int,
    *,
    hits: int | None = None,
    params: SearchParams = SearchParams(),
) -> TopK:
    """The best `k` rows of a collection: of all, or of the inverted lists that look the most promising.

    Of each video only the best row, unless `params.by` is "segment". Where those lists hold fewer than `k`, the query
    is answered from all of them.

    Args:
        collection: an index or a code file.
        levels: the queries, float32 [Q, L+1, D].
        tables: the same, tabulated, float32 [Q, S, K].
        k: how many to find.
        hits: for how many hits lists are chosen, where several rows may make one; default: `k`.
        params: how far to look, and by what.
    """
    if isinstance(collection, FindsElsewhere):
        return collection.find_best(levels, tables, k, hits or k, params)
    by, threads, by_video = kernel(params.kernel), params.threads, params.by == "video"
    starts, sources = collection.list_starts(), collection.sources(by_video=by_video)
    if collection.ivf is None or params.exact or not len(tables) or not starts:
        return scan(sources, tables, k, threads=threads, by=by)
    sizes = collection.list_sizes()
    wanted, found = min(k, collection.videos if by_video else collection.rows), []
    for at in range(0, len(tables), QUERIES_AT_ONCE):
        part = slice(at, at + QUERIES_AT_ONCE)
        chosen = collection.ivf.choose(levels[part], sizes, hits or k, params.nprobe)
        found += scan_lists(sources, starts, chosen, tables[part], k=k, threads=threads, by=by)
    for query, answer in enumerate(found):
        # Removed videos still count in the sizes that lists are chosen by, so too few may be left in those.
        if len(answer.rows) < wanted:
            found[query] = scan(sources, tables[query : query + 1], k, threads=threads, by=by).of(0)
    return stack(found)


def scan_lists(
    sources: Sequence[CodeSource],
    starts: Sequence[np.ndarray],
    chosen: Sequence[np.ndarray],
    tables: np.ndarray,
    *,
    k: int,
    threads: int,
    by: Kernel,
) -> list[TopK]:
    """For each query the best `k`, [n ≤ k], of the lists that were chosen for it, int64 [≥ 1] each."""
    wanted, askers, bounds = _by_list(chosen)
    tasks: list[tuple[int, Blocks, Visits]] = []
    first_row = 0
    for source, begins in zip(sources, starts, strict=True):
        assert isinstance(source, Blocks)
        ranges = np.stack([begins[wanted], begins[wanted + 1], bounds[:-1], bounds[1:]], axis=1)
        ranges = ranges[ranges[:, 0] < ranges[:, 1]]  # a list may have no video in this segment
        # Threads take lists by turns, so each begins with promising ones and soon has a high k-th score.
        for turn in range(max(threads, 1)):
            if len(ranges[turn::threads]):
                tasks.append((first_row, source, Visits(ranges[turn::threads], askers)))
        first_row += source.videos

    def run(task: tuple[int, Blocks, Visits]) -> list[TopK]:
        before, source, visits = task
        return [one.numbered_from(before) for one in by.visit(source, tables, k, visits)]

    if threads <= 1 or len(tasks) <= 1:
        parts = [run(task) for task in tasks]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(run, tasks))
    return [merge_one([part[query] for part in parts], k) for query in range(len(tables))]


def _by_list(chosen: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists that Q queries have chosen, turned round: for each list the queries that look into it.

    A list is read from memory once for all its queries. Those that some query wants most come first, so that the k-th
    scores rise early, and kernels can pass over most of what comes later.

    Returns:
        int64 [V] the lists; int32 [A] the queries of each, one list after another; int64 [V+1] where they begin.
    """
    if len(chosen) == 1:
        return chosen[0], np.zeros(len(chosen[0]), np.int32), np.arange(len(chosen[0]) + 1)
    # Pairs (list, query), with the rank of the list among those of the query.
    lists = np.concatenate(chosen)
    queries = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    ranks = np.concatenate([np.arange(len(one)) for one in chosen])
    # The best rank that any query gives a list decides when its turn comes.
    best_rank = np.full(int(lists.max()) + 1, len(lists))
    np.minimum.at(best_rank, lists, ranks)
    order = np.lexsort((queries, lists, best_rank[lists]))
    ordered = lists[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[begins], queries[order].astype(np.int32), np.append(begins, len(lists))
