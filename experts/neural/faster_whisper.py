"""Whisper by faster-whisper (CTranslate2): the same network, with weights of 8 bits on a processor.

Its weights are another file, `model.bin`: what `ct2-transformers-converter` makes, or an id such as
`Systran/faster-whisper-base`. That is no pickle but CTranslate2's own format, which is seen from its first bytes;
anything else of that name is refused as ever.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.neural.weights import Weights, WeightsError, digest, first_line

FILE = "model.bin"
VERSIONS = range(1, 16)
"""Of CTranslate2's files."""
KIND = b"WhisperSpec\0"
INSTALL = 'pip install "hcq[whisper]"'


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


class FasterWhisper:
    """Hears phrases.

    Args:
        found: a folder with a Whisper of CTranslate2.

    Raises:
        WeightsError: faster-whisper is not installed, or the folder is not whole.
    """

    def __init__(self, found: Weights) -> None:
        if find_spec("faster_whisper") is None:
            raise WeightsError("faster-whisper is not installed", INSTALL)
        for name in ("config.json", "tokenizer.json"):  # it would ask the network for a tokenizer
            if not (found.folder / name).is_file():
                raise WeightsError(f"{found.source}: has no {name} beside its {FILE}", "copy it there")
        self._found = found
        self._model: Any = None

    @property
    def identity(self) -> str:
        """What the words depend on: the commit, or the digest of the files."""
        if self._found.hub is not None:
            return self._found.identity
        names = (FILE, "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json")
        return f"sha256:{digest([path for name in names if (path := self._found.folder / name).is_file()])}"

    @property
    def licence(self) -> str:
        """Of its weights."""
        return self._found.licence

    @property
    def size(self) -> str:
        """How large it is, for people."""
        return f"{(self._found.folder / FILE).stat().st_size / 1e6:.0f} MB of weights"

    def prepare(self, device: str) -> None:
        """Load it on "cpu", "cuda" or "auto".

        Raises:
            WeightsError: it cannot be loaded.
        """
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
        """Begin and end in seconds, and text, of what is said in at most 30 s of sound at 16 kHz."""
        assert self._model is not None
        language = None if self._model.model.is_multilingual else "en"
        # Equal sound must give equal words: no sampling where it is unsure, and no memory of what came before.
        found, _ = self._model.transcribe(
            samples, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return [(each.start, each.end, each.text) for each in found]
