"""The published model as it trains: soft codes and k-means of its quantizers, whole batches, and DCMH's bits.

hcq encodes and searches with the same modules (hcq_cli.importers.official), and does without all of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.importers.official.layers import ReferenceQuantizer
from hcq_cli.importers.official.names import place
from hcq_cli.importers.official.network import ReferenceModel
from hcq_cli.importers.official.options import QuantizerOptions, ReferenceOptions
from hcq_cli.importers.official.video import ReferenceVideos

SETTLED = 1e-5
"""Mean squared change of a sub-codebook under which the k-means pass stops."""


@dataclass(frozen=True)
class ReferenceQuantized:
    """Vectors and what became of them.

    Args:
        vectors: [..., D], codewords side by side; gradients go straight through.
        codes: int64 [..., M].
        soft: [..., M, K], softmax over the batch-normalised similarities.
        chunks: [..., D], the input with every chunk L2-normalised.
        penalty: [...], the quantization term: squared distance, or the soft code's entropy with dual codebooks.
    """

    vectors: Tensor
    codes: Tensor
    soft: Tensor
    chunks: Tensor
    penalty: Tensor

    @staticmethod
    def stack(parts: list[ReferenceQuantized], dim: int) -> ReferenceQuantized:
        """Those of several levels along a new axis `dim`, field by field."""
        names = ("vectors", "codes", "soft", "chunks", "penalty")
        return ReferenceQuantized(*(torch.stack([getattr(part, name) for part in parts], dim) for name in names))


class TrainingQuantizer(ReferenceQuantizer):
    """One level's product quantizer, with values apart from its keys where the options say so."""

    def __init__(self, options: QuantizerOptions, width: int) -> None:
        super().__init__(options, width)
        self.values = nn.Parameter(F.normalize(torch.randn_like(self.codewords), dim=-1))
        if not options.dual_codebooks:
            self.values = None

    @torch.no_grad()
    def normalize_codebooks(self) -> None:
        super().normalize_codebooks()
        if self.values is not None:
            self.values.copy_(F.normalize(self.values, dim=-1))

    def forward(self, x: Tensor) -> ReferenceQuantized:
        """Quantize.

        Args:
            x: [B, D], or [B, C, D]: captions are taken one after the other, each a batch of its own for batch norm.
        """
        if x.ndim == 3:
            return ReferenceQuantized.stack([self(x[:, caption]) for caption in range(x.shape[1])], 1)
        values = self.codewords if self.values is None else self.values
        chunks = F.normalize(x.unflatten(-1, (self.options.M, -1)), dim=-1)
        similarities = torch.einsum("bmd,mkd->bmk", chunks, self.codewords)
        if self.norm is not None:
            similarities = self.norm(similarities)
        codes = similarities.argmax(-1)
        soft = (self._visible(similarities) * self.options.alpha).softmax(-1)
        hard = values[torch.arange(self.options.M, device=codes.device), codes].flatten(1)
        chunks = chunks.flatten(1)
        through = chunks if self.values is None else torch.einsum("mkd,bmk->bmd", values, soft).flatten(1)
        vectors = through - (through - hard).detach()
        return ReferenceQuantized(vectors, codes, soft, chunks, self._penalty(chunks, hard, soft))

    def _visible(self, similarities: Tensor) -> Tensor:
        if self.options.mask_topK is None:
            return similarities
        kept = torch.zeros_like(similarities, dtype=torch.bool)
        kept.scatter_(-1, similarities.topk(self.options.mask_topK, -1).indices, True)
        return similarities.masked_fill(~kept, -torch.inf)

    def _penalty(self, chunks: Tensor, hard: Tensor, soft: Tensor) -> Tensor:
        if self.values is not None:
            return -(soft * (soft + 1e-6).log()).sum(-1).mean(-1)
        if self.options.pq_detach_opt == "features":
            chunks = chunks.detach()
        if self.options.pq_detach_opt == "codewords":
            hard = hard.detach()
        return (chunks - hard).square().sum(-1)

    @torch.no_grad()
    def cluster(self, texts: Tensor, videos: Tensor, iterations: int = 10) -> None:
        """Spherical k-means over an epoch's embeddings, from the codewords there are.

        Args:
            texts: [B, C, D].
            videos: [B, D].
            iterations: at most so many.

        Raises:
            ValueError: with dual codebooks, which learn through the soft attention instead.
        """
        if self.values is not None:
            raise ValueError("dual codebooks are not moved by k-means")
        points = torch.cat([texts.flatten(0, 1), videos]).unflatten(-1, (self.options.M, -1))
        points, start = F.normalize(points, dim=-1), F.normalize(self.codewords, dim=-1)
        moved = [_kmeans(points[:, m], start[m], iterations) for m in range(self.options.M)]
        self.codewords.copy_(torch.stack(moved))


def _kmeans(points: Tensor, codewords: Tensor, iterations: int) -> Tensor:
    """One sub-codebook: [n, d], [K, d] → [K, d].

    From its second round on, the reference compares the new directions with the means they come from (a buffer is
    reused), and those means, not of unit length, are what it keeps when they have settled.
    """
    kept = codewords
    for round_ in range(iterations):
        cells = (points @ codewords.T).argmax(-1)
        sizes = torch.bincount(cells, minlength=len(codewords)).to(points)[:, None]
        means = torch.zeros_like(codewords).index_add_(0, cells, points) / (sizes + 1e-6)
        if round_ > 0:
            kept = means
        codewords = F.normalize(means, dim=-1)
        if F.mse_loss(kept, codewords) <= SETTLED:
            return kept
        kept = codewords
    return kept


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


class TrainingModel(ReferenceModel):
    """Any of the four architectures: HCQ, HCT, JPQ and DCMH."""

    def __init__(self, options: ReferenceOptions, text: nn.Module, hidden: int) -> None:
        super().__init__(options, text, hidden)
        width = options.same_dim
        self.quantizers = nn.ModuleList(
            TrainingQuantizer(options.quantizer, width) for _ in range(options.quantized_levels)
        )
        if options.architecture == "DCMH":
            self.text_bits, self.video_bits = nn.Linear(width, options.bits), nn.Linear(width, options.bits)

    def embed_captions(self, ids: Tensor, mask: Tensor) -> Tensor:
        levels = super().embed_captions(ids, mask)
        return self._bits(self.text_bits(levels)) if self.options.architecture == "DCMH" else levels

    def embed_videos(self, videos: ReferenceVideos) -> Tensor:
        levels = super().embed_videos(videos)
        return self._bits(self.video_bits(levels)) if self.options.architecture == "DCMH" else levels

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
        for quantizer in self.quantizers:
            quantizer.normalize_codebooks()

    def cluster_codebooks(self, texts: Tensor, videos: Tensor) -> None:
        """The k-means pass over an epoch: texts [N, C, L+1, D], videos [N, L+1, D], as in `ReferenceEmbeddings`."""
        for level, quantizer in enumerate(self.quantizers):
            quantizer.cluster(texts[:, :, level], videos[:, level])

    def _bits(self, logits: Tensor) -> Tensor:
        relaxed = 2 * torch.sigmoid(logits) - 1
        return relaxed if self.training else torch.sign(relaxed)


def official_view(names: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under those of the reference's `names` that we have."""
    places = {name: place(name) for name in names}
    return {name: at.of(tensors) for name, at in places.items() if at is not None and at.name in tensors}
