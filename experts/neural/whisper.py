"""Whisper (Radford et al., ICML 2023): hears phrases, as its own time marks cut them.

By transformers, or by faster-whisper (CTranslate2), the same network with weights of 8 bits on a processor. The
latter's weights are another file, `model.bin`: what `ct2-transformers-converter` makes, or an id such as
`Systran/faster-whisper-base`. That is no pickle but CTranslate2's own format, which is seen from its first bytes;
anything else of that name is refused as ever.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.classic.spectrogram import HZ
from experts.neural.foreign import network_from_folder
from experts.neural.network import choose_precision, load_pretrained, quiet_transformers
from experts.neural.weights import Weights, WeightsError, digest, first_line, locate_kind, look_up, onnx_file

FILE = "model.bin"
"""The weights of a Whisper of CTranslate2."""
VERSIONS = range(1, 16)
"""Of CTranslate2's files."""
KIND = b"WhisperSpec\0"
INSTALL = 'pip install "hcq[whisper]"'


class Recogniser(ABC):
    """Hears phrases.

    Args:
        found: a folder with a Whisper.

    Attributes:
        identity: what the words depend on: the commit, or the digest of the files.
        licence: of its weights.
        size: how large it is, for people.
    """

    def __init__(self, found: Weights) -> None:
        self._found, self.licence = found, found.licence
        self._model: Any = None

    @property
    def identity(self) -> str:
        """See above."""
        return self._found.identity

    @property
    @abstractmethod
    def size(self) -> str:
        """See above."""

    @abstractmethod
    def prepare(self, device: str) -> None:
        """Load it on "cpu" or another device. Raises WeightsError."""

    @abstractmethod
    def phrases(self, samples: NDArray[np.float32]) -> list[tuple[float, float | None, str]]:
        """Begin and end in seconds, and text, of what is said in at most 30 s of sound at 16 kHz; a phrase that the
        window cuts off may have no end."""


def recogniser(source: str) -> Recogniser:
    """The Whisper that a source names, for transformers or for faster-whisper.

    Raises:
        WeightsError: the weights are not on this machine, or are not Whisper's.
    """
    if onnx_file(source) is None and is_ctranslate2((found := look_up(source)).folder):
        return FasterWhisper(found)
    hint = "hcq models fetch openai/whisper-base"
    return HubWhisper(locate_kind(source, "speech", ["whisper"], "Whisper", hint=hint))


def is_ctranslate2(folder: Path) -> bool:
    """Whether a folder holds a Whisper of CTranslate2: its version, the length of a name, and the name."""
    try:
        with (folder / FILE).open("rb") as file:
            begin = file.read(6 + len(KIND))
    except OSError:
        return False
    if len(begin) < 6 + len(KIND):
        return False
    version, length = struct.unpack_from("<IH", begin)
    return version in VERSIONS and length == len(KIND) and begin[6:] == KIND


class HubWhisper(Recogniser):
    """Whisper by transformers."""

    @property
    def size(self) -> str:
        """See `Recogniser`."""
        return f"{self._found.parameters / 1e6:.0f} M parameters"

    def prepare(self, device: str) -> None:
        """See `Recogniser`."""
        from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

        folder = self._found.folder
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
        """See `Recogniser`."""
        import torch

        # The mask says where the sound ends: without it Whisper goes on into the padding.
        heard = self._extractor(samples, sampling_rate=HZ, return_attention_mask=True, return_tensors="pt")
        with torch.inference_mode(), quiet_transformers():
            ids = self._model.generate(
                heard["input_features"].to(self._model.device, self._model.dtype),
                attention_mask=heard["attention_mask"].to(self._model.device),
                return_timestamps=True,
                do_sample=False,  # equal sound must give equal words
                num_beams=1,
            )
        found = self._tokenizer.decode(ids[0].tolist(), output_offsets=True)["offsets"]
        return [(each["timestamp"][0] or 0.0, each["timestamp"][1], each["text"]) for each in found]


class FasterWhisper(Recogniser):
    """Whisper by faster-whisper.

    Raises:
        WeightsError: faster-whisper is not installed, or the folder is not whole.
    """

    def __init__(self, found: Weights) -> None:
        if find_spec("faster_whisper") is None:
            raise WeightsError("faster-whisper is not installed", INSTALL)
        for name in ("config.json", "tokenizer.json"):  # it would ask the network for a tokenizer
            if not (found.folder / name).is_file():
                raise WeightsError(f"{found.source}: has no {name} beside its {FILE}", "copy it there")
        super().__init__(found)

    @property
    def identity(self) -> str:
        """See `Recogniser`."""
        if self._found.hub is not None:
            return self._found.identity
        names = (FILE, "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json")
        return f"sha256:{digest([path for name in names if (path := self._found.folder / name).is_file()])}"

    @property
    def size(self) -> str:
        """See `Recogniser`."""
        return f"{(self._found.folder / FILE).stat().st_size / 1e6:.0f} MB of weights"

    def prepare(self, device: str) -> None:
        """See `Recogniser`."""
        from faster_whisper import WhisperModel

        precision = "int8" if device == "cpu" else "default"
        try:
            # One thread: extraction runs a process a core already.
            self._model = WhisperModel(
                str(self._found.folder), device=device, compute_type=precision, cpu_threads=1, local_files_only=True
            )
        except Exception as error:  # CTranslate2's errors have no base of their own
            what = f"{self._found.source}: cannot be loaded: {first_line(error)}"
            raise WeightsError(what, "fetch or copy it again") from error

    def phrases(self, samples: NDArray[np.float32]) -> list[tuple[float, float | None, str]]:
        """See `Recogniser`."""
        assert self._model is not None
        language = None if self._model.model.is_multilingual else "en"
        # Equal sound must give equal words: no sampling where it is unsure, and no memory of what came before.
        found, _ = self._model.transcribe(
            samples, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return [(each.start, each.end, each.text) for each in found]
