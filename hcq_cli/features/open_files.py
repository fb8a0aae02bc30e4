"""Files that stay open while their store is read: opening one for every row would take longer than reading it."""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections import OrderedDict

from hcq_cli.errors import HcqError
from hcq_cli.files import open_regular


class OpenFile:
    """A file open for reading; closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self.number = open_regular(path)
        # Not closed by whoever pushes it out of `OpenFiles`: another thread may be reading from this number, and the
        # system would give it to the next file that is opened. Nor by `__del__`, which a program that ends comes to
        # when there is nothing left to close with.
        weakref.finalize(self, os.close, self.number).atexit = False
        if hasattr(os, "posix_fadvise"):  # rows are read here and there: no reading ahead, which may mean megabytes
            os.posix_fadvise(self.number, 0, 0, os.POSIX_FADV_RANDOM)


class OpenFiles:
    """Keeps files open, the least recently used one closed first when there are too many.

    A file kept open stays readable after a writer has merged it away and deleted it.
    """

    def __init__(self, limit: int | None = None) -> None:
        # Half of the files that this process may have open, at most 4,096: the other half is for everything else.
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._limit = limit or (max(16, min(soft, 8192) // 2) if soft > 0 else 4096)
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: str) -> OpenFile:
        """The open file at `path`; hold it as long as its number is used.

        Raises:
            FileNotFoundError: it is not there (any more).
            NotRegularError: it is a link, a pipe, a device…
            HcqError: it cannot be read.
        """
        found = self._open.get(path)
        if found is not None and len(self._open) < self._limit // 2:
            return found  # far from the limit the order does not matter, and no lock is needed
        with self._lock:
            found = self._open.get(path)
            if found is None:
                try:
                    found = self._open[path] = OpenFile(path)
                except PermissionError as error:
                    raise HcqError(f"{path}: {error.strerror}", "give yourself the right to read it") from error
                if len(self._open) > self._limit:
                    self._open.popitem(last=False)
            self._open.move_to_end(path)
            return found

    # A store is pickled for the worker processes of a data loader: they open their own files.

    def __getstate__(self) -> int:
        return self._limit

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]
