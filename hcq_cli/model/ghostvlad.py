"""The fine levels: GhostVLAD, one module shared by text and video (section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.normalization import MaskedBatchNorm


class GhostVLAD(nn.Module):
    """Tokens are softly given to L+1 clusters; number 0 is the ghost, which is thrown away with what it took.

    The softmax runs over all L+1 clusters, so that the ghost really takes weight away from the others. Masked
    tokens have no weight. The clusters are shared by text and video; the batch statistics are not, because
    words and video tokens are differently distributed.

    Args:
        width: D.
        levels: L.
        fine_norm: `l2`, or `batch` (batch norm before the L2 normalisation).
    """

    def __init__(self, width: int, levels: int, fine_norm: str = "l2") -> None:
        super().__init__()
        self.levels = levels
        self.clusters = nn.Linear(width, levels + 1, bias=False)
        self.centroids = nn.Parameter(torch.randn(levels, width) * width**-0.5)
        self.logit_norm = nn.ModuleDict({side: MaskedBatchNorm(levels + 1) for side in ("text", "video")})
        norms = {side: MaskedBatchNorm(levels * width) for side in ("text", "video")}
        self.fine_norm = nn.ModuleDict(norms) if fine_norm == "batch" else None
        nn.init.normal_(self.clusters.weight, std=width**-0.5)

    def assign(self, tokens: Tensor, mask: Tensor, side: str) -> Tensor:
        """Share of each token that goes to each active cluster.

        Args:
            tokens: [B, T, D].
            mask: bool [B, T], True for tokens that are there.
            side: "text" or "video".

        Returns:
            [B, T, L]; a row sums to less than 1 by what the ghost took, and to 0 where masked.
        """
        logits = self.logit_norm[side](self.clusters(tokens), mask)
        return logits.softmax(-1)[..., 1:] * mask[..., None]

    def forward(self, tokens: Tensor, mask: Tensor, side: str) -> Tensor:
        """r_l = Σ_i a_il (z_i − c_l), normalised.

        Returns:
            [B, L, D], each level L2-normalised; zero for a row without tokens.
        """
        shares = self.assign(tokens, mask, side)
        residuals = torch.einsum("btl,btd->bld", shares, tokens) - shares.sum(1)[..., None] * self.centroids
        if self.fine_norm is not None:
            residuals = self.fine_norm[side](residuals.flatten(1)).view_as(residuals)
        return F.normalize(residuals, dim=-1)
