"""Columns of text, and the 64-bit keys by which a million of them are found without a million Python strings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


def to_bytes(text: str) -> bytes:
    """UTF-8; bytes of a file name that are no UTF-8 come out as they were."""
    return text.encode("utf-8", "surrogateescape")


def raw(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, shared with it."""
    return array.data.cast("B") if array.size else memoryview(b"")


def key_of(text: str) -> int:
    """A 64-bit digest of `text`: equal texts have equal keys."""
    return int.from_bytes(hashlib.blake2b(to_bytes(text), digest_size=8).digest(), "little")


def keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """The keys of `texts`, uint64 [n]."""
    return np.fromiter((key_of(text) for text in texts), np.uint64, len(texts))


def pack(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`texts` as one run of bytes, uint8 [bytes], and where each begins, int64 [n+1]."""
    parts = [to_bytes(text) for text in texts]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.frombuffer(b"".join(parts), np.uint8), offsets


class TextColumn(Sequence[str]):
    """Texts read one at a time out of a run of bytes.

    Args:
        blob: uint8 [bytes].
        offsets: int64 [n+1].
    """

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._blob, self._offsets = raw(blob), offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        begin, end = int(self._offsets[at]), int(self._offsets[at + 1])
        return str(self._blob[begin:end], "utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[at] for at in range(len(self)))
