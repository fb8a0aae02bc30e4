"""The kernels of the processor, the choice among them, and the scan of whole collections.

`NumpyKernel` is the canonical sum itself in plain NumPy. It works everywhere, and all others must equal it.
`NativeKernel` is in C (native/), where that could be compiled: AVX-512, AVX2, NEON or portable, as the processor has
them. The kernel of a graphics card is in device.py.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import TypeVar

import numpy as np

from hcq_cli.errors import UsageError
from hcq_cli.scan.blocks import WIDTH, Blocks
from hcq_cli.scan.topk import NOTHING_FOUND, Kernel, TopK, Visits, best_of, merge, stack

Task = TypeVar("Task")
SCORES_AT_ONCE = 1 << 21
"""Scores that NumPy holds at once, over all queries of a pass: 16 MiB of float64."""
BLOCKS_A_PASS = 64
"""16,384 videos: their scores and indices stay in a core's cache."""
QUERIES_A_PASS = 16
"""Queries that share a pass over memory in C, and look-ups where they are done together (native/together.c)."""
INTERFACE = 3
"""What `_scan.scan` takes; a module compiled from an older source is not used."""
LEAST_BLOCKS = 64
"""Least work worth a thread: 16,384 videos."""


class NumpyKernel:
    """Adds up table entries one sub-quantizer at a time, in bounded memory."""

    name = "numpy"

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        """See `Kernel.topk`."""
        group = max(1, SCORES_AT_ONCE // (BLOCKS_A_PASS * WIDTH))
        return [one for at in range(0, len(tables), group) for one in self._topk(blocks, tables[at : at + group], k)]

    def _topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        entries, found = tables.astype(np.float64), [NOTHING_FOUND] * len(tables)
        for start in range(0, len(blocks.codes), BLOCKS_A_PASS):
            part = blocks.part(start, min(start + BLOCKS_A_PASS, len(blocks.codes)))
            scores = canonical_scores(part.codes, entries)
            rows = part.rows_of(np.arange(part.videos))
            alive = part.alive(rows)
            # A part without an order of its own numbers its rows from 0.
            rows += start * WIDTH if blocks.order is None else 0
            owners = None if part.owners is None else part.owners[alive].astype(np.int64)
            for query, row in enumerate(scores):
                found[query] = merge([found[query], TopK(row[: part.videos][alive], rows[alive], owners)], k)
        return found

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """See `Kernel.visit`."""
        entries = tables.astype(np.float64)
        found = [NOTHING_FOUND] * len(tables)
        for first, stop, first_asker, stop_asker in visits.ranges.tolist():
            asking = visits.askers[first_asker:stop_asker]
            # Ranges begin anywhere, blocks every 256 slots: whole blocks are scored, then cut to the range.
            start = first // WIDTH
            scores = canonical_scores(blocks.codes[start : -(-stop // WIDTH)], entries[asking])
            rows = blocks.rows_of(np.arange(first, stop))
            alive = blocks.alive(rows)
            for query, row in zip(asking.tolist(), scores, strict=True):
                seen = row[first - start * WIDTH : stop - start * WIDTH][alive]
                owners = None if blocks.owners is None else blocks.owners[first:stop][alive].astype(np.int64)
                found[query] = merge([found[query], TopK(seen, rows[alive], owners)], k)
        return found


def canonical_scores(codes: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The canonical scores float64 [Q, B·256] of codes [B, S, 256] for table entries float64 [Q, S, K]."""
    queries, subquantizers, _ = entries.shape
    scores = np.zeros((queries, len(codes) * WIDTH))
    looked_up = np.empty(scores.shape[1])
    for s in range(subquantizers):
        # Indices of the size of a pointer: NumPy would convert any others again for every query.
        column = codes[:, s, :].reshape(-1).astype(np.intp)
        for query in range(queries):
            np.take(entries[query, s], column, out=looked_up, mode="clip")
            scores[query] += looked_up
    return scores


class NativeKernel:
    """One of the kernels in C.

    They round tables to few bits and add in whole vectors, which gives an upper bound of a score; only videos whose
    bound could be among the best are scored canonically (native/scan.h).

    Args:
        module: the compiled `_scan`.
        name: "avx512", "avx2", "neon" or "portable".
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self.name = module, name

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        """See `Kernel.topk`."""
        if not blocks.videos:
            return [NOTHING_FOUND] * len(tables)
        portions = [slice(at, at + QUERIES_A_PASS) for at in range(0, len(tables), QUERIES_A_PASS)]
        return [one for portion in portions for one in self._scan(blocks, tables[portion], k, None)]

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """See `Kernel.visit`."""
        if not blocks.videos or not len(tables) or not len(visits.ranges):
            return [NOTHING_FOUND] * len(tables)
        return self._scan(blocks, tables, k, visits)

    def _scan(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits | None) -> list[TopK]:
        queries, subquantizers, codewords = tables.shape
        k = min(k, blocks.videos)
        scores, rows, counts = np.empty((queries, k)), np.empty((queries, k), np.int64), np.zeros(queries, np.int64)
        owners = None if blocks.owners is None else np.empty((queries, k), np.uint32)
        self._module.scan(
            kernel=self.name,
            codes=np.ascontiguousarray(blocks.codes),
            slots=blocks.videos,
            S=subquantizers,
            tables=np.ascontiguousarray(tables, np.float32),
            Q=queries,
            K=codewords,
            dead=None if blocks.dead is None else np.ascontiguousarray(blocks.dead),
            order=None if blocks.order is None else np.ascontiguousarray(blocks.order),
            videos=None if blocks.owners is None else np.ascontiguousarray(blocks.owners, np.uint32),
            visits=None if visits is None else np.ascontiguousarray(visits.ranges, np.int64),
            askers=None if visits is None else np.ascontiguousarray(visits.askers, np.int32),
            scores=scores,
            rows=rows,
            found_videos=owners,
            counts=counts,
            k=k,
        )
        heaps = TopK(scores, rows, None if owners is None else owners.astype(np.int64))
        # C leaves a heap, in no order that a caller could use.
        return [best_of(heaps[n][:count], k) for n, count in enumerate(counts.tolist())]


@cache
def kernels() -> dict[str, Kernel]:
    """What this machine can run, the fastest first: those in C, where they were compiled, and NumPy."""
    known: list[Kernel] = []
    with suppress(ImportError):
        module = importlib.import_module("hcq_cli.scan._scan")
        if getattr(module, "INTERFACE", 1) == INTERFACE:
            known += [NativeKernel(module, name) for name in module.kernels()]
    return {by.name: by for by in [*known, NumpyKernel()]}


@cache
def _on_device(device: str) -> Kernel:
    from hcq_cli.scan.device import DeviceKernel

    return DeviceKernel(device, beside=next(iter(kernels().values())))


def kernel(name: str | None = None) -> Kernel:
    """The kernel named, or by `HCQ_KERNEL`, or the fastest of this machine; "torch:cuda" is one on a device.

    Raises:
        UsageError: there is no such kernel here.
    """
    known = kernels()
    wanted = name or os.environ.get("HCQ_KERNEL") or next(iter(known))
    if wanted.startswith("torch:"):
        return _on_device(wanted.removeprefix("torch:"))
    if wanted not in known:
        raise UsageError(f"no scan kernel {wanted!r} on this machine", f"HCQ_KERNEL can be {', '.join(known)}")
    return known[wanted]


def scan(
    sources: Sequence[Blocks], tables: np.ndarray, k: int, *, threads: int = 1, by: Kernel | None = None
) -> TopK:
    """Search sources that follow each other; rows count through them, dead ones included.

    Args:
        sources: the segments of an index, or a code file's codes (`RowMajorCodes`).
        tables: float32 [Q, S, K].
        k: how many to find, at least 1.
        threads: cores to use.
        by: the kernel; the fastest one where none is given.
    """
    by = by or kernel()
    # (the first row of a source, the source, its first block to scan, the one after the last)
    tasks: list[tuple[int, Blocks, int, int]] = []
    first_row = 0
    for source in sources if len(tables) else ():
        blocks = -(-source.videos // WIDTH)
        size = max(LEAST_BLOCKS, -(-blocks // threads))
        size = min(size, source.most_blocks or size)
        for start in range(0, blocks, size):
            tasks.append((first_row, source, start, min(start + size, blocks)))
        first_row += source.videos

    def run(task: tuple[int, Blocks, int, int]) -> list[TopK]:
        first, source, start, stop = task
        part = source.part(start, stop)
        # A part without an order of its own numbers its rows from 0.
        before = start * WIDTH if part.order is None else 0
        return [found.numbered_from(first, before) for found in by.topk(part, tables, k)]

    return stack(merge_tasks(run, tasks, queries=len(tables), k=k, threads=threads))


def merge_tasks(
    run: Callable[[Task], list[TopK]], tasks: Sequence[Task], *, queries: int, k: int, threads: int
) -> list[TopK]:
    """For each of the queries the best `k` of what `run` finds in all tasks, an answer a query each."""
    if threads <= 1 or len(tasks) <= 1:
        parts = [run(task) for task in tasks]
    else:
        # Threads, not processes: the kernels work without the GIL, and all of them read the same mapped pages.
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(run, tasks))
    return [merge([part[query] for part in parts], k) for query in range(queries)]
