"""The lock of a folder: one process at a time writes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcq_cli.errors import LockedError
from hcq_cli.files import need_regular


def another_writer(folder: Path) -> LockedError:
    """What to say where a lock should have kept another writer away, and has not."""
    return LockedError(f"{folder}: another hcq process has been writing there", "run the same command again")


@contextmanager
def writer_lock(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only writer of `folder`; the lock goes with the process, however it ends.

    Args:
        folder: made if missing.
        wait_s: how long to wait for another writer, seconds.

    Raises:
        LockedError: another writer holds it.
        NotRegularError: the lock's file is a link or anything else but a file.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "writer.lock"
    need_regular(path)  # some versions of filelock follow a link and empty the file that it leads to
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise LockedError(
            f"{folder}: another hcq process is writing there", "wait for it to finish, then run this again"
        ) from None
    try:
        yield
    finally:
        lock.release()
