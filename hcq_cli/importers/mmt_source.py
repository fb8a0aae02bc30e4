"""Where MMT's files lie: an unpacked folder, or a tar archive that is read once, from front to back.

Nothing of an archive is written to disk under a name that it chose. What cannot be read is reported and costs only
itself; an archive that breaks off gives all that stood before the break.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hcq_cli.errors import DamagedError, NotFoundError
from hcq_cli.files import storable_ns

MAGIC: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# What the tar and decompression modules raise from damaged data.
BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
MAX_SKIPPED_BYTES = 64 << 30
"""A member that says it is larger ends the reading: behind it nothing can be found in any time."""
MAX_HEADER_BYTES = 1 << 20
MAX_PADDING_BYTES = 64 << 20


@dataclass(frozen=True)
class SourceFile:
    """A file that was asked for.

    Args:
        name: within the source, with slashes.
        path: for people and for the store.
        size: bytes.
        mtime_ns: modification time, nanoseconds.
        read: its content; of an archive's file only until the next one is asked for. Raises OSError.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class UnreadableFile:
    """A file, or the rest of an archive, that cannot be read.

    Args:
        path: for people.
        error: why.
    """

    path: str
    error: str


SizeLimit = Callable[[str], int | None]
"""The largest size in bytes that a file of this name may have; None if it is of no interest."""


@dataclass
class ReadPosition:
    """How far the reading has come: bytes of the archive; of a folder nothing is known."""

    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class MmtSource:
    """A folder or an archive.

    Args:
        position: is kept up to date while `files` runs.

    Raises:
        NotFoundError: there is nothing at the path.
    """

    path: Path
    position: ReadPosition = field(default_factory=ReadPosition)

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise NotFoundError(f"{self.path}: no such file or folder", "give MMT's tar file, or the folder of it")

    def files(self, size_limit: SizeLimit) -> Iterator[SourceFile | UnreadableFile]:
        """Everything of interest, in the archive's order or sorted by name.

        Args:
            size_limit: says which files are of interest, and how large they may be.

        Raises:
            DamagedError: the file is no tar archive at all.
        """
        return _folder_files(self.path, size_limit) if self.path.is_dir() else self._archive_files(size_limit)

    def _archive_files(self, size_limit: SizeLimit) -> Iterator[SourceFile | UnreadableFile]:
        self.position.total = self.path.stat().st_size
        with self.path.open("rb") as raw:
            # Decompressed here and not by tarfile ("r|*"), which neither reads to the checksum at the end nor lets
            # `raw.tell` say how far the archive has been read.
            head = raw.read(6)
            raw.seek(0)
            opened = next((opener(raw) for magic, opener in MAGIC.items() if head.startswith(magic)), raw)
            try:
                archive = _Archive.open(fileobj=opened, mode="r|", tarinfo=_MemberHeader)
            except BROKEN as error:
                reason = f"{self.path}: is no tar archive that can be read ({_first_line(error)})"
                raise DamagedError(reason, "download it again") from error
            broken = False
            with archive:
                for found in _members(archive, self.path.absolute(), size_limit):
                    self.position.done = raw.tell()
                    broken = isinstance(found, UnreadableFile) and found.path == str(self.path.absolute())
                    yield found
            if not broken:
                yield from _check_trailer(opened, self.path.absolute())


class _Archive(tarfile.TarFile):
    """Remembers how its list of members ended: tarfile itself takes a damaged header for the end."""

    ended_by: Exception | None = None


class _MemberHeader(tarfile.TarInfo):
    """A member's header."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        """Read the next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:  # type: ignore[attr-defined]
            archive.ended_by = error
            raise

    @classmethod
    def frombuf(cls, *arguments: Any) -> Any:
        """Refuse an extended header (pax or GNU long name) that would fill the memory: tarfile reads it whole."""
        header = super().frombuf(*arguments)
        if header.size > MAX_HEADER_BYTES and header.type in b"xgXLK":
            raise tarfile.InvalidHeaderError(f"an extended header of {header.size:,} bytes")  # type: ignore[attr-defined]
        return header


