"""Open files of a store: never more than the system allows, and safe to share among threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from hcq_cli.errors import HcqError


def _limit() -> int:
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        return 128
    return max(16, min(soft, 8192) // 2) if soft > 0 else 4096


class Handle:
    """A file open for reading; closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        if hasattr(os, "posix_fadvise"):  # rows are read here and there: no reading ahead, which may mean megabytes
            os.posix_fadvise(self.number, 0, 0, os.POSIX_FADV_RANDOM)

    def expect(self, offset: int, length: int) -> None:
        """Let the system fetch these bytes from the disk meanwhile."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.number, offset, length, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class Handles:
    """Keeps files open, the least recently used one closed first when there are too many.

    A file kept open stays readable after a writer has merged it away and deleted it.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit or _limit()
        self._open: OrderedDict[str, Handle] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str) -> Handle:
        """The handle of `path`; hold it as long as its number is used.

        Raises:
            FileNotFoundError: it is not there (any more).
            HcqError: it cannot be read.
        """
        handle = self._open.get(path)
        if handle is not None and len(self._open) < self._limit // 2:
            return handle  # far from the limit the order does not matter
        with self._lock:
            handle = self._open.get(path)
            if handle is None:
                try:
                    handle = self._open[path] = Handle(path)
                except PermissionError as error:
                    raise HcqError(f"{path}: {error.strerror}", "give yourself the right to read it") from error
                if len(self._open) > self._limit:
                    self._open.popitem(last=False)
            self._open.move_to_end(path)
            return handle

    def __getstate__(self) -> int:
        return self._limit

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]
