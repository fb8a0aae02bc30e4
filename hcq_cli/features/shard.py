"""One shard: thousands of videos in columns, immutable, every byte of it checked before it is used.

It is a plain HDF5 file with contiguous datasets and no filters, so that any HDF5 tool reads it. In front of that, in
HDF5's user block (https://docs.hdfgroup.org/hdf5/develop/_f_m_t3.html), stands a header: a magic number, and a JSON
list of the datasets with their byte offsets and checksums. With it a reader needs no HDF5 library: it opens a shard
in a fraction of a millisecond, reads rows straight from where they lie, and knows when a byte is wrong.

    magic 8 bytes · length of the JSON uint32 · CRC-32 of the JSON uint32 · JSON · zeros up to the HDF5 file

Datasets, V videos (a shard carries each id once):
    videos/id, path, content, decoder, warnings: `.bytes` uint8 and `.offsets` int64 [V+1]; warnings are JSON lists
    videos/key, path_key, content_key            uint64 [V], 64-bit digests of id, path and content hash
    videos/size, mtime_ns int64 [V]; videos/duration_s float64 [V]
    videos/width, height uint32 [V] (0: unknown), videos/taken_s float64 [V] (NaN: unknown); earlier shards lack them
    experts/NAME/DIM/features float32 [rows, DIM], times float32 [rows], offsets int64 [V+1],
        state uint8 [V] (0: this row lacks the expert), identity uint16 [V] (index into `identities`),
        crc uint32 [V] (CRC-32 of a video's features, then of its times), identities.bytes, identities.offsets
"""

from __future__ import annotations

import math
import os
import resource
import struct
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError, HcqError
from hcq_cli.features.records import STATES, ExpertKey, ExpertResult, VideoFacts, as_bytes
from hcq_cli.files import open_regular
from hcq_cli.headers import JSON, Count, decode
from hcq_cli.packed_strings import PackedStrings

MAGIC = b"\x89hcqftr\n"
FORMAT = "hcq-features-shard"
VERSION = 1
REPAIR_HINT = "hcq features verify --mend, then hcq extract again"
"""What to run after damage: takes the damaged file out of the store, then repeats only its videos."""
VIDEO_COLUMNS = {
    **{"key": "<u8", "path_key": "<u8", "content_key": "<u8"},
    **{"size": "<i8", "mtime_ns": "<i8", "duration_s": "<f8"},
}
LATER_COLUMNS = {"width": ("<u4", 0), "height": ("<u4", 0), "taken_s": ("<f8", math.nan)}
"""Types of the video columns that shards of an earlier hcq lack, and what stands for what is not known."""
VIDEO_TEXTS = ("id", "path", "content", "decoder", "warnings")
EXPERT_COLUMNS = {"state": "<u1", "identity": "<u2", "crc": "<u4"}
PREFIX = struct.Struct("<8sII")
_FIRST_READ = 1 << 14
_MAX_HEADER_BYTES = 1 << 23


Dtype = Literal["<u1", "<u2", "<u4", "<u8", "<i8", "<f4", "<f8"]
MAX_DIM = 1 << 20
_TIMES_AHEAD_BYTES = 1 << 20
_READ_AT_ONCE = 4 << 20
"""Bytes of a film's features."""


class Extent(NamedTuple):
    """Where a dataset lies.

    Args:
        offset: bytes from the start of the file.
        dtype: little-endian NumPy type.
        shape: its shape.
        crc: CRC-32 of its bytes; None for features and times, which have one a video.
    """

    offset: Count
    dtype: Dtype
    shape: tuple[Count, ...]
    crc: Count | None = None


