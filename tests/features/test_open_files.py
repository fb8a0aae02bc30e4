"""Open files: never more than allowed, readable after they are deleted, and opened anew in another process."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from hcq_cli.features.open_files import OpenFiles


def content(opened: OpenFiles, path: Path) -> bytes:
    file = opened.get(str(path))
    return os.pread(file.number, 100, 0)


def test_open_files_are_limited_and_outlive_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / f"{at}" for at in range(9)]
    for path in paths:
        path.write_text(path.name)
    opened = OpenFiles(limit=3)
    held = opened.get(str(paths[0]))
    before = len(os.listdir("/proc/self/fd"))
    for path in [*paths, *reversed(paths)]:
        assert content(opened, path) == path.name.encode()
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert os.pread(held.number, 100, 0) == b"0"  # pushed out, but not closed while it is held
    paths[0].unlink()
    assert content(opened, paths[0]) == b"0"  # the one used last is still open
    again = pickle.loads(pickle.dumps(opened))
    assert content(again, paths[1]) == b"1"
    with pytest.raises(FileNotFoundError):
        again.get(str(paths[0]))
