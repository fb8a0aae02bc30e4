"""Decoders that hang or crash cost only their own video; a killed run is gone on with."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_videos import clip
from store_contents import contents

from hcq_cli.features.store import FeatureStore

EXTRACT = [sys.executable, "-m", "hcq_cli", "extract"]


def workers_of(store: Path) -> list[int]:
    """Worker processes that still run for `store`."""
    alive = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            marked = f"HCQ_TEST_STORE={store}".encode() in (place / "environ").read_bytes().split(b"\0")
            zombie = (place / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            continue
        if b"hcq_cli.extraction.worker" in words and marked and not zombie:
            alive.append(int(place.name))
    return alive


def wait_until(holds, timeout_s: float = 20.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_hang_crash_greed_and_chatter_cost_only_themselves(
    hcq, clips: Path, tmp_path: Path, planted: dict[str, str]
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(clips, bad)
    for n, name in enumerate(("spin", "hold", "crash", "greedy", "leave", "chatter", "deafening")):
        clip(bad / f"{name}.mp4", seed=20 + n)
    env = {**planted, "HCQ_MEMORY_LIMIT_GIB": "3", "HCQ_TEST_STORE": str(tmp_path)}
    run = ("extract", bad, "--experts", "colour,audio", "--decoder", "planted:Mischief", "--json")
    done = hcq(*run, "--timeout-s", "4", env=env, code=3).json
    failed = {Path(item["path"]).stem: item["error"] for item in done["failed"]}
    assert set(failed) == {"spin", "hold", "crash", "greedy", "leave"}
    assert "longer than 4 s" in failed["spin"] and "longer than 4 s" in failed["hold"]
    assert failed["crash"] == "the decoder crashed: SIGSEGV"
    assert "more memory than 3 GiB" in failed["greedy"] and "exit code 7" in failed["leave"]
    assert workers_of(tmp_path) == []
    hcq("extract", clips, "--experts", "colour,audio", "-o", "clean", env=planted)
    found, clean = contents(tmp_path / ".hcq/features"), contents(tmp_path / "clean")
    assert set(found) == {*clean, "chatter.mp4", "deafening.mp4"} and {id: found[id] for id in clean} == clean
    # A sound that crashes the decoder costs the sound.
    assert found["deafening.mp4"]["colour"][0] == "tokens" and found["deafening.mp4"]["audio"][0] == "no_frames"
    (told,) = [w["message"] for w in done["warnings"] if "deafening" in w["path"]]
    assert "crashed" in told and "sound" in told


def start(clips: Path, store: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    log = {"OPENED_LOG": f"{store}.log", "HCQ_TEST_STORE": str(store)}
    arguments = [str(clips), "--experts", "colour,audio", "--decoder", "planted:Slow", "--workers", "2"]
    return subprocess.Popen(
        [*EXTRACT, *arguments, "-o", str(store)],
        env={**os.environ, **env, **log},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(store: Path) -> set[str]:
    return set(FeatureStore.open(store).ids) if store.exists() and any(store.rglob("*.h5")) else set()


def kill_at_random_moments(clips: Path, tmp_path: Path, env: dict[str, str], kills: int, seed: int) -> None:
    clean, store, log = tmp_path / "clean", tmp_path / "killed", tmp_path / "killed.log"
    begun = time.monotonic()
    assert start(clips, clean, env).wait() == 0
    whole_s = time.monotonic() - begun
    rng = random.Random(seed)
    for _ in range(kills):
        if len(finished(store)) == len(contents(clean)):  # one collection: begin it again when it is complete
            assert contents(store) == contents(clean)
            shutil.rmtree(store)
        before = finished(store)
        log.write_text("")
        process = start(clips, store, env)
        time.sleep(rng.uniform(0.3, 1.0) * whole_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert wait_until(lambda: not workers_of(store)), "a worker outlived its parent"
        assert not before & set(log.read_text().split()), "a finished video was decoded again"
        assert before <= finished(store)
    before = finished(store)
    log.write_text("")
    assert start(clips, store, env).wait() == 0
    assert not before & set(log.read_text().split())
    assert contents(store) == contents(clean)


@pytest.mark.long
def test_sigkill_and_go_on(clips: Path, tmp_path: Path, planted: dict[str, str]) -> None:
    kill_at_random_moments(clips, tmp_path, {**planted, "SLOW_S": "0.25"}, kills=4, seed=1)


@pytest.mark.slow
def test_sigkill_twenty_times(tmp_path: Path, planted: dict[str, str]) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for seed in range(40):
        clip(videos / f"{seed}.mp4", seconds=0.5 + seed % 5 * 0.3, seed=seed)
    kill_at_random_moments(videos, tmp_path, {**planted, "SLOW_S": "0.1"}, kills=20, seed=2)


def test_interrupt_stops_at_once_and_keeps_what_is_finished(
    clips: Path, tmp_path: Path, planted: dict[str, str]
) -> None:
    store = tmp_path / "store"
    process = start(clips, store, {**planted, "SLOW_S": "0.6"})
    assert wait_until(lambda: len(finished(store)) >= 1)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and b"Traceback" not in errors and b"interrupted" in errors
    assert time.monotonic() - begun < 10 and workers_of(store) == []
    assert 1 <= len(finished(store)) < 6


def test_two_writers_do_not_mix(hcq, clips: Path, tmp_path: Path, planted: dict[str, str]) -> None:
    store = tmp_path / "store"
    process = start(clips, store, {**planted, "SLOW_S": "1"})
    try:
        assert wait_until(lambda: bool(workers_of(store)))
        done = hcq("extract", clips, "--experts", "audio", "-o", store, code=11)
        assert "another hcq process" in done.err
    finally:
        process.kill()
        process.wait()


def test_a_store_that_cannot_be_written_ends_the_run(clips: Path, tmp_path: Path) -> None:
    def small_files_only() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    run = [*EXTRACT, str(clips), "--experts", "audio,appearance", "-o", str(tmp_path / "store"), "--workers", "1"]
    done = subprocess.run(run, preexec_fn=small_files_only, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert not finished(tmp_path / "store")
