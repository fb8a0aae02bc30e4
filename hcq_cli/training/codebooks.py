"""How codewords follow the embeddings: a bounded sample of an epoch's vectors, and k-means on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.training.kmeans import assign, spherical_kmeans, start_codewords


class EmbeddingSample:
    """The latest embeddings of an epoch, at most `size`, on the host: never the whole of a large data set.

    Args:
        size: most vectors held.
        shape: (L+1, D).
    """

    def __init__(self, size: int, shape: tuple[int, int]) -> None:
        self.vectors = torch.empty(size, *shape)
        self.added = 0

    def add(self, vectors: Tensor) -> None:
        """Take in [B, L+1, D]."""
        size = len(self.vectors)
        vectors = vectors.detach()[-size:].cpu()
        at = torch.from_numpy(np.arange(self.added, self.added + len(vectors)) % size)
        self.vectors[at] = vectors
        self.added += len(vectors)

    def get(self) -> Tensor:
        """[n, L+1, D]."""
        return self.vectors[: min(self.added, len(self.vectors))]


@dataclass(frozen=True)
class Usage:
    """How many codewords are chosen by some vector.

    Args:
        share: of the codewords in use, percent, mean over the S sub-quantizers.
        active: codewords in use a sub-codebook: K, or fewer where there are fewer vectors.
    """

    share: float
    active: int


@torch.no_grad()
def fit_codewords(
    quantizer: ProductQuantizer, vectors: Tensor, iterations: int, generator: torch.Generator | None = None
) -> None:
    """Run spherical k-means on the codewords in use; from random vectors if a generator is given.

    Args:
        quantizer: whose codewords are replaced.
        vectors: [n, L+1, D].
        iterations: of k-means.
        generator: for the random start.
    """
    points = quantizer.chunks(vectors).flatten(1, 2)
    words = quantizer.unit_codewords().flatten(0, 1).cpu()
    active = int(quantizer.active)
    moved = words[:, :active]
    if generator is not None:
        moved = start_codewords(points, moved, generator)
    moved = spherical_kmeans(points, moved, iterations)
    fitted = torch.cat([moved, words[:, active:]], 1).view_as(quantizer.codewords)
    quantizer.codewords.copy_(fitted)


@torch.no_grad()
def usage(quantizer: ProductQuantizer, vectors: Tensor) -> Usage:
    """Which codewords the vectors [n, L+1, D] choose."""
    active = int(quantizer.active)
    words = quantizer.unit_codewords().flatten(0, 1)[:, :active].cpu()
    codes, _ = assign(quantizer.chunks(vectors).flatten(1, 2), words)
    cells = codes + torch.arange(len(words)) * active
    used = torch.bincount(cells.flatten(), minlength=len(words) * active) > 0
    return Usage(100.0 * float(used.float().mean()), active)
