"""The HDF5 frame of a shard, and the header that says where in the file each dataset lies.

A shard is a plain HDF5 file: contiguous datasets, no filters, so that any HDF5 tool reads it. In front of it, in
HDF5's user block, stands a header: a magic number, and a JSON list of the datasets with their byte offsets and
checksums. With it a reader needs no HDF5 library: it opens a shard in a fraction of a millisecond, reads rows
straight from where they lie, and knows when a byte is wrong.

    magic 8 bytes · length of the JSON uint32 · CRC-32 of the JSON uint32 · JSON · zeros up to the HDF5 file
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcq_cli.errors import DamagedError
from hcq_cli.features.sparse import SparseFile

MAGIC = b"\x89hcqftr\n"
FORMAT = "hcq-features-shard"
VERSION = 1
MEND = "hcq features verify --mend, then hcq extract again"
"""What to run after damage: takes the damaged file out of the store, then repeats only its videos."""
_PREFIX = struct.Struct("<8sII")
_FIRST_READ = 1 << 14


@dataclass(frozen=True)
class Extent:
    """Where a dataset lies.

    Args:
        offset: bytes from the start of the file.
        dtype: little-endian NumPy type, for example "<f4".
        shape: its shape.
        crc: CRC-32 of its bytes; None for features and times, which have one a video.
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]
    crc: int | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Header:
    """What stands in front of a shard.

    Args:
        videos: how many rows it has.
        nbytes: length of the whole file.
        extents: its datasets by name.
    """

    videos: int
    nbytes: int
    extents: dict[str, Extent]


def _encode(header: Header) -> bytes:
    datasets = {name: [e.offset, e.dtype, list(e.shape), e.crc] for name, e in header.extents.items()}
    document = {"format": FORMAT, "version": VERSION, "videos": header.videos, "bytes": header.nbytes}
    text = json.dumps({**document, "datasets": datasets}, separators=(",", ":")).encode()
    return _PREFIX.pack(MAGIC, len(text), zlib.crc32(text)) + text


def make_frame(handle: int, wanted: Mapping[str, Extent], attributes: Mapping[str, Any]) -> dict[str, Extent]:
    """Lay out an HDF5 file with a dataset for each of `wanted` (offsets ignored), all bytes still to be filled in.

    The HDF5 library itself never touches the disk: an error of the disk would leave it with a half-closed file.

    Args:
        handle: a file open for writing, empty.
        wanted: types and shapes by name ("group/dataset").
        attributes: put on the root, for readers that know nothing of hcq.

    Returns:
        the same datasets with the offsets they got.
    """
    import h5py

    largest = {name: Extent(2**62, e.dtype, e.shape, 2**32) for name, e in wanted.items()}
    block = 512  # HDF5 looks for its signature at 512 times powers of two
    while block < len(_encode(Header(2**62, 2**62, largest))):
        block *= 2
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    placed = {}
    memory = SparseFile()
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


def write_header(handle: int, header: Header) -> None:
    """Put `header` in front of the file that `make_frame` made."""
    write_at(handle, memoryview(_encode(header)), 0)


def write_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    data = data.cast("B")
    while len(data):
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def read_header(handle: int, path: Path) -> Header:
    """The header of an open shard.

    Raises:
        DamagedError: it is no shard, is cut short, damaged, or of a newer version.
    """
    start = os.pread(handle, _FIRST_READ, 0)
    if len(start) < _PREFIX.size or not start.startswith(MAGIC):
        raise DamagedError(f"{path}: not a feature shard, or its first bytes are damaged", MEND)
    _, length, crc = _PREFIX.unpack_from(start)
    text = start[_PREFIX.size : _PREFIX.size + length]
    if len(text) < length <= 1 << 26:
        text += os.pread(handle, length - len(text), _PREFIX.size + len(text))
    if len(text) != length or zlib.crc32(text) != crc:
        raise DamagedError(f"{path}: the header is damaged", MEND)
    document = json.loads(text)
    if document["format"] != FORMAT or document["version"] > VERSION:
        raise DamagedError(
            f"{path}: format {document['format']} version {document['version']}, this hcq reads up to {VERSION}",
            "upgrade hcq",
        )
    held = os.fstat(handle).st_size
    if held != document["bytes"]:
        raise DamagedError(f"{path}: is {held} bytes long and should be {document['bytes']}", MEND)
    extents = {name: Extent(o, d, tuple(s), c) for name, (o, d, s, c) in document["datasets"].items()}
    return Header(document["videos"], document["bytes"], extents)
