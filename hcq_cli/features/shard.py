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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.features.columns import TextColumn, raw
from hcq_cli.features.frame import MEND, read_header
from hcq_cli.features.handles import Handle, Handles
from hcq_cli.features.records import VideoFacts
from hcq_cli.features.strip import Part, Strip


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
        self.path, self._handles, self._name = path, handles, os.fspath(path)
        handle = handles.get(self._name)
        header = read_header(handle.number, path)
        self.videos, self.nbytes, self._extents = header.videos, header.nbytes, header.extents
        names = [name.split("/") for name in self._extents if name.endswith("/features")]
        self.parts = [Part(expert, int(dim)) for _, expert, dim, _ in names]
        self._columns: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, TextColumn] = {}
        self._strips: dict[Part, Strip] = {}

    def _handle(self) -> Handle:
        try:
            return self._handles.get(self._name)
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

    def strip(self, part: Part) -> Strip:
        """The tokens of one expert at one width.

        Raises:
            KeyError: the shard has none.
        """
        if part not in self._strips:
            features, times = (self._extents[part.prefix + name].offset for name in ("features", "times"))
            offsets, crc = self.column(f"{part.prefix}offsets"), self.column(f"{part.prefix}crc")
            self._strips[part] = Strip(part, self._handle, self._damage, features, times, offsets, crc)
        return self._strips[part]

    def _damage(self, expert: str, video: int | None) -> DamagedError:
        if video is None:
            return DamagedError(f"{self.path}: is cut short", MEND)
        name = self.text("videos/id")[video]
        return DamagedError(f"{self.path}: the {expert} features of {name!r} are damaged", MEND)

    def tokens(self, part: Part, at: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features [n, dim] and times [n] of one video."""
        stretch = self.strip(part).stretch(at, at + 1)
        n = stretch.end - stretch.begin
        features, times = np.empty((n, part.dim), np.float32), np.empty(n, np.float32)
        stretch.strip.read(stretch, raw(features), raw(times))
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
