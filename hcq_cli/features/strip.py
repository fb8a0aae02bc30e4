"""The tokens of one expert in one shard: read straight from where they lie, each video checked."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.features.handles import Handle

_TIMES_AHEAD = 1 << 20


class Part(NamedTuple):
    """One expert at one width.

    Args:
        expert: its name.
        dim: width of its features.
    """

    expert: str
    dim: int

    @property
    def prefix(self) -> str:
        """Where its datasets are in a shard."""
        return f"experts/{self.expert}/{self.dim}/"


class Stretch(NamedTuple):
    """Videos first:last of a strip, and where their tokens begin and end in it."""

    strip: Strip
    first: int
    last: int
    begin: int
    end: int


class Strip:
    """The columns `features`, `times`, `offsets` and `crc` of one expert in a shard.

    Args:
        part: expert and width.
        handle: gives the open file.
        damaged: makes the error that says that a video of the shard is damaged; None: the file is cut short.
        features_at: where in the file the features begin.
        times_at: where the times begin.
        offsets: int64 [V+1], where the tokens of each video begin.
        crc: uint32 [V], CRC-32 of each video's features, then times.
    """

    def __init__(
        self,
        part: Part,
        handle: Callable[[], Handle],
        damaged: Callable[[str, int | None], Exception],
        features_at: int,
        times_at: int,
        offsets: NDArray[np.int64],
        crc: NDArray[np.uint32],
    ) -> None:
        self.part, self._handle, self._damaged = part, handle, damaged
        self._features_at, self._times_at, self._row_bytes = features_at, times_at, 4 * part.dim
        self._offsets, self._crc = offsets, crc
        self._times_expected = False

    def stretch(self, first: int, last: int) -> Stretch:
        """Videos first:last."""
        return Stretch(self, first, last, int(self._offsets[first]), int(self._offsets[last]))

    def counts(self, first: int, last: int) -> NDArray[np.int64]:
        """How many tokens each of the videos first:last has."""
        return np.diff(self._offsets[first : last + 1])

    def expect(self, begin: int, end: int) -> None:
        """Say that tokens begin:end will be read, so that the reads of a batch wait for the disk all at once."""
        handle = self._handle()
        handle.expect(self._features_at + begin * self._row_bytes, (end - begin) * self._row_bytes)
        if not self._times_expected:  # small: all of them cost one wait, instead of one a video
            self._times_expected = True
            handle.expect(self._times_at, min(4 * int(self._offsets[-1]), _TIMES_AHEAD))

    def read(self, stretch: Stretch, features: memoryview, times: memoryview) -> None:
        """Fill in the tokens of a stretch.

        Args:
            stretch: which.
            features: bytes of a float32 [n, dim], n the number of tokens.
            times: bytes of a float32 [n].

        Raises:
            DamagedError: names the file and the video whose checksum does not match.
        """
        _, first, last, begin, end = stretch
        if begin == end:
            return
        handle, row_bytes = self._handle(), self._row_bytes
        self._fill(handle, features, self._features_at + begin * row_bytes)
        self._fill(handle, times, self._times_at + begin * 4)
        a = 0
        for video in range(first, last):
            b = end - begin if video == last - 1 else int(self._offsets[video + 1]) - begin
            found = zlib.crc32(times[4 * a : 4 * b], zlib.crc32(features[a * row_bytes : b * row_bytes]))
            if b > a and found != self._crc[video]:
                raise self._damaged(self.part.expert, video)
            a = b

    def _fill(self, handle: Handle, into: memoryview, offset: int) -> None:
        while len(into):
            got = os.preadv(handle.number, [into], offset)
            if not got:
                raise self._damaged(self.part.expert, None)
            into, offset = into[got:], offset + got
