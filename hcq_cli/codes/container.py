"""One file of named arrays that is opened in milliseconds, mapped into memory, and can prove it is whole.

    offset 0     prelude, 64 bytes: magic, version, block size, where the header lies, and the
                 SHA-256 of all this and of the header
    64 …         sections, each 64-byte aligned, little-endian, C order
    at the end   header, JSON: format name, meta, and of each section dtype, shape, offset and the CRC-32 of
                 every 1 MiB block

The header comes last so that sections of unknown length can be streamed; the prelude, written after everything
else, ties it together. Any truncation is refused on opening, and any changed bit of prelude, header or a section of
a single block; codes and larger sections are checked by `verify`, in bounded memory, or when one is `read` whole.
It is the one container of hcq: code files, exported text encoders and all files of an index are such files, each of
a format name of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self, cast

import numpy as np

from hcq_cli.errors import DamagedError, HcqError, NotFoundError, ReplacedError
from hcq_cli.files import atomic_open, open_regular
from hcq_cli.headers import Count, decode

MAGIC = b"\x89HCQ\r\n\x1a\n"
VERSION = 1
ALIGNMENT = 64
BLOCK_BYTES = 1 << 20
FIXED = struct.Struct("<8sIIQQ")
"""Magic, version, block size, header offset, header length; the SHA-256 follows."""
PRELUDE_BYTES = FIXED.size + 32
CODES = "codes"
"""The section of code files and of index segments that is by far the largest."""
FIRST_SECTION = -(-PRELUDE_BYTES // ALIGNMENT) * ALIGNMENT
"""Where the section that is written in place begins."""


@dataclass(frozen=True)
class Section:
    """Where one array lies, as the header says it. Raises ValueError where there can be no such section.

    Args:
        dtype: uint8, float32, uint32 or uint64.
        shape: of the array.
        offset: of its first byte in the file.
        crc32: of each block of `BLOCK_BYTES`, the last one shorter; eight digits each.
    """

    dtype: Literal["|u1", "<f4", "<u4", "<u8"]
    shape: tuple[Count, ...]
    offset: Count
    crc32: str

    def __post_init__(self) -> None:
        if self.offset % ALIGNMENT or self.offset < PRELUDE_BYTES:
            raise ValueError("a section lies outside the file")
        digits = 8 * -(-self.nbytes // BLOCK_BYTES)
        if len(self.crc32) != digits or not re.fullmatch("[0-9a-f]*", self.crc32):
            raise ValueError("wrong number of checksums")

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class _Header:
    format: str
    meta: dict[str, Any]
    sections: dict[str, Section]


class SectionWriter:
    """One array being streamed into a container.

    Args:
        out: where its bytes go.
        dtype: uint8, float32, uint32 or uint64.
        row_shape: shape of one row; the number of rows is what gets written.
    """

    def __init__(self, out: IO[bytes], dtype: str, row_shape: tuple[int, ...]) -> None:
        self.out, self.dtype, self.row_shape = out, np.dtype(dtype), row_shape
        self.rows = 0
        self._checksums: list[int] = []
        self._crc, self._filled = 0, 0

    def write(self, rows: np.ndarray) -> None:
        """Append `rows` [n, *row_shape]. Raises ValueError for rows of another shape."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, the section holds {self.row_shape}")
        self.rows += len(rows)
        if not rows.size:
            return
        data = rows.data.cast("B")
        self.out.write(data)
        # A block's checksum goes on from one call to the next, so it does not depend on how rows come in portions.
        while len(data):
            part = data[: BLOCK_BYTES - self._filled]
            self._crc, self._filled = zlib.crc32(part, self._crc), self._filled + len(part)
            if self._filled == BLOCK_BYTES:
                self._checksums.append(self._crc)
                self._crc, self._filled = 0, 0
            data = data[len(part) :]

    def finish(self, offset: int) -> Section:
        """The finished section, lying at `offset`."""
        if self._filled:
            self._checksums.append(self._crc)
        crc32 = "".join(f"{value:08x}" for value in self._checksums)
        return Section(cast(Any, self.dtype.str), (self.rows, *self.row_shape), offset, crc32)


