"""How codewords follow the embeddings: a bounded sample of an epoch's vectors, k-means on it, and the rotation.

HCQ (Wang et al., WWW 2022, arXiv 2202.03384), Section 3.3, moves its codewords by spherical k-means between epochs.
Letters: n vectors of L+1 levels and width D, cut into S chunks of width d; K codewords a sub-codebook.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcq_cli.model.quantizer import ProductQuantizer

BLOCK_BYTES = 2 << 20
"""Bound of the similarities held at once: points are taken in blocks that stay in the cache."""
VARIANCE_FLOOR = 1e-9
"""Variances below this share of the largest count as this: rounding, not information."""


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
        # A ring: the latest vectors are of the towers as they are now, the oldest of towers that are gone.
        at = torch.from_numpy(np.arange(self.added, self.added + len(vectors)) % size)
        self.vectors[at] = vectors
        self.added += len(vectors)

    def get(self) -> Tensor:
        """What is held, [n, L+1, D], in no order that counts."""
        return self.vectors[: min(self.added, len(self.vectors))]


@dataclass(frozen=True)
class CodewordUsage:
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
        # Levels count in the score by their weights, so they do in the variances that the axes are chosen by.
        weighted = (vectors * quantizer.level_roots.cpu()).flatten(1)
        quantizer.rotation.copy_(balanced_rotation(weighted, quantizer.codewords.shape[:2].numel()))
    points = _chunks(quantizer, vectors)
    words = quantizer.used_codewords().flatten(0, 1).cpu()
    active = int(quantizer.active)
    moved = words[:, :active]
    if generator is not None:
        moved = start_codewords(points, moved, generator)
    moved = kmeans(points, moved, iterations, spherical=quantizer.rotation is None)
    fitted = torch.cat([moved, words[:, active:]], 1).view_as(quantizer.codewords)
    quantizer.codewords.copy_(fitted)


@torch.no_grad()
def usage(quantizer: ProductQuantizer, vectors: Tensor) -> CodewordUsage:
    """Which codewords the vectors [n, L+1, D] choose."""
    words = quantizer.used_codewords().flatten(0, 1)[:, : int(quantizer.active)].cpu()
    return usage_of(_chunks(quantizer, vectors), words)


def usage_of(points: Tensor, codewords: Tensor) -> CodewordUsage:
    """Which codewords [S, K, d] the chunks [n, S, d] choose."""
    books, active, _ = codewords.shape
    codes, _ = assign(points, codewords)
    # Cell k of sub-quantizer s has the number s·K + k, so that one count serves all of them.
    cells = codes + torch.arange(books) * active
    used = torch.bincount(cells.flatten(), minlength=books * active) > 0
    return CodewordUsage(100.0 * float(used.float().mean()), active)


def _chunks(quantizer: ProductQuantizer, vectors: Tensor) -> Tensor:
    """Chunks of [n, L+1, D] on the host: [n, S, d].

    On the host whatever trains: k-means sums with `index_add_`, which on a GPU adds in another order each time.
    """
    return quantizer.chunks(vectors.to(quantizer.codewords.device)).flatten(1, 2).cpu()


def kmeans(points: Tensor, codewords: Tensor, iterations: int, *, spherical: bool) -> Tensor:
    """k-means of all S sub-quantizers at once; an empty cell takes over a badly fitting point.

    (The published implementation turns an empty cell into a zero vector, and it stays one.)

    Args:
        points: [n, S, d].
        codewords: [S, K, d], where to start.
        iterations: how often to assign and move.
        spherical: whether points are of length 1 (or 0) and codewords shall be: means become mean directions.

    Returns:
        [S, K, d]. With fewer than K distinct points some come twice.
    """
    for _ in range(iterations):
        codes, fit = assign(points, codewords)
        count, cells = codewords.shape[1], codes + torch.arange(codewords.shape[0]) * codewords.shape[1]
        # All cells of all sub-quantizers in one table: one `index_add_` instead of S loops over K masks.
        sums = torch.zeros_like(codewords).flatten(0, 1)
        sums.index_add_(0, cells.flatten(), points.flatten(0, 1))
        sizes = torch.bincount(cells.flatten(), minlength=len(sums)).view(-1, count)
        means, lost = sums.view_as(codewords), sizes == 0
        if spherical:
            # Directions that cancel each other out have no mean direction either.
            lost = lost | (means.square().sum(-1) < 1e-12)
        means = F.normalize(means, dim=-1) if spherical else means / sizes.clamp_min(1)[..., None]
        codewords = _reseed(means, lost, points, fit)
    return codewords


def assign(points: Tensor, codewords: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest codeword of each chunk.

    Args:
        points: [n, S, d].
        codewords: [S, K, d].

    Returns:
        int64 [n, S], and how near it is: −½‖point − codeword‖², [n, S].
    """
    count = codewords.shape[1]
    rows = max(1, min(len(points), BLOCK_BYTES // (4 * count)))
    books = max(1, BLOCK_BYTES // (4 * count * rows))
    fits, codes = [], []
    for part, words in zip(points.transpose(0, 1).split(books), codewords.split(books), strict=True):
        # −½‖x − c‖² = ⟨x, c⟩ − ½‖c‖² − ½‖x‖²: a product of matrices, to which ‖x‖² is added after the maximum, since
        # no choice of a codeword changes it.
        half_norms = -0.5 * words.square().sum(-1)[:, None]
        found = [torch.baddbmm(half_norms, block, words.mT).max(-1) for block in part.split(rows, 1)]
        fit, code = (torch.cat(blocks, 1) for blocks in zip(*found, strict=True))
        fits.append(fit - 0.5 * part.square().sum(-1))
        codes.append(code)
    return torch.cat(codes).T, torch.cat(fits).T


def _reseed(codewords: Tensor, lost: Tensor, points: Tensor, fit: Tensor) -> Tensor:
    """Give the j-th lost cell of each sub-quantizer the j-th worst-fitting of its points."""
    if not lost.any():
        return codewords
    worst = fit.argsort(0)
    turn = (lost.cumsum(1) - 1).clamp(min=0) % len(points)
    chosen = worst.T.gather(1, turn)
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    # A chunk of length 0 fits badly everywhere, and would make a codeword without a direction.
    return torch.where(lost[..., None] & (fresh.square().sum(-1, keepdim=True) > 0), fresh, codewords)


def start_codewords(points: Tensor, codewords: Tensor, generator: torch.Generator) -> Tensor:
    """Random points as first codewords, [S, K, d]; where points are too few, the old codewords keep the rest."""
    count = min(len(points), codewords.shape[1])
    # Sorted random keys: a draw without replacement for all S at once, which `torch.randperm` does for one.
    keys = torch.rand(codewords.shape[0], len(points), generator=generator)
    chosen = keys.argsort(1)[:, :count]
    fresh = points.transpose(0, 1).gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))
    return torch.cat([fresh, codewords[:, count:]], 1)


@torch.no_grad()
def balanced_rotation(points: Tensor, chunks: int) -> Tensor:
    """Principal axes of the points, dealt out to the chunks so that every chunk has as much to tell.

    The parametric solution of optimized product quantization (Ge et al., CVPR 2013, "eigenvalue allocation"), over
    all levels at once.

    Args:
        points: [n, F], on any device.
        chunks: S; each takes F/S axes.

    Returns:
        [F, F], orthogonal; row j is the axis of coordinate j.
    """
    centred = points - points.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / max(len(points), 1))
    variances, axes = variances.flip(0), axes.flip(1)
    # Bits and not variances are balanced: what a chunk costs is the product of its variances.
    bits = variances.clamp_min(float(variances[0]) * VARIANCE_FLOOR + 1e-30).log2()
    order = allocate_axes(bits.tolist(), chunks)
    return axes[:, order].T.to(points.dtype).contiguous()


def allocate_axes(bits: list[float], chunks: int) -> list[int]:
    """Axes to chunks, so that the bits (log-variances) of the chunks come out about equal.

    Args:
        bits: of each axis, falling.
        chunks: S, a divisor of the number of axes.

    Returns:
        The axes, those of the first chunk first.
    """
    room = len(bits) // chunks
    allocated: list[list[int]] = [[] for _ in range(chunks)]
    waiting = [(0.0, chunk) for chunk in range(chunks)]
    # The next largest axis goes to whoever has least; a full chunk does not come back to the queue.
    for axis, value in enumerate(bits):
        load, chunk = heapq.heappop(waiting)
        allocated[chunk].append(axis)
        if len(allocated[chunk]) < room:
            # Less the smallest value, so that no axis has negative bits and makes a chunk look emptier than before.
            heapq.heappush(waiting, (load + value - bits[-1], chunk))
    return [axis for chunk in allocated for axis in chunk]
