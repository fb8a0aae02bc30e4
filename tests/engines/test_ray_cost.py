"""What Ray costs: the real clips, in the bytes of one machine; the driver's memory. Slow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_contents import shard_digests

pytest.importorskip("ray")

from ray_cluster import two_nodes

from hcq_cli.engines.ray_cluster import connected
from hcq_cli.engines.ray_executor import RayExecutor
from hcq_cli.extraction.executor import Job
from hcq_cli.extraction.options import ExtractionOptions
from hcq_cli.features.records import VideoFacts

JOBS = 10_000
pytestmark = pytest.mark.slow


@contextmanager
def cpu_s(mark: str) -> Iterator[Callable[[], float]]:
    """Seconds of a core that all processes with this mark in their environment take in the block, looked at all the
    while: what a worker's child has taken goes with the worker when that is killed."""
    taken: dict[tuple[str, str], float] = {}
    begun, done = dict[tuple[str, str], float](), threading.Event()

    def look() -> None:
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"HCQ_TEST_STORE={mark}".encode() in (place / "environ").read_bytes():
                    words = (place / "stat").read_text().rsplit(")", 1)[1].split()
                    taken[place.name, words[19]] = sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")

    def watch() -> None:
        while not done.wait(0.5):
            look()

    look()
    begun |= taken
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield lambda: sum(taken.values()) - sum(begun.values())
    done.set()
    thread.join()


def extract(videos: Path, store: Path, *more: str) -> tuple[float, float]:
    """Wall and processor seconds of the command; of workers elsewhere the caller asks."""
    begun, before = time.monotonic(), os.times()
    run = [sys.executable, "-m", "hcq_cli", "extract", str(videos), "-o", str(store), "--workers", "2", *more]
    subprocess.run(run, check=True, capture_output=True, timeout=1800)
    after = os.times()
    return time.monotonic() - begun, sum(after[2:4]) - sum(before[2:4])


def most_plasma_bytes(mark: str) -> int:
    """The most that the object stores of all nodes have held: memory that was once touched stays with their files."""
    held: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"HCQ_TEST_STORE={mark}".encode() in (place / "environ").read_bytes():
                stores = [each.stat() for each in (place / "fd").iterdir() if "plasma" in os.readlink(each)]
                held |= {store.st_ino: store.st_blocks * 512 for store in stores}
        except OSError:
            continue
    assert held
    return sum(held.values())


def test_the_same_bytes_in_at_most_a_quarter_more_time(shared: Path, tmp_path: Path) -> None:
    videos = shared / "videos"
    with two_nodes({"HCQ_TEST_STORE": str(tmp_path)}) as cluster:
        on = ["--on", f"ray:{cluster.address}"]
        extract(videos, tmp_path / "warm", *on, "--max-seconds", "0.5")
        rows: list[dict[str, Any]] = []
        for turn in range(int(os.environ.get("HCQ_TEST_TURNS", "2"))):
            wall, cpu = extract(videos, tmp_path / f"local{turn}")
            with cpu_s(str(tmp_path)) as taken:
                ray_wall, ray_cpu = extract(videos, tmp_path / f"ray{turn}", *on)
                ray_cpu += taken()
            rows.append({"wall": ray_wall / wall, "cpu": ray_cpu / cpu, "local_s": wall, "local_cpu_s": cpu})
            print(rows[-1], os.getloadavg(), flush=True)
            assert shard_digests(tmp_path / f"ray{turn}") == shard_digests(tmp_path / "local0")
        most = most_plasma_bytes(str(tmp_path))
        print("object stores held at most", most, "bytes")
        assert most < 50 << 20
    # What others do on the machine is in the wall time of either, and not the same.
    assert min(row["cpu"] for row in rows) <= 1.25


def test_the_driver_does_not_grow_with_its_jobs(tmp_path: Path) -> None:
    """10,000 jobs, each the hash of a small file."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"some bytes")
    options = ExtractionOptions(tmp_path / "store", workers=2)
    facts = VideoFacts("", str(path), content_hash="", size=10, mtime_ns=0)
    sizes: list[int] = []
    with connected("ray:local"):
        executor = RayExecutor([str(path)] * JOBS, ["audio"], options)
        left = (Job(replace(facts, id=f"{number}.mp4")) for number in range(JOBS))
        running = 0
        for done in range(JOBS):
            while running < executor.slots and (job := next(left, None)) is not None:
                executor.submit(job)
                running += 1
            _, outcome = executor.next_outcome()
            running -= 1
            assert outcome.content_hash
            if done % 1000 == 999:
                resident = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
                sizes.append(int(resident) * 1024)
        executor.close()
    print(sizes)
    assert sizes[-1] - sizes[1] < 16 << 20
