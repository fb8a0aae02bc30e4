"""An object store in memory, an fsspec file system of its own kind, in which one chosen call fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

CALLS = ("ls", "find", "get_file", "put_file", "pipe_file", "cat_file", "rm_file", "modified")
KINDS = ("before", "after")
"""Whether the call has had its effect when it fails: an answer may be lost."""


class FaultyStore(MemoryFileSystem):
    """`faulty://NAME/…`; what it holds lasts as long as the process."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    at: ClassVar[int] = 0
    kind: ClassVar[str] = "before"
    calls: ClassVar[int] = 0
    meanwhile: ClassVar[Callable[[str], None]] = staticmethod(lambda call: None)
    """Told of each call before it is made."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(str(path).replace("faulty://", "memory://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        MemoryFileSystem.pipe_file(self, path, value, mode, **kwargs)


def _counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def call(self: FaultyStore, *arguments: Any, **more: Any) -> Any:
        FaultyStore.calls += 1
        FaultyStore.meanwhile(name)
        fails = FaultyStore.calls == FaultyStore.at
        if fails and FaultyStore.kind == "before":
            raise OSError(5, "the connection was reset")
        found = real(self, *arguments, **more)
        if fails:
            raise OSError(5, "the answer was lost")
        return found

    return call


for _name in CALLS:
    setattr(FaultyStore, _name, _counted(_name, getattr(FaultyStore, _name)))
fsspec.register_implementation("faulty", FaultyStore, clobber=True)


@contextmanager
def failing(at: int = 0, kind: str = "before") -> Iterator[type[FaultyStore]]:
    """Let call number `at` fail; 0 for none."""
    FaultyStore.at, FaultyStore.kind, FaultyStore.calls = at, kind, 0
    try:
        yield FaultyStore
    finally:
        FaultyStore.at, FaultyStore.meanwhile = 0, staticmethod(lambda call: None)
