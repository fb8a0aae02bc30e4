"""A workspace with a checkpoint of random weights, and codes of videos that say what the captions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from handmade import names

from hcq_cli.codes.codefile import CodeHeader, CodeWriter

CAPTIONS = ["a man cooking", "a dog in the snow", "two people dance", "red ball"]
AWKWARD = ["plain.mp4", "new\nline 'q'.mp4", "🎬.mp4", "bad\udcff.mp4"]


def save_workspace(root: Path, width: int = 32, levels: int = 3, codebooks: int = 4, codewords: int = 32) -> Path:
    """Checkpoint and code file: the four captions as videos of awkward names, and 200 random ones.

    Args:
        root: the workspace.
        width: D of every level.
        levels: L.
        codebooks, codewords: M and K of every level; a code takes M · (L + 1) bytes.
    """
    import torch

    from hcq_cli.model import checkpoint, text
    from hcq_cli.model.config import ExpertConfig, ModelConfig, QuantizerConfig, TextConfig
    from hcq_cli.model.hcq import HCQ

    torch.manual_seed(0)
    config = ModelConfig(
        width=width,
        levels=levels,
        text=TextConfig(layers=1, heads=2, width=32, ffn=32),
        quantizer=QuantizerConfig(codebooks=codebooks, codewords=codewords),
        experts={"appearance": ExpertConfig(8)},
    )
    caption_encoder = text.build(config.text, CAPTIONS)
    checkpoint.save(root / "model", HCQ(config, caption_encoder.transformer), caption_encoder)
    model = checkpoint.load(root / "model")
    header = CodeHeader("videos", model.hash, str(root / "model"), levels + 1, codebooks, codewords, width)
    with CodeWriter(root / "codes.hcq", header, model.codebooks, model.scale) as writer:
        codes = model.quantize(model.encode_texts(CAPTIONS), "texts")
        writer.append(AWKWARD, [f"/videos/{name}" for name in AWKWARD], codes)
        random = np.random.default_rng(0).integers(0, codewords, (200, header.S), np.uint8)
        writer.append(names(200), names(200, "/videos/v"), random)
    return root
