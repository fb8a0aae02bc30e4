"""A collection of videos: the folders it is made of, what was taken out of it, and how it was last extracted.

Kept in the feature store, whose ids it explains and with which it moves, as generations of a manifest:

    features/collection/manifest-00000003.json

The id of a video is its path below the root it lies in, and a file has one however it is named: by itself, through a
link, by a folder above or below the root. A folder that lies in no root yet becomes one when it is extracted. Stores
of earlier versions have no such manifest; their videos keep the ids that they have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from hcq_cli.files import need_folder
from hcq_cli.generations import Generations
from hcq_cli.headers import decode
from hcq_cli.writer_lock import writer_lock

FORMAT, VERSION = "hcq-collection", 1
FOLDER = "collection"
"""Where it lies in a feature store."""
REMEDY = "put that folder aside: hcq extract VIDEOS then makes it anew, without what had been removed"
WAIT_S = 10.0
"""How long to wait for another writer, who holds the lock for milliseconds."""


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("is no absolute path")
    return path


@dataclass(frozen=True)
class RemovedVideo:
    """A video that was taken out by hand: it stays out until it is added by name.

    Args:
        path: where its file lay.
        content_hash: of its file, so that it stays out under another name; empty if that is not known.
    """

    path: Annotated[str, _absolute]
    content_hash: str = ""


@dataclass(frozen=True)
class LastExtraction:
    """How folders were last extracted, or, where there is none, files: `hcq update` does it so again.

    Args:
        experts: as they were asked for; None in a store of an earlier hcq, which does not say so.
        every_expert: by name how each was asked for when it last was.
        everything, exclude, sample_fps, max_seconds: as `extract` takes them.
    """

    experts: list[str] | None = None
    every_expert: dict[str, str] = field(default_factory=dict)
    everything: bool = False
    exclude: list[str] = field(default_factory=list)
    sample_fps: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True)
class Collection:
    """What is known of a collection besides its features.

    Args:
        roots: absolute folders that were extracted, the oldest first.
        removed: videos that were taken out by hand, by id.
        asked: how it was last extracted.
    """

    roots: tuple[Annotated[str, _absolute], ...] = ()
    removed: dict[str, RemovedVideo] = field(default_factory=dict)
    asked: LastExtraction = field(default_factory=LastExtraction)


def read_collection(store: Path) -> Collection:
    """The collection of the feature store at `store`; an empty one where nothing has been noted yet.

    Raises:
        DamagedError: the note is damaged, foreign, or of a newer hcq.
    """
    folder = Path(store) / FOLDER
    need_folder(folder)
    manifest = Generations(folder, FORMAT, VERSION, REMEDY).read()
    return decode(Collection, manifest.body, folder, REMEDY) if manifest.generation else Collection()


def change_collection(store: Path, change: Callable[[Collection], Collection]) -> Collection:
    """Note what `change` makes of the collection of the feature store at `store`; atomic, with a lock of its own.

    An extraction may hold the lock of the store for hours, and removing a video from an index shall not wait for it.
    """
    folder = Path(store) / FOLDER
    before = read_collection(store)
    if change(before) == before:
        return before
    with writer_lock(folder, wait_s=WAIT_S):
        before = read_collection(store)
        after = change(before)
        if after != before:
            Generations(folder, FORMAT, VERSION, REMEDY).publish(asdict(after))
        return after


class Roots:
    """Says where a file lies in a collection.

    Args:
        folders: the roots.
    """

    def __init__(self, folders: Iterable[str] = ()) -> None:
        self.folders = list(dict.fromkeys(folders))
        self._innermost = _innermost_first((os.path.realpath(root), root) for root in self.folders)

    def place(self, folder: str, real: str) -> tuple[str, str] | None:
        """Where a folder lies in the collection.

        Args:
            folder: absolute, as it was reached.
            real: the same without links.

        Returns:
            its path through the root and its path below the root ("" for the root itself); None in no root.
        """
        # By where it really lies, so that a link to a place in the collection is that place.
        for real_root, root in self._innermost:
            if (below := path_below(real, real_root)) is not None:
                return f"{root.rstrip('/')}/{below}" if below else root, below
        for _, root in self._innermost:
            if (below := path_below(folder, root)) is not None:
                return folder, below
        return None

    def with_folder(self, folder: str) -> Roots:
        """These roots and `folder`, an absolute one, if it lies in none of them."""
        real = os.path.realpath(folder)
        if self.place(folder, real) is not None:
            return self
        # Not anew from all folders: a thousand may be named, and where each really lies is asked of the disk.
        more = Roots()
        more.folders = [*self.folders, folder]
        more._innermost = _innermost_first([*self._innermost, (real, folder)])
        return more


def _innermost_first(roots: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Roots, each behind where it really lies: one below another was there before it, and ids once given stay."""
    return sorted(roots, key=lambda pair: -len(pair[0]))


def path_below(path: str, folder: str) -> str | None:
    """`path` relative to `folder`; None if it does not lie there. Both are absolute and normal."""
    if path == folder:
        return ""
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None
