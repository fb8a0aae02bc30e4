"""What is said: recognised by Whisper (Radford et al., ICML 2023), one token a phrase, as its own time marks cut it.

A phrase and not a word, because the embedder (MiniLM by default) is one of sentences: a word alone tells it little.
The text itself is kept beside the vector, for people. A piece of 30 s is exactly what Whisper hears at once.
Whisper is known to make up words where music or noise is loud; about silence it is not asked at all.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from experts.base import Clip, Sampling, State, Tokens, Waveform
from experts.classic.spectrogram import HZ, is_heard
from experts.neural.network import choose_device
from experts.neural.text_embedding import MINILM, SentenceEmbedder, text_weights
from experts.neural.whisper import recogniser

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
        self._recogniser = recogniser(whisper)
        self._embedder = SentenceEmbedder(text_weights(embedder or MINILM))
        self.dim = self._embedder.dim
        self._prepared = False

    @cached_property
    def weights(self) -> str:
        """Commits or digests of recogniser and embedder."""
        return f"{self._recogniser.identity}, {self._embedder.found.identity}"

    @property
    def licence(self) -> str:
        """Of both weights, the recogniser's and the embedder's."""
        return f"{self._recogniser.licence} and {self._embedder.found.licence}"

    @property
    def cost(self) -> str:
        """How large it is and how often it runs, as `hcq experts` shows it."""
        return f"{self._recogniser.size} for every word that is said"

    def prepare(self, device: str) -> None:
        """Load recogniser and embedder.

        Raises:
            WeightsError: a part is missing.
        """
        self._recogniser.prepare(choose_device(device))
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
        length_s = len(sound.samples) / HZ
        phrases = []
        for begin_s, end, text in self._recogniser.phrases(samples):
            # Whisper goes on talking past the end of a sound, and writes dots and notes where it heard nothing said.
            if begin_s >= length_s or not any(letter.isalnum() for letter in text):
                continue
            # A phrase that the window cuts off has no end mark.
            end_s = min(length_s, max(begin_s, WHOLE_S if end is None else end))
            phrases.append((sound.start_s + begin_s, sound.start_s + end_s, " ".join(text.split())))
        return phrases
