"""Where MMT's files lie: an unpacked folder, or a tar archive that is read once, from front to back.

Nothing of an archive is written to disk under a name that it chose. What cannot be read is told, and costs only
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

MAGIC: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
MOST_SKIPPED = 64 << 30
"""A member that says it is larger ends the reading: behind it nothing can be found in any time."""
MOST_HEADER = 1 << 20
MOST_PADDING = 64 << 20


@dataclass(frozen=True)
class Item:
    """A file that was asked for.

    Args:
        name: within the source, with slashes.
        path: for people and for the store.
        size: bytes.
        mtime_ns: modification time, nanoseconds.
        read: its content; of an archive's item only until the next one is asked for. Raises OSError.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Refused:
    """A file, or the rest of an archive, that cannot be read.

    Args:
        path: for people.
        error: why.
    """

    path: str
    error: str


Wanted = Callable[[str], int | None]
"""The largest size in bytes that a file of this name may have; None if it is of no interest."""


@dataclass
class Position:
    """How far the reading has come: bytes of the archive; of a folder nothing is known."""

    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Source:
    """A folder or an archive.

    Args:
        path: where it lies.
        position: is kept up to date while `items` runs.

    Raises:
        NotFoundError: there is nothing at the path.
    """

    path: Path
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise NotFoundError(f"{self.path}: no such file or folder", "give MMT's tar file, or the folder of it")

    def items(self, wanted: Wanted) -> Iterator[Item | Refused]:
        """Everything of interest, in the archive's order or sorted by name.

        Raises:
            DamagedError: the file is no tar archive at all.
        """
        return _in_folder(self.path, wanted) if self.path.is_dir() else self._in_archive(wanted)

    def _in_archive(self, wanted: Wanted) -> Iterator[Item | Refused]:
        self.position.total = self.path.stat().st_size
        with self.path.open("rb") as raw:
            head = raw.read(6)
            raw.seek(0)
            opened = next((opener(raw) for magic, opener in MAGIC.items() if head.startswith(magic)), raw)
            try:
                archive = _Archive.open(fileobj=opened, mode="r|", tarinfo=_Header)
            except BROKEN as error:
                reason = f"{self.path}: is no tar archive that can be read ({_first_line(error)})"
                raise DamagedError(reason, "download it again") from error
            broken = False
            with archive:
                for found in _members(archive, self.path.absolute(), wanted):
                    self.position.done = raw.tell()
                    broken = isinstance(found, Refused) and found.path == str(self.path.absolute())
                    yield found
            if not broken:
                yield from _trailer(opened, self.path.absolute())


class _Archive(tarfile.TarFile):
    """Remembers how its list of members ended: tarfile itself takes a damaged header for the end."""

    ended_by: Exception | None = None


class _Header(tarfile.TarInfo):
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
        """Refuse an extended header that would fill the memory."""
        header = super().frombuf(*arguments)
        if header.size > MOST_HEADER and header.type in b"xgXLK":
            raise tarfile.InvalidHeaderError(f"an extended header of {header.size:,} bytes")  # type: ignore[attr-defined]
        return header


def _members(archive: _Archive, path: Path, wanted: Wanted) -> Iterator[Item | Refused]:
    while True:
        try:
            member = archive.next()
        except BROKEN as error:
            yield Refused(str(path), f"breaks off ({_first_line(error)}); what came before is used")
            return
        if member is None:
            break
        archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
        if member.size > MOST_SKIPPED:
            yield Refused(str(path), f"{member.name} says it has {member.size:,} bytes: reading ends there")
            return
        found = _member(archive, member, path, wanted)
        if found is not None:
            yield found
    if not isinstance(archive.ended_by, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        reason = _first_line(archive.ended_by) if archive.ended_by else "no end mark"
        yield Refused(str(path), f"breaks off ({reason}); what came before is used")


def _member(archive: _Archive, member: tarfile.TarInfo, path: Path, wanted: Wanted) -> Item | Refused | None:
    where = f"{path}/{member.name}"
    if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
        return Refused(where, "its name leads out of the archive")
    most = wanted(member.name)
    if most is None or member.isdir():
        return None
    if not member.isreg() or member.issparse():
        kind = "a link" if member.islnk() or member.issym() else "no plain file"
        return Refused(where, f"is {kind}; unpack the archive and import the folder")
    if member.size > most:
        return Refused(where, f"has {member.size:,} bytes, more than {most:,}")
    return Item(member.name, where, member.size, int(member.mtime * 1e9), partial(_read_member, archive, member))


def _read_member(archive: _Archive, member: tarfile.TarInfo) -> bytes:
    try:
        stream = archive.extractfile(member)
        data = stream.read() if stream is not None else b""
    except BROKEN as error:
        raise OSError(f"the archive breaks off in it ({_first_line(error)})") from error
    if len(data) != member.size:
        raise OSError("the archive breaks off in it")
    return data


def _trailer(opened: IO[bytes], path: Path) -> Iterator[Refused]:
    """Read to the very end, where a compressed file has its checksum."""
    left = MOST_PADDING
    try:
        while left > 0 and (block := opened.read(1 << 16)):
            left -= len(block)
    except BROKEN as error:
        yield Refused(str(path), f"its checksum does not match, what it gave may be wrong ({_first_line(error)})")


def _in_folder(folder: Path, wanted: Wanted) -> Iterator[Item | Refused]:
    unreadable: list[OSError] = []
    for at, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        while unreadable:
            error = unreadable.pop()
            yield Refused(str(error.filename), f"cannot be read ({error.strerror})")
        for name in sorted(names):
            path = Path(at, name)
            most = wanted(path.relative_to(folder).as_posix())
            if most is not None:
                yield _file(path, folder, most)
    for error in unreadable:
        yield Refused(str(error.filename), f"cannot be read ({error.strerror})")


def _file(path: Path, folder: Path, most: int) -> Item | Refused:
    where = str(path.absolute())
    try:
        found = path.stat()
    except OSError as error:
        return Refused(where, f"cannot be read ({error.strerror})")
    if not stat.S_ISREG(found.st_mode):
        return Refused(where, "is no plain file")
    if found.st_size > most:
        return Refused(where, f"has {found.st_size:,} bytes, more than {most:,}")
    return Item(path.relative_to(folder).as_posix(), where, found.st_size, found.st_mtime_ns, path.read_bytes)


def _first_line(error: Exception | None) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
