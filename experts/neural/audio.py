"""What is heard, by a pretrained audio network: windows of the length it was trained on.

- AST (Gong et al., Interspeech 2021): windows of 10.24 s, one token each, what its pooler gives.
- CLAP (Wu et al., ICASSP 2023): windows of 10 s, one token each, the embedding it compares with texts.
- Whisper (Radford et al., ICML 2023), the encoder alone: windows of 30 s, one token a second, the mean over the
  states of that second.

What cannot be heard (under SILENCE_DBFS of the classic expert) gives no token. Letters: n windows, dim the width of a
vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Waveform
from experts.classic.spectrogram import is_heard
from experts.neural.appearance import pooled
from experts.neural.expert import HubExpert, NetworkExpert, PreparedInputs
from experts.neural.network import Reader, load_pretrained
from experts.neural.preprocessing import even_windows
from experts.neural.weights import Weights, WeightsError, first_line, locate_kind

if TYPE_CHECKING:
    import torch

LEAST_S = 0.05
"""Less sound than this says nothing, seconds."""
ROWS_AT_ONCE = 4


def read_pooler(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Windows -> [n, dim], as AST pools them."""
    vectors: torch.Tensor = model(**inputs).pooler_output
    return vectors


def read_audio_embedding(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Windows -> [n, dim], as CLAP compares them with texts."""
    return pooled(model.get_audio_features(**inputs))


def read_whisper_seconds(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Windows of 30 s -> [n, 30, dim], the mean over the encoder's states of each second."""
    states: torch.Tensor = model.get_encoder()(**inputs).last_hidden_state
    return states.unflatten(1, (30, -1)).mean(2)


@dataclass(frozen=True)
class AudioFormat:
    """What a kind of network takes for one input, and what it gives.

    Args:
        hz: sample rate.
        window_s: of a window, seconds.
        per_window: tokens a window, evenly spread.
        reader: takes the vectors out.
        width: where the configuration says how wide its vectors are.
    """

    hz: int
    window_s: float
    per_window: int
    reader: Reader
    width: str


AUDIO_FORMATS = {
    "audio-spectrogram-transformer": AudioFormat(16_000, 10.24, 1, reader=read_pooler, width="hidden_size"),
    "clap": AudioFormat(48_000, 10.0, 1, reader=read_audio_embedding, width="projection_dim"),
    "whisper": AudioFormat(16_000, 30.0, 30, reader=read_whisper_seconds, width="d_model"),
}
"""By `model_type`."""


def audio(source: str) -> NetworkExpert:
    """The expert for a folder or id.

    Raises:
        WeightsError: the weights are not there, or are of a kind that is not known.
    """
    return HubAudio(source, locate_kind(source, "audio", AUDIO_FORMATS, "AST, CLAP or Whisper"))


class HubAudio(HubExpert):
    """Expert for sound, by a network of transformers.

    Args:
        source: as a person gave it.
        found: its weights.
        how: it takes sound; default: as its kind does.
    """

    name = "audio"

    def __init__(self, source: str, found: Weights, how: AudioFormat | None = None) -> None:
        self._format = how or AUDIO_FORMATS[found.model_type]
        runs = f" every {self._format.window_s:g} s"
        super().__init__(source, found, reader=self._format.reader, rows_at_once=ROWS_AT_ONCE, runs=runs)
        self.sampling = Sampling(None, audio_hz=self._format.hz)
        self.about = f"hears as {found.model_type} does, in windows of {self._format.window_s:g} s"
        self._extractor: Any = None

    def width(self, config: Any) -> int:
        """See `HubExpert.width`."""
        return int(getattr(config, self._format.width))

    def load_preprocessor(self) -> None:
        """Load the feature extractor.

        Raises:
            WeightsError: there is none that transformers knows.
        """
        from transformers import AutoFeatureExtractor

        try:
            self._extractor = load_pretrained(AutoFeatureExtractor, self._found.folder)
        except (OSError, ValueError, KeyError, ImportError) as error:
            what = f"{self.source}: no usable feature extractor: {first_line(error)}"
            raise WeightsError(what, "hcq models list") from error

    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        """A row a window in which something can be heard."""
        if not clip.has_sound:
            return State.NO_STREAM
        sound = clip.sound(self._format.hz)
        length_s = len(sound.samples) / sound.hz
        if length_s < LEAST_S:
            return State.NO_FRAMES
        starts = even_windows(length_s, self._format.window_s, 1 / self._format.hz)
        pieces = [cut(sound, start, self._format.window_s) for start in starts]
        keep = np.stack([self._heard(piece) for piece in pieces])
        if not keep.any():
            return State.SILENT
        heard: NDArray[np.bool_] = np.asarray(keep.any(1))
        # Silent windows never reach the network; of a window that is heard, silent tokens are dropped afterwards.
        rows = [piece for piece, audible in zip(pieces, heard, strict=True) if audible]
        inputs = dict(self._extractor(rows, sampling_rate=self._format.hz, return_tensors="np"))
        if "is_longer" in inputs:
            # No window is. CLAP's extractor draws one of them at random to be, so features would differ run by run.
            inputs["is_longer"] = np.zeros_like(inputs["is_longer"])
        return PreparedInputs(inputs, self._times(sound, starts, length_s)[heard], keep[heard])

    def _heard(self, piece: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the tokens of a window have something to hear: bool [per_window]."""
        each = round(self._format.window_s * self._format.hz / self._format.per_window)
        # Less the mean of each part, as a constant offset cannot be heard.
        parts = [piece[at * each : (at + 1) * each] for at in range(self._format.per_window)]
        least = round(LEAST_S * self._format.hz)
        return np.array([len(part) >= least and is_heard(part - part.mean(), self._format.hz) for part in parts])

    def _times(self, sound: Waveform, starts: NDArray[np.float64], length_s: float) -> NDArray[np.float32]:
        """The middle of what each token speaks of: float32 [n, per_window], seconds of the video."""
        edges = np.linspace(0.0, self._format.window_s, self._format.per_window + 1)
        edges = np.minimum(starts[:, None] + edges, length_s)
        return (sound.start_s + (edges[:, :-1] + edges[:, 1:]) / 2).astype(np.float32)


def cut(sound: Waveform, start_s: float, window_s: float) -> NDArray[np.float32]:
    """The samples of a window, free of NaN; the last one may be shorter.

    Args:
        sound: of the segment.
        start_s: from its first sample, seconds.
        window_s: seconds.
    """
    # A damaged file may give samples far beyond full scale, or none: one of them would be all that a network hears.
    first = round(start_s * sound.hz)
    samples = sound.samples[first : first + round(window_s * sound.hz)]
    return np.clip(np.nan_to_num(samples.astype(np.float32)), -1, 1)
