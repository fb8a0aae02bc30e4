"""How a large collection is searched: build an index with lists at any size, and measure it against looking into all.

    hcq demo                                       # or your own: extract, train, encode
    python examples/large_index.py --workspace hcq-demo/.hcq --videos 5000000

The videos are those of the workspace's code file and more, made from them by exchanging codewords for near ones
(hcq_cli/bench/synthetic_codes.py). Queries are captions, through the model's text encoder; some of them choose how
near the best a list must come to be looked into, the others are measured. Needs about 3 × videos × bytes of disk, and
2 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from hcq_cli.bench.synthetic_codes import extend
from hcq_cli.codes.codefile import CodeFile, CodeWriter, open_codes
from hcq_cli.datasets.captions import read_captions
from hcq_cli.scan.kernels import kernel
from hcq_cli.scan.table import tables
from hcq_cli.search.index import Index
from hcq_cli.search.index_writer import build
from hcq_cli.search.ivf_training import QUERIES, TuningQueries
from hcq_cli.search.params import SearchParams
from hcq_cli.search.query import find
from hcq_cli.search.text_encoder import open_checkpoint_encoder
from hcq_cli.workspace import Workspace

TOP = 10
HELD_OUT = 300
"""Most queries measured."""
TIMED = 50
"""As many of them are timed."""


def note(line: str) -> None:
    """To stderr: stdout holds the figures."""
    print(line, file=sys.stderr, flush=True)


def write_extended(file: CodeFile, videos: int, path: Path) -> None:
    """A code file of `videos` codes made from those of `file`, as hcq_cli/bench/synthetic_codes.py makes them."""
    with CodeWriter(path, file.header, file.codebooks, file.scale) as writer:
        for codes in extend(file.codes, file.codebooks, videos):
            ids = [f"v{row:09d}" for row in range(writer.videos, writer.videos + len(codes))]
            writer.append(ids, ids, codes)


def copy_seconds(path: Path) -> float:
    """To copy a file, with fsync: what any index must at least cost."""
    copy = path.with_suffix(".copy")
    started = time.perf_counter()
    shutil.copyfile(path, copy)
    with copy.open("rb+") as written:
        os.fsync(written.fileno())
    seconds = time.perf_counter() - started
    copy.unlink()
    return seconds


def encode_captions(workspace: Workspace, file: CodeFile, count: int) -> np.ndarray:
    """Captions of videos that training has not seen, if the file says which; float32 [Q, L+1, D]."""
    videos = read_captions(workspace.captions).videos
    unseen = [video for video in videos if video.split in ("test", "val")] or videos
    texts = list(dict.fromkeys(text for video in unseen for text in video.captions))
    chosen = np.random.default_rng(0).permutation(len(texts))[:count]
    caption_encoder = open_checkpoint_encoder([*file.checkpoints, workspace.model], file.header.model_hash)
    return caption_encoder.encode([texts[at] for at in chosen])


class Memory:
    """The most memory this process held, megabytes; not counting pages of mapped files, which can be taken back."""

    def __init__(self) -> None:
        self.most_mb, self._stop = 0.0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._watcher.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.most_mb = max(self.most_mb, held_mb())


def held_mb() -> float:
    """Memory that is this process's own now, megabytes (Linux tells; elsewhere the most resident so far)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ask(index: Index, levels: np.ndarray, params: SearchParams) -> np.ndarray:
    """Rows [Q, 10] that queries [Q, L+1, D] find."""
    table = tables(levels, index.codebooks, index.scale)
    return find(index, levels, table, TOP, params=params).rows


def milliseconds(index: Index, levels: np.ndarray, params: SearchParams) -> float:
    """Of a query, asked one by one; tabulating is counted."""
    started = time.perf_counter()
    for query in levels:
        ask(index, query[None], params)
    return (time.perf_counter() - started) * 1000 / len(levels)


def measure(index: Index, levels: np.ndarray, threads: int, passes: int) -> dict[str, float]:
    """The lists beside the exhaustive search for queries [Q, L+1, D]: what they find, and best times of `passes`."""
    right, found = (ask(index, levels, SearchParams(exact=exact, threads=threads)) for exact in (True, False))
    shared = [len(set(a) & set(b)) for a, b in zip(right.tolist(), found.tolist(), strict=True)]
    timed, exact_ms, listed_ms = levels[:TIMED], np.inf, np.inf
    for _ in range(passes):  # turn and turn about, so that a busy machine is busy for both
        exact_ms = min(exact_ms, milliseconds(index, timed, SearchParams(exact=True, threads=threads)))
        listed_ms = min(listed_ms, milliseconds(index, timed, SearchParams(threads=threads)))
    return {
        "exhaustive_ms": exact_ms,
        "lists_ms": listed_ms,
        "times_faster": exact_ms / listed_ms,
        "recall_at_10": float(np.mean(shared)) / TOP,
        "queries": len(levels),
    }


def main() -> None:
    """Make the codes, build, ask, and print one JSON document."""
    parser = argparse.ArgumentParser(description="Build an index with lists at any size, and measure it.")
    parser.add_argument("--workspace", type=Path, default=Path(".hcq"))
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--lists", type=int, default=None, help="default: as hcq index build --partitions auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--queries", type=int, default=QUERIES + HELD_OUT)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the files are made (default: a temporary one)"
    )
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    file = open_codes(workspace.codes)
    levels = encode_captions(workspace, file, options.queries)
    held_out = levels[: max(1, min(HELD_OUT, len(levels) // 2))]
    tuning = TuningQueries(levels[len(held_out) :], "captions")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        note(f"making {options.videos:,} videos from {len(file):,}…")
        write_extended(file, options.videos, folder / "codes.hcq")
        copied_s = copy_seconds(folder / "codes.hcq")
        note("building the index…")
        started = time.perf_counter()
        with Memory() as memory:
            build(folder / "index", [open_codes(folder / "codes.hcq")], lists=options.lists, queries=lambda: tuning)
        build_s = time.perf_counter() - started
        before_mb, started = held_mb(), time.perf_counter()
        index = Index.open(folder / "index")
        open_ms, open_mb = (time.perf_counter() - started) * 1000, held_mb() - before_mb
        note("measuring…")
        figures = measure(index, held_out, options.threads, options.passes)
        tuned = index.ivf.tuning if index.ivf else None
        document = {
            "videos": index.videos,
            "encoded_videos": min(len(file), options.videos),
            "bytes_per_video": index.header.S,
            "lists": index.ivf.lists if index.ivf else 0,
            "probe": tuned.probe if tuned else None,
            "share_scanned": tuned.scanned if tuned else 1.0,
            "recall_when_built": tuned.recall if tuned else 1.0,
            "build_seconds": build_s,
            "copy_seconds": copied_s,
            "build_memory_mb": memory.most_mb,
            "open_ms": open_ms,
            "open_memory_mb": open_mb,
            "kernel": kernel().name,
            "threads": options.threads,
            **figures,
        }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
