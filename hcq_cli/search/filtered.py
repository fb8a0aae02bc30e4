"""An index as a filter leaves it: rows that do not pass count as removed, so whatever searches it ranks the others.

Where few pass, their codes are gathered once and nothing else is scanned; where many do, the scan passes over the
others, at inverted lists that hold enough of those that pass. Either is as exact as the search without a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hcq_cli.scan.blocks import Blocks, to_blocks
from hcq_cli.search.index import Index

MOST_GATHERED = 0.03
"""The largest share of the rows that is gathered: for more it costs as much as passing over the others does."""


class FilteredIndex(Index):
    """An index of which only some videos can be found; shares everything with the one it was made of.

    Args:
        index: open.
        kept: which rows of each segment pass, bool [N] (`IndexColumns.passing`).
    """

    def __init__(self, index: Index, kept: Sequence[np.ndarray]) -> None:
        self.__dict__.update(index.__dict__)
        self.segments = [segment.without(~passes) for segment, passes in zip(index.segments, kept, strict=True)]
        self.rows = sum(int(segment.alive.sum()) for segment in self.segments)
        self.videos = sum(segment.count_videos() for segment in self.segments)
        every = sum(segment.videos for segment in self.segments)
        self._gathered = self._gather() if self.rows <= MOST_GATHERED * every < 2**32 else None

    def _gather(self) -> Blocks:
        """The codes of all rows that pass, in kernel order."""
        codes, rows, owners = [np.empty((0, self.header.S), np.uint8)], [np.empty(0, int)], [np.empty(0, int)]
        for segment, first in zip(self.segments, self._firsts, strict=False):
            living = np.flatnonzero(segment.alive)
            codes.append(segment.codes_of(living))
            rows.append(living + first)
            owners.append(segment.first_rows[living].astype(np.int64) + first)
        order, of_rows = np.concatenate(rows).astype(np.uint32), np.concatenate(owners).astype(np.uint32)
        return Blocks(to_blocks(np.concatenate(codes)).codes, len(order), None, order, of_rows)

    def sources(self, *, by_video: bool = False) -> list[Blocks]:
        """See `Index.sources`: one for all, where codes were gathered."""
        if self._gathered is None:
            return super().sources(by_video=by_video)
        cut = by_video and self.videos < self.rows
        return [self._gathered if cut else replace(self._gathered, owners=None)]

    def list_starts(self) -> list[np.ndarray]:
        """See `Index.list_starts`: gathered codes lie by no lists."""
        return super().list_starts() if self._gathered is None else []

    def list_sizes(self) -> np.ndarray:
        """See `Index.list_sizes`: of what passes, so that the lists of a query hold enough of it."""
        sizes = np.zeros(self.ivf.lists if self.ivf else 0, np.int64)
        for segment in self.segments:
            assert segment.list_starts is not None and segment.blocks.order is not None
            before = np.append(0, np.cumsum(segment.alive[np.minimum(segment.blocks.order, segment.videos - 1)]))
            sizes += np.diff(before[segment.list_starts])
        return sizes
