"""Many clients at once, while a writer replaces the index: no error, no mixture of two indexes, no growing memory."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from served import Served, served_here
from trained import CAPTIONS, save_workspace

from hcq_cli.api.indexing import build_index
from hcq_cli.bench.synthetic_codes import extend
from hcq_cli.codes.codefile import CodeWriter, open_codes
from hcq_cli.workspace import Workspace

pytest.importorskip("starlette")
SIDES = ("a", "b")
SHAPES: dict[int, dict[str, int]] = {16: {}, 256: {"width": 128, "levels": 7, "codebooks": 32, "codewords": 256}}
"""Of models, by the bytes of their codes."""


def memory_mb(pid: int) -> float:
    """What a process holds for itself; maps of files do not count."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def cpu_s(pid: int) -> float:
    """What a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def two_collections(root: Path, videos: int, size: int) -> list[Path]:
    """A workspace, and two code files of `size` bytes a video for it; ids begin with the name of their file."""
    save_workspace(root, **SHAPES[size])
    file = open_codes(root / "codes.hcq")
    paths = [root / f"{side}.hcq" for side in SIDES]
    for seed, path in enumerate(paths):
        with CodeWriter(path, file.header, file.codebooks, file.scale) as writer:
            for codes in extend(np.asarray(file.codes[:]), file.codebooks, videos, seed):
                ids = [f"{path.stem}/{row}.mp4" for row in range(writer.videos, writer.videos + len(codes))]
                writer.append(ids, ids, codes)
    build_index(Workspace(root), [paths[0]], words=False)
    return paths


class Clients:
    """Threads that search, one request after the other, and note what came back.

    Args:
        served: the server.
        pid: its process.
        count: of clients.
        warm: after so many requests its memory is noted.
    """

    def __init__(self, served: Served, pid: int, count: int, warm: int) -> None:
        self.took_s: list[float] = []
        self.sides: list[set[str]] = []
        self.errors: list[str] = []
        self.early_mb, self._pid, self._warm = 0.0, pid, warm
        self._served, self._ending = served, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        asked = 0
        while not self._ending.is_set():
            asked += 1
            query = urlencode({"q": f"{CAPTIONS[asked % 4]} {number} {asked}", "k": 20})
            begun = time.perf_counter()
            try:
                status, _, body = self._served.get("/api/search?" + query)
            except OSError as error:
                self.errors.append(repr(error))
                continue
            self.took_s.append(time.perf_counter() - begun)
            if not self.early_mb and len(self.took_s) >= self._warm:
                self.early_mb = memory_mb(self._pid)
            if status != 200:
                self.errors.append(f"{status} {body[:200]!r}")
                continue
            self.sides.append({hit["id"].partition("/")[0] for hit in json.loads(body)["hits"]})


def under_load(
    root: Path, *, videos: int, size: int, clients: int, seconds: float, requests: int
) -> dict[str, float]:
    """Search for some seconds, and for some requests, while the index is replaced again and again."""
    paths = two_collections(root, videos, size)
    with served_here(root) as (served, pid):
        ends, replaced, before = time.monotonic() + seconds, 0, cpu_s(pid)
        with Clients(served, pid, clients, min(1000, requests // 2)) as load:
            while time.monotonic() < ends or len(load.took_s) < requests:
                replaced += 1
                build_index(Workspace(root), [paths[replaced % 2]], words=False)
        held, spent = memory_mb(pid), cpu_s(pid) - before
    assert not load.errors and all(len(each) == 1 for each in load.sides)
    assert {side for each in load.sides for side in each} == set(SIDES)
    p50, p99 = (float(np.percentile(load.took_s, share)) for share in (50, 99))
    return {
        "requests": len(load.took_s),
        "replaced": replaced,
        "p50_s": p50,
        "p99_s": p99,
        "cpu_ms": 1000 * spent / len(load.took_s),
        "held_mb": held,
        "grown_mb": held - load.early_mb,
    }


@pytest.mark.long
@pytest.mark.parametrize("size", SHAPES)
def test_clients_get_whole_answers_while_the_index_is_replaced(tmp_path: Path, size: int) -> None:
    found = under_load(tmp_path / ".hcq", videos=20_000, size=size, clients=8, seconds=5, requests=300)
    print(found)
    assert found["grown_mb"] < 64


@pytest.mark.slow
@pytest.mark.parametrize("size", SHAPES)
def test_fifty_clients_a_million_videos(tmp_path: Path, size: int) -> None:
    found = under_load(tmp_path / ".hcq", videos=1_000_000, size=size, clients=50, seconds=60, requests=10_000)
    print(found)
    assert found["grown_mb"] < 128
