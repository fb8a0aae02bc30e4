"""Builds a large store and measures reading it: `python tests/support/large_store.py build|read FOLDER VIDEOS`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experts.base import Tokens
from hcq_cli.features.records import VideoFeatures
from hcq_cli.features.store import FeatureStore
from hcq_cli.features.writer import FeatureWriter

DIMS = {"appearance": 400, "motion": 200, "audio": 200, "face": 200}
EXPERTS = tuple(DIMS)


def memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def videos(count: int) -> Iterator[VideoFeatures]:
    random = np.random.default_rng(0)
    pool = {name: random.standard_normal((4096, dim), np.float32) for name, dim in DIMS.items()}
    clock = np.arange(20, dtype=np.float32)
    for at in range(count):
        tokens = {}
        for name, n in zip(EXPERTS, random.integers(5, 14, len(EXPERTS)), strict=True):
            begin = int(random.integers(0, 4096 - n))
            tokens[name] = Tokens(pool[name][begin : begin + n], clock[:n])
        identities = {name: f"{name}|1|||" for name in EXPERTS}
        digest = f"{at:064x}"
        yield VideoFeatures(
            f"folder {at % 97}/clip-{at:07d}.mp4",
            f"/videos/folder {at % 97}/clip-{at:07d}.mp4",
            digest,
            at,
            at,
            10.0,
            "pyav",
            [],
            tokens,
            identities,
        )


def build(folder: Path, count: int) -> dict[str, float]:
    before = memory_mb("RssAnon")
    began = time.perf_counter()
    with FeatureWriter(folder) as writer:
        writer.add_videos(videos(count))
    held = sum(path.stat().st_size for path in (folder / "shards").iterdir())
    return {
        "seconds": time.perf_counter() - began,
        "bytes": held,
        "shards": len(list((folder / "shards").iterdir())),
        "anon_before_mb": before,
        "anon_after_mb": memory_mb("RssAnon"),
        "peak_mb": memory_mb("VmHWM"),
    }


def read(folder: Path, batches: int = 1000, size: int = 128) -> dict[str, float]:
    """Times are those of the processor, of which others may need some, too."""
    anon = memory_mb("RssAnon")
    began = time.process_time()
    store = FeatureStore.open(folder)
    opened = time.process_time() - began
    assert store.row("folder 5/clip-0000005.mp4") is not None
    looked_up = time.process_time() - began
    assert "h5py" not in sys.modules
    random, spent, tokens = np.random.default_rng(1), [], 0
    for _ in range(batches):
        rows = random.integers(0, len(store), size)
        began = time.process_time()
        batch = store.read(rows)
        spent.append(1000 * (time.process_time() - began))
        tokens += sum(len(found.times) for found in batch.values())
        del batch
    return {
        "videos": len(store),
        "open_s": opened,
        "open_and_look_up_s": looked_up,
        "median_ms": float(np.median(spent)),
        "p99_ms": float(np.quantile(spent, 0.99)),
        "max_ms": max(spent),
        "max_at": spent.index(max(spent)),
        "over_50_ms": sum(ms > 50 for ms in spent),
        "tokens": tokens,
        "anon_grown_mb": memory_mb("RssAnon") - anon,
        "peak_mb": memory_mb("VmHWM"),
    }


if __name__ == "__main__":
    step, folder = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(build(folder, int(sys.argv[3])) if step == "build" else read(folder)))
