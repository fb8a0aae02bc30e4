"""How a shard lies in its file: its datasets, and the header that names them.

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
import struct
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from hcq_cli.errors import DamagedError
from hcq_cli.features.records import ExpertKey
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
PREFIX = struct.Struct("<8sII")
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
