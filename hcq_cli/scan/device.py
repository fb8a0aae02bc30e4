"""The scan on a device that torch knows, for batches of queries on a graphics card. Imported only when asked for.

The device adds up table entries in float32, a gather and a sum fused (`embedding_bag`). That is not the canonical
sum, but it cannot be further from it than a bound that holds for any order of adding; so every video that this bound
leaves in question is scored again by the canonical sum from the same codes, and the answer equals every other
kernel's. Codes stay on the device from one search to the next.

A kernel of our own in Triton could look up uint8 tables in shared memory; there was no card to measure one on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hcq_cli.errors import UsageError
from hcq_cli.scan.blocks import WIDTH, Blocks
from hcq_cli.scan.topk import NOTHING_FOUND, Kernel, TopK, Visits, best_of

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "torch:"
"""Of its name, before the device's."""
INDICES_AT_ONCE = 1 << 26
"""Look-ups of a pass over videos, for all queries: 256 MiB of int32 indices."""
QUERIES_AT_ONCE = 64
SCORES_AT_ONCE = 1 << 28
"""Scores held on the device: 1 GiB."""
HALF_ULP = 2.0**-24
"""Relative error of one rounding in float32."""


class DeviceKernel:
    """Scans on a device.

    Args:
        device: as torch names it: "cuda", "cuda:1", or "cpu" to try it without a card.
        beside: the processor's kernel, which does what is too little for a device.

    Raises:
        UsageError: torch does not find it.
    """

    def __init__(self, device: str, beside: Kernel) -> None:
        import torch

        try:
            self._device = torch.device(device)
            torch.empty(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--device {device}: {reason}", "--device cpu scans without a card") from error
        self.name, self._beside = PREFIX + device, beside
        self._held: dict[tuple[int, tuple[int, ...]], tuple[np.ndarray, Tensor]] = {}

    def topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        """See `Kernel.topk`."""
        if not blocks.videos:
            return [NOTHING_FOUND] * len(tables)
        at_once = max(1, min(QUERIES_AT_ONCE, SCORES_AT_ONCE // blocks.videos))
        starts = range(0, len(tables), at_once)
        return [one for at in starts for one in self._topk(blocks, tables[at : at + at_once], k)]

    def visit(self, blocks: Blocks, tables: np.ndarray, k: int, visits: Visits) -> list[TopK]:
        """See `Kernel.visit`: a few lists are too little for a device, so the processor's kernel scans them."""
        return self._beside.visit(blocks, tables, k, visits)

    def _topk(self, blocks: Blocks, tables: np.ndarray, k: int) -> list[TopK]:
        import torch

        rows = blocks.rows_of(np.arange(blocks.videos))
        alive = blocks.alive(rows)
        owners = None if blocks.owners is None else blocks.owners.astype(np.int64)
        wanted = min(k, int(alive.sum()) if owners is None else len(np.unique(owners[alive])))
        if not wanted:
            return [NOTHING_FOUND] * len(tables)
        scores = self._scores(blocks, tables)
        if not alive.all():
            # Dead videos must not take places among the k best, or living ones would be missed.
            scores[:, torch.from_numpy(~alive).to(self._device)] = -torch.inf
        # The k best by float32 may not be those of the canonical sum. But no video can be among these whose float32
        # sum lies further below the k-th than both can be wrong together.
        kth = self._of_videos(scores, owners).topk(wanted, dim=1).values[:, -1].cpu().numpy().astype(np.float64)
        # Rounded down to float32, the precision of what it is compared with.
        least = np.nextafter((kth - 2 * error_bounds(tables)).astype(np.float32), np.float32(-np.inf))
        answers = []
        for query, table in enumerate(tables):
            # A sum that is not finite bounds nothing: then everything is scored again.
            bounded = np.isfinite(kth[query]) and np.isfinite(least[query])
            chosen = (
                (scores[query] >= float(least[query])).nonzero()[:, 0].cpu().numpy()
                if bounded
                else np.flatnonzero(alive)
            )
            chosen = chosen[alive[chosen]]
            found = TopK(rescore(blocks, chosen, table), rows[chosen], None if owners is None else owners[chosen])
            answers.append(best_of(found, k))
        return answers

    def _of_videos(self, scores: Tensor, owners: np.ndarray | None) -> Tensor:
        """The best score of each video, float32 [Q, videos], of the scores of its rows."""
        import torch

        if owners is None:
            return scores
        _, numbers = np.unique(owners, return_inverse=True)
        places = torch.from_numpy(numbers).to(self._device).expand(len(scores), -1)
        worst = scores.new_full((len(scores), int(numbers.max()) + 1), -torch.inf)
        return worst.scatter_reduce(1, places, scores, "amax")

    def _scores(self, blocks: Blocks, tables: np.ndarray) -> Tensor:
        """Nearly the scores: float32 [Q, videos]."""
        import torch
        from torch.nn.functional import embedding_bag

        queries, subquantizers, codewords = tables.shape
        codes = self._codes(blocks)
        # `embedding_bag` gathers and adds in one pass: S look-ups never lie in memory as floats. It wants
        # the queries' entries side by side, [S·K, Q], and one number for sub-quantizer and codeword.
        entries = torch.from_numpy(np.ascontiguousarray(tables.reshape(queries, -1).T)).to(self._device)
        firsts = torch.arange(subquantizers, dtype=torch.int32, device=self._device) * codewords
        at_once = max(1, INDICES_AT_ONCE // (subquantizers * WIDTH))
        parts = []
        for part in codes.split(at_once):
            turned = part.transpose(1, 2).reshape(-1, subquantizers).to(torch.int32)
            parts.append(embedding_bag(turned.clamp(max=codewords - 1) + firsts, entries, mode="sum"))
        return torch.cat(parts)[: blocks.videos].T.contiguous()

    def _codes(self, blocks: Blocks) -> Tensor:
        """The codes on the device, brought there once."""
        import torch

        key = (blocks.codes.__array_interface__["data"][0], blocks.codes.shape)
        if key in self._held:
            return self._held[key][1]
        copy = torch.from_numpy(np.array(blocks.codes)).to(self._device)
        if not blocks.codes.flags.writeable:  # mapped from a file, which does not change
            # The array is kept beside its copy, so that its address, the key, is not used again for another one.
            self._held[key] = (blocks.codes, copy)
        return copy


def error_bounds(tables: np.ndarray) -> np.ndarray:
    """How far a float32 sum of table entries, added in any order, can be from the true one: float64 [Q].

    (S - 1) additions, each rounding a partial sum of at most Σ_s max|entry|; doubled to be safe, and with what
    is lost where numbers are too small for float32's usual exactness.
    """
    subquantizers = tables.shape[1]
    largest = np.abs(tables.astype(np.float64)).max(2).sum(1)
    return 2 * subquantizers * HALF_ULP * largest * (1 + subquantizers * HALF_ULP) + subquantizers * 2.0**-126


def rescore(blocks: Blocks, slots: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The canonical scores float64 [n] of slots int64 [n], for one table float32 [S, K]."""
    scores = np.zeros(len(slots))
    codes = np.minimum(blocks.at(slots), table.shape[1] - 1)
    for entries, column in zip(table.astype(np.float64), codes.T, strict=True):
        scores += entries[column]
    return scores
