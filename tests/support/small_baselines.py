"""Small random models of every kind, and a batch whose videos and captions are known to belong together."""

from __future__ import annotations

import torch
from small_models import CAPTIONS, config

from hcq_cli.model import registry, text
from hcq_cli.model.trained_model import Model
from hcq_cli.training.losses import Pairs

COUNTS = {"appearance": [4, 2, 1], "audio": [3, 0, 2]}

# Video 1 and 3 are copies; video 0 brings two captions.
PAIRS = Pairs(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([7, 5, 6, 5]))


def baseline(kind: str, seed: int = 0, **changes: object) -> Model:
    torch.manual_seed(seed)
    shape = config(kind=kind, levels=3 if kind == "hct" else 0, **changes)
    caption_encoder = text.build(shape.text, CAPTIONS)
    return Model(registry.network_class(shape.kind)(shape, caption_encoder.transformer), caption_encoder, "unsaved")


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)
