"""What is heard, by a pretrained audio network: windows of the length it was trained on.

- AST (Gong et al., Interspeech 2021): windows of 10.24 s, one token each, what its pooler gives.
- CLAP (Wu et al., ICASSP 2023): windows of 10 s, one token each, the embedding it compares with texts.
- Whisper (Radford et al., ICML 2023), the encoder alone: windows of 30 s, one token a second, the mean over the
  states of that second.
- `onnx:FILE`, any ONNX network that takes windows of sound (sidecar.py), one token each.

What cannot be heard (under SILENCE_DBFS of the classic expert) gives no token. Letters: n windows, dim the width of a
vector.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Waveform
from experts.classic.spectrogram import is_heard
from experts.neural.appearance import pooled
from experts.neural.expert import HubExpert, NetworkExpert, OnnxExpert, PreparedInputs
from experts.neural.network import Inputs, Reader, load_pretrained
from experts.neural.onnx_network import OnnxSoundNetwork
from experts.neural.preprocessing import even_windows
from experts.neural.sidecar import read_sidecar
from experts.neural.weights import Weights, WeightsError, first_line, locate_kind, onnx_file

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
class Windows:
    """How sound is cut for a network.

    Args:
        hz: sample rate.
        window_s: of a window, seconds.
        per_window: tokens a window, evenly spread.
    """

    hz: int
    window_s: float
    per_window: int = 1


@dataclass(frozen=True)
class AudioFormat(Windows):
    """What a kind of network takes for one input, and what it gives.

    Args:
        reader: takes the vectors out.
        width: where the configuration says how wide its vectors are.
    """

    reader: Reader = read_pooler
    width: str = "hidden_size"


AUDIO_FORMATS = {
    "audio-spectrogram-transformer": AudioFormat(16_000, 10.24, reader=read_pooler, width="hidden_size"),
    "clap": AudioFormat(48_000, 10.0, reader=read_audio_embedding, width="projection_dim"),
    "whisper": AudioFormat(16_000, 30.0, 30, reader=read_whisper_seconds, width="d_model"),
}
"""By `model_type`."""


def audio(source: str) -> NetworkExpert:
    """The expert for a folder or id, or `onnx:FILE`.

    Raises:
        WeightsError: the weights are not there, or are of a kind that is not known.
    """
    path = onnx_file(source)
    if path is not None:
        return OnnxAudio(source, path)
    return HubAudio(source, locate_kind(source, "audio", AUDIO_FORMATS, "AST, CLAP or Whisper"))


class WindowedAudio(NetworkExpert):
    """An expert that cuts sound into windows and hears those in which there is something to hear."""

    name = "audio"

    @property
    @abstractmethod
    def windows(self) -> Windows:
        """How it cuts."""

    @abstractmethod
    def rows(self, pieces: Sequence[NDArray[np.float32]]) -> Inputs:
        """Windows as the network wants them, a row each."""

    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        """A row a window in which something can be heard."""
        if not clip.has_sound:
            return State.NO_STREAM
        sound = clip.sound(self.windows.hz)
        length_s = len(sound.samples) / sound.hz
        if length_s < LEAST_S:
            return State.NO_FRAMES
        starts = even_windows(length_s, self.windows.window_s, 1 / self.windows.hz)
        pieces = [cut(sound, start, self.windows.window_s) for start in starts]
        keep = np.stack([self._heard(piece) for piece in pieces])
        if not keep.any():
            return State.SILENT
        heard: NDArray[np.bool_] = np.asarray(keep.any(1))
        # Silent windows never reach the network; of a window that is heard, silent tokens are dropped afterwards.
        rows = [piece for piece, audible in zip(pieces, heard, strict=True) if audible]
        return PreparedInputs(self.rows(rows), self._times(sound, starts, length_s)[heard], keep[heard])

    def _heard(self, piece: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the tokens of a window have something to hear: bool [per_window]."""
        each = round(self.windows.window_s * self.windows.hz / self.windows.per_window)
        # Less the mean of each part, as a constant offset cannot be heard.
        parts = [piece[at * each : (at + 1) * each] for at in range(self.windows.per_window)]
        least = round(LEAST_S * self.windows.hz)
        return np.array([len(part) >= least and is_heard(part - part.mean(), self.windows.hz) for part in parts])

    def _times(self, sound: Waveform, starts: NDArray[np.float64], length_s: float) -> NDArray[np.float32]:
        """The middle of what each token speaks of: float32 [n, per_window], seconds of the video."""
        edges = np.linspace(0.0, self.windows.window_s, self.windows.per_window + 1)
        edges = np.minimum(starts[:, None] + edges, length_s)
        return (sound.start_s + (edges[:, :-1] + edges[:, 1:]) / 2).astype(np.float32)


