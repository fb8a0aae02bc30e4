"""Finds the video of the feature store that a caption file means by a name.

A name fits an id, in this order: the very id; the very path; the same file name, one path ending in the other (and
of several such the one that is the same, `./` in front aside); the same file name without extension, likewise; and,
where neither file nor store has that file name twice, the file name alone. Where nothing fits, once more without
regard to capitals and blanks around it, with the slashes of Windows and the %20 of addresses undone. So `video0`,
`clips/video0.mp4` and `/data/clips/video0.mp4` all find `clips/video0.mp4`. Nothing is ever guessed: a name that fits
two ids is reported, and so are names of which only capitals, slashes or %20 tell one from another, but for those that
fit as they are. However a file system writes an accent, it is the same letter.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.captions import CaptionedVideo, Captions

if TYPE_CHECKING:
    from hcq_cli.features.store import FeatureStore


@dataclass
class MatchResult:
    """What became of every name.

    Args:
        rows: int64 [N], rows of the store of the names that were found, in the caption file's order; none twice.
        captioned: the captions of each of those rows (what `split_videos` takes).
        absent: names without features.
        ambiguous: names that fit several ids, with those ids.
        contradictory: names of a video that another line puts into another split.
        uncaptioned: int64 rows of the store that no caption names.
    """

    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    captioned: list[CaptionedVideo] = field(default_factory=list)
    absent: list[CaptionedVideo] = field(default_factory=list)
    ambiguous: list[tuple[CaptionedVideo, list[str]]] = field(default_factory=list)
    contradictory: list[CaptionedVideo] = field(default_factory=list)
    uncaptioned: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def problems(self) -> list[str]:
        """A sentence for each kind of failure, with its count and the first few names."""
        said, shown = [], 3
        if self.absent:
            names = _first_few([repr(video.video) for video in self.absent], shown)
            said.append(f"{_count(self.absent)} of the caption file without features: {names}")
        if self.ambiguous:
            names = _first_few([f"{video.video!r} ({_first_few(ids, 2)})" for video, ids in self.ambiguous], shown)
            said.append(f"{_count(self.ambiguous)} of the caption file fit several ids of the store: {names}")
        if self.contradictory:
            names = _first_few([f"{video.video!r} (line {video.line})" for video in self.contradictory], shown)
            said.append(f"{_count(self.contradictory)} put into two splits under two names: {names}")
        return said


def _count(videos: Sequence[object]) -> str:
    return f"{len(videos):,} video{'s' if len(videos) != 1 else ''}"


def _first_few(names: Sequence[str], shown: int) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def match(captions: Captions, store: FeatureStore) -> MatchResult:
    """Find the store's row for every video that the captions name; two names of one video are put together."""
    found = MatchResult()
    by_row: dict[int, CaptionedVideo] = {}
    finder, loosely = (_VideoFinder(captions.videos, store, loose) for loose in (False, True))
    for video in captions.videos:
        rows = finder.rows(video.video) or loosely.rows(video.video)
        if not rows:
            found.absent.append(video)
        elif len(rows) > 1:
            found.ambiguous.append((video, [store.ids[row] for row in rows]))
        elif rows[0] not in by_row:
            # A copy, to whose captions those of a second name are added: the caption file stays as it was read.
            by_row[rows[0]] = replace(video, captions=list(video.captions))
        elif by_row[rows[0]].split != video.split:
            found.contradictory.append(video)
        else:
            by_row[rows[0]].captions.extend(video.captions)
    found.rows, found.captioned = np.array(list(by_row), np.int64), list(by_row.values())
    found.uncaptioned = np.setdiff1d(np.arange(len(store)), found.rows)
    return found


PathParts = list[str]
"""A path, cut at its slashes, last part first."""
RowsByKey = dict[str, list[int]]


def _stem(name: str) -> str:
    """A file name without its extension; a leading dot begins none."""
    return name[: name.rindex(".")] if name.rfind(".") > 0 else name


class _VideoFinder:
    """Looks names up; the store's ids are gone through only if some name is no id itself.

    Args:
        videos: of the caption file.
        store: where they are looked for.
        loose: whether capitals, the slashes of Windows and %20 make no difference.
    """

    def __init__(self, videos: Iterable[CaptionedVideo], store: FeatureStore, loose: bool) -> None:
        self._store, self._loose = store, loose
        every = [parts for video in videos if (parts := self._parts(video.video))]
        self._same_file_name = Counter(parts[0] for parts in every)
        self._spellings = Counter(map("/".join, every)) if loose else Counter[str]()
        self._by_name: RowsByKey | None = None
        self._by_stem: RowsByKey = {}

    def _parts(self, path: str) -> PathParts:
        # One form of every accent: macOS writes accents apart from their letters (NFD), most programs do not.
        if self._loose:
            path = unquote(path.replace("\\", "/"), errors="surrogateescape").strip().casefold()
        return [part for part in reversed(unicodedata.normalize("NFC", path).split("/")) if part and part != "."]

    def rows(self, name: str) -> list[int]:
        """The rows that `name` may mean: one if it is clear, none if it is absent, several if it is ambiguous."""
        if not self._loose:
            if (exact := self._store.row(name)) is not None:
                return [exact]
            if name.startswith("/") and (there := list(self._store.rows_with("path", name))):
                return there
        wanted = self._parts(name)
        if not wanted or self._spellings["/".join(wanted)] > 1:
            return []
        if self._by_name is None:
            self._by_name, self._by_stem = self._group()
        file_name, stem = wanted[0], _stem(wanted[0])
        # From the strictest reading to the loosest; the first that fits anything decides, even if it fits several.
        return (
            self._in_like_folders(self._by_name, file_name, wanted)
            or self._in_like_folders(self._by_stem, file_name, wanted)
            or self._in_like_folders(self._by_stem, stem, wanted)
            or (self._by_name.get(file_name, []) if self._same_file_name[file_name] == 1 else [])
        )

    def _group(self) -> tuple[RowsByKey, RowsByKey]:
        """Rows by file name (and by stem), alone and with the folder before it ("" for none).

        With the folder, because a store may hold a `video.mp4` in each of a million folders: looked up by its file
        name alone, each of them would be compared with a million others.
        """
        by_name: RowsByKey = defaultdict(list)
        by_stem: RowsByKey = defaultdict(list)
        for row, video_id in enumerate(self._store.ids):
            name, *folders = self._parts(video_id)
            folder = folders[0] if folders else ""
            for groups, key in ((by_name, name), (by_stem, _stem(name))):
                groups[key].append(row)
                groups[f"{folder}/{key}"].append(row)
        return by_name, by_stem

    def _in_like_folders(self, groups: RowsByKey, key: str, wanted: PathParts) -> list[int]:
        """The rows of `key` whose folders end in those of `wanted`, or the other way round."""
        folders = wanted[1:]
        if not folders:
            return groups.get(f"/{key}", []) or groups.get(key, [])
        rows = groups.get(f"{folders[0]}/{key}", []) + groups.get(f"/{key}", [])
        ids = [(row, self._parts(self._store.ids[row])[1:]) for row in rows]
        if same := [row for row, parts in ids if parts == folders]:
            return same
        # Not strict: the shorter of the two paths must be the other's end, and `zip` stops with it.
        return [row for row, parts in ids if all(a == b for a, b in zip(folders, parts, strict=False))]
