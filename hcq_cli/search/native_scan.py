"""The scan in C (_scan.c), where it could be compiled: AVX-512, AVX2 or portable, as the processor has them."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from hcq_cli.search.blocks import Blocks
from hcq_cli.search.kernel import TopK, best, merge

QUERIES_A_PASS = 16
"""Queries that share a pass over memory: their tables take 5 KiB a sub-quantizer together."""


class NativeKernel:
    """One of the C kernels.

    Args:
        module: the compiled `_scan`.
        name: "avx512", "avx2" or "portable".
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self.name = module, name

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        """See `Kernel.topk`."""
        if not blocks.videos or not len(tables):
            return merge([], len(tables), k)
        found = [
            self._topk(blocks, tables[at : at + QUERIES_A_PASS], k) for at in range(0, len(tables), QUERIES_A_PASS)
        ]
        return TopK(np.concatenate([part.scores for part in found]), np.concatenate([part.rows for part in found]))

    def _topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        queries, subquantizers, codewords = tables.shape
        k = min(k, blocks.videos)
        scores, rows = np.empty((queries, k)), np.empty((queries, k), np.int64)
        count = self._module.scan(
            self.name,
            np.ascontiguousarray(blocks.codes),
            blocks.videos,
            subquantizers,
            np.ascontiguousarray(tables, np.float32),
            queries,
            codewords,
            None if blocks.dead is None else np.ascontiguousarray(blocks.dead),
            scores,
            rows,
            k,
        )
        ordered = [best(*pair, k) for pair in zip(scores[:, :count], rows[:, :count], strict=True)]
        return TopK(np.stack([pair[0] for pair in ordered]), np.stack([pair[1] for pair in ordered]))


def native_kernels() -> list[NativeKernel]:
    """The C kernels that this processor can run, the fastest first; none where nothing was compiled."""
    try:
        module = importlib.import_module("hcq_cli.search._scan")
    except ImportError:
        return []
    return [NativeKernel(module, name) for name in module.kernels()]
