"""Against hubs: videos that come up for every query, and sentences that fit every video.

In spaces of many dimensions some points are near to all others (Radovanović et al., JMLR 2010), and a retrieval by
contrastive vectors puts them on top of answers that they do not belong to. Bogolin et al. (Querybank Normalisation,
CVPR 2022) divide a video's scores by how well it answers a bank of other queries, the training captions. In
logarithms that is a number to subtract, one a video, and a number that all queries subtract alike needs no room of
its own: it is taken from the vector before it is quantized, along the mean query. So it costs no byte, and searching
knows nothing of it. What it brings is in examples/EXPERIMENTS.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

BANK = 1024
"""Most vectors of the other side that are kept to measure with."""
TEMPERATURE = 0.07
"""Of the mean over the bank: towards 0 only the nearest query counts, towards infinity all alike."""


class HubnessCorrection(nn.Module):
    """Takes from each vector of one side what makes it near to all of the other side.

    Args:
        strength: λ, share of the nearness that is taken away.
        weights: of the L+1 levels in the hybrid score.
        width: D.
    """

    bank: Tensor
    mean: Tensor
    usual: Tensor
    filled: Tensor
    weights: Tensor

    def __init__(self, strength: float, weights: Sequence[float], width: int) -> None:
        super().__init__()
        self.strength, levels = strength, len(weights)
        self.register_buffer("bank", torch.zeros(BANK, levels, width, dtype=torch.float16))
        self.register_buffer("mean", torch.zeros(levels, width))
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("weights", torch.tensor(weights)[:, None], persistent=False)

    def nearness(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """τ log mean_j exp(s(q_j, x) / τ) over the bank.

        Args:
            x: [B, L+1, D].
            own: bool [B, n], entries of the bank that belong to x and do not count.

        Returns:
            [B]; 0 where no entry counts.
        """
        bank = self.bank[: int(self.filled)].float()
        scores = (x * self.weights).flatten(1) @ bank.flatten(1).T
        if own is None:
            own = torch.zeros_like(scores, dtype=torch.bool)
        others = (~own).sum(1)
        # logsumexp: at τ = 0.07 the exponentials themselves would differ by factors of e^28.
        total = (scores / TEMPERATURE).masked_fill(own, -torch.inf).logsumexp(1)
        return torch.where(others > 0, TEMPERATURE * (total - others.clamp_min(1).to(total).log()), 0.0)

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """x less λ (nearness − usual) along the mean query: [B, L+1, D] → the same; x itself before `fit`.

        The score of a query q falls by λ (nearness − usual) · s(q, mean) / s(mean, mean), about the same for all q.
        """
        if not int(self.filled):
            return x
        excess = self.nearness(x, own) - self.usual
        # Bounded: where the mean query is nearly 0 no direction is common to the queries, and none may be blown up.
        along = self.mean / (self.weights * self.mean.square()).sum().clamp_min(1e-6)
        return x - self.strength * excess[:, None, None] * along

    @torch.no_grad()
    def fit(self, side: Tensor, belongs: Tensor, others: Tensor, others_belong: Tensor) -> Tensor:
        """Learn what the other side asks, and correct the vectors to learn from: their own queries do not count.

        Args:
            side: [n, L+1, D], to be corrected.
            belongs: int64 [n], the video that each is or is a caption of.
            others: [m, L+1, D], the other side; at most `BANK` are kept, evenly spread over them.
            others_belong: int64 [m].

        Returns:
            [n, L+1, D]
        """
        kept = torch.linspace(0, len(others) - 1, min(BANK, len(others))).round().long().to(others.device)
        # Half precision: the bank lies in every checkpoint, and is twice BANK · (L+1) · D numbers.
        self.bank[: len(kept)] = others[kept].half()
        self.filled.fill_(len(kept))
        self.mean.copy_(others.mean(0))
        own = belongs[:, None] == others_belong[kept]
        self.usual.copy_(self.nearness(side, own).mean())
        return self.forward(side, own)


class Hubness(nn.Module):
    """The corrections of both sides.

    Args:
        strength, weights, width: as `HubnessCorrection`.
    """

    def __init__(self, strength: float, weights: Sequence[float], width: int) -> None:
        super().__init__()
        self.videos = HubnessCorrection(strength, weights, width)
        self.texts = HubnessCorrection(strength, weights, width)

    def correction(self, side: Literal["videos", "texts"]) -> HubnessCorrection:
        """What corrects vectors of that side."""
        return self.videos if side == "videos" else self.texts

    def fit(self, videos: Tensor, texts: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from training vectors, and correct them; it computes where it lies, whatever device they come from.

        Args:
            videos: [N, L+1, D].
            texts: [Q, L+1, D].
            owner: int64 [Q], the position of each text's video.

        Returns:
            Both, corrected, on the device that `videos` was on.
        """
        came_from, here = videos.device, self.videos.bank.device
        videos, texts, owner = videos.to(here), texts.to(here), owner.to(here)
        positions = torch.arange(len(videos), device=here)
        corrected = self.videos.fit(videos, positions, texts, owner)
        return corrected.to(came_from), self.texts.fit(texts, owner, videos, positions).to(came_from)
