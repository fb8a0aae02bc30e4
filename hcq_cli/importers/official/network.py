"""The reference's four architectures: HCQ, HCT, JPQ and DCMH."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.layers import ReferenceMixture, ReferenceQuantized, ReferenceQuantizer, ReferenceVLAD
from hcq_cli.importers.official.options import ReferenceOptions
from hcq_cli.importers.official.video import ReferenceVideoEncoder, ReferenceVideos


@dataclass(frozen=True)
class ReferenceWords:
    """Captions as token ids; the first column stands for the sentence.

    Args:
        ids: int64 [B, C, T].
        mask: [B, C, T], 1 for tokens that are there.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class ReferenceEmbeddings:
    """What a batch becomes. Level 0 is the coarse one; JPQ and DCMH have no other.

    Args:
        texts: [B, C, L+1, D]; with quantizers, every chunk of unit length; for DCMH [B, C, 1, bits].
        videos: [B, L+1, D] likewise.
        quantized_texts, quantized_videos: what the quantizers make of them, None without.
    """

    texts: Tensor
    videos: Tensor
    quantized_texts: ReferenceQuantized | None = None
    quantized_videos: ReferenceQuantized | None = None

    @property
    def penalty(self) -> Tensor:
        """The quantization term: mean over the videos, over captions and video alike, over levels."""
        texts, videos = self._quantized()
        return torch.cat([texts.penalty.mean(0), videos.penalty.mean(0)[None]]).mean()

    @property
    def error(self) -> Tensor:
        """Mean squared distance to the quantized vectors; only watched, never a loss."""
        texts, videos = self._quantized()
        with torch.no_grad():
            of_texts = (self.texts - texts.vectors).square().sum(-1).mean()
            return (of_texts + (self.videos - videos.vectors).square().sum(-1).mean()) / 2

    def _quantized(self) -> tuple[ReferenceQuantized, ReferenceQuantized]:
        if self.quantized_texts is None or self.quantized_videos is None:
            raise ValueError("this architecture has no quantizer")
        return self.quantized_texts, self.quantized_videos


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
        if options.architecture == "DCMH":
            self.text_bits, self.video_bits = nn.Linear(width, options.bits), nn.Linear(width, options.bits)

    def embed_captions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Captions → levels: int64 [N, T], [N, T] → [N, L+1, D], before any quantizer."""
        states = self.text(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        coarse = self.coarse(self._sentence(states))
        if self.options.architecture == "DCMH":
            coarse = self._bits(self.text_bits(coarse))
        if not self.options.fine_levels:
            return coarse[:, None]
        # [CLS] is no word; [SEP] counts as one, since the reference masks the first token alone.
        words = mask.float().clone()
        words[:, 0] = 0
        return torch.cat([coarse[:, None], self._fine(self.text_tokens(states), words)], 1)

    def embed_videos(self, videos: ReferenceVideos) -> Tensor:
        """Videos → levels, [B, L+1, D], before any quantizer."""
        coarse, states, mask = self.video(videos)
        if self.options.architecture == "DCMH":
            coarse = self._bits(self.video_bits(coarse))
        if not self.options.fine_levels:
            return coarse[:, None]
        return torch.cat([coarse[:, None], self._fine(states, mask)], 1)

    def forward(self, words: ReferenceWords, videos: ReferenceVideos) -> ReferenceEmbeddings:
        """Embed a batch, texts first: they are what the shared batch norms see first."""
        texts = self.embed_captions(words.ids.flatten(0, 1), words.mask.flatten(0, 1))
        texts = texts.unflatten(0, words.ids.shape[:2])
        clips = self.embed_videos(videos)
        if not self.quantizers:
            return ReferenceEmbeddings(texts, clips)
        sides = [(q(texts[:, :, level]), q(clips[:, level])) for level, q in enumerate(self.quantizers)]
        quantized_texts = ReferenceQuantized.stack([text for text, _ in sides], 2)
        quantized_videos = ReferenceQuantized.stack([video for _, video in sides], 1)
        return ReferenceEmbeddings(quantized_texts.chunks, quantized_videos.chunks, quantized_texts, quantized_videos)

    def normalize_codebooks(self) -> None:
        """Bring every codeword to length 1 (before each training step)."""
        self._each_quantizer(lambda _, quantizer: quantizer.normalize_codebooks())

    def cluster_codebooks(self, texts: Tensor, videos: Tensor) -> None:
        """The k-means pass over an epoch: texts [N, C, L+1, D], videos [N, L+1, D], as in `ReferenceEmbeddings`."""
        self._each_quantizer(lambda level, quantizer: quantizer.cluster(texts[:, :, level], videos[:, level]))

    def _each_quantizer(self, action: Callable[[int, ReferenceQuantizer], None]) -> None:
        for level, quantizer in enumerate(self.quantizers):
            if isinstance(quantizer, ReferenceQuantizer):
                action(level, quantizer)

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

    def _bits(self, logits: Tensor) -> Tensor:
        relaxed = 2 * torch.sigmoid(logits) - 1
        return relaxed if self.training else torch.sign(relaxed)
