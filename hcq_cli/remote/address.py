"""Files at an address of fsspec: put whole or not at all, and created exclusively where the file system can.

Every error of fsspec, and of the libraries behind it, becomes hcq's own here.
"""

from __future__ import annotations

import inspect
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hcq_cli import files
from hcq_cli.errors import HcqError, NotFoundError, UsageError

AGAIN = "check the address, the credentials and the network, then run it again: what is finished is kept"


class Address:
    """A folder, or what stands for one in an object store, by its address.

    Args:
        text: the address, as fsspec takes it; credentials are found as its library finds them.

    Attributes:
        creates_exclusively: whether a file can be created so that of two who do so at once one fails.
        many_at_once: whether several threads may ask.

    Raises:
        UsageError: there is no such kind of address, or what it needs is not installed.
    """

    def __init__(self, text: str) -> None:
        from fsspec.asyn import AsyncFileSystem
        from fsspec.core import url_to_fs
        from fsspec.dircache import DirCache
        from fsspec.spec import AbstractFileSystem

        self.text = text
        if "://" not in text:  # which fsspec would take for a folder of that name
            raise UsageError(f"{text}: is no address", "give a folder, or an address such as s3://bucket/folder")
        try:
            self._files, self._root = url_to_fs(text, skip_instance_cache=True)
        except ImportError as error:
            raise UsageError(f"{text}: {error}", f"install it: pip install {_package(text)}") from error
        except ValueError as error:
            raise UsageError(f"{text}: {error}", "give a folder, or an address such as s3://bucket/folder") from error
        except Exception as error:  # whatever a library raises that connects at once
            raise self._told(error) from error
        # Not an option of `url_to_fs`: SFTP hands all of them on to its connection, which knows no such thing.
        self._files.dircache = DirCache(use_listings_cache=False)
        kind = type(self._files)
        self._is_local = "file" in (kind.protocol if isinstance(kind.protocol, tuple) else (kind.protocol,))
        creating = kind._pipe_file if issubclass(kind, AsyncFileSystem) else kind.pipe_file
        ours = creating not in (AbstractFileSystem.pipe_file, AsyncFileSystem._pipe_file)
        self._is_store = ours and "mode" in inspect.signature(creating).parameters
        self.creates_exclusively = self._is_local or self._is_store
        self.many_at_once = self._is_local or issubclass(kind, AsyncFileSystem)

    def names(self) -> list[str]:
        """What lies directly in it; nothing where it is not there."""
        with self._errors():
            try:
                return [path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
            except FileNotFoundError:
                return []

    def listed(self, folder: str, *, whole: bool = True) -> dict[str, int]:
        """The files below a folder of it, by their path there, each with its length.

        Args:
            folder: its path.
            whole: False for those, too, that are being put, or were when their process was killed.
        """
        with self._errors():
            try:
                found = self._files.find(self._place(folder), detail=True)
            except FileNotFoundError:
                return {}
        below = {path.partition(f"{self._root}/{folder}/")[2]: about["size"] for path, about in found.items()}
        return {path: size for path, size in below.items() if path and not (whole and "/." in f"/{path}")}

    def get(self, name: str, target: Path) -> bool:
        """Fetch a file into one that is there already; False where there is none of that name."""
        with self._errors():
            try:
                self._files.get_file(self._place(name), os.fspath(target))
            except FileNotFoundError:
                return False
        return True

    def put(self, source: Path, name: str) -> None:
        """Put a file there, whole or not at all, in place of what has its name."""
        place, given = self._place(name), os.fspath(source)
        with self._errors():
            if self._is_local:
                with files.atomic_path(Path(place)) as temporary:
                    self._files.put_file(given, os.fspath(temporary))
            elif self._is_store:
                self._files.put_file(given, place)
            else:
                self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
                self._files.put_file(given, beside := f"{place.rpartition('/')[0]}/.{secrets.token_hex(8)}.tmp")
                self._files.mv(beside, place)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file, whole; False where there is another one of that name."""
        place = self._place(name)
        with self._errors():
            try:
                if self._is_local:
                    with files.atomic_open(Path(place), exclusive=True) as out:
                        out.write(data)
                elif self._is_store:
                    self._files.pipe_file(place, data, mode="create")
                elif self._files.exists(place):
                    return False
                else:
                    self._files.makedirs(self._root, exist_ok=True)
                    self._files.pipe_file(beside := f"{self._root}/.{secrets.token_hex(8)}.tmp", data)
                    self._files.mv(beside, place)
            except Exception:
                # An answer may be lost on its way, and each store has another way to tell that a name is taken.
                with suppress(FileNotFoundError):
                    return bool(self._files.cat_file(place) == data)
                raise
        return True

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with self._errors(), suppress(FileNotFoundError):
            self._files.rm_file(self._place(name))

    def age_s(self, name: str) -> float:
        """How long ago a file was put there, seconds."""
        with self._errors():
            return time.time() - float(self._files.modified(self._place(name)).timestamp())

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except HcqError:
            raise
        except Exception as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> HcqError:
        kind = NotFoundError if isinstance(error, FileNotFoundError) else HcqError
        return kind(f"{self.text}: {' '.join(str(error).split())[:300] or type(error).__name__}", AGAIN)


def _package(address: str) -> str:
    """The package that knows a kind of address, as fsspec's registry names it."""
    from fsspec.registry import known_implementations

    known: dict[str, Any] = known_implementations.get(address.partition("://")[0], {})
    return str(known.get("class", "fsspec")).partition(".")[0]