class ContainerWriter:
    """Writes a container; a context manager that puts the file in place when its block ends well.

    The section opened with `in_place` is streamed straight into the file, all others are spooled to unnamed
    temporary files beside it, so that several can grow together in bounded memory. Writers of one format inherit:
    they open its sections in `_begin`, and write in `_end` those of which all is known only when the block ends well.

    Args:
        path: where the file shall be.
        format_name: for example "hcq-codes".
        meta: what the header shall say besides the sections; JSON.
    """

    def __init__(self, path: Path, format_name: str, meta: dict[str, Any]) -> None:
        self.path, self.format_name, self.meta = path, format_name, meta
        self._spooled: dict[str, SectionWriter] = {}
        self._in_place: tuple[str, SectionWriter] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self._out = stack.enter_context(atomic_open(self.path))
            # Place for the prelude. Until it is written last of all, this is no hcq file, whatever interrupts us.
            self._out.write(b"\0" * FIRST_SECTION)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def _begin(self) -> None:
        """See the class."""

    def _end(self) -> None:
        """See the class. If it fails, no file appears."""

    def section(
        self, name: str, dtype: str, row_shape: tuple[int, ...] = (), *, in_place: bool = False
    ) -> SectionWriter:
        """Open a section; `in_place` for the one large section of the file."""
        if in_place:
            writer = SectionWriter(self._out, dtype, row_shape)
            self._in_place = (name, writer)
        else:
            # Unnamed: it goes with the process, however that ends.
            spool = self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # noqa: SIM115 - on the stack
            writer = self._spooled[name] = SectionWriter(spool, dtype, row_shape)
        return writer

    def add(self, name: str, array: np.ndarray, dtype: str) -> None:
        """Write a whole array as a section."""
        self.section(name, dtype, array.shape[1:]).write(array)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool | None:
        if error is None:
            try:
                self._end()
                self._finish()
            except BaseException as failure:
                # Then the stack must see the failure, or it would put an unfinished file in place.
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        return self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        sections: dict[str, Section] = {}
        if self._in_place is not None:
            name, writer = self._in_place
            sections[name] = writer.finish(FIRST_SECTION)
        for name, writer in self._spooled.items():
            self._align()
            sections[name] = writer.finish(self._out.tell())
            writer.out.seek(0)
            shutil.copyfileobj(writer.out, self._out, BLOCK_BYTES)
        self._align()
        entries = {name: vars(section) for name, section in sections.items()}
        document = {"format": self.format_name, "meta": self.meta, "sections": entries}
        # In ASCII: lone surrogates stand for bytes of file names that are no UTF-8, and have no UTF-8 of their own.
        header = json.dumps(document, ensure_ascii=True).encode()
        fixed = FIXED.pack(MAGIC, VERSION, BLOCK_BYTES, self._out.tell(), len(header))
        self._out.write(header)
        self._out.seek(0)
        self._out.write(fixed + hashlib.sha256(fixed + header).digest())
        self._out.flush()

    def _align(self) -> None:
        self._out.write(b"\0" * (-self._out.tell() % ALIGNMENT))


