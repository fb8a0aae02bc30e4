"""What one would search with instead: indexes of Faiss over the same videos, to be timed beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hcq_cli.codes.codefile import CodeHeader
from hcq_cli.search.faiss_export import empty_index
from hcq_cli.search.ivf import reconstruct_vectors, weighted_codewords

MOST_VIDEOS = 1_000_000
"""Faiss keeps everything in memory; beyond this many videos its time is scaled from here."""
MOST_DENSE_VIDEOS = 100_000
MOST_DENSE_BYTES = 1 << 30
MOST_CODED_VIDEOS = 16_384
"""Videos that FastScan encodes; larger indexes hold the same ones several times."""
TRAINING_VIDEOS = 8192
ROWS_AT_ONCE = 8192
COMMAND = "pip install 'hcq[faiss]'"

Search = Callable[[np.ndarray, int], np.ndarray]
"""Levels float32 [Q, L+1, D] and k → rows int64 [Q, k]."""


@dataclass(frozen=True)
class FaissEngine:
    """A way to search with Faiss.

    Args:
        engine: its name.
        videos: it holds when it is timed.
        search: does it.
        judged: the same over the first `judged_videos`, whose answers are compared with ours; called first.
        judged_videos: how many of them are different ones.
    """

    engine: str
    videos: int
    search: Search
    judged: Search
    judged_videos: int


def available() -> bool:
    """Whether Faiss is installed."""
    try:
        import faiss
    except ImportError:
        return False
    return faiss is not None


def product_quantizer(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, threads: int) -> FaissEngine:
    """Faiss's IndexPQ with the same codes and codebooks: codes uint8 [n, S]."""
    faiss, index = empty_index(codebooks, scale)
    faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), index.codes)
    index.ntotal = len(codes)
    search = _searching(index, threads)
    return FaissEngine("faiss-indexpq", len(codes), search, search, len(codes))


def fast_scan(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, threads: int) -> FaissEngine | None:
    """Faiss's IndexPQFastScan at the same bytes: twice the sub-quantizers, 4 bits each, trained on these videos.

    None where our chunks cannot be halved.
    """
    import faiss

    subquantizers, _, width = codebooks.shape
    if width % 2:
        return None
    words, coded = _vectors_of(codes, codebooks, scale), min(len(codes), MOST_CODED_VIDEOS)
    some = faiss.IndexPQFastScan(subquantizers * width, 2 * subquantizers, 4, faiss.METRIC_INNER_PRODUCT)
    some.pq.cp.niter = 8
    some.train(words(0, min(coded, TRAINING_VIDEOS)))
    for start in range(0, coded, ROWS_AT_ONCE):
        some.add(words(start, min(start + ROWS_AT_ONCE, coded)))
    index = faiss.clone_index(some)
    # Its encoder takes minutes a million; what it codes changes nothing in its speed.
    while index.ntotal < len(codes):
        index.merge_from(faiss.clone_index(some), 0)
    return FaissEngine("faiss-fastscan", index.ntotal, _searching(index, threads), _searching(some, threads), coded)


def dense(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, threads: int) -> FaissEngine:
    """Faiss's IndexFlatIP over float vectors as long as the model's own."""
    import faiss

    words, width = _vectors_of(codes, codebooks, scale), codebooks.shape[0] * codebooks.shape[2]
    videos = min(len(codes), MOST_DENSE_VIDEOS, MOST_DENSE_BYTES // (4 * width))
    index = faiss.IndexFlatIP(width)
    for start in range(0, videos, ROWS_AT_ONCE):
        index.add(words(start, min(start + ROWS_AT_ONCE, videos)))
    search = _searching(index, threads)
    return FaissEngine("dense", videos, search, search, videos)


def all_engines(
    codes: np.ndarray, header: CodeHeader, codebooks: np.ndarray, scale: np.ndarray, *, threads: int
) -> Iterator[FaissEngine]:
    """The engines one after another, so that only one is in memory."""
    assert codebooks.shape == (header.S, header.K, header.d)
    for make in (product_quantizer, fast_scan, dense):
        engine = make(codes, codebooks, scale, threads)
        if engine is not None:
            yield engine


def _vectors_of(codes: np.ndarray, codebooks: np.ndarray, scale: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """Float vectors of videos `first` to `stop` whose inner products with a query's levels are its scores."""
    words, firsts = weighted_codewords(codebooks, scale)
    return lambda first, stop: reconstruct_vectors(codes[first:stop], words, firsts)


def _searching(index: Any, threads: int) -> Search:
    import faiss

    def search(levels: np.ndarray, k: int) -> np.ndarray:
        faiss.omp_set_num_threads(threads)
        rows: np.ndarray = index.search(np.ascontiguousarray(levels.reshape(len(levels), -1)), k)[1]
        return rows

    return search