class HubAudio(HubExpert, WindowedAudio):
    """Expert for sound, by a network of transformers.

    Args:
        source: as a person gave it.
        found: its weights.
        how: it takes sound; default: as its kind does.
    """

    def __init__(self, source: str, found: Weights, how: AudioFormat | None = None) -> None:
        self._format = form = how or AUDIO_FORMATS[found.model_type]
        runs = f" every {form.window_s:g} s"
        super().__init__(source, found, reader=form.reader, rows_at_once=ROWS_AT_ONCE, runs=runs)
        self.sampling = Sampling(None, audio_hz=form.hz)
        self.about = f"hears as {found.model_type} does, in windows of {form.window_s:g} s"
        self._extractor: Any = None

    @property
    def windows(self) -> Windows:
        """See `WindowedAudio.windows`."""
        return self._format

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

    def rows(self, pieces: Sequence[NDArray[np.float32]]) -> Inputs:
        """See `WindowedAudio.rows`."""
        inputs = dict(self._extractor(list(pieces), sampling_rate=self._format.hz, return_tensors="np"))
        if "is_longer" in inputs:
            # No window is. CLAP's extractor draws one of them at random to be, so features would differ run by run.
            inputs["is_longer"] = np.zeros_like(inputs["is_longer"])
        return inputs


class OnnxAudio(OnnxExpert[OnnxSoundNetwork], WindowedAudio):
    """Expert for sound, by an ONNX file; sidecar.py tells the rate, and the length where the graph leaves it open.

    Args:
        source: as a person gave it.
        path: the file.

    Raises:
        WeightsError: its sidecar makes no sense.
    """

    graph = OnnxSoundNetwork

    def __init__(self, source: str, path: Path) -> None:
        super().__init__(source, path)
        self.sampling = Sampling(None, audio_hz=read_sidecar(path).hz)
        self.about = f"hears as {path.name} does"

    @property
    def windows(self) -> Windows:
        """See `WindowedAudio.windows`."""
        network = self._on_processor
        return Windows(network.hz, network.samples / network.hz)

    @property
    def cost(self) -> str:
        """How large it is and how often it runs."""
        return f"{self._path.stat().st_size / 1e6:.1f} MB every {self.windows.window_s:.3g} s"

    def rows(self, pieces: Sequence[NDArray[np.float32]]) -> Inputs:
        """See `WindowedAudio.rows`."""
        return self._on_processor.prepare(pieces)


def cut(sound: Waveform, start_s: float, window_s: float) -> NDArray[np.float32]:
    """The samples of a window, free of NaN; the last one may be shorter.

    Args:
        sound: of the piece.
        start_s: from its first sample, seconds.
        window_s: seconds.
    """
    # A damaged file may give samples far beyond full scale, or none: one of them would be all that a network hears.
    first = round(start_s * sound.hz)
    samples = sound.samples[first : first + round(window_s * sound.hz)]
    return np.clip(np.nan_to_num(samples.astype(np.float32)), -1, 1)
