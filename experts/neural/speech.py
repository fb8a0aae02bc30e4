"""What is said: recognised by Whisper (Radford et al., ICML 2023), one token a phrase, as its own time marks cut it.

A phrase and not a word, because the embedder (MiniLM by default) is one of sentences: a word alone tells it little.
The text itself is kept beside the vector, for people. A piece of 30 s is exactly what Whisper hears at once.
Whisper is known to make up words where music or noise is loud; about silence it is not asked at all.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens, Waveform
from experts.classic.spectrogram import HZ, is_heard
from experts.neural.faster_whisper import FasterWhisper, is_ctranslate2
from experts.neural.foreign import network_from_folder
from experts.neural.network import choose_device, choose_precision, load_pretrained, quiet_transformers
from experts.neural.text_embedding import MINILM, SentenceEmbedder, text_weights
from experts.neural.weights import WeightsError, first_line, locate_kind, look_up, onnx_file

LEAST_S = 0.1
"""Less sound than this holds no phrase, seconds."""
WHOLE_S = 30.0
"""The window that Whisper hears, seconds."""
Phrase = tuple[float, float, str]
"""Begin and end in seconds, and what is said."""


class Speech:
    """Expert for speech.

    Args:
        source: a folder or id of Whisper, for transformers or faster-whisper; `+` and a text embedder (`minilm`, a
            folder or id) may follow.

    Raises:
        WeightsError: the weights are not on this machine, or are not Whisper's.
    """

    name = "speech"
    version = "1"
    sampling = Sampling(None, audio_hz=HZ)
    about = "hears what is said"

    def __init__(self, source: str) -> None:
        whisper, _, embedder = source.partition("+")
        hint = "hcq models fetch openai/whisper-base"
        found = look_up(whisper) if onnx_file(whisper) is None else None
        self._fast = FasterWhisper(found) if found is not None and is_ctranslate2(found.folder) else None
        if found is None or self._fast is None:
            found = locate_kind(whisper, "speech", ["whisper"], "Whisper", hint=hint)
        self._found = found
        self._embedder = SentenceEmbedder(text_weights(embedder or MINILM))
        self.dim = self._embedder.dim
        self._device = "cpu"
        self._model: Any = None
        self._prepared = False
        self._extractor: Any = None
        self._tokenizer: Any = None

    @cached_property
    def weights(self) -> str:
        """Commits or digests of recogniser and embedder."""
        recogniser = self._fast.identity if self._fast else self._found.identity
        return f"{recogniser}, {self._embedder.found.identity}"

    @property
    def licence(self) -> str:
        """Of both weights, the recogniser's and the embedder's."""
        return f"{self._found.licence} and {self._embedder.found.licence}"

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        if self._fast is not None:
            return f"{self._fast.nbytes / 1e6:.0f} MB of weights for every word that is said"
        return f"{self._found.parameters / 1e6:.0f} M parameters for every word that is said"

    def prepare(self, device: str) -> None:
        """Load recogniser and embedder.

        Raises:
            WeightsError: a part is missing.
        """
        self._device = choose_device(device)
        if self._fast is not None:
            self._fast.prepare(self._device)
            self._embedder.prepare(device)
            self._prepared = True
            return
        from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

        folder, precision = self._found.folder, choose_precision(self._device)
        try:
            self._extractor = load_pretrained(AutoFeatureExtractor, folder)
            self._tokenizer = load_pretrained(AutoTokenizer, folder)
            with quiet_transformers():
                self._model = network_from_folder(WhisperForConditionalGeneration, folder, dtype=precision)
        except Exception as error:  # safetensors and transformers have no common base
            what = f"{self._found.source}: cannot be loaded: {first_line(error)}"
            raise WeightsError(what, "fetch or copy it again") from error
        self._model = self._model.to(self._device).eval()
        self._embedder.prepare(device)
        self._prepared = True

    def extract(self, clip: Clip) -> Tokens:
        """One token for each phrase, in the middle of its time; what was said stays beside it in `words`."""
        if not self._prepared:
            self.prepare("cpu")
        if not clip.has_sound:
            return Tokens.none(self.dim, State.NO_STREAM)
        sound = clip.sound(HZ)
        if len(sound.samples) < LEAST_S * HZ:
            return Tokens.none(self.dim, State.NO_FRAMES)
        samples = np.nan_to_num(sound.samples)
        # Asked about silence, Whisper makes words up.
        if not is_heard(samples - samples.mean()):
            return Tokens.none(self.dim, State.SILENT)
        phrases = self.recognise(sound)
        if not phrases:
            return Tokens.none(self.dim, State.NOTHING_FOUND)
        texts = tuple(text for _, _, text in phrases)
        times = np.array([(begin + end) / 2 for begin, end, _ in phrases], np.float32)
        spans = tuple((begin, end) for begin, end, _ in phrases)
        return Tokens(self._embedder.vectors(texts), times, words=texts, spans=spans)

    def recognise(self, sound: Waveform) -> list[Phrase]:
        """The phrases in at most 30 s of sound, on the clock of the video."""
        samples = np.clip(np.nan_to_num(sound.samples), -1, 1)
        found = self._by_transformers(samples) if self._fast is None else self._fast.phrases(samples)
        length_s = len(sound.samples) / HZ
        phrases = []
        for begin_s, end, text in found:
            # Whisper goes on talking past the end of a sound, and writes dots and notes where it heard nothing said.
            if begin_s >= length_s or not any(letter.isalnum() for letter in text):
                continue
            # A phrase that the window cuts off has no end mark.
            end_s = min(length_s, max(begin_s, WHOLE_S if end is None else end))
            phrases.append((sound.start_s + begin_s, sound.start_s + end_s, " ".join(text.split())))
        return phrases

    def _by_transformers(self, samples: NDArray[np.float32]) -> list[tuple[float, float | None, str]]:
        """Begin, end and text of what is said, as Whisper's own time marks cut it."""
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
