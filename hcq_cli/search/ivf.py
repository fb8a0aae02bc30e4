"""The inverted lists of an index (IVF): which videos lie together, and which lists a query looks into.

A video's vector is its codewords one after another, each times √scale: then the inner product of two such vectors
weighs the levels as the hybrid score does, and a query's inner product with the mean of a list is the mean score of
the videos in it. Lists are the cells of k-means over these vectors, seen in the few directions that carry most of
them.

A query looks into the lists of the highest mean score: not into a fixed number of them (nprobe), as is usual (Jégou
et al., PAMI 2011), but into all that come near the best few. Where one topic stands out there are few, where many are
alike there are many. The lists are made, and the gap is chosen, by ivf_training.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.codes.container import Container, ContainerWriter
from hcq_cli.errors import DamagedError
from hcq_cli.headers import JSON, LARGEST, Count, between, decode
from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.kernels import merge_tasks
from hcq_cli.scan.topk import Kernel, TopK, Visits, best

FORMAT = "hcq-partition"
REMEDY = "hcq index build"
ROWS_AT_ONCE = 4096
"""Vectors rebuilt from codes at once: at most 64 MiB of them at 4,096 dimensions."""
LEADERS = 8
"""The best lists of a query; from the mean of their expected scores the gap to others is measured."""
QUERIES_AT_ONCE = 64
"""Queries whose tables are held together: some 2 KiB a sub-quantizer each, 36 MiB at 256."""
CANDIDATES_A_HIT = 50
"""Videos that the lists of a query hold for each hit that is wanted, at least."""


@dataclass(frozen=True)
class Tuning:
    """How many lists a query looks into, and how good that was when the index was built.

    Args:
        nprobe: lists, on average.
        recall: share of the exhaustive top `hits` that the probed lists hold, on queries not used to choose the gap.
        hits: of the measurement.
        queries: in the measurement.
        source: what they were: "captions", or "noisy videos".
        scanned: mean share of the videos that the probed lists hold.
        videos: in the index then; 0 where an earlier hcq did not write it down.
        gap: how far below the leaders' expected score a list may lie; None: an earlier hcq chose a number of them.
    """

    nprobe: Annotated[int, between(1, LARGEST)] = field(metadata={JSON: "probe"})
    recall: float
    hits: Count
    queries: Count
    source: str
    scanned: float
    videos: Count = 0
    gap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As the file holds it, under the format's own names."""
        document = asdict(self)
        return {"probe": document.pop("nprobe"), **document}


UNTUNED = Tuning(nprobe=1, recall=0.0, hits=0, queries=0, source="none yet", scanned=1.0)
"""Of lists that segments are being written by."""


