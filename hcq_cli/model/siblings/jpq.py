"""DT+JPQ: the coarse level alone, and one product quantizer learned with the towers.

Zhan et al., "Jointly Optimizing Query Encoder and Product Quantization to Improve Retrieval Performance", CIKM 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.config import ModelConfig, QuantizerConfig
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.quantizer import ProductQuantizer
from hcq_cli.model.text import TextEncoder
from hcq_cli.model.video import VideoTensors


class EuclideanQuantizer(nn.Module):
    """A product quantizer of plain chunks: the code is the nearest codeword, which keeps its length.

    Chunks of so many sub-codebooks are a few numbers wide; brought to unit length they would lose most of what
    they say.

    Args:
        config: M and K.
        width: D.
    """

    def __init__(self, config: QuantizerConfig, width: int) -> None:
        super().__init__()
        self.config = config
        start = F.normalize(torch.randn(1, config.codebooks, config.codewords, width // config.codebooks), dim=-1)
        self.codewords = nn.Parameter(start * config.codebooks**-0.5)

    def unit_codewords(self) -> Tensor:
        """[1, M, K, d], √M times the codewords: of length 1 in the mean, so that the level they make is, too."""
        return self.codewords * self.config.codebooks**0.5

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """argmin_k |x_m − c_mk|: [B, 1, D] → int64 [B, 1, M]."""
        chunks = x.unflatten(-1, (self.config.codebooks, -1)).permute(1, 2, 0, 3)
        closeness = chunks @ self.codewords.mT - self.codewords.square().sum(-1)[..., None, :] / 2
        return closeness.argmax(-1).permute(2, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The codewords that stand for x; the gradient goes to them, and straight through to x.

        Args:
            x: [B, 1, D].

        Returns:
            [B, 1, D], about as long as x.
        """
        hard = ProductQuantizer.look_up(self.codewords, self.codes(x)).flatten(2)
        return hard + x - x.detach()


class JPQ(DualEncoder):
    """The coarse level, turned by a rotation that spreads its variance over the sub-codebooks (OPQ's), quantized.

    Args:
        config: `levels` is 0; `quantizer.codebooks` are the bytes a video.
        text_encoder: the network that reads captions.
    """

    quantizer: EuclideanQuantizer
    rotation: Tensor

    def __init__(self, config: ModelConfig, text_encoder: TextEncoder) -> None:
        super().__init__(config, text_encoder)
        self.register_buffer("rotation", torch.eye(config.width))
        self.quantizer = EuclideanQuantizer(config.quantizer, config.width)

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """As `DualEncoder.embed_texts`, [B, 1, D], turned."""
        return super().embed_texts(ids, mask, special) @ self.rotation

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """As `DualEncoder.embed_videos`, [B, 1, D], turned."""
        return super().embed_videos(videos) @ self.rotation
