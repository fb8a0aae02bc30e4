"""Moments: the time segments of a video that fit a query, neighbours that fit in one.

A segment lies in a row of its own beside the row of the whole video, and is called `video#t=start,end`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from hcq_cli.search.index import Index
from hcq_cli.search.segment import TimedRows

FITTING = 0.8
"""A neighbour that reaches so much of the best segment's score belongs to the same moment."""
GAP_S = 0.15
"""Segments so near to each other touch: their times are rounded to tenths."""
HITS_AT_ONCE = 128
"""Hits whose segments are looked at together."""
ROWS_AT_ONCE = 2048
"""Segments that are scored together: 4 MiB of look-ups at 256 bytes."""


@dataclass(frozen=True)
class Moment:
    """A stretch of a video that fits a query.

    Args:
        id: of its best segment.
        time_s: where to look first, seconds.
        start_s, end_s: from where to where it fits, seconds.
    """

    id: str
    time_s: float
    start_s: float
    end_s: float


class VideoSegments:
    """The segments of a video, in the order of time, and how they fit a query.

    Args:
        collection: where they lie.
        cut: which they are.
        scores: of each.
    """

    def __init__(self, collection: Index, cut: TimedRows, scores: list[float]) -> None:
        self._collection, self._rows, self._scores = collection, cut.rows, scores
        self._starts, self._ends = cut.starts_s, cut.ends_s

    def __len__(self) -> int:
        """How many."""
        return len(self._rows)

    def best(self) -> Moment:
        """The moment around the segment that fits best; there must be one."""
        return self._around(self._scores.index(max(self._scores)), ())

    def around(self, row: int, others: Sequence[Moment]) -> Moment | None:
        """The moment around a segment, by its row, up to the other moments; None where it lies in one of those."""
        at = self._rows.index(row)
        return self._around(at, others) if self._outside(at, others) else None

    def _around(self, at: int, others: Sequence[Moment]) -> Moment:
        least, first, last = FITTING * self._scores[at], at, at

        def fits(number: int) -> bool:
            return self._scores[number] >= least and self._outside(number, others)

        while first > 0 and self._touch(first - 1, first) and fits(first - 1):
            first -= 1
        while last + 1 < len(self) and self._touch(last, last + 1) and fits(last + 1):
            last += 1
        name = self._collection.id(self._rows[at])
        return Moment(name, self._second(at), self._starts[first], max(self._ends[first : last + 1]))

    def _second(self, at: int) -> float:
        """Where to look first: what fits lies where the best segment and the better one of its neighbours overlap."""
        starts, ends, scores = self._starts, self._ends, self._scores
        before = scores[at - 1] if at > 0 and starts[at] < ends[at - 1] - GAP_S else -math.inf
        if at + 1 < len(scores) and starts[at + 1] < ends[at] - GAP_S and scores[at + 1] > before:
            return starts[at + 1]
        return starts[at]

    def _outside(self, at: int, moments: Sequence[Moment]) -> bool:
        if not moments:
            return True
        start_s, end_s = self._starts[at] + GAP_S, self._ends[at] - GAP_S
        return all(end_s <= moment.start_s or moment.end_s <= start_s for moment in moments)

    def _touch(self, one: int, other: int) -> bool:
        return self._starts[other] <= self._ends[one] + GAP_S


def segments_of(collection: Index, rows: np.ndarray, tables: np.ndarray) -> list[list[VideoSegments]]:
    """The segments of the videos that were found for some queries, and how they fit each.

    Args:
        collection: where they lie.
        rows: int64 [Q, n], of videos or of segments.
        tables: the queries, tabulated, float32 [Q, S, K].
    """
    found: list[VideoSegments] = []
    queries = np.repeat(np.arange(len(rows)), rows.shape[1])
    for start in range(0, rows.size, HITS_AT_ONCE):
        part = slice(start, start + HITS_AT_ONCE)
        cuts = collection.segments_of(rows.reshape(-1)[part].tolist())
        cut_rows = list(chain(*(cut.rows for cut in cuts)))
        scores = iter(
            _scores(collection, cut_rows, np.repeat(queries[part], [len(cut.rows) for cut in cuts]), tables)
        )
        found += [VideoSegments(collection, cut, list(islice(scores, len(cut.rows)))) for cut in cuts]
    each = rows.shape[1]
    return [found[query * each : (query + 1) * each] for query in range(len(rows))]


def _scores(collection: Index, rows: list[int], queries: np.ndarray, tables: np.ndarray) -> list[float]:
    """The scores of some rows, each for its query int64 [n], up to rounding: they are compared with one another."""
    _, subquantizers, codewords = tables.shape
    columns, scores = np.arange(subquantizers) * codewords, list[float]()
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        codes = collection.codes(rows[part])
        entries = (codes if codewords == 256 else np.minimum(codes, codewords - 1)) + columns
        if len(tables) > 1:
            entries += (queries[part] * (subquantizers * codewords))[:, None]
        scores += tables.reshape(-1).take(entries).sum(1).tolist()
    return scores
