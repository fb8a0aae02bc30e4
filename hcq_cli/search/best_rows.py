"""The search for the best rows of an index.

Where it has inverted lists, a search looks into some of them only, or into everything where that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.kernels import kernel, merge_tasks, scan
from hcq_cli.scan.topk import Kernel, TopK, Visits, stack
from hcq_cli.search.index import Index

QUERIES_AT_ONCE = 64
"""Queries whose tables are held together: some 2 KiB a sub-quantizer each, 36 MiB at 256."""


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
    collection: Index,
    levels: np.ndarray,
    tables: np.ndarray,
    k: int,
    *,
    hits: int | None = None,
    params: SearchParams = SearchParams(),
) -> TopK:
    """The best `k` rows of an index: of all, or of the inverted lists that look the most promising.

    Of each video only the best row, unless `params.by` is "segment". Where those lists hold fewer than `k`, the query
    is answered from all of them.

    Args:
        collection: an index, or a code file as one.
        levels: the queries, float32 [Q, L+1, D].
        tables: the same, tabulated, float32 [Q, S, K].
        k: how many to find.
        hits: for how many hits lists are chosen, where several rows may make one; default: `k`.
        params: how far to look, and by what.
    """
    if collection.find_elsewhere is not None:
        return collection.find_elsewhere(levels, tables, k, hits or k, params)
    by, threads, by_video = kernel(params.kernel), params.threads, params.by == "video"
    sources = collection.sources(by_video=by_video)
    starts = [] if collection.ivf is None or params.exact else collection.list_starts()
    if collection.ivf is None or not starts or not len(tables):
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
            found[query] = scan(sources, tables[query : query + 1], k, threads=threads, by=by)[0]
    return stack(found)


def scan_lists(
    sources: Sequence[Blocks],
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

    return merge_tasks(run, tasks, queries=len(tables), k=k, threads=threads)


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
