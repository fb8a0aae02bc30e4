"""A workspace with a checkpoint of random weights, and codes of videos that say what the captions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from handmade import names

from hcq_cli.codes.codefile import CodeHeader, CodeWriter

CAPTIONS = ["a man cooking", "a dog in the snow", "two people dance", "red ball"]
AWKWARD = ["plain.mp4", "new\nline 'q'.mp4", "🎬.mp4", "bad\udcff.mp4"]


def save_workspace(root: Path) -> Path:
    """Checkpoint and code file: the four captions as videos of awkward names, and 200 random ones."""
    import torch

    from hcq_cli.model import checkpoint, text
    from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig
    from hcq_cli.model.hcq import HCQ

    torch.manual_seed(0)
    config = ModelConfig(
        width=32,
        levels=3,
        text=TextConfig(layers=1, heads=2, width=32, ffn=32),
        quantizer=QuantizerConfig(codebooks=4, codewords=32),
        experts={"appearance": ExpertConfig(8)},
    )
    caption_encoder = text.build(config.text, CAPTIONS)
    checkpoint.save(root / "model", HCQ(config, caption_encoder.transformer), caption_encoder)
    model = checkpoint.load(root / "model")
    header = CodeHeader("videos", model.hash, str(root / "model"), config.levels + 1, 4, 32, 32)
    with CodeWriter(root / "codes.hcq", header, model.codebooks, model.scale) as writer:
        codes = model.quantize(model.encode_texts(CAPTIONS), "texts")
        writer.append(AWKWARD, [f"/videos/{name}" for name in AWKWARD], codes)
        random = np.random.default_rng(0).integers(0, 32, (200, 16), np.uint8)
        writer.append(names(200), names(200, "/videos/v"), random)
    return root
