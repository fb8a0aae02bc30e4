"""A text encoder without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from handmade import HEADER


class WordEncoder:
    """Every text has a vector of its own, drawn from its letters: an encoder without a network."""

    chance_scores = made_up = None
    most_tokens = 8

    def __init__(self, model_hash: str = HEADER.model_hash) -> None:
        self.hash, self.source = model_hash, Path("word encoder")

    def prepare(self) -> None:
        """Nothing to load."""

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Words, of which those of Latin letters are known."""
        return [(len(text.split()), sum(word.isascii() for word in text.split())) for text in texts]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        seeds = [
            int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big") for text in texts
        ]
        levels = [np.random.default_rng(seed).normal(size=(HEADER.levels, HEADER.D)) for seed in seeds]
        stacked = np.array(levels, np.float32).reshape(len(texts), HEADER.levels, HEADER.D)
        return stacked / np.linalg.norm(stacked, axis=2, keepdims=True)
