"""The k best of a scan: what a kernel is asked and what it answers, and how answers are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hcq_cli.scan.blocks import Blocks


@dataclass(frozen=True)
class TopK:
    """The best videos of each query, best first.

    Args:
        scores: float64 [Q, n], n = k or the number of living videos where that is smaller.
        rows: int64 [Q, n].
    """

    scores: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Visits:
    """Ranges of slots, each to be seen by some of the queries.

    Args:
        ranges: int64 [V, 4]: first slot, slot after the last, first asker, asker after the last.
        askers: int32 [A], numbers of queries; each query at most once in a range.
    """

    ranges: np.ndarray
    askers: np.ndarray


class Kernel(Protocol):
    """A way to scan codes; exact, as the module says."""

    name: str

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        """The best `k` of `blocks` for tables float32 [Q, S, K]; rows count from the first block.

        Codes of K or more count as K-1. Called from several threads at once.
        """
        ...

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """For each query the best `k`, [n] of each, of the slots it visits."""
        ...


def best(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` highest of scores [n] with their rows [n]: best first, equal scores by lowest row."""
    if len(scores) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        within = scores >= kth
        scores, rows = scores[within], rows[within]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def none_found() -> TopK:
    """The answer to one query that finds nothing: scores and rows [0]."""
    return TopK(np.empty(0), np.empty(0, np.int64))


def merge(parts: Sequence[TopK], queries: int, k: int) -> TopK:
    """The best `k` of several answers to the same queries over different rows."""
    if not parts or not queries:
        return TopK(np.empty((queries, 0)), np.empty((queries, 0), np.int64))
    scores = np.concatenate([part.scores for part in parts], axis=1)
    rows = np.concatenate([part.rows for part in parts], axis=1)
    chosen = [best(*pair, k) for pair in zip(scores, rows, strict=True)]
    return TopK(np.stack([pair[0] for pair in chosen]), np.stack([pair[1] for pair in chosen]))
