"""A shard that is cut short is refused, when it is opened or while it is read; open files are few, and last."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from hcq_cli.errors import DamagedError
from hcq_cli.features.open_files import OpenFile, OpenFiles
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.verification import verify


def test_every_truncation_of_a_shard_is_refused(store: Path) -> None:
    (path,) = (store / "shards").iterdir()
    whole = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError) as refused:
            FeatureStore.open(store)
        assert str(path) in refused.value.message
        assert len(verify(store).damaged) == 1
    path.unlink()
    with pytest.raises(DamagedError, match="missing"):
        FeatureStore.open(store)


def test_cut_short_while_open(store: Path) -> None:
    held = FeatureStore.open(store)
    held.read([0])
    (path,) = (store / "shards").iterdir()
    with path.open("rb+") as file:
        file.truncate(5000)
    with pytest.raises(DamagedError, match=r"cut short|damaged"):
        held.read(np.arange(len(held)))


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


def test_a_batch_is_read_though_another_thread_pushes_the_shard_out(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = FeatureStore.open(store)
    monkeypatch.setattr(OpenFiles, "get", lambda self, path: OpenFile(path))  # nobody but the reader has it
    assert held.read([0]).keys() == held.experts.keys()
