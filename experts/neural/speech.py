"""What is said: recognised by Whisper (Radford et al., ICML 2023), one token a phrase, as its own time marks cut it.

A phrase and not a word, because the embedder (MiniLM by default) is one of sentences: a word alone tells it little.
The text itself is kept beside the vector, for people. A stretch of 30 s is exactly what Whisper hears at once.
Whisper is known to make up words where music or noise is loud; a stretch in which nothing can be heard is not asked.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from experts.base import Clip, Sampling, State, Tokens, Waveform
from experts.classic.spectrogram import HZ, is_heard
from experts.neural.foreign import from_folder, network_from_folder
from experts.neural.network import choose_device, choose_precision, quiet_transformers
from experts.neural.text_embedding import MINILM, SentenceEmbedder, text_weights
from experts.neural.weights import WeightsError, locate_kind

LEAST_S = 0.1
"""Less sound than this holds no phrase, seconds."""
WHOLE_S = 30.0
"""The window that Whisper hears, seconds."""
Phrase = tuple[float, float, str]
"""Begin and end in seconds, and what is said."""


class Speech:
    """Expert for speech.

    Args:
        source: a folder or id of Whisper; `+` and a text embedder (`minilm`, a folder or id) may follow.

    Raises:
        WeightsError: the weights are not on this machine, or are not Whisper's.
    """

    name = "speech"
    version = "1"
    sampling = Sampling(None, audio_hz=HZ)
    about = "hears what is said"

    def __init__(self, source: str) -> None:
        whisper, _, embedder = source.partition("+")
        self._found = locate_kind(whisper, "speech", ["whisper"], "Whisper", "hcq models fetch openai/whisper-base")
        self._sentences = SentenceEmbedder(text_weights(embedder or MINILM))
        self.dim = self._sentences.dim
        self._device = "cpu"
        self._model: Any = None
        self._listener: Any = None
        self._tokenizer: Any = None

    @cached_property
    def weights(self) -> str:
        """Commits or digests of recogniser and embedder."""
        return f"{self._found.identity}, {self._sentences.found.identity}"

    @property
    def licence(self) -> str:
        """Of both weights, the recogniser's and the embedder's."""
        return f"{self._found.licence} and {self._sentences.found.licence}"

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        return f"{self._found.parameters / 1e6:.0f} M parameters for every word that is said"

    def prepare(self, device: str) -> None:
        """Load recogniser and embedder.

        Raises:
            WeightsError: a part is missing.
        """
        from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

        self._device = choose_device(device)
        try:
            with quiet_transformers():
                self._listener = from_folder(AutoFeatureExtractor, self._found.folder)
                self._tokenizer = from_folder(AutoTokenizer, self._found.folder)
                self._model = network_from_folder(
                    WhisperForConditionalGeneration, self._found.folder, dtype=choose_precision(self._device)
                )
        except Exception as error:  # safetensors and transformers have no common base
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            what = f"{self._found.source}: cannot be loaded: {reason}"
            raise WeightsError(what, "fetch or copy it again") from error
        self._model = self._model.to(self._device).eval()
        self._sentences.prepare(device)

    def extract(self, clip: Clip) -> Tokens:
        """One token for each phrase, in the middle of its time; what was said stays beside it in `words`."""
        if self._model is None:
            self.prepare("cpu")
        if not clip.has_sound:
            return Tokens.none(self.dim, State.NO_STREAM)
        sound = clip.sound(HZ)
        if len(sound.samples) < LEAST_S * HZ:
            return Tokens.none(self.dim, State.NO_FRAMES)
        samples = np.nan_to_num(sound.samples)
        if not is_heard(samples - samples.mean()):
            return Tokens.none(self.dim, State.SILENT)
        phrases = self.recognise(sound)
        if not phrases:
            return Tokens.none(self.dim, State.NOTHING_FOUND)
        texts = tuple(text for _, _, text in phrases)
        times = np.array([(begin + end) / 2 for begin, end, _ in phrases], np.float32)
        return Tokens(self._sentences.vectors(texts), times, words=texts)

    def recognise(self, sound: Waveform) -> list[Phrase]:
        """The phrases in at most 30 s of sound, on the clock of the video."""
        import torch

        samples = np.clip(np.nan_to_num(sound.samples), -1, 1)
        # The mask says where the sound ends: without it Whisper goes on into the padding.
        heard = self._listener(samples, sampling_rate=HZ, return_attention_mask=True, return_tensors="pt")
        with torch.inference_mode(), quiet_transformers():
            ids = self._model.generate(
                heard["input_features"].to(self._device, self._model.dtype),
                attention_mask=heard["attention_mask"].to(self._device),
                return_timestamps=True,
                do_sample=False,
                num_beams=1,
            )
        found = self._tokenizer.decode(ids[0].tolist(), output_offsets=True)["offsets"]
        return [self._phrase(sound, each) for each in found if self._holds(sound, each)]

    @staticmethod
    def _holds(sound: Waveform, found: dict[str, Any]) -> bool:
        """Whether it says something, and begins before the sound ends."""
        begins = found["timestamp"][0] or 0.0
        return begins < len(sound.samples) / HZ and any(letter.isalnum() for letter in found["text"])

    @staticmethod
    def _phrase(sound: Waveform, found: dict[str, Any]) -> Phrase:
        begin, end = found["timestamp"]
        begin_s, length_s = begin or 0.0, len(sound.samples) / HZ
        end_s = min(length_s, max(begin_s, WHOLE_S if end is None else end))
        return sound.start_s + begin_s, sound.start_s + end_s, " ".join(found["text"].split())
