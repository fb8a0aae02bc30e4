"""Files that last: regular ones alone are opened, a write is whole or not at all, and content has a digest.

A file is written under a temporary name, synced, then renamed: a kill at any instant leaves the old one or the new
one. What a folder of many such files holds, a manifest says (generations.py), and one process at a time writes there
(writer_lock.py).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hcq_cli.errors import DamagedError, HcqError

LONGEST_NAME = 255
"""Bytes of a file's name, as file systems have it."""
KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
LARGER_FILES = "choose a disk that takes larger files, or raise the limit: ulimit -f"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE)


class NotRegularError(DamagedError):
    """Where a file of a format should be lies a link, a folder, a pipe, a socket or a device.

    hcq writes nothing of the kind: it may lead to somebody's files, or never end. So it is refused without being
    read, and mending neither moves nor deletes it.
    """


def plain_name(name: object) -> str:
    """`name`, if a folder can have a file of that name; for every name that is read out of a file.

    Args:
        name: what the file says.

    Raises:
        ValueError: it is no text, or a path that leads elsewhere ("../x", "/x", ".").
    """
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")
    if not plain or len(os.fsencode(str(name))) > LONGEST_NAME:  # which raises UnicodeEncodeError, a ValueError
        raise ValueError(f"{str(name)[:80]!r} names no file of the folder, or one outside the folder")
    return str(name)


def _refuse_irregular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "no file")
        raise NotRegularError(
            f"{path}: is {kind}, not a file, and cannot be read", "move it away, then run the same command again"
        )


def need_regular(path: Path) -> None:
    """See that `path` is a file of its own, or that nothing is there.

    Raises:
        NotRegularError: it is a link, a folder, a pipe, a socket or a device.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        _refuse_irregular(path, path.lstat().st_mode)


def need_folder(path: Path) -> None:
    """See that `path` is a folder itself, or that nothing is there: files must not be moved through a link.

    Raises:
        NotRegularError: it is anything else.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.lstat().st_mode
        if not stat.S_ISDIR(mode):
            kind = KINDS.get(stat.S_IFMT(mode), "a file")
            raise NotRegularError(f"{path}: is {kind}, not a folder", "put the folder itself in its place")


def open_regular(path: Path | str, flags: int = os.O_RDONLY, *, links: bool = False) -> int:
    """Open a file that must be one: the way in for every file whose name or folder came from elsewhere.

    Never waits for a pipe, and nothing but a regular file is read from or written to, even if it is put in the
    file's place meanwhile.

    Args:
        path: the file.
        flags: as `os.open` takes them.
        links: whether the path may be a link to a file, for paths that a person gives.

    Returns:
        a file descriptor, to be closed.

    Raises:
        NotRegularError: it is a link, a folder, a pipe, a socket or a device.
        OSError: it is not there, or cannot be opened.
    """
    with suppress(FileNotFoundError):  # `flags` may be to make it
        _refuse_irregular(path, Path(path).stat(follow_symlinks=links).st_mode)  # opening a device may act
    extra = os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags | extra, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # changed since it was looked at
            raise NotRegularError(f"{path}: is no file of its own", "move it away") from error
        raise
    try:
        _refuse_irregular(path, os.fstat(handle).st_mode)
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_regular(path: Path, *, links: bool = False) -> bytes:
    """The content of a file; arguments and errors are those of `open_regular`."""
    with os.fdopen(open_regular(path, links=links), "rb") as source:
        return source.read()


def append_lines(path: Path, data: bytes) -> bool:
    """Append to a file in one write, so that the lines of several processes do not mix; it is made if missing.

    Returns:
        whether all of it was taken: a full disk may take half a line.

    Raises:
        HcqError: the disk is full or fails, or the file cannot be written.
        NotRegularError: it is a link, a pipe, a device…
    """
    with disk_errors(path, len(data)):
        handle = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            return os.write(handle, data) == len(data)
        finally:
            os.close(handle)


def storable_ns(nanoseconds: float) -> int:
    """When a file was changed, as stores keep it: a clock gone wrong says more than 64 bits hold (the year 2262)."""
    return int(max(-(1 << 63), min(nanoseconds, (1 << 63) - 1)))


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path, needed_bytes: int = 0) -> Iterator[None]:
    """Turn a full or failing disk, or a missing right to write, into an error that names the file.

    Args:
        path: what is being written.
        needed_bytes: how much space it needs, as far as that is known.

    Raises:
        HcqError: naming the path, what is wrong, and what is needed.
    """
    try:
        yield
    except OSError as error:
        # A write and a sync say no name; what names another file is an error of reading that.
        ours = error.filename is None or Path(os.fsdecode(error.filename)).parent in (path, path.parent)
        if error.errno in _FULL:
            needed = f"{max(needed_bytes, 1 << 20) / 2**20:.0f} MB or more are needed"
            if error.errno == errno.EFBIG:  # FAT takes 4 GB; a shell may have a limit of its own
                raise HcqError(f"{path}: {error.strerror}: {needed}", LARGER_FILES) from error
            message = f"{path}: {error.strerror}: the disk is full, {needed}"
            raise HcqError(message, "make room (hcq doctor says how much there is), then run it again") from error
        if error.errno in _NOT_WRITABLE and ours:
            hint = "look after the disk" if error.errno == errno.EIO else "choose a folder you may write to"
            raise HcqError(f"{path}: cannot be written ({error.strerror})", hint) from error
        raise