@dataclass(frozen=True)
class InvertedLists:
    """The lists of an index.

    Args:
        directions: float32 [S·d, P], orthonormal columns.
        centroids: float32 [lists, P], the mean of each list in these directions.
        weights: float32 [S], √scale.
        tuning: None until it is measured.
    """

    directions: np.ndarray
    centroids: np.ndarray
    weights: np.ndarray
    tuning: Tuning | None = None

    @property
    def lists(self) -> int:
        """How many there are."""
        return len(self.centroids)

    def vectors(self, codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """What videos look like in the directions: codes uint8 [n, S] → float32 [n, P]."""
        words, firsts = weighted_codewords(codebooks, self.weights)
        found = np.empty((len(codes), self.directions.shape[1]), np.float32)
        for start in range(0, len(codes), ROWS_AT_ONCE):
            part = codes[start : start + ROWS_AT_ONCE]
            found[start : start + len(part)] = reconstruct_vectors(part, words, firsts) @ self.directions
        return found

    def assign(self, codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """The list of each video: codes uint8 [n, S] → int64 [n]."""
        return nearest(self.vectors(codes, codebooks), self.centroids)

    def expected(self, levels: np.ndarray) -> np.ndarray:
        """The mean score of each list for queries float32 [Q, L+1, D]: float32 [Q, lists], up to rounding."""
        chunks = np.asarray(levels, np.float32).reshape(len(levels), len(self.weights), -1)
        queries = (chunks * self.weights[:, None]).reshape(len(levels), -1)
        # Of each query alone: a matrix product would round differently with the queries beside it.
        return np.stack([self.centroids @ (query @ self.directions) for query in queries])

    def choose(self, levels: np.ndarray, sizes: np.ndarray, k: int, nprobe: int | None = None) -> list[np.ndarray]:
        """The lists that each query looks into, the most promising first: int64 [≥ 1] of each.

        Args:
            levels: float32 [Q, L+1, D].
            sizes: int64 [lists], videos in each.
            k: hits wanted.
            nprobe: how many lists; by default those that the tuning's gap admits, and more where `k` is large.
        """
        chosen = []
        for expected in self.expected(levels) if len(levels) else ():
            if nprobe or self.tuning is None:
                count = nprobe or self.lists
            elif self.tuning.gap is None:
                count = self.tuning.nprobe
            else:
                count = max(1, int((shortfall(expected) <= self.tuning.gap).sum()))
            order = best_lists(expected, count)
            # The gap was chosen for few hits. Many lie in more lists than those, so as many are added as hold enough.
            if nprobe is None and sizes[order].sum() < CANDIDATES_A_HIT * k:
                count, order = len(order), best_lists(expected, self.lists)
                enough = np.searchsorted(np.cumsum(sizes[order]), CANDIDATES_A_HIT * k) + 1
                order = order[: max(count, int(enough))]
            chosen.append(order)
        return chosen


def shortfall(expected: np.ndarray) -> np.ndarray:
    """How far each expected score [..., lists] lies below the mean of a query's leaders; leaders' own around 0."""
    # Not below the best alone: how far that stands out varies from query to query, the mean of a few less.
    count = min(LEADERS, expected.shape[-1])
    leaders = np.partition(expected, expected.shape[-1] - count, axis=-1)[..., -count:]
    return leaders.mean(-1, keepdims=True) - expected


def best_lists(expected: np.ndarray, count: int) -> np.ndarray:
    """The `count` lists of the highest expected score [lists], highest first, equal ones by number: int64 [count]."""
    # Not by sorting all of them, which would cost a query as much as looking into several lists.
    return best(expected, np.arange(len(expected)), count)[1]


def list_sizes(starts: Sequence[np.ndarray], lists: int) -> np.ndarray:
    """Videos in each list of all segments together, int64 [lists], from where lists begin in each segment."""
    return sum((np.diff(of_segment) for of_segment in starts), np.zeros(lists, np.int64))


def weighted_codewords(codebooks: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All codewords float32 [S·K, d], each times the weight of its sub-quantizer, and the first of each int64 [S]."""
    words = (codebooks * weights[:, None, None]).reshape(-1, codebooks.shape[2])
    return words, np.arange(len(codebooks)) * codebooks.shape[1]


def reconstruct_vectors(codes: np.ndarray, words: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """The vectors float32 [n, S·d] of codes uint8 [n, S]; `words` and `firsts` are of `weighted_codewords`."""
    codewords = len(words) // len(firsts)
    # One gather from a flat table is several times faster than indexing codebooks by sub-quantizer and code.
    return words.take(np.minimum(codes, codewords - 1) + firsts, axis=0).reshape(len(codes), -1)


def nearest(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The nearest centroid [C, P] of each vector [n, P], int64 [n]."""
    half_squares = (centroids * centroids).sum(1) / 2
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        # ‖v - c‖² = ‖v‖² - 2·(⟨v, c⟩ - ½‖c‖²), and ‖v‖² is the same for all centroids.
        part = vectors[start : start + ROWS_AT_ONCE] @ centroids.T
        part -= half_squares
        found[start : start + len(part)] = part.argmax(1)
    return found


def level_weights(scale: np.ndarray) -> np.ndarray:
    """The weights √scale float32 [S] of vectors whose inner products are hybrid scores."""
    return np.sqrt(np.abs(scale)).astype(np.float32)


@dataclass(frozen=True)
class _Meta:
    """What the file of the lists says of them."""

    dimensions: Count
    tuning: Tuning


def write_lists(path: Path, ivf: InvertedLists) -> None:
    """Write tuned lists."""
    assert ivf.tuning is not None
    meta = {"dimensions": ivf.directions.shape[1], "tuning": ivf.tuning.to_json()}
    with ContainerWriter(path, FORMAT, meta) as writer:
        writer.add("directions", ivf.directions, "<f4")
        writer.add("centroids", ivf.centroids, "<f4")


def read_lists(path: Path, header: CodeHeader, scale: np.ndarray, digest: str = "") -> InvertedLists:
    """Open the lists of an index, verified; `digest` is what the manifest says of the file.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, or of another model.
    """
    container = Container(path, FORMAT, REMEDY, digest)
    meta = decode(_Meta, container.meta, path, REMEDY)
    directions = container.read("directions", "<f4", (meta.dimensions,))
    centroids = container.read("centroids", "<f4", (meta.dimensions,))
    if meta.tuning.nprobe > len(centroids):
        raise DamagedError(f"{path}: looks into {meta.tuning.nprobe} of {len(centroids)} lists", REMEDY)
    if len(directions) != header.S * header.d or not (np.isfinite(directions).all() and np.isfinite(centroids).all()):
        raise DamagedError(f"{path}: belongs to another model than its index", REMEDY)
    # The weights are not in the file: they follow from the index's quantizer.
    return replace(InvertedLists(directions, centroids, level_weights(scale)), tuning=meta.tuning)


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
