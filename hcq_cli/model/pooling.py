"""From token vectors to one vector a level: gated units for the coarse text level, GhostVLAD for the fine ones.

Gated units: Miech, Laptev and Sivic, "Learning a Text-Video Embedding from Incomplete and Heterogeneous Data"
(arXiv 1804.02516), in HCQ the coarse text embedding. GhostVLAD: Zhong, Arandjelović and Zisserman, "GhostVLAD for
Set-based Face Recognition" (ACCV 2018, arXiv 1810.09951), in HCQ (arXiv 2202.03384) the fine levels. Both normalise
by statistics of a batch, and padding must have no part in those: hence a batch norm of our own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """Batch norm over all leading axes; padding takes no part in it, so its amount changes nothing.

    A batch of a single row, and one with no row at all, are fine (unlike `torch.nn.BatchNorm1d`).

    Args:
        channels: F, size of the last axis.
        momentum: share of the newest batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: [..., F].
            mask: bool [...], True where `x` counts; None if all of it does.
        """
        x = x.float()  # statistics of bfloat16 would be too coarse
        mean, var = self._batch_statistics(x, mask) if self.training else (self.running_mean, self.running_var)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    def _batch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
        if len(rows) == 0:  # all padding: the mean of nothing is NaN, and one NaN would stay in the running mean
            return self.running_mean, self.running_var
        var, mean = torch.var_mean(rows, dim=0, correction=0)
        with torch.no_grad():
            # As torch.nn.BatchNorm1d: the batch is normalised by n, its running estimate is corrected by n - 1.
            unbiased = var * (len(rows) / max(len(rows) - 1, 1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, var


class GatedMixture(nn.Module):
    """a = W h + b; u = a ∘ σ(BN(W' a + b')); u L2-normalised; the G units summed with softmax weights of h.

    All units are computed at once. G = 1 is the single unit of the paper's figure.

    Args:
        hidden: width of the text encoder's [CLS] vector h.
        width: D.
        units: G.
    """

    def __init__(self, hidden: int, width: int, units: int) -> None:
        super().__init__()
        self.units = units
        # One wide layer and one einsum instead of G modules in a loop: one unit is too small to keep a GPU busy.
        self.embed = nn.Linear(hidden, units * width)
        self.gate_weight = nn.Parameter(torch.empty(units, width, width))
        self.gate_bias = nn.Parameter(torch.zeros(units * width))
        self.norm = MaskedBatchNorm(units * width)
        self.mixture = nn.Linear(hidden, units) if units > 1 else None
        nn.init.uniform_(self.gate_weight, -(width**-0.5), width**-0.5)

    def forward(self, h: Tensor) -> Tensor:
        """The coarse text embedding.

        Args:
            h: [B, hidden].

        Returns:
            [B, D], L2-normalised.
        """
        a = self.embed(h).unflatten(-1, (self.units, -1))
        gates = torch.einsum("bgi,goi->bgo", a, self.gate_weight).flatten(1) + self.gate_bias
        units = F.normalize(a * torch.sigmoid(self.norm(gates)).unflatten(-1, (self.units, -1)), dim=-1)
        if self.mixture is None:
            return units[:, 0]
        # A sum of unit vectors is shorter than 1, so the mixture is brought to the sphere again.
        weights = self.mixture(h).softmax(-1)
        return F.normalize(torch.einsum("bg,bgd->bd", weights, units), dim=-1)


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
        # The ghost is dropped after the softmax: before it, the others would share out what belongs to it. The mask
        # comes last for the same reason, since a masked logit of 0 is still a share.
        return logits.softmax(-1)[..., 1:] * mask[..., None]

    def forward(self, tokens: Tensor, mask: Tensor, side: str) -> Tensor:
        """r_l = Σ_i a_il (z_i − c_l), normalised.

        Returns:
            [B, L, D], each level L2-normalised; zero for a row without tokens.
        """
        shares = self.assign(tokens, mask, side)
        # Σ a (z − c) as Σ a z − (Σ a) c: the differences themselves would be [B, T, L, D] numbers.
        residuals = torch.einsum("btl,btd->bld", shares, tokens) - shares.sum(1)[..., None] * self.centroids
        if self.fine_norm is not None:
            residuals = self.fine_norm[side](residuals.flatten(1)).view_as(residuals)
        return F.normalize(residuals, dim=-1)
