"""Whisper by transformers: hears phrases, as its own time marks cut them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.classic.spectrogram import HZ
from experts.neural.foreign import network_from_folder
from experts.neural.network import choose_precision, load_pretrained, quiet_transformers
from experts.neural.weights import Weights, WeightsError, first_line


class HubWhisper:
    """Hears phrases.

    Args:
        found: a folder with a Whisper of transformers.
    """

    def __init__(self, found: Weights) -> None:
        self._found, self._device = found, "cpu"
        self._model: Any = None
        self._extractor: Any = None
        self._tokenizer: Any = None

    @property
    def identity(self) -> str:
        """What the words depend on: the commit, or the digest of the files."""
        return self._found.identity

    @property
    def licence(self) -> str:
        """Of its weights."""
        return self._found.licence

    @property
    def size(self) -> str:
        """How large it is, for people."""
        return f"{self._found.parameters / 1e6:.0f} M parameters"

    def prepare(self, device: str) -> None:
        """Load it on a device.

        Raises:
            WeightsError: a part is missing.
        """
        from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

        self._device, folder = device, self._found.folder
        try:
            self._extractor = load_pretrained(AutoFeatureExtractor, folder)
            self._tokenizer = load_pretrained(AutoTokenizer, folder)
            with quiet_transformers():
                precision = choose_precision(device)
                model = network_from_folder(WhisperForConditionalGeneration, folder, dtype=precision)
        except Exception as error:  # safetensors and transformers have no common base
            what = f"{self._found.source}: cannot be loaded: {first_line(error)}"
            raise WeightsError(what, "fetch or copy it again") from error
        self._model = model.to(device).eval()

    def phrases(self, samples: NDArray[np.float32]) -> list[tuple[float, float | None, str]]:
        """Begin and end in seconds, and text, of what is said in at most 30 s of sound at 16 kHz.

        A phrase that the window cuts off has no end.
        """
        import torch

        # The mask says where the sound ends: without it Whisper goes on into the padding.
        heard = self._extractor(samples, sampling_rate=HZ, return_attention_mask=True, return_tensors="pt")
        with torch.inference_mode(), quiet_transformers():
            ids = self._model.generate(
                heard["input_features"].to(self._device, self._model.dtype),
                attention_mask=heard["attention_mask"].to(self._device),
                return_timestamps=True,
                do_sample=False,  # equal sound must give equal words
                num_beams=1,
            )
        found = self._tokenizer.decode(ids[0].tolist(), output_offsets=True)["offsets"]
        return [(each["timestamp"][0] or 0.0, each["timestamp"][1], each["text"]) for each in found]
