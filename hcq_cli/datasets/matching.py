"""Finds the video of the feature store that a caption file means by a name.

A name fits an id, in this order: the very id; the same file name, one path ending in the other; the same file name
without extension, likewise; and, where neither file nor store has that file name twice, the file name alone. So
`video0`, `clips/video0.mp4` and `/data/clips/video0.mp4` all find `clips/video0.mp4`. Nothing is ever guessed: a
name that fits two ids is reported. However a file system writes an accent, it is the same letter.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.captions import CaptionedVideo, Captions


class VideoIds(Protocol):
    """What is needed of a feature store."""

    @property
    def ids(self) -> Sequence[str]:
        """The ids, in row order."""
        ...

    def __len__(self) -> int:
        """How many rows."""
        ...

    def row(self, video_id: str, /) -> int | None:
        """The row of an id; None if it is not there."""
        ...


@dataclass
class MatchedVideo:
    """A captioned video that has features.

    Args:
        row: in the store.
        captioned: its captions, split and line.
    """

    row: int
    captioned: CaptionedVideo


@dataclass
class Match:
    """What became of every name.

    Args:
        videos: those found, in the caption file's order; no row twice.
        absent: names without features.
        ambiguous: names that fit several ids, with those ids.
        contradictory: names of a video that another line puts into another split.
        uncaptioned: int64 rows of the store that no caption names.
    """

    videos: list[MatchedVideo] = field(default_factory=list)
    absent: list[CaptionedVideo] = field(default_factory=list)
    ambiguous: list[tuple[CaptionedVideo, list[str]]] = field(default_factory=list)
    contradictory: list[CaptionedVideo] = field(default_factory=list)
    uncaptioned: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of `videos`, int64 [n]."""
        return np.array([video.row for video in self.videos], np.int64)

    @property
    def captioned(self) -> list[CaptionedVideo]:
        """The captions of `videos`, in the same order (what `split_videos` takes)."""
        return [video.captioned for video in self.videos]

    def problems(self, shown: int = 3) -> list[str]:
        """A sentence for each kind of failure, with its count and the first few names."""
        said = []
        if self.absent:
            names = _some([repr(video.video) for video in self.absent], shown)
            said.append(f"{_videos(self.absent)} of the caption file without features: {names}")
        if self.ambiguous:
            names = _some([f"{video.video!r} ({_some(ids, 2)})" for video, ids in self.ambiguous], shown)
            said.append(f"{_videos(self.ambiguous)} of the caption file fit several ids of the store: {names}")
        if self.contradictory:
            names = _some([f"{video.video!r} (line {video.line})" for video in self.contradictory], shown)
            said.append(f"{_videos(self.contradictory)} put into two splits under two names: {names}")
        return said


def match(captions: Captions, store: VideoIds) -> Match:
    """Find the store's row for every video that the captions name; two names of one video are put together."""
    found = Match()
    by_row: dict[int, MatchedVideo] = {}
    finder = _Finder(captions.videos, store)
    for video in captions.videos:
        rows = finder.rows(video.video)
        if not rows:
            found.absent.append(video)
        elif len(rows) > 1:
            found.ambiguous.append((video, [store.ids[row] for row in rows]))
        elif rows[0] not in by_row:
            copy = CaptionedVideo(video.video, list(video.captions), video.split, video.line)
            by_row[rows[0]] = MatchedVideo(rows[0], copy)
        elif by_row[rows[0]].captioned.split != video.split:
            found.contradictory.append(video)
        else:
            by_row[rows[0]].captioned.captions.extend(video.captions)
    found.videos = list(by_row.values())
    named = np.zeros(len(store), bool)
    named[found.rows] = True
    found.uncaptioned = np.flatnonzero(~named)
    return found


Parts = list[str]
"""A path, cut at its slashes, last part first."""
Groups = dict[str, list[int]]


def _parts(path: str) -> Parts:
    """Accents as one character each: macOS writes them apart from their letters, most programs do not."""
    return [part for part in reversed(unicodedata.normalize("NFC", path).split("/")) if part and part != "."]


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if name.rfind(".") > 0 else name


class _Finder:
    """Looks names up; the store's ids are gone through only if some name is no id itself."""

    def __init__(self, videos: Iterable[CaptionedVideo], store: VideoIds) -> None:
        self._store = store
        self._same_file_name = Counter(parts[0] for video in videos if (parts := _parts(video.video)))
        self._by_name: Groups | None = None
        self._by_stem: Groups = {}

    def rows(self, name: str) -> list[int]:
        """The rows that `name` may mean: one if it is clear, none if it is absent, several if it is ambiguous."""
        exact = self._store.row(name)
        if exact is not None:
            return [exact]
        wanted = _parts(name)
        if not wanted:
            return []
        if self._by_name is None:
            self._by_name, self._by_stem = self._group()
        file_name, stem = wanted[0], _stem(wanted[0])
        return (
            self._in_like_folders(self._by_name, file_name, wanted)
            or self._in_like_folders(self._by_stem, file_name, wanted)
            or self._in_like_folders(self._by_stem, stem, wanted)
            or (self._by_name.get(file_name, []) if self._same_file_name[file_name] == 1 else [])
        )

    def _group(self) -> tuple[Groups, Groups]:
        """Rows by file name (and by stem), alone and with the folder before it ("" for none)."""
        by_name: Groups = defaultdict(list)
        by_stem: Groups = defaultdict(list)
        for row, video_id in enumerate(self._store.ids):
            name, *folders = _parts(video_id)
            folder = folders[0] if folders else ""
            for groups, key in ((by_name, name), (by_stem, _stem(name))):
                groups[key].append(row)
                groups[f"{folder}/{key}"].append(row)
        return by_name, by_stem

    def _in_like_folders(self, groups: Groups, key: str, wanted: Parts) -> list[int]:
        """The rows of `key` whose folders end in those of `wanted`, or the other way round."""
        folders = wanted[1:]
        if not folders:
            return groups.get(key, [])
        rows = groups.get(f"{folders[0]}/{key}", []) + groups.get(f"/{key}", [])
        ids = ((row, _parts(self._store.ids[row])[1:]) for row in rows)
        return [row for row, parts in ids if all(a == b for a, b in zip(folders, parts, strict=False))]


def _videos(items: Sequence[object]) -> str:
    return f"{len(items):,} video{'s' if len(items) != 1 else ''}"


def _some(names: Sequence[str], shown: int) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")
