"""Writes a shard: the sizes of all columns are known before the first byte is written, so tokens stream through."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hcq_cli import files
from hcq_cli.errors import HcqError
from hcq_cli.features.records import (
    STATES,
    ExpertKey,
    ExpertResult,
    VideoFacts,
    VideoRecord,
    as_bytes,
    state_number,
    text_key,
)
from hcq_cli.features.shard_header import FORMAT, MAGIC, PREFIX, VERSION, Dtype, Extent
from hcq_cli.packed_strings import PackedStrings

Columns = dict[str, NDArray[Any]]
"""Arrays by the names of their datasets."""


def write_shard(path: Path, rows: Sequence[VideoRecord]) -> None:
    """Write `rows` to a shard of its own: complete and synced, or not there at all.

    Args:
        path: where it shall be.
        rows: V videos, each id once; their tokens are read a piece at a time.

    Raises:
        HcqError: two ids cannot be told apart by their keys, the disk is full, the folder cannot be written.
        DamagedError: tokens that were to be copied are damaged.
    """
    seen: dict[int, str] = {}
    for row in rows:
        other = seen.setdefault(text_key(row.facts.id), row.facts.id)
        if other != row.facts.id:
            raise HcqError(f"the ids {other!r} and {row.facts.id!r} have the same 64-bit key", "rename one of them")
    # An estimate, for the message: some 512 bytes a video of ids, paths and numbers, and the header.
    needed = sum(row.nbytes for row in rows) + 4096 * (1 + len(rows) // 8)
    with files.atomic_path(path, needed_bytes=needed) as temporary:
        handle = os.open(temporary, os.O_RDWR)
        try:
            _write(handle, rows)
        finally:
            os.close(handle)


def _write(handle: int, rows: Sequence[VideoRecord]) -> None:
    columns, streamed = _video_columns([row.facts for row in rows]), dict[str, Extent]()
    results: dict[ExpertKey, dict[int, ExpertResult]] = {}
    for at, row in enumerate(rows):
        for result in row.results.values():
            results.setdefault(result.key, {})[at] = result
    for key, found in sorted(results.items()):
        columns |= _expert_columns(key, found, len(rows))
        tokens = sum(result.n for result in found.values())
        streamed[f"{key.prefix}features"] = Extent(0, "<f4", (tokens, key.dim))
        streamed[f"{key.prefix}times"] = Extent(0, "<f4", (tokens,))
    extents = {}
    for name, values in columns.items():
        kind = values.dtype.str.replace("|", "<")  # single bytes have no order, and NumPy calls them "|u1"
        extents[name] = Extent(0, cast(Dtype, kind), values.shape)
    states = ",".join(f"{number}={state}" for number, state in enumerate(STATES, 1))
    about = {"format": FORMAT, "version": VERSION, "states": f"0=not extracted,{states}"}
    placed = create_layout(handle, extents | streamed, about)
    for at, row in enumerate(rows):
        for result in row.results.values():
            _write_tokens(handle, at, result, columns, placed)
    # Now that the columns `crc` are filled in.
    for name, values in columns.items():
        data = as_bytes(values)
        write_at(handle, data, placed[name].offset)
        placed[name] = placed[name]._replace(crc=zlib.crc32(data))
    # The header last: a file without it is no shard, whatever else of it is there.
    write_at(handle, memoryview(encode_header(len(rows), os.fstat(handle).st_size, placed)), 0)


def _video_columns(facts: Sequence[VideoFacts]) -> Columns:
    columns: Columns = {
        "videos/key": np.array([text_key(f.id) for f in facts], "<u8"),
        "videos/path_key": np.array([text_key(f.path) for f in facts], "<u8"),
        "videos/content_key": np.array([text_key(f.content_hash) for f in facts], "<u8"),
        "videos/size": np.array([f.size for f in facts], "<i8"),
        "videos/mtime_ns": np.array([f.mtime_ns for f in facts], "<i8"),
        "videos/duration_s": np.array([f.duration_s for f in facts], "<f8"),
        "videos/width": np.array([f.width for f in facts], "<u4"),
        "videos/height": np.array([f.height for f in facts], "<u4"),
        "videos/taken_s": np.array([np.nan if f.taken_s is None else f.taken_s for f in facts], "<f8"),
    }
    columns |= _text_column("videos/id", [f.id for f in facts])
    columns |= _text_column("videos/path", [f.path for f in facts])
    columns |= _text_column("videos/content", [f.content_hash for f in facts])
    columns |= _text_column("videos/decoder", [f.decoder for f in facts])
    return columns | _text_column("videos/warnings", [json.dumps(f.warnings) for f in facts])


def _text_column(name: str, texts: Sequence[str]) -> Columns:
    packed = PackedStrings.of(texts)
    return {f"{name}.bytes": packed.blob, f"{name}.offsets": packed.offsets.astype("<i8")}


def _expert_columns(key: ExpertKey, found: dict[int, ExpertResult], videos: int) -> Columns:
    """The small columns of one expert, by where its videos stand in the shard; `crc` is filled in with the tokens."""
    counts, state, identity = np.zeros(videos, np.int64), np.zeros(videos, np.uint8), np.zeros(videos, "<u2")
    identities: dict[str, int] = {}
    for at, result in found.items():
        counts[at], state[at] = result.n, state_number(result.state)
        identity[at] = identities.setdefault(result.identity, len(identities))
    columns: Columns = {
        f"{key.prefix}offsets": np.append(0, np.cumsum(counts)),
        f"{key.prefix}state": state,
        f"{key.prefix}identity": identity,
        f"{key.prefix}crc": np.zeros(videos, "<u4"),
    }
    return columns | _text_column(f"{key.prefix}identities", list(identities))


def _write_tokens(handle: int, at: int, result: ExpertResult, columns: Columns, placed: dict[str, Extent]) -> None:
    """Write what an expert found in video `at`: a piece at a time is in memory, wherever it comes from."""
    if not result.n:
        return
    prefix, row_bytes = result.key.prefix, 4 * result.key.dim
    begin, size = int(columns[f"{prefix}offsets"][at]), result.n * row_bytes
    features, times = placed[f"{prefix}features"].offset, placed[f"{prefix}times"].offset
    written = crc = 0
    for piece in result.read():
        spot = features + begin * row_bytes + written if written < size else times + begin * 4
        write_at(handle, piece, spot)
        written, crc = written + len(piece), zlib.crc32(piece, crc)
    columns[f"{prefix}crc"][at] = crc


def create_layout(handle: int, wanted: Mapping[str, Extent], attributes: Mapping[str, Any]) -> dict[str, Extent]:
    """Lay out an HDF5 file with a dataset for each of `wanted` (offsets ignored), all bytes still to be filled in.

    Args:
        handle: a file open for writing, empty.
        wanted: types and shapes by name ("group/dataset").
        attributes: put on the root, for readers that know nothing of hcq.

    Returns:
        the same datasets with the offsets they got.
    """
    import h5py

    # The header is written last, when offsets and checksums are known; its room is measured with the longest numbers.
    longest = {name: Extent(2**62, e.dtype, e.shape, 2**32) for name, e in wanted.items()}
    block = 512  # HDF5 looks for its signature at 512 times powers of two
    while block < len(encode_header(2**62, 2**62, longest)):
        block *= 2
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # else a dataset has no offset before its first write
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # the same videos are the same bytes, whenever they are written
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    placed = {}
    # The HDF5 library never touches the disk: an error of the disk (full, over quota) would leave it with a file that
    # it can neither finish nor close. It lays the file out in memory, where only what it writes itself takes room.
    memory = SparseFile()
    # Large datasets begin at multiples of 64 bytes, a cache line.
    with h5py.File(memory, "w", userblock_size=block, alignment_threshold=4096, alignment_interval=64) as file:
        file.attrs.update(attributes)
        for name, extent in wanted.items():
            kind, space = h5py.h5t.py_create(np.dtype(extent.dtype)), h5py.h5s.create_simple(extent.shape)
            dataset = h5py.h5d.create(file.id, None, kind, space, dcpl=creation)
            h5py.h5o.link(dataset, file.id, name.encode(), lcpl=links)
            placed[name] = Extent(dataset.get_offset() or 0, extent.dtype, extent.shape, extent.crc)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, memory.length)  # a full disk is found out before anything is written
    os.ftruncate(handle, memory.length)
    for page, data in memory.pages.items():
        begin = page * memory.PAGE
        write_at(handle, memoryview(data)[: memory.length - begin], begin)
    return placed


def encode_header(videos: int, nbytes: int, extents: Mapping[str, Extent]) -> bytes:
    """A header as the file begins with it; arguments are those of `ShardHeader`."""
    document = {"format": FORMAT, "version": VERSION, "videos": videos, "bytes": nbytes, "datasets": extents}
    text = json.dumps(document, separators=(",", ":")).encode()
    return PREFIX.pack(MAGIC, len(text), zlib.crc32(text)) + text


def write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset` bytes of an open file."""
    data = data.cast("B")
    while len(data):
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


class SparseFile(io.RawIOBase):
    """A file in memory of which only the pages written to exist.

    For HDF5 to lay out files much larger than the memory: what it writes around the data is small.
    """

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

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self.length = self._at if size is None else size
        return self.length

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from here on; zeros where nothing was written."""
        into = memoryview(buffer).cast("B")[: max(0, self.length - self._at)]
        left = into
        while len(left):
            page, begin = divmod(self._at, self.PAGE)
            held = self.pages.get(page, bytes(self.PAGE))[begin : begin + len(left)]
            left[: len(held)] = held
            self._at, left = self._at + len(held), left[len(held) :]
        return len(into)

    def write(self, data: Any) -> int:
        """Write all of `data` here."""
        left = memoryview(data).cast("B")
        while len(left):
            page, begin = divmod(self._at, self.PAGE)
            piece = left[: self.PAGE - begin]
            self.pages.setdefault(page, bytearray(self.PAGE))[begin : begin + len(piece)] = piece
            self._at, left = self._at + len(piece), left[len(piece) :]
        self.length = max(self.length, self._at)
        return len(memoryview(data).cast("B"))
