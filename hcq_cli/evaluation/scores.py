"""Scores of queries with items, made some queries at a time: what is measured never holds a whole matrix [Q, N]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.cores import cores
from hcq_cli.scan.blocks import to_blocks
from hcq_cli.scan.kernels import scan
from hcq_cli.scan.table import tables

QUERIES_AT_ONCE = 256
"""Tables held at a time: 64 MiB of them at S = K = 256."""


class Scores(Protocol):
    """A matrix [Q, N] of which some rows can be had; an array is one too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Q and N."""
        ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]:
        """Scores of some queries with all items, [q, N]."""
        ...


class LookUpScores:
    """Hybrid scores of every query with every coded item, by the tables and the scan that `hcq query` searches with.

    They are canonical sums (`search.kernel`), so what ties in a search ties here, and nothing else does.

    Args:
        levels: float32 [Q, L+1, D], dense queries, as `Model.search_vectors` gives them.
        codes: uint8 [N, S].
        codebooks: float32 [S, K, d].
        scale: float32 [S].
    """

    def __init__(
        self,
        levels: NDArray[np.float32],
        codes: NDArray[np.uint8],
        codebooks: NDArray[np.float32],
        scale: NDArray[np.float32],
    ) -> None:
        self._levels, self._codebooks, self._scale = levels, codebooks, scale
        self._blocks, self.shape = to_blocks(codes), (len(levels), len(codes))

    def __getitem__(self, rows: slice, /) -> NDArray[np.float64]:
        """float64 [q, N], the very sums that a search ranks by."""
        levels = self._levels[rows]
        scores = np.zeros((len(levels), self.shape[1]))
        for first in range(0, len(levels), QUERIES_AT_ONCE):
            part = slice(first, first + QUERIES_AT_ONCE)
            table = tables(levels[part], self._codebooks, self._scale)
            # A search for all N items: the only difference to `hcq query` is how many it asks for.
            found = scan([self._blocks], table, self.shape[1], threads=cores())
            np.put_along_axis(scores[part], found.rows, found.scores, 1)
        return scores


class DenseScores:
    """Σ_l w_l cos_l of float vectors.

    Args:
        queries: float32 [Q, L+1, D], each level L2-normalised.
        items: float32 [N, L+1, D], likewise.
        weights: w of the L+1 levels.
    """

    def __init__(self, queries: NDArray[np.float32], items: NDArray[np.float32], weights: Sequence[float]) -> None:
        # All levels side by side: Σ_l w_l ⟨q_l, v_l⟩ is one inner product of vectors (L+1)·D long.
        weighted = queries * np.asarray(weights, np.float32)[:, None]
        self._rows, self._columns = weighted.reshape(len(queries), -1), items.reshape(len(items), -1)

    @property
    def shape(self) -> tuple[int, int]:
        """Q and N."""
        return len(self._rows), len(self._columns)

    @property
    def T(self) -> DenseScores:
        """The same scores the other way round, [N, Q]."""
        other = object.__new__(DenseScores)  # the weights are in the rows already; `__init__` would apply them anew
        other._rows, other._columns = self._columns, self._rows
        return other

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """float32 [q, N], one product of matrices."""
        return np.asarray(self._rows[rows] @ self._columns.T, np.float32)
