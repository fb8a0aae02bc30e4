"""The reference's models, to encode with; how they train is in the tests alone (reference_training.py there)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.layers import ReferenceMixture, ReferenceQuantizer, ReferenceVLAD
from hcq_cli.importers.official.options import ReferenceOptions
from hcq_cli.importers.official.video import ReferenceVideoEncoder, ReferenceVideos


class ReferenceModel(nn.Module):
    """A whole reference model.

    Args:
        options: its shape.
        text: a transformers encoder; called with `input_ids` and `attention_mask`.
        hidden: width of its vectors.
    """

    def __init__(self, options: ReferenceOptions, text: nn.Module, hidden: int) -> None:
        super().__init__()
        self.options, width = options.check(), options.same_dim
        self.text = text
        self.coarse = ReferenceMixture(
            hidden,
            width,
            list(options.experts),
            kind=options.txt_pro,
            normalize=options.normalize_experts,
            weights=options.txt_wgh,
            dropout=options.txt_dropout,
        )
        self.video = ReferenceVideoEncoder(options)
        if options.fine_levels:
            self.text_tokens = nn.Linear(hidden, width)
            self.fine = ReferenceVLAD(width, options.fine_levels, options.ghosts)
        self.quantizers = nn.ModuleList(
            ReferenceQuantizer(options.quantizer, width) for _ in range(options.quantized_levels)
        )

    def embed_captions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Captions → levels: int64 [N, T], [N, T] → [N, L+1, D], before any quantizer."""
        states = self.text(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        coarse = self.coarse(self._sentence(states))
        if not self.options.fine_levels:
            return coarse[:, None]
        # [CLS] is no word; [SEP] counts as one, since the reference masks the first token alone.
        words = mask.float().clone()
        words[:, 0] = 0
        return torch.cat([coarse[:, None], self._fine(self.text_tokens(states), words)], 1)

    def embed_videos(self, videos: ReferenceVideos) -> Tensor:
        """Videos → levels, [B, L+1, D], before any quantizer."""
        coarse, states, mask = self.video(videos)
        if not self.options.fine_levels:
            return coarse[:, None]
        return torch.cat([coarse[:, None], self._fine(states, mask)], 1)

    def _sentence(self, states: Tensor) -> Tensor:
        """The vector that stands for the caption, [N, hidden]; pooling takes padding for words."""
        if self.options.txt_agg == "bertftnmxp":
            return states[:, 1:].amax(1)
        if self.options.txt_agg == "bertftnmnp":
            return states[:, 1:].mean(1)
        return states[:, 0]

    def _fine(self, tokens: Tensor, mask: Tensor) -> Tensor:
        residuals = self.fine(tokens, mask)
        return F.normalize(residuals, dim=-1) if self.options.normalize_experts else residuals
