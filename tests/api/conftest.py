"""A workspace to call the verbs on, and a progress that remembers what it was told."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hcq_cli.api.progress import Bar
from hcq_cli.workspace import Workspace

KEPT = Path(__file__).parent.parent / "golden" / "workspace"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """14 videos with features, a checkpoint, codes of segments, and an index (tests/golden)."""
    return Workspace(Path(shutil.copytree(KEPT, tmp_path / "kept")))


class Remembered:
    """Notes, warnings, and how far each bar came."""

    def __init__(self) -> None:
        self.notes, self.warnings, self.bars = list[str](), list[str](), dict[str, float]()

    @contextmanager
    def progress(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        self.bars[label] = 0
        yield _Counted(self, label)

    def note(self, line: str) -> None:
        self.notes.append(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)


class _Counted:
    def __init__(self, told: Remembered, label: str) -> None:
        self.told, self.label = told, label

    def advance(self, steps: float = 1, *, detail: str | None = None) -> None:
        self.told.bars[self.label] += steps

    def update(self, completed: float | None = None, total: float | None = None, detail: str | None = None) -> None:
        self.told.bars[self.label] = completed or 0

    def tell(self, line: str) -> None:
        """What the results hold as well."""


@pytest.fixture
def told() -> Remembered:
    return Remembered()


@pytest.fixture
def read_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same, where nobody may make a file in its folder, root neither."""
    make = os.open

    def refuse(path: Any, flags: int, *mode: int, **more: Any) -> int:
        if flags & os.O_CREAT and Path(os.fsdecode(path)).parent == workspace.root:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return make(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    return workspace
