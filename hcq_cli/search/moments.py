"""Moments: the time segments of a video that fit a query, neighbours that fit in one.

A segment lies in a row of its own beside the row of the whole video, and is called `video#t=start,end`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hcq_cli.codes.ids import segment_times
from hcq_cli.search.searchable import SearchableCodes

FITTING = 0.8
"""A neighbour that reaches so much of the best segment's score belongs to the same moment."""
GAP_S = 0.15
"""Segments so near to each other touch: their times are rounded to tenths."""


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
        video_id: of the video.
        table: the query, tabulated, float32 [S, K].

    Attributes:
        has_whole: whether there is a row of the whole video, too.
    """

    def __init__(self, collection: SearchableCodes, video_id: str, table: np.ndarray) -> None:
        rows = collection.rows_of(video_id)
        named = [(times, row, name) for row in rows if (times := segment_times(name := collection.id(row)))]
        named.sort()
        self.has_whole = len(named) < len(rows)
        self._ids = [name for _, _, name in named]
        self._starts, self._ends = ([times[at] for times, _, _ in named] for at in (0, 1))
        self._scores = _scores(collection, [row for _, row, _ in named], table)

    def __len__(self) -> int:
        """How many."""
        return len(self._ids)

    def best(self) -> Moment:
        """The moment around the segment that fits best; there must be one."""
        return self._around(int(np.argmax(self._scores)), ())

    def around(self, segment: str, others: Sequence[Moment]) -> Moment | None:
        """The moment around a segment, by its id, up to the other moments; None where it lies in one of those."""
        at = self._ids.index(segment)
        return self._around(at, others) if self._outside(at, others) else None

    def _around(self, at: int, others: Sequence[Moment]) -> Moment:
        fits = [
            score >= FITTING * self._scores[at] and self._outside(number, others)
            for number, score in enumerate(self._scores.tolist())
        ]
        first = last = at
        while first > 0 and fits[first - 1] and self._touch(first - 1, first):
            first -= 1
        while last + 1 < len(self) and fits[last + 1] and self._touch(last, last + 1):
            last += 1
        return Moment(self._ids[at], self._second(at), self._starts[first], max(self._ends[first : last + 1]))

    def _second(self, at: int) -> float:
        """Where to look first: what fits lies where the best segment and the better one of its neighbours overlap."""
        overlapping = [
            near
            for near in (at - 1, at + 1)
            if 0 <= near < len(self) and self._starts[max(near, at)] < self._ends[min(near, at)] - GAP_S
        ]
        better = max(overlapping, key=self._scores.__getitem__, default=at)
        return max(self._starts[at], self._starts[better])

    def _outside(self, at: int, moments: Sequence[Moment]) -> bool:
        start_s, end_s = self._starts[at] + GAP_S, self._ends[at] - GAP_S
        return all(end_s <= moment.start_s or moment.end_s <= start_s for moment in moments)

    def _touch(self, one: int, other: int) -> bool:
        return self._starts[other] <= self._ends[one] + GAP_S


def _scores(collection: SearchableCodes, rows: list[int], table: np.ndarray) -> np.ndarray:
    """The scores float64 [n] of some rows, up to rounding, for a table float32 [S, K]."""
    if not rows:
        return np.empty(0)
    codes = np.minimum(collection.codes(rows), table.shape[1] - 1)
    scores: np.ndarray = table[np.arange(len(table)), codes].sum(1, dtype=np.float64)
    return scores
