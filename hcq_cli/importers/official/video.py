"""The reference's multi-modal transformer: every expert's tokens, padding and missing experts in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.options import ReferenceOptions
from hcq_cli.model.video import TransformerLayer

CLS_TYPE, NO_POSITION, SOME_POSITION = 0, 0, 1
MASKED = -10000.0
"""Added to the attention logits of masked keys (the reference's number: not quite −∞)."""


@dataclass(frozen=True)
class ReferenceVideos:
    """Padded experts' tokens of B videos, by expert.

    Args:
        features: float [B, T_e, dim_e].
        times: float [B, T_e], rows of the position table before clamping and truncation.
        mask: [B, T_e], 1 for tokens that are there.
        mean_pooled, max_pooled: float [B, dim_e], of the raw features.
    """

    features: Mapping[str, Tensor]
    times: Mapping[str, Tensor]
    mask: Mapping[str, Tensor]
    mean_pooled: Mapping[str, Tensor]
    max_pooled: Mapping[str, Tensor]


@dataclass(frozen=True)
class Sequence:
    """The transformer's input.

    Args:
        features: [B, T, D].
        types, positions: int64 [B, T]; positions None for the option `pos_enc = none`.
        mask: float [B, T], 1 for tokens to attend to.
        aggregates: where each expert's [AGG] stands.
    """

    features: Tensor
    types: Tensor
    positions: Tensor | None
    mask: Tensor
    aggregates: list[int]


class ReferenceTransformer(nn.Module):
    """Type and position embeddings and post-LN layers (these are ours: they agree).

    Args:
        options: its shape.
    """

    def __init__(self, options: ReferenceOptions) -> None:
        super().__init__()
        width = options.same_dim
        self.dropout = nn.Dropout(options.dropout)
        self.positions = nn.Embedding(options.positions, width)
        self.types = nn.Embedding(options.types, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(
            TransformerLayer(width, options.heads, options.ffn, options.dropout) for _ in range(options.layers)
        )
        self.pooler = nn.Linear(width, width)  # the reference computes it and uses it for nothing

    def embed(self, features: Tensor, types: Tensor, positions: Tensor | None) -> Tensor:
        """[B, T, D], int64 [B, T] twice → [B, T, D]."""
        x = features + self.types(types)
        if positions is not None:
            x = x + self.positions(positions)
        return self.dropout(self.norm(x))

    def forward(self, features: Tensor, types: Tensor, positions: Tensor | None, mask: Tensor) -> Tensor:
        """Contextualise: as `embed`, and mask [B, T] → [B, T, D]."""
        x = self.embed(features, types, positions)
        bias = ((1.0 - mask.to(x)) * MASKED)[:, None, None]
        for layer in self.layers:
            x = layer(x, bias)
        return x


class ReferenceVideoEncoder(nn.Module):
    """Sequence: [CLS], then for each expert [AGG] and its feature tokens.

    Args:
        options: its shape.
    """

    def __init__(self, options: ReferenceOptions) -> None:
        super().__init__()
        self.options = options
        width = options.same_dim
        self.projections = nn.ModuleDict({n: nn.Linear(e.dim, width) for n, e in options.experts.items()})
        self.transformer = ReferenceTransformer(options)

    def forward(self, videos: ReferenceVideos) -> tuple[Tensor, Tensor, Tensor]:
        """Contextualise the tokens of B videos.

        Returns:
            Coarse embedding [B, D] (the mean over all experts, missing ones too); all outputs [B, T, D], [CLS] and
            [AGG] included; and the mask of its feature tokens [B, T].
        """
        sequence = self._sequence(videos)
        states = self.transformer(sequence.features, sequence.types, sequence.positions, sequence.mask)
        aggregates = states[:, sequence.aggregates]
        if self.options.normalize_experts:
            aggregates = F.normalize(aggregates, dim=-1)
        mask = sequence.mask.clone()
        mask[:, [0, *sequence.aggregates]] = 0
        return aggregates.mean(1), states, mask

    def _project(self, name: str, features: Tensor) -> Tensor:
        return F.normalize(self.projections[name](features), dim=-1)

    def _aggregate(self, name: str, videos: ReferenceVideos) -> Tensor:
        """Input of an expert's [AGG], [B, D]: its pooled raw features, projected."""
        if self.options.out_tok == "sep":
            pooled = videos.max_pooled[name]
            return pooled[:, :1] * pooled.new_zeros(self.options.same_dim)
        pooled = (videos.max_pooled if self.options.out_tok == "mxp" else videos.mean_pooled)[name]
        return self._project(name, pooled)

    def _positions(self, times: Tensor) -> Tensor:
        """Rows of the position table of an expert's tokens, [B, T_e]."""
        if self.options.pos_enc == "tint":
            return times.clamp(0, self.options.positions - 1).long()
        if self.options.pos_enc == "ordr":
            return (torch.arange(times.shape[1], device=times.device) + 1).expand(times.shape)
        return torch.full_like(times, SOME_POSITION, dtype=torch.long)

    def _sequence(self, videos: ReferenceVideos) -> Sequence:
        first = next(iter(videos.mask.values()))
        one = torch.ones_like(first[:, :1], dtype=torch.float)  # and not of `len`, which a tracer takes for a number
        at, aggregates = 1, []
        features = [one[..., None] * one.new_zeros(self.options.same_dim)]
        types, positions, masks = [one.long() * CLS_TYPE], [one.long() * NO_POSITION], [one]
        for name, expert in self.options.experts.items():
            present = videos.mask[name].float()
            tokens = present.shape[1] if self.options.vid_inp == "both" else 0
            aggregates.append(at)
            at = at + 1 + tokens  # no +=: traced, it is a tensor
            features.append(self._aggregate(name, videos)[:, None])
            positions.append(one.long() * NO_POSITION)
            masks.append(present.amax(1, keepdim=True))
            types.append(one.long().expand(-1, 1 + tokens) * expert.idx)
            if tokens:
                features.append(self._project(name, videos.features[name]))
                positions.append(self._positions(videos.times[name]))
                masks.append(present)
        places = torch.cat(positions, 1) if self.options.pos_enc != "none" else None
        return Sequence(torch.cat(features, 1), torch.cat(types, 1), places, torch.cat(masks, 1), aggregates)
