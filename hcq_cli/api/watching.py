"""A collection kept up to date while its folders grow: `hcq update --watch` and `hcq find --watch`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hcq_cli.api.extraction import known_roots
from hcq_cli.api.finding import Prepared, make_searchable
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.api.updating import Updated, update
from hcq_cli.collection import path_below
from hcq_cli.errors import LockedError, NotFoundError, needing
from hcq_cli.workspace import Workspace

QUIET_S = 2.0
"""So long nothing must have changed before one looks: files that are still being written are waited for, seconds."""
LONGEST_WAIT_S = 60.0
"""… but no longer than this, since a recorder may write for hours; its file is looked at again when it is done."""
LOOK_AGAIN_S = 600.0
"""Without any change one looks so often: changes on network drives, made elsewhere, are told to nobody."""
OPEN_S = 5.0


def watch(
    workspace: Workspace,
    folders: Iterable[str | PathLike[str]] = (),
    *,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
    **how: Any,
) -> Iterator[Updated]:
    """Bring a collection up to date, now and after every change below its folders.

    What another process keeps from being done, or a drive that is away, is said and tried again later.

    Args:
        folders: to look at; default: all that were extracted before.
        stop: ends it; default: an interrupt does.
        how: as `update` takes it.

    Yields:
        what was done, the first time and whenever there was something to do.

    Raises:
        NotFoundError: watchfiles is not installed; no folder was extracted yet.
        HcqError: as `update`.
    """
    asked = [fspath(folder) for folder in folders]
    watched = asked or known_roots(workspace.features)
    if not watched:
        raise NotFoundError("no folder has been extracted yet", "hcq update FOLDER --watch")
    told = False
    for _ in changes(watched, ignore=workspace.root, stop=stop):
        try:
            done = update(workspace, asked, progress=progress, **how)
        except (LockedError, NotFoundError) as error:
            progress.warn(f"{error.message}; tried again at the next change")
            continue
        if not told or done.encoded or done.indexed or done.extracted.extracted or done.extracted.vanished.ids:
            told = True
            yield done


def watch_searchable(
    workspace: Workspace,
    folder: str | PathLike[str],
    *,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
    **how: Any,
) -> Iterator[Prepared]:
    """Bring a folder to where it can be searched, now and after every change below it; see `watch`.

    Args:
        folder: of videos.
        stop: ends it; default: an interrupt does.
        how: as `make_searchable` takes it.

    Yields:
        what was done, the first time and whenever there is something else to be found.

    Raises:
        NotFoundError: watchfiles is not installed, or as `make_searchable`.
        HcqError: as `make_searchable`.
    """
    changed = changes([fspath(folder)], ignore=workspace.root, stop=stop)
    next(changed)  # what keeps one from watching is said before anything long
    yield make_searchable(workspace, folder, progress=progress, **how)
    for _ in changed:
        try:
            done = make_searchable(workspace, folder, progress=progress, **how)
        except (LockedError, NotFoundError) as error:
            progress.warn(f"{error.message}; tried again at the next change")
            continue
        if done.fitted or done.updated.encoded or done.updated.indexed:
            yield done


def changes(folders: Iterable[str], *, ignore: Path, stop: threading.Event | None = None) -> Iterator[None]:
    """Wait for changes below folders; the first comes at once.

    Args:
        folders: those that are there are watched.
        ignore: a folder whose changes count for nothing: our own files.
        stop: ends it.

    Raises:
        NotFoundError: watchfiles is not installed, or none of the folders is there.
    """
    with needing("watchfiles, which sees changes, is not installed", "watch"):
        import watchfiles

    there = [folder for folder in folders if Path(folder).is_dir()]
    if not there:
        raise NotFoundError("there is no folder to watch", "hcq update FOLDER --watch")
    own = str(ignore.absolute())

    def counts(change: watchfiles.Change, path: str) -> bool:
        return path_below(path, own) is None

    yield None
    # What changed before the watch began is seen by looking once more as soon as it has begun.
    looked = -float("inf")
    for found in watchfiles.watch(
        *there,
        watch_filter=counts,
        step=int(QUIET_S * 1000),
        debounce=int(LONGEST_WAIT_S * 1000),
        rust_timeout=int(OPEN_S * 1000),
        yield_on_timeout=True,
        stop_event=stop,
    ):
        if found or time.monotonic() - looked > LOOK_AGAIN_S:
            yield None
            looked = time.monotonic()
