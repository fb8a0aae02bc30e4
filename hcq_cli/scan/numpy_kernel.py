"""The scan in plain NumPy: the canonical sum itself, in bounded memory. Works everywhere; others must equal it."""

from __future__ import annotations

import numpy as np

from hcq_cli.scan.blocks import WIDTH, Blocks
from hcq_cli.scan.topk import TopK, Visits, best, merge, none_found

CELLS = 1 << 21
"""Scores held at once, over all queries of a pass: 16 MiB of float64."""
BLOCKS_A_PASS = 64
"""16,384 videos: their scores and indices stay in a core's cache."""


class NumpyKernel:
    """Adds up table entries one sub-quantizer at a time."""

    name = "numpy"

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        """See `Kernel.topk`."""
        group = max(1, CELLS // (BLOCKS_A_PASS * WIDTH))
        found = [self._topk(blocks, tables[at : at + group], k) for at in range(0, len(tables), group)]
        return TopK(np.concatenate([part.scores for part in found]), np.concatenate([part.rows for part in found]))

    def _topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> TopK:
        entries = tables.astype(np.float64)
        running = merge([], len(tables), k)
        for start in range(0, len(blocks.codes), BLOCKS_A_PASS):
            part = blocks.part(start, min(start + BLOCKS_A_PASS, len(blocks.codes)))
            scores = _scores(part.codes, entries)
            rows = part.rows_of(np.arange(part.videos))
            alive = part.alive(rows)
            rows += 0 if blocks.ordered else start * WIDTH
            pairs = (best(row[: part.videos][alive], rows[alive], k) for row in scores)
            found = [np.stack(column) for column in zip(*pairs, strict=True)]
            running = merge([running, TopK(found[0], found[1])], len(tables), k)
        return running

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """See `Kernel.visit`."""
        entries = tables.astype(np.float64)
        found = [none_found()] * len(tables)
        for first, stop, first_asker, stop_asker in visits.ranges.tolist():
            asking = visits.askers[first_asker:stop_asker]
            start = first // WIDTH
            scores = _scores(blocks.codes[start : -(-stop // WIDTH)], entries[asking])
            rows = blocks.rows_of(np.arange(first, stop))
            alive = blocks.alive(rows)
            for query, row in zip(asking.tolist(), scores, strict=True):
                seen = row[first - start * WIDTH : stop - start * WIDTH][alive]
                held = found[query]
                joined = np.concatenate([held.scores, seen]), np.concatenate([held.rows, rows[alive]])
                found[query] = TopK(*best(*joined, k))
        return found


def _scores(codes: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The canonical scores float64 [Q, B·256] of codes [B, S, 256] for table entries float64 [Q, S, K]."""
    queries, subquantizers, _ = entries.shape
    scores = np.zeros((queries, len(codes) * WIDTH))
    looked_up = np.empty(scores.shape[1])
    for s in range(subquantizers):
        column = codes[:, s, :].reshape(-1).astype(np.intp)
        for query in range(queries):
            np.take(entries[query, s], column, out=looked_up, mode="clip")
            scores[query] += looked_up
    return scores
