"""One shard: thousands of videos in columns, immutable, every byte of it checked before it is used.

How it lies in its file: shard_header.py.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.features.open_files import OpenFile, OpenFiles
from hcq_cli.features.records import STATES, ExpertKey, ExpertResult, VideoFacts, as_bytes
from hcq_cli.features.shard_header import LATER_COLUMNS, REPAIR_HINT, read_header
from hcq_cli.headers import decode
from hcq_cli.packed_strings import PackedStrings

_TIMES_AHEAD_BYTES = 1 << 20
_READ_AT_ONCE = 4 << 20
"""Bytes of a film's features."""


class TokenColumns(NamedTuple):
    """Where the tokens of one expert lie in a shard of V videos, and what checks them.

    Args:
        features, times: where these columns begin, bytes; they are never held in memory.
        offsets: int64 [V+1], where the tokens of each video begin in them.
        crc: uint32 [V], CRC-32 of a video's features, then of its times.
    """

    features: int
    times: int
    offsets: NDArray[np.int64]
    crc: NDArray[np.uint32]


class Shard:
    """A shard open for reading; columns are read, and checked, when they are first asked for.

    Args:
        path: the file.
        open_files: the open files of the store it belongs to.

    Raises:
        DamagedError: it is no shard, cut short, damaged, or of a newer version.
        FileNotFoundError: it is gone.
    """

    def __init__(self, path: Path, open_files: OpenFiles) -> None:
        self.path, self._open_files, self._name = path, open_files, os.fspath(path)
        file = open_files.get(self._name)  # held while it is read: it may be closed as soon as nobody holds it
        header = read_header(file.number, path)
        self.videos, self.nbytes = header.videos, header.nbytes
        self.extents, self.experts = header.extents, header.experts
        self._columns: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, PackedStrings] = {}
        self._tokens: dict[ExpertKey, TokenColumns] = {}
        self._times_ahead = set[ExpertKey]()

    def damaged(self, reason: str) -> DamagedError:
        """The error that says so of this file."""
        return DamagedError(f"{self.path}: {reason}", REPAIR_HINT)

    def open_file(self) -> OpenFile:
        """The open file; hold it as long as its number is used. Raises HcqError where it is gone by now."""
        try:
            return self._open_files.get(self._name)
        except FileNotFoundError:
            raise HcqError(f"{self.path}: was merged into a newer shard while being read", "run it again") from None

    def fill(self, into: memoryview, offset: int) -> None:
        """Fill `into` with what lies at `offset`. Raises DamagedError where the file ends before."""
        file = self.open_file()
        while len(into):
            got = os.preadv(file.number, [into], offset)
            if not got:
                raise self.damaged("is cut short")
            into, offset = into[got:], offset + got

    def column(self, name: str) -> NDArray[Any]:
        """A whole column by its name in the file; kept in memory.

        Raises:
            DamagedError: its checksum does not match.
        """
        known = self._columns.get(name)
        if known is not None:
            return known
        extent = self.extents.get(name)
        if extent is None and (later := LATER_COLUMNS.get(name.removeprefix("videos/"))):
            self._columns[name] = np.full(self.videos, later[1], later[0])
            return self._columns[name]
        if extent is None:
            raise KeyError(name)
        values = np.empty(extent.shape, extent.dtype)
        self.fill(as_bytes(values), extent.offset)
        if zlib.crc32(as_bytes(values)) != extent.crc:
            raise self.damaged(f"the column {name} is damaged")
        if not self._makes_sense(name, values):
            raise self.damaged(f"the column {name} makes no sense")
        values.flags.writeable = False  # the same array is handed to everyone who asks
        self._columns[name] = values
        return values

    def _makes_sense(self, name: str, values: NDArray[Any]) -> bool:
        """Whether a column points at nothing that is not there: its checksum says only that somebody wrote it so."""
        group, _, column = name.rpartition("/")
        if column.endswith("offsets"):
            of = f"{group}/{'features' if column == 'offsets' else column.replace('offsets', 'bytes')}"
            end = self.extents[of].shape[0] if of in self.extents else values[-1:]
            return bool(len(values) and values[0] == 0 and values[-1] == end and (values[1:] >= values[:-1]).all())
        if column == "state":
            return bool(values.max(initial=0) <= len(STATES))
        if column == "identity":
            return bool(values.max(initial=0) < self.extents[f"{group}/identities.offsets"].shape[0] - 1)
        return True

    def text(self, name: str) -> PackedStrings:
        """A column of text [V], for example "videos/id"."""
        if name not in self._texts:
            blob, offsets = self.column(f"{name}.bytes"), self.column(f"{name}.offsets")
            self._texts[name] = PackedStrings(blob, offsets, str(self.path))
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
            warnings=decode(list[str], self.text("videos/warnings")[at], self.path, REPAIR_HINT),
            width=int(self.column("videos/width")[at]),
            height=int(self.column("videos/height")[at]),
            taken_s=None if math.isnan(taken_s := float(self.column("videos/taken_s")[at])) else taken_s,
        )

    def result(self, key: ExpertKey, at: int) -> ExpertResult:
        """What an expert found in video `at` of this shard; its tokens are read when they are asked for."""
        offsets = self.column(f"{key.prefix}offsets")
        identities = self.text(f"{key.prefix}identities")
        return ExpertResult(
            key,
            n=int(offsets[at + 1] - offsets[at]),
            state=STATES[int(self.column(f"{key.prefix}state")[at]) - 1],
            identity=identities[int(self.column(f"{key.prefix}identity")[at])],
            read=lambda: self.token_pieces(key, at),
        )

    def token_columns(self, key: ExpertKey) -> TokenColumns:
        """Where the tokens of one expert at one width lie.

        Raises:
            KeyError: the shard has none.
        """
        if key not in self._tokens:
            features, times = (self.extents[f"{key.prefix}{name}"].offset for name in ("features", "times"))
            offsets, crc = self.column(f"{key.prefix}offsets"), self.column(f"{key.prefix}crc")
            self._tokens[key] = TokenColumns(features, times, offsets, crc)
        return self._tokens[key]

    def prefetch(self, key: ExpertKey, first: int, last: int) -> None:
        """Say that the tokens of videos first:last will be read, so that a batch waits for the disk once."""
        if not hasattr(os, "posix_fadvise"):
            return
        columns, file, row_bytes = self.token_columns(key), self.open_file(), 4 * key.dim
        begin, end = int(columns.offsets[first]), int(columns.offsets[last])
        ahead = [(columns.features + begin * row_bytes, (end - begin) * row_bytes)]
        if key not in self._times_ahead:  # small: all of them cost one wait, instead of one a video
            self._times_ahead.add(key)
            ahead.append((columns.times, min(4 * int(columns.offsets[-1]), _TIMES_AHEAD_BYTES)))
        for offset, length in ahead:
            os.posix_fadvise(file.number, offset, length, os.POSIX_FADV_WILLNEED)

    def read_tokens(self, key: ExpertKey, first: int, last: int, features: memoryview, times: memoryview) -> None:
        """Fill in the tokens of videos first:last, straight from where they lie.

        Args:
            key: expert and width.
            first, last: the videos.
            features: bytes of a float32 [n, dim], n the number of their tokens.
            times: bytes of a float32 [n].

        Raises:
            DamagedError: names the file and the video whose checksum does not match.
        """
        columns, row_bytes = self.token_columns(key), 4 * key.dim
        ends = (columns.offsets[first : last + 1] - columns.offsets[first]).tolist()
        if not ends[-1]:
            return
        begin = int(columns.offsets[first])
        self.fill(features, columns.features + begin * row_bytes)
        self.fill(times, columns.times + begin * 4)
        # Videos that lie side by side are read in one go and checked one by one: each has a checksum of its own, so
        # that a random batch need not read whole blocks of the file to check a few rows.
        for video, (a, b) in enumerate(pairwise(ends), first):
            found = zlib.crc32(times[4 * a : 4 * b], zlib.crc32(features[a * row_bytes : b * row_bytes]))
            self._need(b == a or found == columns.crc[video], key, video)

    def token_pieces(self, key: ExpertKey, at: int) -> Iterator[memoryview]:
        """Read the tokens of video `at` once: bytes of the features [n, dim] piece by piece, each in the room of the
        one before, then those of the times [n]; float32 both.

        Args:
            key: expert and width.
            at: the video.

        Raises:
            DamagedError: behind the last piece: names the file and the video whose checksum does not match.
        """
        columns, row_bytes = self.token_columns(key), 4 * key.dim
        begin, end = columns.offsets[at : at + 2].tolist()
        room, found = memoryview(bytearray(min(_READ_AT_ONCE, (end - begin) * row_bytes))), 0
        for offset in range(begin * row_bytes, end * row_bytes, _READ_AT_ONCE):
            piece = room[: min(_READ_AT_ONCE, end * row_bytes - offset)]
            self.fill(piece, columns.features + offset)
            found = zlib.crc32(piece, found)
            yield piece
        times = memoryview(bytearray(4 * (end - begin)))
        self.fill(times, columns.times + begin * 4)
        found = zlib.crc32(times, found)
        yield times
        self._need(end == begin or found == columns.crc[at], key, at)

    def check_tokens(self, key: ExpertKey, at: int, times: memoryview) -> None:
        """Read the tokens of video `at` once; fills in `times`, bytes of a float32 [n]. Raises as `token_pieces`."""
        for piece in self.token_pieces(key, at):
            last = piece
        times[:] = last

    def _need(self, matches: bool, key: ExpertKey, video: int) -> None:
        if not matches:
            name = self.text("videos/id")[video]
            raise self.damaged(f"the {key.expert} features of {name!r} are damaged")

    def check(self) -> None:
        """Read everything once, of a film a piece at a time.

        Raises:
            DamagedError: something does not match its checksum.
        """
        for name, extent in self.extents.items():
            if extent.crc is not None:
                self.column(name)
        for key in self.experts:
            for at in range(self.videos):
                for _ in self.token_pieces(key, at):
                    pass
