"""Product quantization, one module a level, all levels at once, shared by text and video (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.config import QuantizerConfig


class Coder(Protocol):
    """What turns levels into codes: all that encoding and searching need to know of it."""

    def unit_codewords(self) -> Tensor:
        """[L+1, M, K, d], each of length 1 (JPQ's only in the mean)."""
        ...

    def codes(self, x: Tensor) -> Tensor:
        """[B, L+1, D] → int64 [B, L+1, M]."""
        ...


@dataclass(frozen=True)
class Quantized:
    """Vectors and what became of them.

    Args:
        vectors: [B, L+1, D], the chosen codewords side by side, unit length a level; gradients go straight through.
        codes: int64 [B, L+1, M].
    """

    vectors: Tensor
    codes: Tensor


class ProductQuantizer(nn.Module):
    """Cuts each level's D into M chunks and stands a codeword in for each.

    Chunks and codewords are L2-normalised; the code of a chunk is the codeword of the highest inner product. Forward
    takes that codeword. Backward goes through the soft attention to all codewords (`gradient="soft"`), or as if
    the chunk itself had been taken, and to the chosen codeword (`gradient="identity"`).

    Args:
        config: M, K, α and the kind of gradient.
        levels: L+1.
        width: D.
    """

    active: Tensor

    def __init__(self, config: QuantizerConfig, levels: int, width: int) -> None:
        super().__init__()
        self.config = config
        chunk = width // config.codebooks
        start = F.normalize(torch.randn(levels, config.codebooks, config.codewords, chunk), dim=-1)
        self.codewords = nn.Parameter(start)
        # Fewer training vectors than K can use only so many codewords; the others are never chosen.
        self.register_buffer("active", torch.tensor(config.codewords))

    def unit_codewords(self) -> Tensor:
        """[L+1, M, K, d], each of length 1."""
        return F.normalize(self.codewords, dim=-1)

    def chunks(self, x: Tensor) -> Tensor:
        """[B, L+1, D] → [B, L+1, M, d], each chunk of length 1 (zero where there was nothing)."""
        return F.normalize(x.unflatten(-1, (self.config.codebooks, -1)), dim=-1)

    def similarities(self, chunks: Tensor, codewords: Tensor) -> Tensor:
        """⟨x_m, c_mk⟩: [B, L+1, M, d] × [L+1, M, K, d] → [L+1, M, B, K]; −inf for codewords not in use."""
        products = chunks.permute(1, 2, 0, 3) @ codewords.transpose(-1, -2)
        if int(self.active) == self.config.codewords:
            return products
        unused = torch.arange(self.config.codewords, device=products.device) >= self.active
        return products.masked_fill(unused, -torch.inf)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """b_m = argmax_k ⟨x_m, c_mk⟩: [B, L+1, D] → int64 [B, L+1, M]."""
        return self.similarities(self.chunks(x), self.unit_codewords()).argmax(-1).permute(2, 0, 1)

    def forward(self, x: Tensor) -> Quantized:
        """Quantize, with a gradient.

        Args:
            x: [B, L+1, D].
        """
        chunks, codewords = self.chunks(x), self.unit_codewords()
        if self.config.gradient == "soft":
            similarities = self.similarities(chunks, codewords)
            codes = similarities.argmax(-1).permute(2, 0, 1)
            attention = (self.config.alpha * similarities).softmax(-1)
            surrogate = (attention @ codewords).permute(2, 0, 1, 3)
            hard = self.look_up(codewords.detach(), codes)
        else:
            with torch.no_grad():
                codes = self.similarities(chunks, codewords).argmax(-1).permute(2, 0, 1)
            surrogate, hard = chunks, self.look_up(codewords, codes)
        straight = hard + surrogate - surrogate.detach()
        return Quantized(straight.flatten(2) * self.config.codebooks**-0.5, codes)

    @staticmethod
    def look_up(codewords: Tensor, codes: Tensor) -> Tensor:
        """The codewords of codes: [L+1, M, K, d], int64 [B, L+1, M] → [B, L+1, M, d]."""
        levels, books, count, _ = codewords.shape
        first = torch.arange(levels * books, device=codes.device).view(levels, books) * count
        return F.embedding(codes + first, codewords.flatten(0, 2))
