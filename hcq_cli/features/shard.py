"""One shard: thousands of videos in columns, immutable, every byte of it checked before it is believed.

Datasets, V videos (a shard carries each id once):
    videos/id, path, content, decoder, warnings: `.bytes` uint8 and `.offsets` int64 [V+1]; warnings are JSON lists
    videos/key, path_key, content_key            uint64 [V], 64-bit digests of id, path and content hash
    videos/size, mtime_ns int64 [V]; videos/duration_s float64 [V]
    experts/NAME/DIM/features float32 [rows, DIM], times float32 [rows], offsets int64 [V+1],
        state uint8 [V] (0: this row lacks the expert), identity uint16 [V] (index into `identities`),
        crc uint32 [V] (CRC-32 of a video's features, then of its times), identities.bytes, identities.offsets
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.features.columns import TextColumn, raw
from hcq_cli.features.frame import MEND, read_header
from hcq_cli.features.handles import Handle, Handles
from hcq_cli.features.records import VideoFacts


class Part(NamedTuple):
    """The columns of one expert at one width in a shard."""

    expert: str
    dim: int

    @property
    def prefix(self) -> str:
        """Where its datasets are in the file."""
        return f"experts/{self.expert}/{self.dim}/"


class Shard:
    """A shard open for reading; columns are read, and checked, when they are first asked for.

    Args:
        path: the file.
        handles: the open files of the store it belongs to.

    Raises:
        DamagedError: it is no shard, cut short, damaged, or of a newer version.
        FileNotFoundError: it is gone.
    """

    def __init__(self, path: Path, handles: Handles) -> None:
        self.path, self._handles = path, handles
        handle = handles.get(path)
        header = read_header(handle.number, path)
        self.videos, self.nbytes, self._extents = header.videos, header.nbytes, header.extents
        names = [name.split("/") for name in self._extents if name.endswith("/features")]
        self.parts = [Part(expert, int(dim)) for _, expert, dim, _ in names]
        self._columns: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, TextColumn] = {}

    def _handle(self) -> Handle:
        try:
            return self._handles.get(self.path)
        except FileNotFoundError:
            raise HcqError(f"{self.path}: was merged into a newer shard while being read", "run it again") from None

    def _read(self, into: memoryview, offset: int) -> None:
        handle = self._handle()
        while len(into):
            got = os.preadv(handle.number, [into], offset)
            if not got:
                raise DamagedError(f"{self.path}: is cut short", MEND)
            into, offset = into[got:], offset + got

    def column(self, name: str) -> NDArray[Any]:
        """A whole column by its name in the file; kept in memory.

        Raises:
            DamagedError: its checksum does not match.
        """
        known = self._columns.get(name)
        if known is not None:
            return known
        extent = self._extents[name]
        values = np.empty(extent.shape, extent.dtype)
        self._read(raw(values), extent.offset)
        if zlib.crc32(raw(values)) != extent.crc:
            raise DamagedError(f"{self.path}: the column {name} is damaged", MEND)
        values.flags.writeable = False
        self._columns[name] = values
        return values

    def text(self, name: str) -> TextColumn:
        """A column of text, for example "videos/id"."""
        if name not in self._texts:
            self._texts[name] = TextColumn(self.column(f"{name}.bytes"), self.column(f"{name}.offsets"))
        return self._texts[name]

    def facts(self, at: int) -> VideoFacts:
        """What is known of video `at` of this shard."""
        return VideoFacts(
            id=self.text("videos/id")[at],
            path=self.text("videos/path")[at],
            content_hash=self.text("videos/content")[at],
            size=int(self.column("videos/size")[at]),
            mtime_ns=int(self.column("videos/mtime_ns")[at]),
            duration_s=float(self.column("videos/duration_s")[at]),
            decoder=self.text("videos/decoder")[at],
            warnings=json.loads(self.text("videos/warnings")[at]),
        )

    def rows(self, part: Part) -> int:
        """How many tokens the shard has of `part`."""
        return self._extents[f"{part.prefix}features"].shape[0]

    def _where(self, part: Part, first: int, last: int) -> tuple[int, int, int]:
        """Offsets in the file of the features and times of videos first:last, and how many tokens they have."""
        offsets = self.column(f"{part.prefix}offsets")
        begin, end = int(offsets[first]), int(offsets[last])
        features, times = self._extents[f"{part.prefix}features"], self._extents[f"{part.prefix}times"]
        return features.offset + begin * 4 * part.dim, times.offset + 4 * begin, end - begin

    def expect(self, part: Part, first: int, last: int) -> None:
        """Say that the tokens of videos first:last will be read, so that many reads wait for the disk at once."""
        features_at, times_at, n = self._where(part, first, last)
        if n:
            handle = self._handle()
            handle.expect(features_at, n * 4 * part.dim)
            handle.expect(times_at, n * 4)

    def read_tokens(
        self, part: Part, first: int, last: int, features: NDArray[np.float32], times: NDArray[np.float32]
    ) -> None:
        """Fill in the tokens of videos first:last (one stretch of the file), checking each video.

        Args:
            part: expert and width.
            features: float32 [n, dim], contiguous, n the number of their tokens.
            times: float32 [n], contiguous.

        Raises:
            DamagedError: names the file and the video whose checksum does not match.
        """
        features_at, times_at, n = self._where(part, first, last)
        if not n:
            return
        rows, seconds, row_bytes = raw(features), raw(times), 4 * part.dim
        self._read(rows, features_at)
        self._read(seconds, times_at)
        offsets = self.column(f"{part.prefix}offsets")
        begin = int(offsets[first])
        expected = self.column(f"{part.prefix}crc")
        for at in range(first, last):
            a, b = int(offsets[at]) - begin, int(offsets[at + 1]) - begin
            crc = zlib.crc32(seconds[4 * a : 4 * b], zlib.crc32(rows[a * row_bytes : b * row_bytes]))
            if b > a and crc != expected[at]:
                name = self.text("videos/id")[at]
                raise DamagedError(f"{self.path}: the {part.expert} features of {name!r} are damaged", MEND)

    def tokens(self, part: Part, at: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features [n, dim] and times [n] of one video."""
        offsets = self.column(f"{part.prefix}offsets")
        n = int(offsets[at + 1] - offsets[at])
        features, times = np.empty((n, part.dim), np.float32), np.empty(n, np.float32)
        self.read_tokens(part, at, at + 1, features, times)
        return features, times

    def check(self) -> None:
        """Read everything once, a video at a time.

        Raises:
            DamagedError: something does not match its checksum.
        """
        for name, extent in self._extents.items():
            if extent.crc is not None:
                self.column(name)
        for part in self.parts:
            for at in range(self.videos):
                self.tokens(part, at)
