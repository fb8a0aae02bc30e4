"""The whole model: two towers, coarse and fine levels, and the quantizers: HCQ (arXiv 2202.03384), figure 2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcq_cli.model.confidence import ChanceScores
from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hubness import Hubness
from hcq_cli.model.pooling import GatedMixture, GhostVLAD
from hcq_cli.model.quantizer import Coder, ProductQuantizer
from hcq_cli.model.text import TextTransformer
from hcq_cli.model.video import VideoEncoder, VideoTensors


class DualEncoder(nn.Module):
    """Texts and videos as vectors of one space, one a level. How, and what stands for them in codes, is the kind's.

    Args:
        config: its shape.
        text_encoder: the network that reads captions.
    """

    level_weights: Tensor
    quantizer: Coder | None
    hubness: Hubness | None
    pads_texts_to: int = 0
    """Tokens that every caption is padded to; 0 where padding has no effect, as it should not have."""
    pads_videos: bool = False
    """Whether an expert's tokens are padded to the most that there can be."""

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
        super().__init__()
        self.config, self.text_encoder = config, text_encoder
        self.hubness = None
        # Not in the checkpoint: it follows from the config.
        self.register_buffer("level_weights", torch.tensor(config.level_weights), persistent=False)

    def quantize_by_products(self) -> None:
        """Let product quantizers stand for the vectors; hubs are corrected before them, if the config says so."""
        quantizer, weights, width = self.config.quantizer, self.config.level_weights, self.config.width
        self.quantizer = ProductQuantizer(quantizer, weights, width)
        if quantizer.hubness and self.quantizer.rotates:
            self.hubness = Hubness(quantizer.hubness, weights, width)

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """Captions → levels.

        Args:
            ids: int64 [B, T].
            mask, special: bool [B, T], as in `tokenizer.TokenIds`.

        Returns:
            [B, L+1, D]: coarse, then the fine levels.
        """
        raise NotImplementedError

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """Videos → levels, [B, L+1, D]: coarse, then the fine levels."""
        raise NotImplementedError

    def chance_scores(self) -> ChanceScores | None:
        """What scores generic sentences reach, for confidences; None where nothing is known of it."""
        return None

    def generic_queries(self) -> Tensor | None:
        """Levels of generic sentences [Q, L+1, D], to measure a collection's chance scores with; None without any."""
        return None

    def made_up_videos(self) -> Tensor | None:
        """Levels of made-up videos [M, L+1, D], whose scores are those of chance; None without any."""
        return None

    def tower_levels(self, name: str, vectors: Tensor) -> Tensor:
        """What the vectors of texts in the space of the expert `name` [Q, dim] add to their levels: [Q, L+1, D].

        A linear map. Only fitted models have texts read by more than their text encoder.
        """
        raise NotImplementedError


class TwoTowers(DualEncoder):
    """The two towers that training makes: text and video as unit vectors, one a level.

    Args:
        config, text_encoder: as `DualEncoder`.
    """

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
        super().__init__(config, text_encoder)
        width = config.width
        self.text_coarse = GatedMixture(text_encoder.hidden, width, config.text_gates or max(len(config.experts), 1))
        if config.levels:
            self.text_tokens = nn.Linear(text_encoder.hidden, width)
        self.video_encoder = VideoEncoder(config.video, width, config.experts)
        if config.levels:
            self.fine = GhostVLAD(width, config.levels, config.fine_norm)

    def embed_texts(self, ids: Tensor, mask: Tensor, special: Tensor) -> Tensor:
        """See `DualEncoder.embed_texts`; each level is L2-normalised."""
        text = self.text_encoder(ids, mask, special)
        if not self.config.levels:
            return self.text_coarse(text.sentence)[:, None]
        fine = self.fine(self.text_tokens(text.tokens), text.mask, "text")
        return torch.cat([self.text_coarse(text.sentence)[:, None], fine], 1)

    def embed_videos(self, videos: VideoTensors) -> Tensor:
        """Videos → levels.

        Returns:
            [B, L+1, D]: coarse (the mean of the normalised [AGG] outputs of the experts that are there), then the
            fine levels; each L2-normalised.
        """
        encoded = self.video_encoder(videos)
        # The sum, normalised, is the mean normalised; experts that a video lacks are zeroed and so not averaged in.
        aggregates = F.normalize(encoded.aggregates, dim=-1) * encoded.present[..., None]
        coarse = F.normalize(aggregates.sum(1), dim=-1)
        if not self.config.levels:
            return coarse[:, None]
        fine = self.fine(encoded.tokens, encoded.mask, "video")
        return torch.cat([coarse[:, None], fine], 1)


class HCQ(TwoTowers):
    """Hybrid contrastive quantization: the towers, and a product quantizer a level.

    Args:
        config, text_encoder: as `DualEncoder`.
    """

    quantizer: ProductQuantizer

    def __init__(self, config: ModelConfig, text_encoder: TextTransformer) -> None:
        super().__init__(config, text_encoder)
        self.quantize_by_products()


def level_similarities(queries: Tensor, items: Tensor) -> Tensor:
    """Cosines at every level: unit [Q, L+1, D] × unit [N, L+1, D] → [L+1, Q, N]."""
    return queries.transpose(0, 1) @ items.permute(1, 2, 0)
