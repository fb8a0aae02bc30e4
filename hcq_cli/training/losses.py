"""Asymmetric-quantized contrastive learning, AQ-CL (section 3.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hcq_cli.model.hcq import level_similarities
from hcq_cli.training.recipe import LossConfig

NEVER = -1e9
"""Logit of a pair that does not count; finite, so that a row without negatives has a gradient (of zero)."""


@dataclass(frozen=True)
class Pairs:
    """Which captions and videos of a batch belong together.

    Args:
        owner: int64 [T], the batch position of each caption's video.
        group: int64 [B]; videos with the same content have the same number and are no negatives of each other.
    """

    owner: Tensor
    group: Tensor

    def text_to_video(self) -> tuple[Tensor, Tensor]:
        """Positive column int64 [T], and which columns are negatives, bool [T, B]."""
        return self.owner, self.group[self.owner][:, None] != self.group[None]

    def video_to_text(self) -> tuple[Tensor, Tensor]:
        """The same for each caption as the positive of its video, among all captions: [T] and bool [T, T]."""
        mine = self.group[self.owner]
        return torch.arange(len(mine), device=mine.device), mine[:, None] != mine[None]


def info_nce(
    similarities: Tensor, positive: Tensor, negatives: Tensor, temperature: float, prior: float = 0
) -> Tensor:
    """−log of the share that the positive has among itself and the negatives, mean over queries.

    Args:
        similarities: [..., Q, N].
        positive: int64 [Q], column of the positive.
        negatives: bool [Q, N]; columns that are neither positive nor negative do not count.
        temperature: τ.
        prior: share of negatives that are positives in truth; > 0 gives the debiased form.

    Returns:
        [...]
    """
    logits = similarities / temperature
    own = logits.gather(-1, positive.expand(logits.shape[:-1])[..., None])[..., 0]
    others = logits.masked_fill(~negatives, NEVER).logsumexp(-1)
    if prior == 0:
        return F.softplus(others - own).mean(-1)
    count = negatives.sum(-1)
    debiased = (others.exp() - count * prior * own.exp()) / (1 - prior)
    floor = count * math.exp(-1 / temperature)
    return F.softplus((torch.maximum(debiased, floor).log() - own).clamp_min(NEVER)).mean(-1)


@dataclass(frozen=True)
class BatchEmbeddings:
    """Both sides of a batch.

    Args:
        texts: [T, L+1, D], each level of unit length.
        videos: [B, L+1, D], likewise.
    """

    texts: Tensor
    videos: Tensor


def contrast(
    dense: BatchEmbeddings, items: BatchEmbeddings, pairs: Pairs, temperature: float, prior: float
) -> Tensor:
    """The two InfoNCE terms of every level: dense texts against videos of `items`, dense videos against its texts.

    With `items` the quantized side this is AQ-CL; with `items` = `dense` the dense–dense loss.

    Returns:
        [L+1]
    """
    t2v = level_similarities(dense.texts, items.videos)
    v2t = level_similarities(dense.videos, items.texts)[:, pairs.owner]
    forward = info_nce(t2v, *pairs.text_to_video(), temperature, prior)
    return forward + info_nce(v2t, *pairs.video_to_text(), temperature, prior)


def hybrid_similarities(queries: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """Σ_l w_l cos_l: unit [Q, L+1, D] × unit [N, L+1, D], [L+1] → [Q, N]."""
    return (queries * weights[:, None]).flatten(1) @ items.flatten(1).T


def distillation(dense: BatchEmbeddings, items: BatchEmbeddings, weights: Tensor, temperature: float) -> Tensor:
    """How far the quantized ranking is from the dense one: cross-entropy of their softmaxes, both directions."""
    total = dense.texts.new_zeros(())
    for queries, own, quantized in (
        (dense.texts, dense.videos, items.videos),
        (dense.videos, dense.texts, items.texts),
    ):
        with torch.no_grad():
            teacher = (hybrid_similarities(queries, own, weights) / temperature).softmax(-1)
        student = (hybrid_similarities(queries, quantized, weights) / temperature).log_softmax(-1)
        total = total - (teacher * student).sum(-1).mean()
    return total


def dense_share(epoch: float, epochs: int) -> float:
    """cos(π e / 2E): weight of the dense–dense loss at epoch e of E; the quantized one has the rest."""
    return math.cos(math.pi * min(epoch / max(epochs, 1), 1.0) / 2)


@dataclass(frozen=True)
class StepResult:
    """The loss of a step, and how well it retrieves inside its own batch.

    Args:
        loss: to minimise, a scalar.
        dense_R1, quantized_R1: share of captions whose own video is nearest in the batch, in percent.
    """

    loss: Tensor
    dense_R1: Tensor
    quantized_R1: Tensor


def objective(
    dense: BatchEmbeddings,
    quantized: BatchEmbeddings,
    pairs: Pairs,
    weights: Tensor,
    share: float,
    config: LossConfig,
) -> StepResult:
    """The whole loss: AQ-CL, the dense–dense loss that fades from it, and the optional terms.

    Args:
        dense, quantized: the batch before and after the quantizers.
        weights: [L+1], weights of the levels.
        share: of the dense–dense loss, 0 to 1.
        config: temperature and weights.
    """
    loss = dense.texts.new_zeros(())
    if share > 0:
        loss = loss + share * (weights * contrast(dense, dense, pairs, config.temperature, config.prior)).sum()
    if share < 1:
        loss = (
            loss + (1 - share) * (weights * contrast(dense, quantized, pairs, config.temperature, config.prior)).sum()
        )
    if config.distill > 0:
        loss = loss + config.distill * distillation(dense, quantized, weights, config.temperature)
    if config.commitment > 0:
        for own, code in ((dense.texts, quantized.texts), (dense.videos, quantized.videos)):
            loss = loss + config.commitment * (1 - (own * code.detach()).sum(-1)).mean()
    with torch.no_grad():
        return StepResult(loss, *(batch_R1(dense.texts, side.videos, pairs, weights) for side in (dense, quantized)))


def batch_R1(texts: Tensor, videos: Tensor, pairs: Pairs, weights: Tensor) -> Tensor:
    """Percent of captions whose own video is nearest in the batch: [T, L+1, D], [B, L+1, D] → []."""
    nearest = hybrid_similarities(texts, videos, weights).argmax(1)
    return 100.0 * (pairs.group[nearest] == pairs.group[pairs.owner]).float().mean()