def _members(archive: _Archive, path: Path, size_limit: SizeLimit) -> Iterator[SourceFile | UnreadableFile]:
    while True:
        try:
            member = archive.next()
        except BROKEN as error:
            yield UnreadableFile(str(path), f"breaks off ({_first_line(error)}); what came before is used")
            return
        if member is None:
            break
        archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
        if member.size > MAX_SKIPPED_BYTES:
            reason = f"{member.name} says it has {member.size:,} bytes: reading ends there"
            yield UnreadableFile(str(path), reason)
            return
        found = _member(archive, member, path, size_limit)
        if found is not None:
            yield found
    # A whole archive ends with blocks of zeros, which tarfile meets as an EOFHeaderError.
    if not isinstance(archive.ended_by, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        reason = _first_line(archive.ended_by) if archive.ended_by else "no end mark"
        yield UnreadableFile(str(path), f"breaks off ({reason}); what came before is used")


def _member(
    archive: _Archive, member: tarfile.TarInfo, path: Path, size_limit: SizeLimit
) -> SourceFile | UnreadableFile | None:
    """One member; None if it is of no interest."""
    where = f"{path}/{member.name}"
    # Nothing is ever unpacked; but a store that said that a video lies at ../../x would lead somebody astray.
    if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
        return UnreadableFile(where, "its name leads out of the archive")
    limit = size_limit(member.name)
    if limit is None or member.isdir():
        return None
    # What a link names may have gone by already, and a sparse member's size says nothing of its bytes.
    if not member.isreg() or member.issparse():
        kind = "a link" if member.islnk() or member.issym() else "no plain file"
        return UnreadableFile(where, f"is {kind}; unpack the archive and import the folder")
    if member.size > limit:
        return UnreadableFile(where, f"has {member.size:,} bytes, more than {limit:,}")
    mtime_ns = storable_ns(member.mtime * 1e9)
    return SourceFile(member.name, where, member.size, mtime_ns, partial(_read_member, archive, member))


def _read_member(archive: _Archive, member: tarfile.TarInfo) -> bytes:
    try:
        stream = archive.extractfile(member)
        data = stream.read() if stream is not None else b""
    except BROKEN as error:
        raise OSError(f"the archive breaks off in it ({_first_line(error)})") from error
    if len(data) != member.size:
        raise OSError("the archive breaks off in it")
    return data


def _check_trailer(opened: IO[bytes], path: Path) -> Iterator[UnreadableFile]:
    """Read to the very end, where a compressed file has its checksum."""
    left = MAX_PADDING_BYTES
    try:
        while left > 0 and (block := opened.read(1 << 16)):
            left -= len(block)
    except BROKEN as error:
        reason = f"its checksum does not match, what it gave may be wrong ({_first_line(error)})"
        yield UnreadableFile(str(path), reason)


def _folder_files(folder: Path, size_limit: SizeLimit) -> Iterator[SourceFile | UnreadableFile]:
    unreadable: list[OSError] = []
    for at, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()  # in place: os.walk goes on in this order
        while unreadable:
            yield _unreadable_folder(unreadable.pop())
        for name in sorted(names):
            path = Path(at, name)
            limit = size_limit(path.relative_to(folder).as_posix())
            if limit is not None:
                yield _folder_file(path, folder, limit)
    yield from map(_unreadable_folder, unreadable)


def _unreadable_folder(error: OSError) -> UnreadableFile:
    return UnreadableFile(str(error.filename), f"cannot be read ({error.strerror})")


def _folder_file(path: Path, folder: Path, limit: int) -> SourceFile | UnreadableFile:
    where = str(path.absolute())
    try:
        found = path.stat()
    except OSError as error:
        return UnreadableFile(where, f"cannot be read ({error.strerror})")
    if not stat.S_ISREG(found.st_mode):
        return UnreadableFile(where, "is no plain file")
    if found.st_size > limit:
        return UnreadableFile(where, f"has {found.st_size:,} bytes, more than {limit:,}")
    return SourceFile(
        path.relative_to(folder).as_posix(), where, found.st_size, storable_ns(found.st_mtime_ns), path.read_bytes
    )


def _first_line(error: Exception | None) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
