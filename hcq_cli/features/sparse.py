"""A file in memory with holes, for HDF5 to lay out files much larger than the memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any


class SparseFile(io.RawIOBase):
    """A file in memory of which only the pages written to exist: what HDF5 writes around the data is small."""

    PAGE = 4096

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.length = self._at = 0

    def readable(self) -> bool:
        """True: HDF5 reads back what it wrote."""
        return True

    writable = seekable = readable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, counted from start, here, or end."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.length}[whence]
        return self._at

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self.length = self._at if size is None else size
        return self.length

    def _stretches(self, length: int) -> Iterator[tuple[int, int, int]]:
        done = 0
        while done < length:
            page, begin = divmod(self._at + done, self.PAGE)
            size = min(self.PAGE - begin, length - done)
            yield page, begin, size
            done += size

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from here on; zeros where nothing was written."""
        into, done = memoryview(buffer).cast("B"), 0
        length = max(0, min(len(into), self.length - self._at))
        for page, begin, size in self._stretches(length):
            into[done : done + size] = self.pages.get(page, bytes(self.PAGE))[begin : begin + size]
            done += size
        self._at += length
        return length

    def write(self, data: Any) -> int:
        """Write `data` here."""
        source, done = memoryview(data).cast("B"), 0
        for page, begin, size in self._stretches(len(source)):
            self.pages.setdefault(page, bytearray(self.PAGE))[begin : begin + size] = source[done : done + size]
            done += size
        self._at += done
        self.length = max(self.length, self._at)
        return done