@contextmanager
def atomic_path(
    path: Path, *, durable: bool = True, exclusive: bool = False, needed_bytes: int = 0
) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, sync it and rename it into place.

    For libraries that want a path to write to (h5py, safetensors). On an error nothing is left behind; after a kill,
    what `remove_leftovers` removes.

    Args:
        path: where the file shall be.
        durable: whether to wait for the disk (fsync of the file and its folder).
        exclusive: whether the file must be new: FileExistsError where there is one already.
        needed_bytes: how large it will be, where that is known, for the message of a full disk.

    Raises:
        HcqError: the disk is full or fails, or the folder cannot be written.
    """
    with disk_errors(path, needed_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _new_temporary(path)
    try:
        yield temporary
        # The content before the name, the name before the folder: after a power cut there is the old file or the new
        # one, never a new name for bytes that are not on the disk.
        if durable:
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
        if exclusive:
            _rename_new(temporary, path)
        else:
            temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        size = 0
        with suppress(OSError):
            size = temporary.stat().st_size
            temporary.unlink()
        if isinstance(error, OSError):
            with disk_errors(path, needed_bytes or size):
                raise
        raise
    finally:
        os.close(handle)  # not before it has its name: until then whoever tidies up leaves it alone


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well, sync its files and rename it into place.

    On an error nothing is left behind; after a kill, what `remove_leftover_folders` removes.

    Args:
        path: where the folder shall be; nothing may be there yet.

    Raises:
        HcqError: the disk is full or fails, or the folder cannot be written.
    """
    need_folder(path.parent)  # not where a link leads
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_name(path)
        temporary.mkdir()
    try:
        yield temporary
        for name in os.listdir(temporary):
            with (temporary / name).open("rb+") as written:
                os.fsync(written.fileno())
        sync_folder(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        size = 0
        with suppress(OSError):
            size = sum(file.stat().st_size for file in temporary.iterdir())
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            with disk_errors(path, size):
                if error.filename is None:  # of a write or a sync
                    error.filename = str(path)
                raise
        raise


def remove_folder(path: Path) -> None:
    """Delete a folder of hcq's own, if it is there: renamed out of sight first, so that half of it is never seen."""
    need_folder(path)
    if not path.exists():
        return
    with disk_errors(path):
        away = path.replace(_temporary_name(path))
        sync_folder(path.parent)
    _delete_folder(away)


def remove_leftover_folders(folder: Path, *names: str) -> None:
    """Delete what a killed writer of the folders `names` left in `folder`; call with the writer lock held."""
    for name in names:
        for path in folder.glob(f".{name}.*.tmp"):
            if path.is_dir() and not path.is_symlink():
                _delete_folder(path)


def _delete_folder(folder: Path) -> None:
    with disk_errors(folder):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            error.filename = str(folder)  # the system names what lies in it, without saying where
            raise


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename a file to a name that must be free; raises FileExistsError."""
    try:
        os.link(temporary, path)  # of two who do so at once, one fails: a rename would take the other's place
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the writer lock must do
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)
    else:
        temporary.unlink()


@contextmanager
def atomic_open(path: Path, *, exclusive: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing bytes; what killed writers of `path` left is deleted first.

    Args:
        path, exclusive: as for `atomic_path`.
    """
    remove_leftovers(path.parent, f".{path.name[:20]}.")
    with atomic_path(path, exclusive=exclusive) as temporary, temporary.open("wb") as out:
        yield out
        out.flush()


def _new_temporary(path: Path) -> tuple[int, Path]:
    """Make an empty file beside `path`; until its handle is closed, `remove_leftovers` leaves it alone."""
    import fcntl

    while True:
        temporary = _temporary_name(path)
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks, where nobody can tell what is left: it stays
            fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():
            return handle, temporary
        os.close(handle)  # somebody tidied up in the instant before it was held


def _temporary_name(path: Path) -> Path:
    # At most 20 characters of the name: of 4 bytes each they still fit what a file system takes.
    return path.with_name(f".{path.name[:20]}.{secrets.token_hex(8)}.tmp")


def remove_leftovers(folder: Path, begin: str = ".") -> int:
    """Delete temporary files that killed writers left in `folder`; those that are being written stay.

    Args:
        folder: where they lie; need not be there.
        begin: of their names.

    Returns:
        how many there were.
    """
    import fcntl

    removed = 0
    for name in os.listdir(folder) if folder.is_dir() else ():
        left = folder / name
        if not (name.startswith(begin) and name.endswith(".tmp")):
            continue
        with suppress(OSError, NotRegularError), os.fdopen(open_regular(left, os.O_RDWR), "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its writer is alive
            left.unlink()
            removed += 1
    return removed


def write_text(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write `text` to `path` atomically, as UTF-8; `exclusive` as in `atomic_path`."""
    with atomic_open(path, exclusive=exclusive) as out:
        out.write(text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` to `path` atomically, indented for people."""
    write_text(path, json_text(document))


def json_text(document: dict[str, Any]) -> str:
    """A document as it is written for people and programs."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def digest_file(path: Path, *, links: bool = True, on_read: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's content, as hex; reads it once, in bounded memory. Errors are those of `open_regular`.

    Args:
        path: of the file.
        links: whether it may be a link.
        on_read: told now and then how many bytes have been read.
    """
    with os.fdopen(open_regular(path, links=links), "rb") as source:
        if on_read is None:
            return hashlib.file_digest(source, "sha256").hexdigest()
        state = hashlib.sha256()
        while block := source.read(1 << 24):
            state.update(block)
            on_read(source.tell())
        return state.hexdigest()


def digest_bytes(*parts: bytes) -> str:
    """SHA-256 of `parts` one after another, as hex."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.hexdigest()


def digest_json(body: dict[str, Any]) -> str:
    """SHA-256 of a document, as hex: the same values have the same, in whatever order they are written."""
    return digest_bytes(json.dumps(body, sort_keys=True, ensure_ascii=True).encode())