@dataclass(frozen=True)
class ShardHeader:
    """What stands in front of a shard.

    Args:
        videos: V, how many rows it has.
        nbytes: length of the whole file.
        extents: its datasets by name.
    """

    videos: Count
    nbytes: Count = field(metadata={JSON: "bytes"})
    extents: dict[str, Extent] = field(metadata={JSON: "datasets"})

    def __post_init__(self) -> None:
        """See that every column is there, of its type and length, and inside the file. Raises ValueError."""
        for name, (offset, dtype, shape, _) in self.extents.items():
            inside = offset + math.prod(shape) * int(dtype[2]) <= self.nbytes
            # Of a shape with a 0 in it the other number is bound by nothing else.
            if not inside or len(shape) not in (1, 2) or max(shape) > max(self.nbytes, MAX_DIM):
                raise ValueError(f"the dataset {name[:80]!a} lies outside the file")
        one, one_more = (self.videos,), (self.videos + 1,)
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, kind in VIDEO_COLUMNS.items():
            wanted[f"videos/{name}"] = (kind, one)
        for name, (kind, _) in LATER_COLUMNS.items():
            if f"videos/{name}" in self.extents:
                wanted[f"videos/{name}"] = (kind, one)
        for name in VIDEO_TEXTS:
            wanted |= {f"videos/{name}.bytes": ("<u1", ()), f"videos/{name}.offsets": ("<i8", one_more)}
        for key in self.experts:
            rows = self.extents[f"{key.prefix}features"].shape[0]
            wanted |= {f"{key.prefix}{name}": (kind, one) for name, kind in EXPERT_COLUMNS.items()}
            wanted |= {f"{key.prefix}identities.bytes": ("<u1", ()), f"{key.prefix}identities.offsets": ("<i8", ())}
            wanted |= {f"{key.prefix}offsets": ("<i8", one_more), f"{key.prefix}times": ("<f4", (rows,))}
            wanted[f"{key.prefix}features"] = ("<f4", (rows, key.dim))
        for name, (kind, expected) in wanted.items():  # (): of any length
            found = self.extents.get(name)
            shape = (expected or found.shape[:1]) if found is not None else ()
            if found is None or (found.dtype, found.shape) != (kind, shape):
                raise ValueError(f"there is no dataset {name[:80]!a} of {kind} and its shape")

    @cached_property
    def experts(self) -> list[ExpertKey]:
        """The experts of the shard. Raises ValueError where the name of a dataset makes no sense."""
        found = []
        for name in self.extents:
            if name.endswith("/features"):
                # Names of experts have no slash, so a dataset's name can be cut there.
                group, expert, dim, _ = [*name.split("/"), "", "", ""][:4]
                key = ExpertKey(expert, int(dim))
                if (group, name) != ("experts", f"{key.prefix}features") or not 0 <= key.dim <= MAX_DIM:
                    raise ValueError(f"the dataset {name[:80]!a} belongs to no expert")
                found.append(key)
        return found


def read_header(handle: int, path: Path) -> ShardHeader:
    """The header of an open shard.

    Args:
        handle: the open file.
        path: for messages.

    Raises:
        DamagedError: it is no shard, is cut short, damaged, or of a newer version.
    """
    # One read is enough for all but shards of very many experts: a store may have thousands to open.
    start = os.pread(handle, _FIRST_READ, 0)
    if len(start) < PREFIX.size or not start.startswith(MAGIC):
        raise DamagedError(f"{path}: not a feature shard, or its first bytes are damaged", REPAIR_HINT)
    _, length, crc = PREFIX.unpack_from(start)
    text = start[PREFIX.size : PREFIX.size + length]
    if len(text) < length <= _MAX_HEADER_BYTES:  # the length is not checked yet: a flipped bit may make it gigabytes
        text += os.pread(handle, length - len(text), PREFIX.size + len(text))
    if len(text) != length or zlib.crc32(text) != crc:
        raise DamagedError(f"{path}: the header is damaged", REPAIR_HINT)
    header = decode(ShardHeader, text, path, REPAIR_HINT, format_name=FORMAT, version=VERSION)
    held = os.fstat(handle).st_size
    if held != header.nbytes:
        raise DamagedError(f"{path}: is {held} bytes long and should be {header.nbytes}", REPAIR_HINT)
    return header


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
