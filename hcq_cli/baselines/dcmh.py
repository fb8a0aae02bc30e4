"""DCMH (on the same dual transformers): the coarse level alone, hashed to bits by one layer a side.

Jiang and Li, "Deep Cross-Modal Hashing", CVPR 2017 (arXiv 1602.02255). Letters: B batch, T captions of it, M bytes a
video.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.baselines.hct import contrastive_step, dense_epochs
from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hcq import TwoTowers
from hcq_cli.model.quantizer import Coder
from hcq_cli.model.text import TextTransformer
from hcq_cli.model.video import VideoTensors
from hcq_cli.training.losses import NEVER, BatchEmbeddings, Pairs, StepResult, batch_R1
from hcq_cli.training.method import TrainingMethod

BITS_A_CODE = 8


class SignCoder(nn.Module, Coder):
    """Bits as a product quantizer: eight of them are one code, whose 256 codewords are the corners of a cube.

    So binary codes lie in the code file and are searched by the same tables: a video's score is the inner product of
    the query with its signs, and the Hamming distance up to a constant where the query is signs, too.

    Args:
        codes: M, bytes a video.
    """

    corners: Tensor
    place_values: Tensor

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes_a_video = codes
        self.register_buffer("place_values", 2 ** torch.arange(BITS_A_CODE), persistent=False)
        bits = torch.arange(2**BITS_A_CODE)[:, None] & self.place_values != 0
        self.register_buffer("corners", torch.where(bits, 1.0, -1.0) * BITS_A_CODE**-0.5, persistent=False)

    def unit_codewords(self) -> Tensor:
        """[1, M, 256, 8], each of length 1; bit i of a code's number is the sign of place i."""
        return self.corners.expand(1, self.codes_a_video, -1, -1)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """The signs, eight a code: [B, 1, bits] → int64 [B, 1, M]."""
        return ((x > 0).unflatten(-1, (-1, BITS_A_CODE)) * self.place_values).sum(-1)


class DCMH(TwoTowers):
    """The coarse level through a layer a side to as many numbers as the code has bits, each between −1 and 1.

    Until `hashes` is set the layers only turn the coarse level, with angles as they are (where there are at least D
    bits): so the towers learn first what they would without them.

    Args:
        config: `levels` is 0; `quantizer.codebooks` are the bytes a video.
        text_encoder: the network that reads captions.
    """

    quantizer: SignCoder
    hashes: Tensor

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
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


def likelihood(scores: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """−log p(S | Θ) of every query with every item of the batch, summed over items, mean over queries.

    Θ is the similarity over τ, less the log-odds of a chance pair, those of the batch as it is. Without them a batch,
    where nearly no pair belongs together, pushes all vectors apart whatever they say (the published code collapses
    so); with a constant for them it pushes, too, where all vectors lean one way.

    Args:
        scores: cosines [Q, N].
        positive: int64 [Q].
        negatives: bool [Q, N]; what is neither (copies of a video) does not count.
        temperature: τ.
    """
    theta = scores / temperature
    theta = theta - theta.masked_fill(~negatives, NEVER).logsumexp(1, keepdim=True).detach()
    own = theta.gather(1, positive[:, None])[:, 0]
    return (F.softplus(-own) + (F.softplus(theta) * negatives).sum(1)).mean()


def quantization(texts: Tensor, videos: Tensor) -> Tensor:
    """Mean squared distance of relaxed bits [T, bits] to the codes both sides share, B = sign(F + G)."""
    shared = torch.sign(texts + videos).detach()
    return ((shared - texts).square() + (shared - videos).square()).mean()


class DCMHMethod(TrainingMethod[DCMH]):
    """Towers by contrast, then the hashing loss: likelihood, quantization, balance."""

    def training_step(self, dense: BatchEmbeddings, pairs: Pairs, epoch: int) -> StepResult:
        """See `TrainingMethod.training_step`."""
        alone = contrastive_step(self.network, dense, pairs, self.recipe)
        with torch.no_grad():
            signs = torch.sign(dense.videos)
            found = batch_R1(dense.texts, signs, pairs, self.network.level_weights)
        if epoch < dense_epochs(self.recipe):
            return StepResult(alone.loss, alone.dense_R1, found)
        # Relaxed bits are unit vectors, entries of about 1/√bits; times √bits they stand beside signs of ±1.
        settings, root = self.recipe.sibling, dense.texts.shape[-1] ** 0.5
        texts, videos = dense.texts[:, 0] * root, dense.videos[:, 0] * root
        t2v = dense.texts[:, 0] @ dense.videos[:, 0].T
        v2t = t2v.T[pairs.owner]
        loss = likelihood(t2v, *pairs.text_to_video(), settings.temperature)
        loss = loss + likelihood(v2t, *pairs.video_to_text(), settings.temperature)
        loss = loss + settings.quantization * quantization(texts, videos[pairs.owner])
        loss = loss + settings.balance * (texts.mean(0).square() + videos.mean(0).square()).mean()
        return StepResult(loss, alone.dense_R1, found)

    def on_epoch_end(self, vectors: Tensor, finished: int) -> None:
        """The hashing layers begin; no codewords move: the 256 patterns of eight bits are what they are."""
        if finished == dense_epochs(self.recipe):
            self.network.hashes.fill_(True)
