"""The scan: from tables and codes to the k best videos. The seam behind which kernels are exchanged.

"The" score of a video is one canonical sum: its S table entries added in float64 in the order of the
sub-quantizers. Ties go to the lowest row. So every kernel, thread count, block size and segment layout gives
the same rows and the same scores, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from hcq_cli.errors import UsageError
from hcq_cli.scan.blocks import WIDTH, CodeSource
from hcq_cli.scan.topk import Kernel, TopK, merge

LEAST_BLOCKS = 64
"""Least work worth a task: 16,384 videos."""


def kernels() -> dict[str, Kernel]:
    """What this machine can run, the fastest first."""
    from hcq_cli.scan.native_kernel import native_kernels
    from hcq_cli.scan.numpy_kernel import NumpyKernel

    known: list[Kernel] = [*native_kernels(), NumpyKernel()]
    return {by.name: by for by in known}


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


def default_threads() -> int:
    """As many threads as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def scan(
    sources: Sequence[CodeSource], tables: np.ndarray, k: int, *, threads: int = 1, by: Kernel | None = None
) -> TopK:
    """Search sources that follow each other; rows count through them, dead ones included.

    Args:
        sources: the segments of an index (`Blocks`), or a code file's codes (`RowMajorCodes`).
        tables: float32 [Q, S, K].
        k: how many to find, at least 1.
        threads: cores to use.
        by: the kernel; the fastest one where none is given.
    """
    by = by or kernel()
    tasks = _tasks(sources, threads) if len(tables) else []

    def run(task: tuple[int, CodeSource, int, int]) -> TopK:
        first_row, source, start, stop = task
        found = by.topk(source.part(start, stop), tables, k)
        return TopK(found.scores, found.rows + first_row)

    if threads <= 1 or len(tasks) <= 1:
        return merge([run(task) for task in tasks], len(tables), k)
    with ThreadPoolExecutor(threads) as pool:
        return merge(list(pool.map(run, tasks)), len(tables), k)


def _tasks(sources: Sequence[CodeSource], threads: int) -> list[tuple[int, CodeSource, int, int]]:
    """What to scan at a time: what to add to its rows, the source, its first block and the one after its last."""
    tasks, first_row = [], 0
    for source in sources:
        count = -(-source.videos // WIDTH)
        size = max(LEAST_BLOCKS, -(-count // threads))
        size = min(size, source.most_blocks or size)
        for start in range(0, count, size):
            before = first_row + (0 if source.ordered else start * WIDTH)
            tasks.append((before, source, start, min(start + size, count)))
        first_row += source.videos
    return tasks