class Container:
    """An open container. Its arrays live as long as they are referenced, also when the file is deleted.

    Args:
        path: of the file.
        format_name: what the file must be.
        remedy: the command that makes such a file anew; the hint of errors.
        digest: that the file must have, where whatever names the file says so; empty for any.

    Attributes:
        meta: what the header says besides the sections.
        digest: SHA-256 of prelude and header, as hex: they hold the checksums of all blocks, so that files of one
            digest have one content; and it is known without reading them.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, truncated, foreign, of a newer version, or of another digest.
    """

    def __init__(self, path: Path, format_name: str, remedy: str, digest: str = "") -> None:
        self.path, self.remedy = path, remedy
        header = decode(_Header, self._read_header(), path, remedy)
        if header.format != format_name:
            raise self._damaged(f"is of format {header.format[:40]!r}, not {format_name!r}")
        self.meta, self.sections = header.meta, header.sections
        if any(section.offset + section.nbytes > self._header_offset for section in self.sections.values()):
            raise self._damaged("its header makes no sense (a section lies outside the file)")
        if digest and digest != self.digest:
            raise self._damaged("is sound, but not the file that belongs here: it is of another build")
        # A wrong name or number is a wrong answer: what takes no time to check is not left to `verify`. Codes are: a
        # changed one moves a video by a little, and they are so many that a small file alone would be checked.
        self._checked: set[str] = set()
        for name, section in self.sections.items():
            if section.nbytes <= BLOCK_BYTES and name != CODES:
                self.check(name)

    @property
    def nbytes(self) -> int:
        """Bytes of all sections: what `verify` will tell its progress."""
        return sum(section.nbytes for section in self.sections.values())

    def _damaged(self, reason: str) -> DamagedError:
        return DamagedError(f"{self.path}: {reason}", self.remedy)

    def _read_header(self) -> bytes:
        """Map the file into memory and check that its two ends belong together."""
        try:
            with os.fdopen(open_regular(self.path, links=True), "rb") as source:
                # An empty file cannot be mapped.
                empty = source.seek(0, 2) == 0
                self._map = None if empty else mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
                self._file = os.fstat(source.fileno())
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.path}: no such file", self.remedy) from error
        except OSError as error:
            raise HcqError(f"{self.path}: cannot be read ({error.strerror or error})", self.remedy) from error
        self._bytes = np.frombuffer(self._map or b"", np.uint8)
        if len(self._bytes) < PRELUDE_BYTES or self._bytes[: len(MAGIC)].tobytes() != MAGIC:
            raise self._damaged("not an hcq file")
        fixed = self._bytes[: FIXED.size].tobytes()
        _, version, block_bytes, offset, length = FIXED.unpack(fixed)
        if version > VERSION:
            raise DamagedError(
                f"{self.path}: format version {version}, this hcq reads up to {VERSION}", "upgrade hcq"
            )
        # The header is the last thing in the file, so a file that was cut short, or grew, is found out at once.
        if offset + length != len(self._bytes):
            raise self._damaged("truncated or overlong, the file is damaged")
        self._header_offset = offset
        header = self._bytes[offset:].tobytes()
        self.digest = self._bytes[FIXED.size : PRELUDE_BYTES].tobytes().hex()
        if hashlib.sha256(fixed + header).hexdigest() != self.digest or block_bytes != BLOCK_BYTES:
            raise self._damaged("the header's checksum does not match, the file is damaged")
        return header

    def map(self, name: str, dtype: str, row_shape: tuple[int, ...] = ()) -> np.ndarray:
        """A read-only view [rows, *row_shape] of a section; its content is not checked here.

        Raises:
            DamagedError: there is no such section, or it has another dtype or shape.
        """
        section = self.sections.get(name)
        if section is None or section.dtype != dtype or section.shape[1:] != row_shape or not section.shape:
            raise self._damaged(f"has no section {name!r}, or it is of another kind")
        raw = self._bytes[section.offset : section.offset + section.nbytes]
        # No copy: pages are read from the file when they are first looked at.
        return raw.view(section.dtype).reshape(section.shape)

    def read(self, name: str, dtype: str, row_shape: tuple[int, ...] = ()) -> np.ndarray:
        """A verified copy of a (small) section."""
        array = self.map(name, dtype, row_shape)
        if name not in self._checked:
            self.check(name)
        return array.copy()

    def need_in_place(self) -> None:
        """See that the file that is open here still lies at its path. Raises ReplacedError."""
        with suppress(OSError):
            if os.path.samestat(self._file, self.path.stat()):
                return
        raise ReplacedError(f"{self.path}: was replaced while it was opened", "run the same command again")

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte of every section; `progress` is told the bytes as they pass.

        Raises:
            DamagedError: naming the section that is damaged.
        """
        at = PRELUDE_BYTES
        # Empty sections may share an offset with the next: by size, so that they come before it.
        for name, section in sorted(self.sections.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
            # The padding has no checksum; it was written as zeros, and a changed bit shall not go unseen.
            if self._bytes[at : section.offset].any():
                raise self._damaged(f"the padding before section {name!r} is damaged")
            self.check(name, progress)
            at = section.offset + section.nbytes
        if self._bytes[at : self._header_offset].any():
            raise self._damaged("the padding before the header is damaged")

    def check(self, name: str, progress: Callable[[int], None] = lambda _: None) -> None:
        """Check every byte of one section; `progress` is told the bytes as they pass. Raises DamagedError."""
        section = self.sections[name]
        raw = self._bytes[section.offset : section.offset + section.nbytes]
        for block in range(-(-len(raw) // BLOCK_BYTES)):
            part = raw[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            at = section.offset + block * BLOCK_BYTES
            if zlib.crc32(part.data) != int(section.crc32[8 * block : 8 * block + 8], 16):
                raise self._damaged(f"section {name!r} is damaged between byte {at} and {at + len(part)}")
            self.release(at, len(part))  # what was read to be checked need not stay
            progress(len(part))
        self._checked.add(name)

    def release(self, offset: int, nbytes: int) -> None:
        """Give back what a part of the file takes of this process's memory; it is read again when it is wanted."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            page = offset - offset % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, page, offset + nbytes - page)


def read_digest(path: Path) -> str:
    """The digest that a container just written names; nothing is checked (`Container` does)."""
    with os.fdopen(open_regular(path), "rb") as source:
        return source.read(PRELUDE_BYTES)[FIXED.size :].hex()
