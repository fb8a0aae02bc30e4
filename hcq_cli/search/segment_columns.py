"""The columns of index segments: how they come into an index, and how a filter reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.codes.ids import find_segments
from hcq_cli.columns.column import Column, Kind, no_column, unknown
from hcq_cli.columns.columns_file import ColumnsFile, ColumnsWriter
from hcq_cli.columns.grammar import parse
from hcq_cli.columns.own_columns import Join, OwnColumns, merged
from hcq_cli.columns.predicate import passing
from hcq_cli.columns.video_columns import NAMES, VIDEO_COLUMNS, video_columns
from hcq_cli.errors import UsageError
from hcq_cli.search.segment import IndexSegment
from hcq_cli.words.sidecars import forget_folders, sidecars_of

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore

KEPT_COLUMNS = 16
"""Columns of ids and paths that stay sorted in memory: sorting a million takes two seconds."""


@dataclass(frozen=True)
class ColumnsSource:
    """Where the columns of new videos come from.

    Args:
        store: features of the videos, or None.
        own: the user's own columns, or None.
        join: finds the user's line of a video; None where there are no own columns.
    """

    store: FeatureStore | None = None
    own: OwnColumns | None = None
    join: Join | None = None

    @property
    def kinds(self) -> dict[str, Kind]:
        """Of the columns, by name."""
        return {**VIDEO_COLUMNS, **(self.own.kinds if self.own else {})}

    def columns(self, videos: Sequence[str], paths: Sequence[str]) -> dict[str, Column]:
        """The columns of videos, by their ids and paths; those with subtitles beside them have words."""
        known = video_columns(self.store, videos)
        subtitled = np.array([bool(sidecars_of(path)) for path in paths], bool)
        known["has_words"] = Column("flag", np.where(subtitled, np.uint8(1), known["has_words"].values))
        return merged(known, self.join.columns(videos, paths)) if self.join else known


def write_columns(path: Path, segment: IndexSegment, source: ColumnsSource) -> None:
    """Write the columns of a segment; a time segment of a video has those of the video."""
    forget_folders()
    with ColumnsWriter(path, source.kinds) as writer:
        for ids, paths in segment.names(every=True):
            videos = list(ids)
            for row, video in zip(*find_segments(ids)[:2], strict=True):
                videos[row] = video
            writer.append(source.columns(videos, list(paths)), len(videos))


def merge_columns(path: Path, parts: Sequence[tuple[IndexSegment, ColumnsFile | None]]) -> None:
    """Write the columns of the living rows of some segments, as `merge_segments` does their codes."""
    kinds = kinds_of([columns for _, columns in parts])
    with ColumnsWriter(path, kinds) as writer:
        for segment, columns in parts:
            living = segment.alive
            if columns is None:
                writer.append({}, int(living.sum()))
                continue
            for batch, rows in columns.batches(living):
                writer.append(batch, rows)


def kinds_of(files: Sequence[ColumnsFile | None]) -> dict[str, Kind]:
    """All columns of some files, by name."""
    return {name: kind for file in files if file for name, kind in file.kinds.items()}


class IndexColumns:
    """The columns of an index, for its filters.

    Args:
        segments: of the index.
        files: the columns of each, or None where an earlier hcq wrote it.
    """

    def __init__(self, segments: Sequence[IndexSegment], files: Sequence[ColumnsFile | None]) -> None:
        self._segments, self.files = segments, files
        self.kinds: dict[str, Kind] = kinds_of(files)
        self._named = lru_cache(KEPT_COLUMNS)(self._sorted_names)

    def column(self, number: int, name: str) -> Column:
        """A column of one segment."""
        if name in NAMES:
            return self._named(number, name)
        file, segment = self.files[number], self._segments[number]
        if file is None or name not in file.kinds:
            return unknown(self.kinds[name], segment.videos)
        return file.column(name)

    def _sorted_names(self, number: int, name: str) -> Column:
        names = self._segments[number].ids if name == "id" else self._segments[number].paths
        raw = [names.raw(row) for row in range(len(names))]
        words = sorted(set(raw))
        place = {word: at for at, word in enumerate(words)}
        return Column("text", np.array([place[word] for word in raw], np.uint32), words)

    def passing(self, where: str) -> list[np.ndarray]:
        """Which rows of each segment pass a filter, bool [N] each.

        Raises:
            UsageError: it is no filter of these columns.
        """
        if not self.kinds:
            raise UsageError("--where: this index knows no columns, an earlier hcq made it", "hcq index build")
        node = parse(where, {**self.kinds, **NAMES})
        # However often a filter names a column, it is read once: of flags and texts that is a copy.
        return [passing(node, cache(partial(self.column, number))) for number in range(len(self._segments))]

    def values(self, number: int, row: int, names: Sequence[str]) -> dict[str, float | bool | str | None]:
        """What is known of a row of a segment, by column."""
        return {name: self.column(number, name).value(row) for name in names}

    def check_names(self, names: Sequence[str]) -> list[str]:
        """The names of columns that were asked for, in whatever capitals. Raises UsageError."""
        known: Mapping[str, str] = {name.lower(): name for name in self.kinds}
        for name in names:
            if name.lower() not in known:
                raise UsageError(*no_column(name, self.kinds))
        return [known[name.lower()] for name in names]
