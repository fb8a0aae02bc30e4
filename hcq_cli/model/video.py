"""The video encoder: a multi-modal transformer (MMT) over every expert's tokens in one sequence.

HCQ (Wang et al., WWW 2022, arXiv 2202.03384), section 3.1; the transformer is that of Gabeur et al., "Multi-modal
Transformer for Video Retrieval" (ECCV 2020, arXiv 2007.10639).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.datasets.batches import VideoBatch, with_experts
from hcq_cli.model.config import ExpertConfig, ModelConfig, VideoConfig

NO_TIME, UNKNOWN_TIME, FIRST_SECOND = 0, 1, 2
"""Rows of the time table: an [AGG] token, a token without a time, second 0."""

FAR = 8.0
"""Standardised features are clamped to this many deviations, so that one wild value cannot drown the rest."""


@dataclass(frozen=True)
class VideoTensors:
    """Padded experts' tokens of B videos; every field has a key for each expert of the model.

    Args:
        features: float [B, T_e, dim_e] by expert.
        times: float [B, T_e] by expert, seconds; NaN where unknown.
        mask: bool [B, T_e] by expert, True for tokens that are there.
    """

    features: Mapping[str, Tensor]
    times: Mapping[str, Tensor]
    mask: Mapping[str, Tensor]


def video_tensors(batch: VideoBatch, config: ModelConfig, device: torch.device) -> VideoTensors:
    """A padded batch on a device, with every expert of the model; what the batch lacks is masked.

    Raises:
        HcqError: an expert's features are not as wide as those the model was trained on.
    """
    whole = with_experts(batch, {name: expert.dim for name, expert in config.experts.items()})
    parts = (whole.features, whole.times, whole.mask)
    return VideoTensors(*({name: torch.from_numpy(part[name]).to(device) for name in part} for part in parts))


@dataclass(frozen=True)
class VideoTokens:
    """What the transformer makes of B videos.

    Args:
        aggregates: [B, E, D], the [AGG] outputs.
        present: bool [B, E], whether the video has the expert at all.
        tokens: [B, T, D], the feature tokens, those that are there first.
        mask: bool [B, T].
    """

    aggregates: Tensor
    present: Tensor
    tokens: Tensor
    mask: Tensor


class TransformerLayer(nn.Module):
    """One post-LN encoder layer of BERT.

    It computes what `torch.nn.TransformerEncoderLayer` does (a test says so), but takes the mask ready-made, once for
    all layers, and its weights have the names that checkpoints and the published code's weights are read by.

    Args:
        width: D.
        heads: attention heads.
        ffn: width of the hidden layer.
        dropout: of attention weights and of both branches.
    """

    def __init__(self, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, ffn)
        self.down = nn.Linear(ffn, width)
        self.norm_ffn = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Contextualise.

        Args:
            x: [B, T, D].
            bias: [B, 1, 1, T], 0 for keys that are there and −inf for the others.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropped = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropped)
        attended = self.out(attended.transpose(1, 2).flatten(2))
        x = self.norm_attention(x + F.dropout(attended, self.dropout, self.training))
        hidden = self.down(F.gelu(self.up(x)))
        return self.norm_ffn(x + F.dropout(hidden, self.dropout, self.training))


class FeatureScale(nn.Module):
    """Brings an expert's features to mean 0 and deviation 1 of the training set (identity until fitted).

    Args:
        dim: width of the features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def forward(self, features: Tensor) -> Tensor:
        """[..., dim] → [..., dim], cut off at ±FAR deviations: one wild value must not drown the rest."""
        return ((features - self.mean) / self.deviation).clamp(-FAR, FAR)


