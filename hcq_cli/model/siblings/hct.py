"""HCT, the hybrid contrastive transformer: HCQ's network and loss on dense vectors, with no quantizer."""

from __future__ import annotations

from hcq_cli.model.config import ModelConfig
from hcq_cli.model.hcq import DualEncoder
from hcq_cli.model.text import TextEncoder


class HCT(DualEncoder):
    """The towers alone, (L+1)·D floats a video; its vectors are what post-compression starts from.

    Args:
        config, text_encoder: as `DualEncoder`.
    """

    def __init__(self, config: ModelConfig, text_encoder: TextEncoder) -> None:
        super().__init__(config, text_encoder)
        self.quantizer = None
