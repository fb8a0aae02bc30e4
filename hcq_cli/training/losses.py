"""Asymmetric-quantized contrastive learning, AQ-CL: dense queries against quantized items, level by level.

HCQ (Wang et al., WWW 2022, arXiv 2202.03384), Section 3.4. Letters: B videos of a batch, T captions of it, L+1
levels, D width, Q queries and N items of a direction. A caption is a positive of its own video alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hcq_cli.model.hcq import level_similarities
from hcq_cli.training.config import LossConfig

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


@dataclass(frozen=True)
class BatchEmbeddings:
    """Both sides of a batch, dense or quantized.

    Args:
        texts: [T, L+1, D], each level of unit length.
        videos: [B, L+1, D], likewise.
    """

    texts: Tensor
    videos: Tensor


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


def info_nce(
    similarities: Tensor, positive: Tensor, negatives: Tensor, temperature: float, prior: float = 0
) -> Tensor:
    """−log of the share that the positive has among itself and the negatives, mean over queries.

    Args:
        similarities: [..., Q, N].
        positive: int64 [Q], column of the positive.
        negatives: bool [Q, N]; columns that are neither positive nor negative do not count.
        temperature: τ.
        prior: share of negatives that are positives in truth; > 0 gives the debiased form (Chuang et al., "Debiased
            Contrastive Learning", NeurIPS 2020).

    Returns:
        [...]
    """
    logits = similarities / temperature
    own = logits.gather(-1, positive.expand(logits.shape[:-1])[..., None])[..., 0]
    others = logits.masked_fill(~negatives, NEVER).logsumexp(-1)
    # −log(e^own / (e^own + e^others)) = softplus(others − own): no exponential that could overflow at a small τ, and
    # no logarithm of a share that rounds to 0.
    if prior == 0:
        return F.softplus(others - own).mean(-1)
    count = negatives.sum(-1)
    debiased = (others.exp() - count * prior * own.exp()) / (1 - prior)
    # What is left of the negatives can come out below zero by chance; no cosine is below −1, so neither is their sum
    # below this.
    floor = count * math.exp(-1 / temperature)
    return F.softplus((torch.maximum(debiased, floor).log() - own).clamp_min(NEVER)).mean(-1)


def contrast(
    dense: BatchEmbeddings, items: BatchEmbeddings, pairs: Pairs, temperature: float, prior: float
) -> Tensor:
    """The two InfoNCE terms of every level: dense texts against videos of `items`, dense videos against its texts.

    With `items` the quantized side this is AQ-CL; with `items` = `dense` the dense–dense loss.

    Returns:
        [L+1]
    """
    t2v = level_similarities(dense.texts, items.videos)
    # A video with C captions is a query C times, once for each: every pair weighs the same in both directions.
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
        # The dense ranking teaches and is not taught: otherwise both could agree by saying nothing.
        with torch.no_grad():
            teacher = (hybrid_similarities(queries, own, weights) / temperature).softmax(-1)
        student = (hybrid_similarities(queries, quantized, weights) / temperature).log_softmax(-1)
        total = total - (teacher * student).sum(-1).mean()
    return total


def dense_share(epoch: float, epochs: int) -> float:
    """cos(π e / 2E): weight of the dense–dense loss at epoch e of E; the quantized one has the rest."""
    return math.cos(math.pi * min(epoch / max(epochs, 1), 1.0) / 2)


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
        pairs: what belongs together in it.
        weights: [L+1], weights of the levels.
        share: of the dense–dense loss, 0 to 1.
        config: temperature and weights.
    """
    loss = dense.texts.new_zeros(())
    # A term of weight 0 is left out: it would cost as much as the other, for a gradient of zero.
    for part, items in ((share, dense), (1 - share, quantized)):
        if part > 0:
            loss = loss + part * (weights * contrast(dense, items, pairs, config.temperature, config.prior)).sum()
    if config.distill > 0:
        loss = loss + config.distill * distillation(dense, quantized, weights, config.temperature)
    if config.commitment > 0:
        for own, code in ((dense.texts, quantized.texts), (dense.videos, quantized.videos)):
            # Codewords are held fast here, so that vectors come to them and not the other way round (as in VQ-VAE).
            loss = loss + config.commitment * (1 - (own * code.detach()).sum(-1)).mean()
    with torch.no_grad():
        dense_R1, quantized_R1 = (batch_R1(dense.texts, side.videos, pairs, weights) for side in (dense, quantized))
    return StepResult(loss, dense_R1, quantized_R1)


def batch_R1(texts: Tensor, videos: Tensor, pairs: Pairs, weights: Tensor) -> Tensor:
    """Percent of captions whose own video is nearest in the batch: [T, L+1, D], [B, L+1, D] → []."""
    nearest = hybrid_similarities(texts, videos, weights).argmax(1)
    return 100.0 * (pairs.group[nearest] == pairs.group[pairs.owner]).float().mean()
