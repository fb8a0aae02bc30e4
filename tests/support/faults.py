"""A disk that fails, or a process that is killed, at one chosen write, sync, link, rename, removal or new folder.

In the process of the test: a kill is an exception after which nothing more reaches the disk, so what is left is what
a killed process leaves, and no clean-up of the code under test counts.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir")
NAMED = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir")
"""Calls whose errors name the file, as the system's own do."""
KINDS = ("kill before", "kill after", "ENOSPC", "EIO")


class Killed(BaseException):
    """Nothing catches this but the test."""


class Faults:
    """Counts what reaches the disk, and lets the call number `at` fail.

    Args:
        at: which call, from 1; 0 for none.
        kind: one of `KINDS`, or another number of an error by its name.
    """

    def __init__(self, at: int = 0, kind: str = "kill before") -> None:
        self.at, self.kind, self.calls, self.dead = at, kind, 0, False

    def watched(self, call: Callable[..., Any], written: Callable[..., Path] | None = None) -> Callable[..., Any]:
        """`call`, counted; `written` gives the file that it writes, of which a kill may leave half."""

        def counted(*arguments: Any, **more: Any) -> Any:
            if self.dead:
                raise Killed
            self.calls += 1
            if self.calls != self.at:
                return call(*arguments, **more)
            if self.kind.startswith("E"):
                number = getattr(errno, self.kind)
                named = [os.fspath(arguments[0])] if call.__name__ in NAMED else []
                raise OSError(number, os.strerror(number), *named)
            if self.kind == "kill after":
                call(*arguments, **more)
            elif written is not None:
                call(*arguments, **more)
                os.truncate(written(*arguments), os.path.getsize(written(*arguments)) // 2)
            self.dead = True
            raise Killed

        return counted


@contextmanager
def faulty(at: int = 0, kind: str = "kill before") -> Iterator[Faults]:
    """Let call number `at` fail inside the block; the exception leaves the block unless it is `Killed`."""
    import safetensors.torch  # here, so that tests of what has no weights need not wait for torch

    faults = Faults(at, kind)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, faults.watched(getattr(os, name)))
        patch.setattr(Path, "write_text", faults.watched(Path.write_text, lambda path, *_: path))
        save = faults.watched(safetensors.torch.save_file, lambda tensors, path: Path(path))
        patch.setattr(safetensors.torch, "save_file", save)
        try:
            yield faults
        except Killed:
            pass


STRIDES = [pytest.param(19, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


def each_fault(work: Callable[[], object], stride: int = 1) -> Iterator[tuple[int, str]]:
    """Every fault that can hit `work`: it is run once whole to count its calls, so it must be repeatable."""
    with faulty() as whole:
        work()
    assert whole.calls > 0
    for at in range(1, whole.calls + 1):
        for number, kind in enumerate(KINDS):
            if (at + number) % stride == 0:
                yield at, kind
