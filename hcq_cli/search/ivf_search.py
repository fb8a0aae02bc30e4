"""A search that looks into some lists of a partitioned index only; or into everything, where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hcq_cli.scan.blocks import Blocks, CodeSource
from hcq_cli.scan.kernels import kernel, scan
from hcq_cli.scan.topk import Kernel, TopK, Visits, merge_one
from hcq_cli.search.ivf import InvertedLists, list_sizes

QUERIES_AT_ONCE = 64
"""Queries whose tables are held together: some 2 KiB a sub-quantizer each, 36 MiB at 256."""


class Searchable(Protocol):
    """What a search needs of a collection."""

    @property
    def videos(self) -> int:
        """How many a search can find."""
        ...

    def sources(self) -> Sequence[CodeSource]:
        """Its codes."""
        ...


class Listed(Searchable, Protocol):
    """A collection whose codes lie by list."""

    ivf: InvertedLists | None

    def list_starts(self) -> list[np.ndarray]:
        """Where each list begins in each source, int64 [lists+1]."""
        ...


@dataclass(frozen=True)
class SearchParams:
    """How far a search goes, and by what.

    Args:
        nprobe: lists of a partitioned index to look into; None for those that its tuning admits.
        exact: look into all.
        kernel: the name of the one to scan with; None for the fastest.
    """

    nprobe: int | None = None
    exact: bool = False
    kernel: str | None = None


def find(
    collection: Searchable,
    levels: np.ndarray,
    tables: np.ndarray,
    k: int,
    *,
    threads: int = 1,
    by: Kernel | None = None,
    params: SearchParams = SearchParams(),
) -> TopK:
    """The best `k` of a collection: of all its videos, or of the lists that look the most promising.

    Where the lists hold fewer than `k`, the query is answered from all videos.

    Args:
        collection: an index or a code file.
        levels: the queries, float32 [Q, L+1, D].
        tables: the same, tabulated, float32 [Q, S, K].
        k: how many to find.
        threads: cores to use.
        by: the kernel; the fastest one where none is given.
        params: how far to look.
    """
    by = by or kernel()
    partition: InvertedLists | None = getattr(collection, "ivf", None)
    if partition is None or params.exact or not len(tables):
        return scan(collection.sources(), tables, k, threads=threads, by=by)
    listed: Listed = collection  # type: ignore[assignment]
    wanted, found = min(k, collection.videos), []
    for at in range(0, len(tables), QUERIES_AT_ONCE):
        part = slice(at, at + QUERIES_AT_ONCE)
        found += probe(listed, partition, levels[part], tables[part], k, threads, by, params.nprobe)
    for query, answer in enumerate(found):
        if len(answer.rows) < wanted:
            everything = scan(collection.sources(), tables[query : query + 1], k, threads=threads, by=by)
            found[query] = TopK(everything.scores[0], everything.rows[0])
    return TopK(np.stack([answer.scores for answer in found]), np.stack([answer.rows for answer in found]))


def probe(
    collection: Listed,
    partition: InvertedLists,
    levels: np.ndarray,
    tables: np.ndarray,
    k: int,
    threads: int,
    by: Kernel,
    lists: int | None,
) -> list[TopK]:
    """For each query the best `k`, [n ≤ k], of the most promising lists; `lists` says how many, see `choose`."""
    starts = collection.list_starts()
    chosen = partition.choose(levels, list_sizes(starts, partition), k, lists)
    wanted, askers, bounds = _visits(chosen)
    tasks: list[tuple[int, Blocks, Visits]] = []
    first_row = 0
    for source, begins in zip(collection.sources(), starts, strict=True):
        assert isinstance(source, Blocks)
        ranges = np.stack([begins[wanted], begins[wanted + 1], bounds[:-1], bounds[1:]], axis=1)
        ranges = ranges[ranges[:, 0] < ranges[:, 1]]
        for turn in range(max(threads, 1)):
            if len(ranges[turn::threads]):
                tasks.append((first_row, source, Visits(ranges[turn::threads], askers)))
        first_row += source.videos

    def run(task: tuple[int, Blocks, Visits]) -> list[TopK]:
        first, source, visits = task
        return [TopK(one.scores, one.rows + first) for one in by.visit(source, tables, k, visits)]

    if threads <= 1 or len(tasks) <= 1:
        parts = [run(task) for task in tasks]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(run, tasks))
    return [merge_one([part[query] for part in parts], k) for query in range(len(tables))]


def _visits(chosen: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists [V] in the order in which some query wants them most, the queries that want each, one after another, and
    where the queries of each list begin among these [V+1]."""
    if len(chosen) == 1:
        return chosen[0], np.zeros(len(chosen[0]), np.int32), np.arange(len(chosen[0]) + 1)
    lists = np.concatenate(chosen)
    queries = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    ranks = np.concatenate([np.arange(len(one)) for one in chosen])
    urgency = np.full(int(lists.max()) + 1, len(lists))
    np.minimum.at(urgency, lists, ranks)
    by_list = np.lexsort((queries, lists, urgency[lists]))
    ordered = lists[by_list]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[begins], queries[by_list].astype(np.int32), np.append(begins, len(lists))
