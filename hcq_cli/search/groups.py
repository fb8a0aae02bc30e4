"""An index searched in groups of its segments, by whoever holds each: the answers are those of the whole.

A group gives its best k, and the best k of all groups' answers are the best of the index, by score and then by row as
everywhere. Groups get the look-up tables that the caller made, so the machine they are on does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from hcq_cli.scan.kernels import kernel, scan
from hcq_cli.scan.topk import NOTHING_FOUND, TopK, merge, stack
from hcq_cli.search.index import Index
from hcq_cli.search.ivf import QUERIES_AT_ONCE, list_sizes, scan_lists
from hcq_cli.search.params import SearchParams


@dataclass(frozen=True)
class GroupQuestion:
    """What a group is asked.

    Args:
        tables: float32 [Q, S, K].
        k: how many to find.
        chosen: for each query the inverted lists to look into, int64; None for everything.
        kernel: the name of the one to scan with; None for the fastest.
        by_video: of each video only the best row.
    """

    tables: np.ndarray
    k: int
    chosen: Sequence[np.ndarray] | None = None
    kernel: str | None = None
    by_video: bool = True


class GroupHolder(Protocol):
    """Asks all groups."""

    def ask(self, question: GroupQuestion) -> list[list[TopK] | None]:
        """For each group the best k [≤ k] of each query, as `search_group` gives it; None where nobody answers."""
        ...


def divide(videos: Sequence[int], groups: int) -> list[range]:
    """Cut the segments of an index into at most so many groups of neighbours, as equal as they can be.

    Args:
        videos: of each segment.
        groups: how many, at least 1.
    """
    ends = np.cumsum(videos)
    # A segment is in the group in which its middle lies.
    middles = ends - np.asarray(videos) / 2
    owner = np.minimum((middles * groups / max(int(ends[-1]), 1)).astype(int), groups - 1) if len(videos) else []
    cuts = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(videos)] if len(videos) else []
    return [range(a, b) for a, b in pairwise(cuts)]


def search_group(index: Index, group: range, question: GroupQuestion) -> list[TopK]:
    """The best k of some segments, for each query, with rows as they count in the whole index."""
    every, part = index.sources(by_video=question.by_video), slice(group.start, group.stop)
    before = sum(source.videos for source in every[: group.start])
    by, tables, k = kernel(question.kernel), question.tables, question.k
    if question.chosen is None:
        found = scan(every[part], tables, k, by=by)
        answers = [found[query] for query in range(len(tables))]
    else:
        starts = index.list_starts()[part]
        answers = scan_lists(every[part], starts, question.chosen, tables, k=k, threads=1, by=by)
    return [TopK(answer.scores, answer.rows + before) for answer in answers]


class GroupedIndex(Index):
    """An index whose groups are searched by a `GroupHolder`.

    Args:
        index: the same generation, open here for names, lists and the text side.
        groups: of its segments.
        holder: of all of them.

    Attributes:
        missing: groups that nobody answered for at the last search.
    """

    def __init__(self, index: Index, groups: Sequence[range], holder: GroupHolder) -> None:
        self.__dict__.update(index.__dict__)
        self.groups, self._holder = list(groups), holder
        self.missing = []

    def find_elsewhere(self, levels: np.ndarray, tables: np.ndarray, k: int, hits: int, params: SearchParams) -> TopK:
        """As `query.find`, of what is there; `missing` tells what is not.

        Of the class, not of the object: an index with a filter takes on what this one holds, and is searched here.
        """
        self.missing, by_video = [], params.by == "video"
        found = [NOTHING_FOUND] * len(tables)
        for at in range(0, len(tables), QUERIES_AT_ONCE):
            part = slice(at, at + QUERIES_AT_ONCE)
            chosen = None
            if self.ivf is not None and not params.exact:
                sizes = list_sizes(self.list_starts(), self.ivf.lists)
                chosen = self.ivf.choose(levels[part], sizes, hits, params.nprobe)
            found[part] = self._ask(GroupQuestion(tables[part], k, chosen, params.kernel, by_video))
            if chosen is None:
                continue
            for query, answer in enumerate(found[part], at):
                # As in `find`: lists may hold too few. Of groups that are missing, what is there is enough.
                if len(answer.rows) < min(k, self._there(by_video)):
                    everything = GroupQuestion(tables[query : query + 1], k, None, params.kernel, by_video)
                    found[query] = self._ask(everything)[0]
        return stack(found)

    def _there(self, by_video: bool) -> int:
        """How many videos, or rows, the groups have that did answer."""
        if not by_video:
            return self.rows - self.missing_rows
        lost = [self.manifest.segments[at] for group in self.missing for at in group]
        return self.videos - sum(each.rows - each.removed if each.items is None else each.items for each in lost)

    def _ask(self, question: GroupQuestion) -> list[TopK]:
        answers = self._holder.ask(question)
        there = [answer for answer in answers if answer is not None]
        # Of one search some queries may have been answered by all groups, and others not: what any of them lacks.
        unanswered = [group for group, answer in zip(self.groups, answers, strict=True) if answer is None]
        self.missing = [group for group in self.groups if group in (*self.missing, *unanswered)]
        return [merge([answer[query] for answer in there], question.k) for query in range(len(question.tables))]
