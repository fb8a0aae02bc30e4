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
        owners: of the same shape, the number of each row's video where only the best row of a video is found
            (`Blocks.owners`); else None.
    """

    scores: np.ndarray
    rows: np.ndarray
    owners: np.ndarray | None = None

    def of(self, query: int) -> TopK:
        """The answer to one of the queries."""
        owners = None if self.owners is None else self.owners[query]
        return TopK(self.scores[query], self.rows[query], owners)

    def first(self, count: int) -> TopK:
        """The first few of one query."""
        owners = None if self.owners is None else self.owners[:count]
        return TopK(self.scores[:count], self.rows[:count], owners)

    def numbered_from(self, first: int, part: int = 0) -> TopK:
        """The same where rows and videos count from `first` on, and rows from so much more in a part of a source."""
        return TopK(self.scores, self.rows + (first + part), None if self.owners is None else self.owners + first)


def stack(answers: Sequence[TopK]) -> TopK:
    """Answers [n] to one query each, as one to all of them [Q, n]; n is that of the shortest."""
    n = min((len(one.rows) for one in answers), default=0)
    firsts = [one.first(n) for one in answers]
    owners = [one.owners for one in firsts if one.owners is not None]
    scores, rows = np.stack([one.scores for one in firsts]), np.stack([one.rows for one in firsts])
    return TopK(scores, rows, np.stack(owners) if owners else None)


def _join(parts: Sequence[TopK]) -> TopK:
    """Several answers over different rows, one behind the other."""
    scores = np.concatenate([part.scores for part in parts], axis=-1)
    rows = np.concatenate([part.rows for part in parts], axis=-1)
    owners = [part.owners for part in parts if part.owners is not None]
    return TopK(scores, rows, np.concatenate(owners, axis=-1) if owners else None)


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
        """The best `k` of `blocks` for tables float32 [Q, S, K]: [Q, n], rows from the first block on.

        Codes of K or more count as K-1. Where blocks have owners, of each the best row alone.
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


def best_of(found: TopK, k: int) -> TopK:
    """The `k` best of what was found [n] for one query, as `best` has them; of each video only its best row."""
    if found.owners is None:
        return TopK(*best(found.scores, found.rows, k))
    order = np.lexsort((found.rows, -found.scores))
    _, firsts = np.unique(found.owners[order], return_index=True)
    chosen = order[np.sort(firsts)[:k]]
    return TopK(found.scores[chosen], found.rows[chosen], found.owners[chosen])


def merge(parts: Sequence[TopK], queries: int, k: int) -> TopK:
    """The best `k` of several answers [Q, n] to the same queries over different rows."""
    if not parts or not queries:
        return TopK(np.empty((queries, 0)), np.empty((queries, 0), np.int64))
    joined = _join(parts)
    return stack([best_of(joined.of(query), k) for query in range(queries)])


def merge_one(parts: Sequence[TopK], k: int) -> TopK:
    """The best `k` of several answers [n] to one query over different rows."""
    if not parts:
        return NOTHING_FOUND
    return best_of(_join(parts), k)
