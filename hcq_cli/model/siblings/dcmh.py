"""DT+DCMH: the coarse level alone, hashed to bits by one layer a side.

Jiang and Li, "Deep Cross-Modal Hashing", CVPR 2017.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.text import TextEncoder
from hcq_cli.model.video import VideoTensors

BITS_A_CODE = 8


class SignCoder(nn.Module):
    """Bits as a product quantizer: eight of them are one code, whose 256 codewords are the corners of a cube.

    So binary codes lie in the code file and are searched by the same tables: a video's score is the inner product of
    the query with its signs, and the Hamming distance up to a constant where the query is signs, too.

    Args:
        codes: M, bytes a video.
    """

    corners: Tensor
    places: Tensor

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes_a_video = codes
        self.register_buffer("places", 2 ** torch.arange(BITS_A_CODE), persistent=False)
        bits = torch.arange(2**BITS_A_CODE)[:, None] & self.places != 0
        self.register_buffer("corners", torch.where(bits, 1.0, -1.0) * BITS_A_CODE**-0.5, persistent=False)

    def unit_codewords(self) -> Tensor:
        """[1, M, 256, 8], each of length 1; bit i of a code's number is the sign of place i."""
        return self.corners.expand(1, self.codes_a_video, -1, -1)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """The signs, eight a code: [B, 1, bits] → int64 [B, 1, M]."""
        return ((x > 0).unflatten(-1, (-1, BITS_A_CODE)) * self.places).sum(-1)


class DCMH(DualEncoder):
    """The coarse level through a layer a side to as many numbers as the code has bits, each between −1 and 1.

    Until `hashes` is set the layers only turn the coarse level, with angles as they are (where there are at least D
    bits): so the towers learn first what they would without them.

    Args:
        config: `levels` is 0; `quantizer.codebooks` are the bytes a video.
        text_encoder: the network that reads captions.
    """

    quantizer: SignCoder
    hashes: Tensor

    def __init__(self, config: ModelConfig, text_encoder: TextEncoder) -> None:
        super().__init__(config, text_encoder)
        self.text_bits = nn.Linear(config.width, config.embedding_width)
        nn.init.orthogonal_(self.text_bits.weight)
        nn.init.zeros_(self.text_bits.bias)
        self.video_bits = nn.Linear(config.width, config.embedding_width)
        self.video_bits.load_state_dict(self.text_bits.state_dict())  # both sides hash alike from the first step
        self.quantizer = SignCoder(config.quantizer.codebooks)
        self.register_buffer("hashes", torch.tensor(False))

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """Captions → relaxed bits, [B, 1, bits], of unit length."""
        return self._relaxed(self.text_bits, super().embed_texts(ids, mask, special))

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """Videos → relaxed bits, [B, 1, bits], of unit length."""
        return self._relaxed(self.video_bits, super().embed_videos(videos))

    def _relaxed(self, layer: nn.Linear, coarse: Tensor) -> Tensor:
        if not bool(self.hashes):
            return F.normalize(F.linear(coarse, layer.weight.detach()), dim=-1)
        # Unit vectors have entries of 1/√D: at that size tanh would be a straight line.
        return F.normalize(torch.tanh(layer(coarse * self.config.width**0.5)), dim=-1)
