"""How codewords follow the embeddings: a bounded sample of an epoch's vectors, and k-means on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.training.kmeans import assign, kmeans, start_codewords
from hcq_cli.training.rotation import balanced_rotation


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
        """Take in [B, L+1, D], from any device; the oldest make room."""
        size = len(self.vectors)
        vectors = vectors.detach()[-size:].cpu()
        at = torch.from_numpy(np.arange(self.added, self.added + len(vectors)) % size)
        self.vectors[at] = vectors
        self.added += len(vectors)

    def get(self) -> Tensor:
        """What is held, [n, L+1, D], in no order that counts."""
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
    """Run k-means on the codewords in use; if a generator is given, from random vectors and with a new rotation.

    Args:
        quantizer: whose codewords (and rotation) are replaced.
        vectors: [n, L+1, D].
        iterations: of k-means.
        generator: for the random start.
    """
    if quantizer.rotation is not None and generator is not None:
        weighted = (vectors * quantizer.level_roots.cpu()).flatten(1)
        quantizer.rotation.copy_(balanced_rotation(weighted, quantizer.codewords.shape[:2].numel()))
    points = _points(quantizer, vectors)
    words = quantizer.used_codewords().flatten(0, 1).cpu()
    active = int(quantizer.active)
    moved = words[:, :active]
    if generator is not None:
        moved = start_codewords(points, moved, generator)
    moved = kmeans(points, moved, iterations, spherical=quantizer.rotation is None)
    fitted = torch.cat([moved, words[:, active:]], 1).view_as(quantizer.codewords)
    quantizer.codewords.copy_(fitted)


@torch.no_grad()
def usage(quantizer: ProductQuantizer, vectors: Tensor) -> Usage:
    """Which codewords the vectors [n, L+1, D] choose."""
    words = quantizer.used_codewords().flatten(0, 1)[:, : int(quantizer.active)].cpu()
    return usage_of(_points(quantizer, vectors), words)


def usage_of(points: Tensor, codewords: Tensor) -> Usage:
    """Which codewords [S, K, d] the chunks [n, S, d] choose."""
    books, active, _ = codewords.shape
    codes, _ = assign(points, codewords)
    cells = codes + torch.arange(books) * active
    used = torch.bincount(cells.flatten(), minlength=books * active) > 0
    return Usage(100.0 * float(used.float().mean()), active)


def _points(quantizer: ProductQuantizer, vectors: Tensor) -> Tensor:
    """Chunks of [n, L+1, D] on the host: [n, S, d]."""
    return quantizer.chunks(vectors.to(quantizer.codewords.device)).flatten(1, 2).cpu()