class VideoEncoder(nn.Module):
    """Projects each expert's features to D, adds expert and time, and contextualises them all together.

    Sequence: one [AGG] token an expert (the maximum over time of its projected features), then the feature tokens.
    The order carries nothing (expert and second are embedded), so tokens that are missing are squeezed out.

    Args:
        config: shape of the encoder.
        width: D.
        experts: by name, in the order of the projections.
    """

    def __init__(self, config: VideoConfig, width: int, experts: Mapping[str, ExpertConfig]) -> None:
        super().__init__()
        self.names, self.dropout = list(experts), config.dropout
        self.scales = nn.ModuleList(
            FeatureScale(item.dim) if config.standardize else nn.Identity() for item in experts.values()
        )
        self.projections = nn.ModuleList(nn.Linear(item.dim, width) for item in experts.values())
        self.expert_embedding = nn.Embedding(len(experts), width)
        self.time_embedding = nn.Embedding(config.time_slots, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(
            TransformerLayer(width, config.heads, config.ffn, config.dropout) for _ in range(config.layers)
        )
        for table in (self.expert_embedding, self.time_embedding):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, videos: VideoTensors) -> VideoTokens:
        """Contextualise the tokens of B videos.

        Returns:
            Aggregates and feature tokens; of masked ones nothing may be used.
        """
        projected, aggregates = self._project(videos)
        mask = torch.cat([videos.mask[name] for name in self.names], 1)
        present = torch.stack([videos.mask[name].any(1) for name in self.names], 1)
        positions = torch.cat([self._slots(videos.times[name]) for name in self.names], 1)
        kinds = torch.cat([torch.full_like(videos.mask[n], i, dtype=torch.long) for i, n in enumerate(self.names)], 1)
        # What is there first, each in its order, so that equal videos have sums that are equal to the last bit.
        slots = torch.arange(mask.shape[1], device=mask.device)
        order = torch.where(mask, slots, slots + mask.shape[1]).argsort(1)
        if mask.numel():
            order = order[:, : mask.sum(1).max()]  # type: ignore[misc]  # no number: an export counts them anew
        tokens = projected.gather(1, order[..., None].expand(-1, -1, projected.shape[-1]))
        experts = self.expert_embedding(kinds.gather(1, order)) + self.time_embedding(positions.gather(1, order))
        heads = aggregates + self.expert_embedding.weight + self.time_embedding.weight[NO_TIME]
        mask = mask.gather(1, order)
        x = self._contextualise(torch.cat([heads, tokens + experts], 1), torch.cat([present, mask], 1))
        count = len(self.names)
        return VideoTokens(x[:, :count], present, x[:, count:], mask)

    def _project(self, videos: VideoTensors) -> tuple[Tensor, Tensor]:
        """All feature tokens [B, ΣT_e, D], and the maximum over time of each expert's [B, E, D]."""
        projected, aggregates = [], []
        for name, scale, projection in zip(self.names, self.scales, self.projections, strict=True):
            mask = videos.mask[name]
            rows = F.normalize(projection(scale(videos.features[name][mask])), dim=-1)  # no work on padding
            z = rows.new_zeros(*mask.shape, rows.shape[-1]).index_put((mask,), rows)
            projected.append(z)
            if z.shape[1] == 0:
                aggregates.append(z.new_zeros(z.shape[0], z.shape[2]))
                continue
            # A maximum over no token is −inf: such an expert is masked, but 0 · −inf would still be NaN later on.
            highest = z.masked_fill(~mask[..., None], -torch.inf).amax(1)
            aggregates.append(highest.masked_fill(~mask.any(1, keepdim=True), 0.0))
        return torch.cat(projected, 1), torch.stack(aggregates, 1)

    def _slots(self, times: Tensor) -> Tensor:
        """Seconds → rows of the time table."""
        # NaN compares false to everything and turns into any integer: it is replaced before the cast.
        known = torch.isfinite(times) & (times >= 0)
        last = self.time_embedding.num_embeddings - 1
        seconds = torch.where(known, times, 0.0).clamp(max=last).long()
        return torch.where(known, (seconds + FIRST_SECOND).clamp(max=last), UNKNOWN_TIME)

    def _contextualise(self, x: Tensor, mask: Tensor) -> Tensor:
        # A video without any token attends to its (empty) first slot instead of dividing by nothing.
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        attendable = mask | (first & ~mask.any(1, keepdim=True))
        bias = torch.zeros_like(x[..., 0]).masked_fill(~attendable, -torch.inf)[:, None, None]
        x = F.dropout(self.norm(x), self.dropout, self.training)
        for layer in self.layers:
            x = layer(x, bias)
        return x
