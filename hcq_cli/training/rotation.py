"""The rotation before the cut into chunks: uncorrelated axes, dealt out so that every chunk has as much to tell.

The parametric solution of optimized product quantization (Ge et al., CVPR 2013), over all levels at once.
"""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

FLOOR = 1e-9
"""Variances below this share of the largest count as this: rounding, not information."""


@torch.no_grad()
def balanced_rotation(points: Tensor, chunks: int) -> Tensor:
    """Principal axes of the points, dealt out to the chunks by variance.

    Args:
        points: [n, F], on any device.
        chunks: S; each takes F/S axes.

    Returns:
        [F, F], orthogonal; row j is the axis of coordinate j.
    """
    centred = points - points.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / max(len(points), 1))
    variances, axes = variances.flip(0), axes.flip(1)
    order = deal_out((variances.clamp_min(float(variances[0]) * FLOOR + 1e-30)).log2().tolist(), chunks)
    return axes[:, order].T.to(points.dtype).contiguous()


def deal_out(bits: list[float], chunks: int) -> list[int]:
    """Axes to chunks, so that the bits (log-variances) of the chunks come out about equal.

    Args:
        bits: of each axis, falling.
        chunks: S, a divisor of the number of axes.

    Returns:
        The axes, those of the first chunk first.
    """
    room = len(bits) // chunks
    dealt: list[list[int]] = [[] for _ in range(chunks)]
    waiting = [(0.0, chunk) for chunk in range(chunks)]
    for axis, value in enumerate(bits):
        load, chunk = heapq.heappop(waiting)
        dealt[chunk].append(axis)
        if len(dealt[chunk]) < room:
            heapq.heappush(waiting, (load + value - bits[-1], chunk))
    return [axis for chunk in dealt for axis in chunk]
