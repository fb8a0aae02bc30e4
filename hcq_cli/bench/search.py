"""How fast a search is here: ours, what one would use instead, and the time it takes to read the codes once.

All times are of the same codes and the same queries in one run: the least of several passes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hcq_cli.api.index_sources import caption_queries
from hcq_cli.api.progress import SILENT, Progress
from hcq_cli.bench import faiss_engines
from hcq_cli.bench.synthetic_codes import extend
from hcq_cli.codes.codefile import CodeFile, open_codes
from hcq_cli.cores import cores
from hcq_cli.errors import HcqError
from hcq_cli.scan.blocks import WIDTH, Blocks, to_blocks
from hcq_cli.scan.kernels import kernel, scan
from hcq_cli.scan.table import tables
from hcq_cli.scan.topk import Kernel
from hcq_cli.search.ivf_training import noisy_videos
from hcq_cli.workspace import Workspace

BATCHES = (1, 16)
"""Queries asked together."""
TOP = 10
LEAST_PASSES, MOST_PASSES = 2, 20
LONG_ENOUGH_MS = 3000.0
"""No further pass is begun after so long."""
LEAST_QUERIES = 4
MOST_QUERIES = 64


@dataclass(frozen=True)
class EngineTiming:
    """A line of the table.

    Args:
        engine: "hcq", "faiss-indexpq", "faiss-fastscan" or "dense".
        queries: asked together.
        ms_per_query: milliseconds.
        identical_top_k: share of the queries whose 10 best are the same videos as by a plain float scan of the codes.
        measured_videos: where fewer than asked for, the time is scaled from here.
    """

    engine: str
    queries: int
    ms_per_query: float
    identical_top_k: float
    measured_videos: int


@dataclass(frozen=True)
class SearchTimes:
    """What was measured.

    Args:
        videos: N.
        bytes_per_video: S.
        threads: cores used.
        kernel: name of ours.
        rows: ours first.
        bandwidth_floor_ms: to read all codes once, milliseconds.
        queries_from: "captions", or "noisy videos" where there were none.
        real_videos: among the N; the others are made from them.
        with_faiss: whether it is installed.
    """

    videos: int
    bytes_per_video: int
    threads: int
    kernel: str
    rows: tuple[EngineTiming, ...]
    bandwidth_floor_ms: float
    queries_from: str
    real_videos: int
    with_faiss: bool

    def label(self, row: EngineTiming) -> str:
        """An engine with its number of queries, for people."""
        name = f"hcq ({self.kernel})" if row.engine == "hcq" else row.engine
        return f"{name}, {row.queries} {'query' if row.queries == 1 else 'queries'}"

    def plot(self, file: Path) -> None:
        """Draw the table, and the time to read all codes once as a line. Raises HcqError without matplotlib."""
        from hcq_cli.evaluation.plots import draw_bars

        bars = [(self.label(row), row.ms_per_query) for row in self.rows]
        title = f"{self.videos:,} videos × {self.bytes_per_video} bytes, {self.threads} threads"
        draw_bars(file, title, "milliseconds a query", bars, ("reading the codes once", self.bandwidth_floor_ms))


def bench_search(
    workspace: Workspace,
    *,
    videos: int,
    codes: Path | None = None,
    threads: int | None = None,
    scratch: Path | None = None,
    progress: Progress = SILENT,
) -> SearchTimes:
    """Time searches of the workspace's codes, made as many as asked for, by queries that are its captions.

    Args:
        workspace: whose codes and captions are used; without captions the queries are videos with noise.
        videos: N; the first are those of the code file.
        codes: another code file.
        threads: cores to use; default: all.
        scratch: where an unnamed temporary file of N·S bytes fits; the system's by default.

    Raises:
        NotFoundError: there is no code file.
        HcqError: it holds no video, or there are too few queries.
    """
    file = open_codes(codes or workspace.codes)
    queries = caption_queries(workspace, file, progress)
    if queries is None:
        queries = noisy_videos(file.codes[:64], file.codebooks, file.header.levels)
    return measure(
        file,
        queries.levels,
        queries.source,
        videos=videos,
        threads=threads or cores(),
        folder=scratch,
        note=progress.note,
    )


def measure(
    file: CodeFile,
    levels: np.ndarray,
    queries_from: str,
    *,
    videos: int,
    threads: int,
    folder: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> SearchTimes:
    """Time searches of a collection of any size, made from a code file.

    Args:
        file: codes of a trained model.
        levels: the queries, float32 [Q, L+1, D].
        queries_from: what they are.
        videos: N; the first are those of the file.
        threads: cores to use.
        folder: where an unnamed temporary file of N·S bytes fits; the system's by default.
        note: told what is being done.

    Raises:
        HcqError: the file holds no video, or there are too few queries.
    """
    if not len(file) or len(levels) < LEAST_QUERIES:
        raise HcqError(f"{file.path}: too few videos or queries to measure with", "hcq encode; hcq train")
    levels = levels[:MOST_QUERIES]
    by, table = kernel(), tables(levels, file.codebooks, file.scale)
    with extended(file, videos, folder, note) as blocks:
        note(f"timing {by.name}, and reading the codes once…")
        rows, floor = _ours(blocks, table, threads, by), _floor_ms(blocks.codes, threads)

        def answers(videos: int) -> np.ndarray:
            """Ours over the first `videos`: rows int64 [Q, k]."""
            here = Blocks(blocks.codes[: -(-videos // WIDTH)], videos)
            return scan([here], table, TOP, threads=threads, by=by).rows

        if faiss_engines.available():
            rows += _theirs(file, blocks, levels, right=answers, threads=threads, note=note)
    return SearchTimes(
        videos=videos,
        bytes_per_video=file.header.S,
        threads=threads,
        kernel=by.name,
        rows=tuple(rows),
        bandwidth_floor_ms=floor,
        queries_from=queries_from,
        real_videos=min(len(file), videos),
        with_faiss=faiss_engines.available(),
    )


@contextmanager
def extended(file: CodeFile, videos: int, folder: Path | None, note: Callable[[str], None]) -> Iterator[Blocks]:
    """So many videos in kernel order, in a temporary file that is mapped."""
    note(f"making {videos:,} videos from {len(file):,}…")
    with tempfile.TemporaryFile(dir=folder) as out:
        # In a block `WIDTH` videos lie side by side, byte by byte: those that fill none wait for the next portion.
        waiting = np.empty((0, file.header.S), np.uint8)
        for codes in extend(file.codes, file.codebooks, videos):
            waiting = np.concatenate([waiting, codes])
            whole = len(waiting) // WIDTH * WIDTH
            out.write(to_blocks(waiting[:whole]).codes.data)
            waiting = waiting[whole:]
        out.write(to_blocks(waiting).codes.data)
        out.flush()
        shape = (-(-videos // WIDTH), file.header.S, WIDTH)
        yield Blocks(np.memmap(out, np.uint8, "r", shape=shape), videos)


def _least_ms(work: Sequence[Callable[[], object]]) -> float:
    """The mean over pieces of work of the least time that each took in several passes, milliseconds."""
    passes: list[list[float]] = []
    while len(passes) < LEAST_PASSES or (len(passes) < MOST_PASSES and sum(map(sum, passes)) < LONG_ENOUGH_MS):
        times = []
        for piece in work:
            started = time.perf_counter()
            piece()
            times.append((time.perf_counter() - started) * 1000)
        passes.append(times)
    # The least and not the mean: whatever else the machine does only ever adds time.
    return float(np.mean(np.min(passes, axis=0)))


def _asked(queries: int, together: int) -> list[slice]:
    """The portions in which queries are asked: alone at most four, or whole batches."""
    count = min(queries, 4 if together == 1 else together)
    return [slice(at, at + together) for at in range(0, count, together)]


def _ours(blocks: Blocks, table: np.ndarray, threads: int, by: Kernel) -> list[EngineTiming]:
    plain = kernel("numpy")
    # A few blocks tell whether both kernels agree; over all of them plain NumPy would take far too long.
    few = Blocks(blocks.codes[:64], min(blocks.videos, 64 * WIDTH))
    same = _share(scan([few], table, TOP, by=by).rows, scan([few], table, TOP, by=plain).rows)
    rows = []
    for together in BATCHES:
        portions = _asked(len(table), together)
        work = [partial(scan, [blocks], table[at], TOP, threads=threads, by=by) for at in portions]
        rows.append(EngineTiming("hcq", together, _least_ms(work) / min(together, len(table)), same, blocks.videos))
    return rows


def _theirs(
    file: CodeFile,
    blocks: Blocks,
    levels: np.ndarray,
    *,
    right: Callable[[int], np.ndarray],
    threads: int,
    note: Callable[[str], None],
) -> list[EngineTiming]:
    """Time the engines of Faiss; `right` gives our answers, int64 [Q, k], over the first `videos` of them."""
    held = min(blocks.videos, faiss_engines.MOST_VIDEOS)
    codes, rows = blocks.between(0, held), []
    note("building the indexes of Faiss…")
    for engine in faiss_engines.all_engines(codes, file.header, file.codebooks, file.scale, threads=threads):
        note(f"timing {engine.engine} over {engine.videos:,} videos…")
        found = engine.judged(levels, min(TOP, engine.judged_videos))
        same = _share(found, right(engine.judged_videos))
        for together in BATCHES:
            portions = _asked(len(levels), together)
            taken = _least_ms([partial(engine.search, levels[at], min(TOP, engine.videos)) for at in portions])
            # A scan's time is proportional to the videos: what Faiss cannot hold in memory is scaled up.
            scaled = taken / min(together, len(levels)) * blocks.videos / engine.videos
            rows.append(EngineTiming(engine.engine, together, scaled, same, engine.videos))
    return rows


def _share(found: np.ndarray, right: np.ndarray) -> float:
    """Of how many queries the same rows were found, in whatever order."""
    return float(np.mean([set(a) == set(b) for a, b in zip(found.tolist(), right.tolist(), strict=True)]))


def _floor_ms(codes: np.ndarray, threads: int) -> float:
    """The least time to read every byte once, milliseconds."""
    # Words of 8 bytes and an operation that costs next to nothing: what takes time is the memory.
    parts = np.array_split(codes.reshape(-1).view(np.uint64), max(threads, 1))
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return _least_ms([lambda: list(pool.map(np.bitwise_or.reduce, parts))])
