"""What any executor promises, held to each: worker processes of this machine, and a Ray cluster of two nodes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sample_videos import clip
from store_contents import contents, shard_digests

EXPERTS = ["--experts", "colour,audio"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line for each time that a video is opened."""
    path = tmp_path_factory.mktemp("log") / "opened"
    path.touch()
    return path


@pytest.fixture(scope="module")
def slowly(planted: dict[str, str], log: Path) -> dict[str, str]:
    return {**planted, "OPENED_LOG": str(log), "SLOW_S": "0.3"}


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.long)])
def on(request: pytest.FixtureRequest, slowly: dict[str, str]) -> Iterator[list[str]]:
    """The options that choose the executor."""
    if request.param == "local":
        yield []
        return
    pytest.importorskip("ray")
    from ray_cluster import two_nodes

    with two_nodes(slowly) as cluster:
        yield ["--on", f"ray:{cluster.address}"]


@pytest.fixture
def extract(hcq, on: list[str], slowly: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def run(videos: Path, store: str, *more: str, code: int = 0) -> dict[str, Any]:
        done = hcq("extract", videos, *EXPERTS, "-o", store, "--json", *on, *more, env=slowly, code=code)
        return done.json

    return run


@pytest.fixture(scope="module")
def videos(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, a copy of one of them, and an empty file."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copytree(clips, folder, dirs_exist_ok=True)
    shutil.copy(folder / "clip1.mp4", folder / "copy.mp4")
    (folder / "empty.mp4").touch()
    return folder


def test_every_video_once_and_the_same_bytes(extract, hcq, videos: Path, slowly, log: Path, tmp_path: Path) -> None:
    hcq("extract", videos, *EXPERTS, "-o", "one", "--workers", "1", env=slowly, code=3)
    for workers in ("1", "2"):
        log.write_text("")
        done = extract(videos, workers, "--decoder", "planted:Slow", "--workers", workers, code=3)
        assert (done["videos"], done["extracted"], done["duplicates"], len(done["failed"])) == (8, 6, 1, 1)
        assert len(log.read_text().split()) == 6
        assert contents(tmp_path / workers) == contents(tmp_path / "one")
        log.write_text("")
        assert extract(videos, workers, code=3)["skipped"] == 7 and not log.read_text()
    assert shard_digests(tmp_path / "1") == shard_digests(tmp_path / "2")


def test_a_failure_is_told_above_the_bar_when_it_happens(on, clips: Path, slowly, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(clips, folder)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    run = [sys.executable, "-m", "hcq_cli", "extract", str(folder), *EXPERTS, "-o", "store", *on]
    terminal, its_end = os.openpty()
    process = subprocess.Popen(
        [*run, "--decoder", "planted:Slow"],
        cwd=tmp_path,
        env={**os.environ, **slowly, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.DEVNULL,
        stderr=its_end,
    )
    os.close(its_end)
    seen = b""
    with suppress(OSError):  # which says that the other end is closed
        while piece := os.read(terminal, 1 << 16):
            seen += piece
    os.close(terminal)
    assert process.wait() == 3
    line = seen.index(b"failed: " + os.fsencode(folder / "broken.mp4"))
    assert b"/7" in seen[:line] and b"7/7" not in seen[:line] and b"7/7" in seen[line:]


@pytest.mark.long  # of the local executor test_local.py proves as much, and memory besides
def test_hang_crash_and_chatter_cost_only_themselves(extract, hcq, clips: Path, planted, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(clips, bad)
    for n, name in enumerate(("spin", "crash", "leave", "chatter", "deafening")):
        clip(bad / f"{name}.mp4", seed=20 + n)
    done = extract(bad, "bad-store", "--decoder", "planted:Mischief", "--timeout-s", "6", code=3)
    failed = {Path(item["path"]).stem: item["error"] for item in done["failed"]}
    assert set(failed) == {"spin", "crash", "leave"} and "longer than 6 s" in failed["spin"]
    assert failed["crash"] == "the decoder crashed: SIGSEGV" and "exit code 7" in failed["leave"]
    assert {"chatter.mp4", "deafening.mp4"} <= set(contents(tmp_path / "bad-store"))
    assert len(extract(bad, "bad-store", code=3)["failed"]) == 3  # remembered


def test_what_no_worker_can_do_ends_the_run_with_its_reason(hcq, on, clips: Path, slowly) -> None:
    done = hcq("extract", clips, *EXPERTS, "--decoder", "nowhere:Nothing", *on, env=slowly, code=1)
    assert "nowhere" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("by", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_where_it_is_ended_what_is_finished_is_kept(
    extract, on, clips: Path, slowly: dict[str, str], log: Path, tmp_path: Path, by: signal.Signals
) -> None:
    log.write_text("")
    run = [sys.executable, "-m", "hcq_cli", "extract", str(clips), *EXPERTS, "-o", "store", *on]
    process = subprocess.Popen(
        [*run, "--decoder", "planted:Slow"], cwd=tmp_path, env={**os.environ, **slowly}, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 120
    while not list((tmp_path / "store").glob("incoming/*.h5")) and time.monotonic() < end:
        time.sleep(0.05)
    finished = {path.name for path in (tmp_path / "store").glob("incoming/*.h5")}
    process.send_signal(by)
    _, errors = process.communicate(timeout=60)
    if by == signal.SIGINT:
        assert process.returncode == 130 and b"Traceback" not in errors and b"interrupted" in errors
        finished = set(contents(tmp_path / "store"))
    assert finished
    extract(clips, "store", "--decoder", "planted:Slow")
    assert len(contents(tmp_path / "store")) == 6
    # Those in flight alone are decoded twice: one a worker.
    assert len(log.read_text().split()) <= 6 + 2
