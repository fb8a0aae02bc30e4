"""The k best of a scan: what a kernel takes and gives, and how the answers of several scans are merged.

"The" score of a video is one canonical sum: its S table entries added in float64 in the order of the sub-quantizers.
Ties go to the lowest row. So every kernel, thread count, block size and layout of an index gives the same rows and
the same scores, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hcq_cli.scan.blocks import Blocks


@dataclass(frozen=True)
class TopK:
    """The best videos, best first, of Q queries or of one.

    Args:
        scores: float64 [Q, n] or [n], n = k or the number of living videos where that is smaller.
        rows: int64 [Q, n] or [n].
    """

    scores: np.ndarray
    rows: np.ndarray


NOTHING_FOUND = TopK(np.empty(0), np.empty(0, np.int64))
"""The answer to one query that finds nothing."""


@dataclass(frozen=True)
class Visits:
    """Ranges of slots, each to be searched for some of the queries only.

    Args:
        ranges: int64 [V, 4]: first slot, slot after the last, then the part of `askers` that wants the range: its
            first place and the one after its last.
        askers: int32 [A], numbers of queries; each query at most once in a range.
    """

    ranges: np.ndarray
    askers: np.ndarray


class Kernel(Protocol):
    """A way to scan codes. It must give the canonical scores, and is called from several threads at once."""

    name: str

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        """The best `k` of `blocks` for tables float32 [Q, S, K]: scores and rows [Q, n], from the first block on.

        Codes of K or more count as K-1.
        """
        ...

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """For each query the best `k`, [n] of each, of the slots that it visits."""
        ...


def best(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` highest of scores [n] with their rows [n]: best first, equal scores by lowest row."""
    if len(scores) > k:
        # Sorting is dear: first drop what lies below the k-th best. All that equal it stay, the lowest rows must win.
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        within = scores >= kth
        scores, rows = scores[within], rows[within]
    order = np.lexsort((rows, -scores))[:k]  # by the last key first
    return scores[order], rows[order]


def merge(parts: Sequence[TopK], queries: int, k: int) -> TopK:
    """The best `k` of several answers [Q, n] to the same queries over different rows."""
    if not parts or not queries:
        return TopK(np.empty((queries, 0)), np.empty((queries, 0), np.int64))
    scores = np.concatenate([part.scores for part in parts], axis=1)
    rows = np.concatenate([part.rows for part in parts], axis=1)
    chosen = [best(*pair, k) for pair in zip(scores, rows, strict=True)]
    return TopK(np.stack([pair[0] for pair in chosen]), np.stack([pair[1] for pair in chosen]))


def merge_one(parts: Sequence[TopK], k: int) -> TopK:
    """The best `k` of several answers [n] to one query over different rows."""
    if not parts:
        return NOTHING_FOUND
    scores, rows = np.concatenate([one.scores for one in parts]), np.concatenate([one.rows for one in parts])
    return TopK(*best(scores, rows, k))
