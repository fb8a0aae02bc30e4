"""The scan in C (native/), where it could be compiled: AVX-512, AVX2, NEON or portable, as the processor has them."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from hcq_cli.scan.blocks import Blocks
from hcq_cli.scan.topk import TopK, Visits, best, merge, none_found

INTERFACE = 2
"""What `_scan.scan` takes; a module compiled from an older source is not used."""
QUERIES_A_PASS = 16
"""Queries that share a pass over memory, and look-ups where they are done together (native/together.c)."""


class NativeKernel:
    """One of the C kernels.

    Args:
        module: the compiled `_scan`.
        name: "avx512", "avx2", "neon" or "portable".
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self.name = module, name

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        """See `Kernel.topk`."""
        if not blocks.videos or not len(tables):
            return merge([], len(tables), k)
        found = [
            self._scan(blocks, tables[at : at + QUERIES_A_PASS], k, None)
            for at in range(0, len(tables), QUERIES_A_PASS)
        ]
        living = min(map(len, (rows for part in found for _, rows in part)))  # of one length: all see the same videos
        pairs = [(scores[:living], rows[:living]) for part in found for scores, rows in part]
        return TopK(np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs]))

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """See `Kernel.visit`."""
        if not blocks.videos or not len(tables) or not len(visits.ranges):
            return [none_found()] * len(tables)
        return [TopK(*pair) for pair in self._scan(blocks, tables, k, visits)]

    def _scan(
        self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        queries, subquantizers, codewords = tables.shape
        k = min(k, blocks.videos)
        scores, rows, counts = np.empty((queries, k)), np.empty((queries, k), np.int64), np.zeros(queries, np.int64)
        self._module.scan(
            self.name,
            np.ascontiguousarray(blocks.codes),
            blocks.videos,
            subquantizers,
            np.ascontiguousarray(tables, np.float32),
            queries,
            codewords,
            None if blocks.dead is None else np.ascontiguousarray(blocks.dead),
            None if blocks.order is None else np.ascontiguousarray(blocks.order),
            None if visits is None else np.ascontiguousarray(visits.ranges, np.int64),
            None if visits is None else np.ascontiguousarray(visits.askers, np.int32),
            scores,
            rows,
            counts,
            k,
        )
        return [best(scores[n, :count], rows[n, :count], k) for n, count in enumerate(counts.tolist())]


def native_kernels() -> list[NativeKernel]:
    """The C kernels that this processor can run, the fastest first; none where nothing was compiled."""
    try:
        module = importlib.import_module("hcq_cli.scan._scan")
    except ImportError:
        return []
    if getattr(module, "INTERFACE", 1) != INTERFACE:
        return []
    return [NativeKernel(module, name) for name in module.kernels()]
