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
    """The best videos for one query, best first; or those of Q queries, as `stack` puts them together.

    Args:
        scores: float64 [n], n = k or the number of living videos where that is smaller; or [Q, n].
        rows: int64 [n] or [Q, n].
        owners: of the same shape, the number of each row's video where only the best row of a video is found
            (`Blocks.owners`); else None.
    """

    scores: np.ndarray
    rows: np.ndarray
    owners: np.ndarray | None = None

    def __getitem__(self, at: int | slice) -> TopK:
        """Of several queries the answer to one, of one query some of its videos."""
        return TopK(self.scores[at], self.rows[at], None if self.owners is None else self.owners[at])

    def numbered_from(self, first: int, part: int = 0) -> TopK:
        """The same where rows and videos count from `first` on, and rows from so much more in a part of a source."""
        return TopK(self.scores, self.rows + (first + part), None if self.owners is None else self.owners + first)


NOTHING_FOUND = TopK(np.empty(0), np.empty(0, np.int64))
"""The answer to one query that finds nothing."""


def stack(answers: Sequence[TopK]) -> TopK:
    """Answers [n] to one query each, as one to all of them [Q, n]; n is that of the shortest."""
    if not answers:
        return TopK(np.empty((0, 0)), np.empty((0, 0), np.int64))
    n = min(len(one.rows) for one in answers)
    return TopK(np.stack([one.scores[:n] for one in answers]), np.stack([one.rows[:n] for one in answers]))


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

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        """For each query, tables float32 [Q, S, K], the best `k` of `blocks`, rows from the first block on.

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


def merge(parts: Sequence[TopK], k: int) -> TopK:
    """The best `k` of several answers to one query over different rows."""
    if len(parts) <= 1:
        return parts[0][:k] if parts else NOTHING_FOUND
    scores = np.concatenate([part.scores for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    owners = [part.owners for part in parts if part.owners is not None]
    return best_of(TopK(scores, rows, np.concatenate(owners) if owners else None), k)
