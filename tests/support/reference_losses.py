"""The reference's losses. Similarities are [..., B, B], rows queries, and the diagonal holds the right pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from reference_similarity import Similarities
from torch import Tensor


@dataclass(frozen=True)
class Contrast:
    """Settings of the contrastive losses.

    Args:
        coarse, fine: temperatures, text-to-video and video-to-text.
        prior: positive prior of the debiased form, which the fine levels take.
        coarse_weight, fine_weight: of the coarse level, and of the mean of the fine ones.
        code_weight: of the loss on soft codes.
    """

    coarse: tuple[float, float] = (0.05, 0.05)
    fine: tuple[float, float] = (0.05, 0.05)
    prior: float = 0.0
    coarse_weight: float = 0.125
    fine_weight: float = 0.875
    code_weight: float = 0.0


def info_nce(similarities: Tensor, temperature: float) -> Tensor:
    """−log softmax of the right pair, mean over queries: [..., B, B] → [...]."""
    return -(similarities / temperature).log_softmax(-1).diagonal(dim1=-2, dim2=-1).mean(-1)


def debiased_info_nce(similarities: Tensor, temperature: float, prior: float) -> Tensor:
    """InfoNCE whose negatives are corrected for those that are positives in truth: [..., B, B] → [...].

    The bound under the corrected negatives is exp(−N/τ) here (N negatives), which single precision takes for 0.
    """
    weights = (similarities / temperature).exp()
    positive = weights.diagonal(dim1=-2, dim2=-1)
    diagonal = torch.eye(weights.shape[-1], dtype=torch.bool, device=weights.device)
    negatives, count = weights.masked_fill(diagonal, 0.0).sum(-1), weights.shape[-1] - 1
    corrected = ((negatives - prior * count * positive) / (1 - prior)).clamp(min=math.exp(-count / temperature))
    return -(positive / (positive + corrected)).log().mean(-1)


def both_ways(t2v: Tensor, v2t: Tensor, settings: Contrast) -> tuple[Tensor, Tensor]:
    """Loss of the coarse level, and mean of the fine ones', each the sum of its two directions.

    Args:
        t2v, v2t: [L+1, …, B, B]; axes between are averaged.
        settings: temperatures and prior.
    """
    coarse = info_nce(t2v[0], settings.coarse[0]) + info_nce(v2t[0], settings.coarse[1])
    fine = debiased_info_nce(t2v[1:], settings.fine[0], settings.prior)
    fine = fine + debiased_info_nce(v2t[1:], settings.fine[1], settings.prior)
    return coarse.mean(), fine.mean()


def dense_loss(dense_t2v: Tensor, dense_v2t: Tensor, settings: Contrast) -> Tensor:
    """HCT's: the contrastive loss of the dense similarities, [L+1, B, B] each."""
    coarse, fine = both_ways(dense_t2v, dense_v2t, settings)
    return settings.coarse_weight * coarse + settings.fine_weight * fine


@dataclass(frozen=True)
class Directed:
    """One direction's similarities, rows its queries.

    Args:
        quantized: [L+1, B, B], dense queries against quantized items.
        dense: [L+1, B, B].
        codes: [L+1, M, B, B].
    """

    quantized: Tensor
    dense: Tensor
    codes: Tensor


def directed(batch: Similarities) -> tuple[Directed, Directed]:
    """Text-to-video and video-to-text of a quantized model's batch.

    Raises:
        ValueError: the model has no quantizers.
    """
    if batch.to_videos is None or batch.to_texts is None or batch.codes is None:
        raise ValueError("this architecture has no quantizer")
    forward = Directed(batch.to_videos, batch.dense, batch.codes)
    return forward, Directed(batch.to_texts.mT, batch.dense.mT, batch.codes.mT)


def hybrid_loss(t2v: Directed, v2t: Directed, settings: Contrast, share: float) -> Tensor:
    """HCQ's: fades from the dense to the quantized similarities (and the soft codes).

    Args:
        t2v, v2t: the two directions.
        settings: of the contrast.
        share: of the dense similarities; the reference's schedule is `training.losses.dense_share`.
    """
    total = dense_loss(t2v.dense, v2t.dense, settings) * share
    total = total + dense_loss(t2v.quantized, v2t.quantized, settings) * (1 - share)
    return total + dense_loss(t2v.codes, v2t.codes, settings) * settings.code_weight * (1 - share)


def margin_loss(similarities: Tensor, margin: float, skip_diagonal: bool = True) -> Tensor:
    """Mean hinge of how much the right pair lacks to beat the others of its row by `margin`: [B, B] → [].

    Args:
        skip_diagonal: leave out the right pairs themselves, which lack just the margin.
    """
    hinge = F.relu(margin - similarities.diagonal()[:, None] + similarities)
    if not skip_diagonal:
        return hinge.mean()
    return hinge[~torch.eye(len(hinge), dtype=torch.bool, device=hinge.device)].mean()


def ranking_loss(t2v: Tensor, v2t: Tensor, margin: float) -> Tensor:
    """JPQ's: hinge losses of both directions of the quantized similarities, [B, B] each."""
    return margin_loss(t2v, margin) + margin_loss(v2t, margin)


@dataclass(frozen=True)
class HashingLoss:
    """DCMH's loss and what it is made of, each [].

    Args:
        total: weighted sum.
        semantic, quantization, balance: its parts.
    """

    total: Tensor
    semantic: Tensor
    quantization: Tensor
    balance: Tensor


def hashing_loss(
    texts: Tensor, videos: Tensor, scale: float = 20.0, quantization_weight: float = 1.0, balance_weight: float = 1.0
) -> HashingLoss:
    """DCMH's: likelihood of the right pairs, distance to the signs, balance of the bits.

    Args:
        texts, videos: relaxed codes [B, bits], one caption a video.
        scale: of the cosines in the likelihood.
        quantization_weight, balance_weight: of the second and third part.
    """
    cosines = scale * F.normalize(texts, dim=-1) @ F.normalize(videos, dim=-1).T
    semantic = ((1 + cosines.exp()).log().sum() - cosines.diagonal().sum()) / cosines.numel()
    signs = torch.sign(texts + videos)
    quantization = ((signs - texts).square() + (signs - videos).square()).mean()
    balance = (texts.mean(0).square() + videos.mean(0).square()).mean()
    total = semantic + quantization_weight * quantization + balance_weight * balance
    return HashingLoss(total, semantic, quantization, balance)
