"""A folder that grows is looked at after every change, and files that are still being written are waited for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import hcq_cli as hcq
from hcq_cli.api import watching
from hcq_cli.api.updating import Updated
from hcq_cli.errors import LockedError, NotFoundError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUIET_S", 1.5)
    monkeypatch.setattr(watching, "OPEN_S", 0.2)


def write_slowly(path: Path, pieces: int, every_s: float) -> None:
    with path.open("wb") as file:
        for _ in range(pieces):
            file.write(b"piece")
            file.flush()
            time.sleep(every_s)


@pytest.mark.long
def test_a_file_being_written_is_waited_for_and_our_own_files_count_for_nothing(tmp_path):
    own, stop = tmp_path / ".hcq", threading.Event()
    own.mkdir()
    seen = watching.changes([str(tmp_path)], ignore=own, stop=stop)
    next(seen)
    next(seen)  # once more, as soon as the watch has begun
    (own / "ours").write_text("a code file")
    writing = threading.Thread(target=write_slowly, args=(tmp_path / "new.mp4", 8, 0.05))
    writing.start()
    next(seen)
    assert not writing.is_alive() or (tmp_path / "new.mp4").stat().st_size == 8 * len(b"piece")
    writing.join()
    threading.Timer(2.5, stop.set).start()
    (own / "ours").write_text("again")
    assert list(seen) == []


def test_what_another_process_keeps_from_being_done_is_tried_again(tmp_path, monkeypatch, told):
    outcomes = [LockedError("another process writes", ""), NotFoundError("the drive is away", ""), "done"]
    monkeypatch.setattr(watching, "changes", lambda folders, ignore, stop: iter([None] * len(outcomes)))

    def update(workspace, folders, progress, **how):
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(watching, "update", update)
    done: list[Updated] = list(hcq.watch(hcq.Workspace(tmp_path), [tmp_path], progress=told))
    assert done == ["done"]
    assert [warning.partition(";")[0] for warning in told.warnings] == ["another process writes", "the drive is away"]


def test_nothing_to_watch(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match="no folder has been extracted"):
        next(hcq.watch(hcq.Workspace(tmp_path)))
    with pytest.raises(NotFoundError, match="no folder to watch"):
        next(hcq.watch(hcq.Workspace(tmp_path), [tmp_path / "none"]))
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(NotFoundError, match="watchfiles") as caught:
        next(hcq.watch(hcq.Workspace(tmp_path), [tmp_path]))
    assert "hcq[watch]" in caught.value.hint


@pytest.mark.long
def test_a_video_that_is_copied_in_is_extracted_and_an_interrupt_ends_the_command(clips, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(clips / "clip0.mp4", folder)
    command = [sys.executable, "-m", "hcq_cli", "update", folder, "--watch", "--json", "--experts", "audio"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert json.loads(running.stdout.readline())["new"] == 1
            shutil.copy(clips / "clip1.mp4", folder)
            assert json.loads(running.stdout.readline())["new"] == 1
            os.kill(running.pid, signal.SIGINT)
            assert running.wait(20) == 130
        finally:
            running.kill()


def test_a_store_of_an_earlier_version_tells_its_folders_by_its_ids(clips, tmp_path, monkeypatch):
    (tmp_path / "videos" / "day").mkdir(parents=True)
    shutil.copy(clips / "clip0.mp4", tmp_path / "videos" / "day")
    workspace = hcq.Workspace(tmp_path / ".hcq")
    hcq.extract(workspace, [tmp_path / "videos"], experts="audio", workers=1)
    shutil.rmtree(workspace.features / "collection")
    watched = []
    monkeypatch.setattr(watching, "changes", lambda folders, ignore, stop: watched.extend(folders) or iter(()))
    assert list(hcq.watch(workspace)) == [] and watched == [str(tmp_path / "videos")]
