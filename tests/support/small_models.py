"""Small random models and batches."""

from __future__ import annotations

import numpy as np
import torch

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.model import text
from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig, VideoConfig
from hcq_cli.model.hcq import HCQ
from hcq_cli.model.trained_model import Model

EXPERTS = {"appearance": ExpertConfig(6), "audio": ExpertConfig(5)}
CAPTIONS = ["a red dog runs", "two cats sleep on a big old sofa", "birds"]


def config(**changes: object) -> ModelConfig:
    base = dict(
        width=32,
        levels=3,
        text=TextConfig(layers=1, heads=2, width=16, ffn=32),
        video=VideoConfig(layers=2, heads=2, ffn=64, dropout=0.0),
        quantizer=QuantizerConfig(codebooks=4, codewords=16),
        experts=EXPERTS,
    )
    return ModelConfig(**{**base, **changes}).check()


def model(seed: int = 0, **changes: object) -> Model:
    torch.manual_seed(seed)
    shape = config(**changes)
    caption_encoder = text.build(shape.text, CAPTIONS)
    return Model(HCQ(shape, caption_encoder.transformer), caption_encoder, "unsaved")


def batch(counts: dict[str, list[int]], padding: int = 0, seed: int = 0) -> VideoBatch:
    """Videos with so many tokens of each expert; the padding holds rubbish, because nothing may read it."""
    made = VideoBatch({}, {}, {})
    for name, lengths in counts.items():
        rng = np.random.default_rng((seed, len(name)))
        slots, dim = max(*lengths, 1), EXPERTS[name].dim
        shape = (len(lengths), slots + padding)
        mask = np.arange(shape[1]) < np.array(lengths)[:, None]
        real = rng.normal(size=(len(lengths), slots, dim)).astype(np.float32)
        features = np.full((*shape, dim), 7.0, np.float32)
        features[:, :slots] = np.where(mask[:, :slots, None], real, 7.0)
        times = np.tile(np.arange(shape[1], dtype=np.float32), (len(lengths), 1))
        made.features[name], made.times[name], made.mask[name] = features, times, mask
    return made
