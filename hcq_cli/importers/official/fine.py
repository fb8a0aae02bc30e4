"""The reference's GhostVLAD, in which the ghost does nothing and the mask does not mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ReferenceVLAD(nn.Module):
    """r_l = Σ_i a_il (z_i − c_l) over all tokens, masked ones included.

    Args:
        width: D.
        clusters: L.
        ghosts: columns behind the L of the clusters that are computed and dropped before the softmax.
        batch_norm: of the logits, one set of statistics for text and video.
    """

    def __init__(self, width: int, clusters: int, ghosts: int = 1, batch_norm: bool = True) -> None:
        super().__init__()
        self.active, self.normalized = clusters, batch_norm
        self.clusters = nn.Parameter(torch.randn(width, clusters + ghosts) * width**-0.5)
        self.centroids = nn.Parameter(torch.randn(1, width, clusters) * width**-0.5)
        self.norm = nn.BatchNorm1d(clusters)  # there, with its weights, even where it is not used

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Aggregate.

        Args:
            tokens: [B, T, D].
            mask: [B, T]; the logits of tokens with 0 become 0 before batch norm and softmax. None: all are real.

        Returns:
            [B, L, D], not normalised.
        """
        logits = (tokens @ self.clusters)[..., : self.active]
        if mask is not None:
            logits = logits * mask[..., None]
        if self.normalized:
            logits = self.norm(logits.flatten(0, 1)).view_as(logits)
        shares = logits.softmax(-1)
        return shares.transpose(1, 2) @ tokens - shares.sum(1)[..., None] * self.centroids[0].T
