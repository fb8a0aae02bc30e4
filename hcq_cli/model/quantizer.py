"""Product quantization, a quantizer a level, all levels at once, shared by text and video.

HCQ (Wang et al., WWW 2022, arXiv 2202.03384): trainable codebooks, soft attention over them, straight-through codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.config import QuantizerConfig


class Coder:
    """What turns levels into codes: all that encoding and searching ask of a kind's quantizer. A base class."""

    @property
    def rotates(self) -> bool:
        """Whether levels are mixed before the cut into chunks; queries have to be turned alike then."""
        return False

    def rotate(self, x: Tensor) -> Tensor:
        """Levels → what is cut in chunks: [B, L+1, D] → [B, L+1, D]; the same without a rotation."""
        return x

    def unit_codewords(self) -> Tensor:
        """[L+1, M, K, d], of length 1; where lengths differ, about that in the mean."""
        raise NotImplementedError

    def codes(self, x: Tensor) -> Tensor:
        """[B, L+1, D] → int64 [B, L+1, M]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Quantized:
    """Vectors and what became of them.

    Args:
        vectors: [B, L+1, D], the chosen codewords side by side, unit length a level; gradients go straight through.
        codes: int64 [B, L+1, M].
    """

    vectors: Tensor
    codes: Tensor


class ProductQuantizer(nn.Module, Coder):
    """Cuts vectors in chunks and stands a codeword in for each; the code of a chunk is its nearest codeword.

    Without a rotation each level's D is cut in M chunks, and chunks and codewords are L2-normalised, as in HCQ.

    With one, the levels are laid side by side, each times the root of its weight in the hybrid score, and rotated
    before the cut into S = (L+1)·M chunks of d. Inner products, and so scores, are what they were. But the levels say
    much the same of a video; a rotation to uncorrelated axes, shared out so that every chunk has as much to tell
    (OPQ's idea, over all levels), lets no byte repeat what another has said. Codewords are of any length then.

    Forward takes the codeword. Backward goes through the soft attention to all codewords (`gradient="soft"`), or as
    if the chunk itself had been taken, and to the chosen codeword (`gradient="identity"`).

    Args:
        config: M, K, α, the rotation and the kind of gradient.
        weights: of the L+1 levels in the hybrid score.
        width: D.
    """

    active: Tensor
    rotation: Tensor | None
    level_roots: Tensor

    def __init__(self, config: QuantizerConfig, weights: Sequence[float], width: int) -> None:
        super().__init__()
        self.config, levels = config, len(weights)
        chunk = width // config.codebooks
        start = F.normalize(torch.randn(levels, config.codebooks, config.codewords, chunk), dim=-1)
        rotated = config.rotation != "none"
        self.codewords = nn.Parameter(start * (levels * config.codebooks) ** -0.5 if rotated else start)
        self.register_buffer("rotation", torch.eye(levels * width) if rotated else None)
        # Never 0, since `restore` divides by it: a level that does not count still has to come back whole.
        self.register_buffer("level_roots", torch.tensor(weights).sqrt().clamp_min(1e-4)[:, None], persistent=False)
        # Fewer training vectors than K can use only so many codewords; the others are never chosen.
        self.register_buffer("active", torch.tensor(config.codewords))

    @property
    def rotates(self) -> bool:
        """Whether there is a rotation."""
        return self.rotation is not None

    def unit_codewords(self) -> Tensor:
        """See `Coder`; after a rotation √M times the codewords, as searches want them (`Model.scale` undoes it)."""
        words = self.used_codewords()
        return words * self.config.codebooks**0.5 if self.rotates else words

    def used_codewords(self) -> Tensor:
        """[L+1, M, K, d]; each of length 1 where nothing is rotated."""
        return F.normalize(self.codewords, dim=-1) if self.rotation is None else self.codewords

    def rotate(self, x: Tensor) -> Tensor:
        """See `Coder`: each level times the root of its weight, then all of them turned as one vector."""
        if self.rotation is None:
            return x
        return ((x * self.level_roots).flatten(1) @ self.rotation.T).view_as(x)

    def restore(self, z: Tensor) -> Tensor:
        """The inverse of `rotate`."""
        if self.rotation is None:
            return z
        return (z.flatten(1) @ self.rotation).view_as(z) / self.level_roots

    def chunks(self, x: Tensor) -> Tensor:
        """[B, L+1, D] → [B, L+1, M, d]; without a rotation of length 1 (zero where there was nothing)."""
        chunks = self.rotate(x).unflatten(-1, (self.config.codebooks, -1))
        return F.normalize(chunks, dim=-1) if self.rotation is None else chunks

    def similarities(self, chunks: Tensor, codewords: Tensor) -> Tensor:
        """How near each codeword is: [B, L+1, M, d] × [L+1, M, K, d] → [L+1, M, B, K]; −inf where not in use.

        ⟨x_m, c_mk⟩, less ½‖c_mk‖² where lengths differ: the largest is the nearest codeword.
        """
        points, words = chunks.permute(1, 2, 0, 3), codewords.transpose(-1, -2)
        if self.rotation is None:
            products = points @ words
        else:
            # −½‖x − c‖² without the term of x, which no choice of c changes. baddbmm adds the norms while it
            # multiplies; apart, they would cost another pass over the largest tensor of the training.
            half_norms = -0.5 * codewords.square().sum(-1).flatten(0, 1)[:, None]
            flat = torch.baddbmm(half_norms, points.flatten(0, 1), words.flatten(0, 1))
            products = flat.unflatten(0, codewords.shape[:2])
        if int(self.active) == self.config.codewords:  # the usual case: no mask as large as the products
            return products
        unused = torch.arange(self.config.codewords, device=products.device) >= self.active
        return products.masked_fill(unused, -torch.inf)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """b_m, the nearest codewords: [B, L+1, D] → int64 [B, L+1, M]."""
        return self.similarities(self.chunks(x), self.used_codewords()).argmax(-1).permute(2, 0, 1)

    def forward(self, x: Tensor) -> Quantized:
        """Quantize, with a gradient.

        Args:
            x: [B, L+1, D].
        """
        codewords = self.used_codewords()
        if self.config.gradient == "soft":
            chunks = self.chunks(x)
            similarities = self.similarities(chunks, codewords)
            codes = similarities.argmax(-1).permute(2, 0, 1)
            attention = (self.config.alpha * similarities).softmax(-1)
            # Straight-through: the value is the hard codeword's, the gradient is the soft mixture's.
            surrogate = (attention @ codewords).permute(2, 0, 1, 3)
            hard = self.look_up(codewords.detach(), codes)
            return Quantized(self._level(hard + surrogate - surrogate.detach()), codes)
        # The codewords get their gradient through `hard`, x through `surrogate`; their sum has the value of `hard`.
        codes = self.codes(x)
        hard = self._level(self.look_up(codewords, codes))
        surrogate = x if self.rotates else self._level(self.chunks(x))  # there and back, the rotation cancels out
        return Quantized(hard + surrogate - surrogate.detach(), codes)

    def _level(self, chunks: Tensor) -> Tensor:
        """Chunks [B, L+1, M, d] put together to levels [B, L+1, D]."""
        whole = chunks.flatten(2)
        return self.restore(whole) if self.rotates else whole * self.config.codebooks**-0.5

    @staticmethod
    def look_up(codewords: Tensor, codes: Tensor) -> Tensor:
        """The codewords of codes: [L+1, M, K, d], int64 [B, L+1, M] → [B, L+1, M, d]."""
        # One flat table of all codewords and codes counted from its start: an embedding look-up, whose gradient is a
        # sum by index, where `gather` would first write out K times as much.
        levels, books, count, _ = codewords.shape
        first = torch.arange(levels * books, device=codes.device).view(levels, books) * count
        return F.embedding(codes + first, codewords.flatten(0, 2))
