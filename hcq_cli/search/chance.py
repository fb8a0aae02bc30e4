"""Chance scores of what an index holds now: the best scores of generic sentences in it (model/confidence.py).

They are measured anew with each generation, because a collection grows, loses videos and is cut into segments: the
best of many rows is a better one. Only tables are looked up, so it needs no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log2

import numpy as np

from hcq_cli.model.confidence import ChanceScores
from hcq_cli.scan.blocks import Blocks, to_blocks
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables

MOST_ROWS = 100_000
"""Looked at, evenly spread; what more rows would add is told by what twice as many did."""
QUERIES_AT_ONCE = 64


def measure(
    parts: Sequence[Blocks], generic: np.ndarray, codebooks: np.ndarray, scale: np.ndarray, model: ChanceScores
) -> ChanceScores:
    """Chance scores in the living rows of an index.

    Args:
        parts: its codes, with what is dead in them.
        generic: float32 [Q, L+1, D], generic sentences as the tables take them.
        codebooks, scale: of the index, float32 [S, K, d] and [S].
        model: those of its model; kept where no row is alive.
    """
    # The slots int64 [n] of the rows that can be found.
    living = [np.flatnonzero(part.alive(part.rows_of(np.arange(part.videos)))) for part in parts]
    rows = sum(map(len, living))
    if not rows:
        return model
    if rows <= MOST_ROWS:
        best, growth = _best(parts, generic, codebooks, scale), 0.0
    else:
        step = rows / MOST_ROWS
        evenly = [slots[np.arange(0, len(slots), step).astype(np.int64)] for slots in living]
        codes = [part.at(slots) for part, slots in zip(parts, evenly, strict=True)]
        sample = np.concatenate(codes)
        halves = [_best([to_blocks(sample[side::2])], generic, codebooks, scale) for side in (0, 1)]
        best = np.maximum(*halves)
        growth = float(best.mean() - np.mean(halves)) * log2(rows / len(sample))
    deviation = float(best.std(ddof=1)) if len(best) > 1 else 0.0
    return replace(model, mean=float(best.mean()) + growth, deviation=deviation)


def _best(parts: Sequence[Blocks], generic: np.ndarray, codebooks: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The best score of each sentence, float64 [Q]."""
    found = []
    for first in range(0, len(generic), QUERIES_AT_ONCE):
        asked = tables(generic[first : first + QUERIES_AT_ONCE], codebooks, scale)
        found.append(scan(parts, asked, 1).scores[:, 0].astype(np.float64))
    return np.concatenate(found)
