"""The reference's similarities of all captions with all videos of a batch, by level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from reference_training import ReferenceEmbeddings
from torch import Tensor


@dataclass(frozen=True)
class Similarities:
    """Texts by videos: T is B where captions are averaged, B·C where they are kept apart.

    Args:
        dense: [L+1, T, B], dense against dense.
        to_videos: [L+1, T, B], dense texts against quantized videos; None without quantizers.
        to_texts: [L+1, T, B], quantized texts against dense videos.
        codes: [L+1, M, T, B], inner products of soft codes.
    """

    dense: Tensor
    to_videos: Tensor | None = None
    to_texts: Tensor | None = None
    codes: Tensor | None = None


def level_cosines(texts: Tensor, videos: Tensor, average: bool, normalize: bool = True) -> Tensor:
    """Cosines (inner products without `normalize`) at every level.

    Args:
        texts: [B, C, L+1, D].
        videos: [B, L+1, D].
        average: over a video's captions; otherwise they stay apart, adjacent.
        normalize: both sides again, as whole vectors.

    Returns:
        [L+1, B, B] or [L+1, B·C, B].
    """
    if normalize:
        texts, videos = F.normalize(texts, dim=-1), F.normalize(videos, dim=-1)
    return _merge(torch.einsum("tcld,vld->ltcv", texts, videos), average)


def code_products(texts: Tensor, videos: Tensor, average: bool) -> Tensor:
    """Inner products of soft codes: [B, C, L+1, M, K] × [B, L+1, M, K] → [L+1, M, T, B]."""
    return _merge(torch.einsum("tclmk,vlmk->lmtcv", texts, videos), average)


def _merge(products: Tensor, average: bool) -> Tensor:
    return products.mean(-2) if average else products.flatten(-3, -2)


def similarities(batch: ReferenceEmbeddings, average: bool) -> Similarities:
    """All of a batch's.

    Args:
        batch: what the model made of it.
        average: over captions, as in training; in evaluation they are kept apart.
    """
    texts, videos = batch.quantized_texts, batch.quantized_videos
    dense = level_cosines(batch.texts, batch.videos, average)
    if texts is None or videos is None:
        return Similarities(dense)
    return Similarities(
        dense,
        level_cosines(batch.texts, videos.vectors, average),
        level_cosines(texts.vectors, batch.videos, average),
        code_products(texts.soft, videos.soft, average),
    )
