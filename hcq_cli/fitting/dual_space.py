"""A dual encoder's vectors in a fitted model: centred, and as much worth as they are told to be.

Letters: B videos, T tokens (frames, windows), Q texts, dim the width of the joint space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DualSpace(nn.Module):
    """The joint space of one dual encoder.

    A video is the mean of its tokens, of length 1, as zero-shot retrieval has it (Portillo-Quintero et al., MCPR
    2021), less the mean of the collection: that takes the same from all scores of a query, and leaves a video in
    which there is nothing to see or hear where the average of the others is.

    Args:
        width: dim.
    """

    mean: Tensor
    gain: Tensor
    balance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("balance", torch.ones(()))

    def videos(self, features: Tensor, mask: Tensor) -> Tensor:
        """What stands for videos: [B, T, dim], bool [B, T] → [B, dim]; 0 where there is no token."""
        tokens = F.normalize(features, dim=-1) * mask[..., None]
        return self.centred(F.normalize(tokens.sum(1), dim=-1))

    def centred(self, units: Tensor) -> Tensor:
        """Unit vectors of videos less the mean of the collection: [B, dim]; 0 stays 0."""
        return (units - self.mean) * (units != 0).any(1, keepdim=True) * self.balance

    def texts(self, vectors: Tensor) -> Tensor:
        """What stands for texts: unit [Q, dim] → [Q, dim]; linear."""
        return vectors * self.reach()

    def reach(self) -> Tensor:
        """How long the vector of a text is."""
        return self.gain / self.balance

    def learn(self, videos: Tensor, asked: Tensor, spread: float, per_axis: float) -> None:
        """Learn the mean of a collection, and how much the space is worth.

        Cosines of one dual encoder lie between 0.1 and 0.3, of another between 0.4 and 0.8; what counts is how far
        those of different videos lie apart. So sources are brought to the same spread before they are weighed.

        Args:
            videos: [N, dim], of length 1, 0 where a video lacks the expert.
            asked: [Q, dim], generic sentences, of length 1.
            spread: standard deviation that the scores of a query shall have over the videos.
            per_axis: mean square that an axis of the texts shall have, so that the codes err where it costs little.
        """
        there = videos[videos.any(1)]
        if len(there):  # else nothing was seen or heard anywhere, and the texts find nothing to compare with
            self.mean.copy_(there.mean(0))
        deviation = spread_of(asked, there)
        # Of one video nothing can be said; nor of copies of one.
        self.gain.fill_(spread / deviation if deviation > 1e-6 else 1.0)
        self.balance.copy_((self.gain.square() * asked.square().mean() / per_axis).sqrt().clamp_min(1e-6))


def spread_of(texts: Tensor, videos: Tensor) -> float:
    """Standard deviation of a text's scores over the videos, the mean over texts: [Q, dim], [N, dim]; 0 of none."""
    if not len(videos):
        return 0.0
    return float((texts @ (videos - videos.mean(0)).T).std(1, correction=0).mean())
