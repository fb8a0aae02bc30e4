"""The bytes of a shard: a plain HDF5 file, and before it a header that says where each dataset lies.

The HDF5 file has contiguous datasets and no filters, so that any HDF5 tool reads it. In front of it, in HDF5's user
block (https://docs.hdfgroup.org/hdf5/develop/_f_m_t3.html), stands the header: a magic number, and a JSON list of the
datasets with their byte offsets and checksums. With it a reader needs no HDF5 library: it opens a shard in a fraction
of a millisecond, reads rows straight from where they lie, and knows when a byte is wrong.

    magic 8 bytes · length of the JSON uint32 · CRC-32 of the JSON uint32 · JSON · zeros up to the HDF5 file
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import DamagedError
from hcq_cli.headers import JSON, Count, decode

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
_PREFIX = struct.Struct("<8sII")
_FIRST_READ = 1 << 14
_MAX_HEADER_BYTES = 1 << 23


Dtype = Literal["<u1", "<u2", "<u4", "<u8", "<i8", "<f4", "<f8"]
MAX_DIM = 1 << 20


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


class ExpertKey(NamedTuple):
    """One expert at one width: features of two widths lie in columns of their own.

    Args:
        expert: its name.
        dim: width of its features.
    """

    expert: str
    dim: int

    @property
    def prefix(self) -> str:
        """What the names of its datasets begin with in a shard."""
        return f"experts/{self.expert}/{self.dim}/"


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


def encode_header(videos: int, nbytes: int, extents: Mapping[str, Extent]) -> bytes:
    """A header as the file begins with it; arguments are those of `ShardHeader`."""
    document = {"format": FORMAT, "version": VERSION, "videos": videos, "bytes": nbytes, "datasets": extents}
    text = json.dumps(document, separators=(",", ":")).encode()
    return _PREFIX.pack(MAGIC, len(text), zlib.crc32(text)) + text


def as_bytes(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, shared with it."""
    return array.data.cast("B") if array.size else memoryview(b"")  # an empty array cannot be cast


def write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset` bytes of an open file."""
    data = data.cast("B")
    while len(data):
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


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
    if len(start) < _PREFIX.size or not start.startswith(MAGIC):
        raise DamagedError(f"{path}: not a feature shard, or its first bytes are damaged", REPAIR_HINT)
    _, length, crc = _PREFIX.unpack_from(start)
    text = start[_PREFIX.size : _PREFIX.size + length]
    if len(text) < length <= _MAX_HEADER_BYTES:  # the length is not checked yet: a flipped bit may make it gigabytes
        text += os.pread(handle, length - len(text), _PREFIX.size + len(text))
    if len(text) != length or zlib.crc32(text) != crc:
        raise DamagedError(f"{path}: the header is damaged", REPAIR_HINT)
    header = decode(ShardHeader, text, path, REPAIR_HINT, format_name=FORMAT, version=VERSION)
    held = os.fstat(handle).st_size
    if held != header.nbytes:
        raise DamagedError(f"{path}: is {held} bytes long and should be {header.nbytes}", REPAIR_HINT)
    return header


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
