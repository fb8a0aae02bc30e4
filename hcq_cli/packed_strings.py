"""Millions of strings in two arrays: one blob of UTF-8 and the offsets of its pieces. Decoded only when asked for.

A Python list of ten million ids takes a gigabyte and seconds to make; two arrays are mapped from a file as they lie.
File names that are no UTF-8 keep their bytes (surrogateescape).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hcq_cli.errors import DamagedError


@dataclass(frozen=True)
class PackedStrings(Sequence[str]):
    """A lazy sequence of N strings.

    Args:
        blob: uint8 [bytes]; may be mapped from a file.
        offsets: uint64 [N+1] into `blob`.
        source: the file they come from, for errors.
    """

    blob: np.ndarray
    offsets: np.ndarray
    source: str = ""

    @classmethod
    def of(cls, strings: Sequence[str]) -> PackedStrings:
        """Pack a sequence of strings; a packed one stays as it is."""
        if isinstance(strings, cls):
            return strings
        return cls.packed([string.encode("utf-8", "surrogateescape") for string in strings])

    @classmethod
    def packed(cls, raw: Sequence[bytes]) -> PackedStrings:
        """Pack strings that are bytes already."""
        offsets = np.zeros(len(raw) + 1, np.uint64)
        np.cumsum([len(part) for part in raw], out=offsets[1:])
        return cls(np.frombuffer(b"".join(raw), np.uint8), offsets)

    def __len__(self) -> int:
        """How many strings."""
        return len(self.offsets) - 1

    def raw(self, row: int) -> bytes:
        """The bytes of one string.

        Raises:
            DamagedError: the offsets do not fit the blob.
        """
        start, end = self.offsets[row : row + 2].tolist()
        if not start <= end <= len(self.blob):
            raise DamagedError(f"{self.source}: names of row {row} lie outside the file", "")
        return self.blob[start:end].tobytes()

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        """One string, with undecodable bytes as lone surrogates; rows are counted from the front alone."""
        if not 0 <= row < len(self.offsets) - 1:
            raise IndexError(row)
        return self.raw(row).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def find(self, string: str) -> int | None:
        """The last row that holds `string`, or None."""
        wanted = string.encode("utf-8", "surrogateescape")
        # Comparing lengths is one pass over the offsets; only rows that are as long are looked at.
        as_long = np.flatnonzero(self._lengths() == len(wanted)).tolist()
        return next((row for row in reversed(as_long) if self.raw(row) == wanted), None)

    def rows_beginning(self, begun: bytes) -> np.ndarray:
        """The rows whose strings begin so, int64 [n], ascending; a byte of all of them is compared at a time."""
        rows = np.flatnonzero(self._lengths() >= len(begun))
        for at, byte in enumerate(begun):
            rows = rows[self.blob[self.offsets[rows].astype(np.int64) + at] == byte]
        return rows

    def part(self, start: int, stop: int) -> PackedStrings:
        """Rows `start` to `stop` as strings of their own, with offsets from 0.

        Raises:
            DamagedError: the offsets do not fit the blob.
        """
        offsets = np.asarray(self.offsets[start : stop + 1]).astype(np.int64)
        if not (offsets[0] >= 0 and offsets[-1] <= len(self.blob) and (np.diff(offsets) >= 0).all()):
            raise DamagedError(f"{self.source}: names of rows {start} to {stop} lie outside the file", "")
        blob = np.asarray(self.blob[offsets[0] : offsets[-1]])
        return PackedStrings(blob, (offsets - offsets[0]).astype(np.uint64), self.source)

    def take(self, rows: np.ndarray) -> PackedStrings:
        """The strings of `rows` int64 [n], packed anew."""
        starts, lengths = self.offsets[rows].astype(np.int64), self._lengths()[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        # One gather for all: byte b of the new blob comes from b, moved by how far its string has moved.
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return PackedStrings(np.asarray(self.blob)[source], offsets.astype(np.uint64), self.source)

    def _lengths(self) -> np.ndarray:
        # Signed, so that damaged offsets give negative lengths rather than enormous ones.
        return np.diff(self.offsets.astype(np.int64))

    def hashes(self) -> np.ndarray:
        """A 64-bit hash of each string, uint64 [N]: equal strings have equal hashes, the reverse must be checked.

        Sum of (byte + 1) × splitmix64(position) modulo 2^64, mixed once more; vectorised, because an index of ten
        million ids is hashed while it is built. Indexes hold these hashes, so the function must never change.
        """
        lengths = self._lengths()
        starts = self.offsets[:-1].astype(np.int64)
        longest = int(lengths.max(initial=0))
        # Odd weights: a multiplication by an odd number modulo 2^64 loses nothing. Byte + 1: zeros count, too.
        weights = _splitmix64(np.arange(1, longest + 1, dtype=np.uint64)) | np.uint64(1)
        positions = np.arange(int(lengths.sum())) - np.repeat(starts - starts[:1], lengths)
        terms = (self.blob[: len(positions)].astype(np.uint64) + np.uint64(1)) * weights[positions]
        totals = np.zeros(len(self), np.uint64)
        filled = lengths > 0
        if filled.any():
            # `reduceat` gives an empty string the term of its neighbour: those are left out, and stay 0.
            totals[filled] = np.add.reduceat(terms, starts[filled])
        return _splitmix64(totals)


def _splitmix64(values: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele et al., OOPSLA 2014), of uint64 [n]; constants are its own."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
