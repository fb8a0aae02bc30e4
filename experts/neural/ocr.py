"""What is written on screen: read by rapidocr, one frame every two seconds; one token a line of text.

A line that was there in the frame before is not told again. The text itself is kept beside the vector, for people.
rapidocr's wheel carries its networks (PP-OCR, Apache-2.0): nothing is fetched.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State, Tokens
from experts.neural.preprocessing import presentable
from experts.neural.text_embedding import MINILM, SentenceEmbedder, text_weights
from experts.neural.weights import WeightsError

LEAST_SCORE = 0.6
"""A line that was read less surely is left out."""
LEAST_LETTERS = 2
"""Letters and digits; fewer is mostly an edge taken for an I."""
INSTALL = 'pip install "hcq[ocr]"'


class Ocr:
    """Expert for text in the picture.

    Args:
        source: the text embedder: `minilm`, a folder, or a Hugging Face id.

    Raises:
        WeightsError: the embedder is not on this machine.
    """

    name = "ocr"
    version = "1"
    sampling = Sampling(frames_per_second=0.5, max_side=960)
    licence = "Apache-2.0 (PP-OCR and MiniLM)"
    about = "reads what is written on screen"
    cost = "about 1 to 3 s of a core a frame, a frame every 2 s"

    def __init__(self, source: str = MINILM) -> None:
        self._embedder = SentenceEmbedder(text_weights(source))
        self.dim = self._embedder.dim
        self._reader: Any = None

    @cached_property
    def weights(self) -> str:
        """The reader's version and the embedder's digest.

        Raises:
            WeightsError: rapidocr is not installed.
        """
        try:
            return f"rapidocr {version('rapidocr')}, {self._embedder.found.identity}"
        except PackageNotFoundError:
            raise WeightsError("rapidocr is not installed", INSTALL) from None

    def prepare(self, device: str) -> None:
        """Load reader and embedder; the reader runs on the processor, on one thread.

        Raises:
            WeightsError: rapidocr is not installed.
        """
        try:
            from rapidocr import RapidOCR
        except ImportError:
            raise WeightsError("rapidocr is not installed", INSTALL) from None
        # One thread: extraction runs a process a core already, and sums of several threads differ in the last digit.
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        self._reader = RapidOCR(params={"Global.log_level": "error", **threads})
        self._embedder.prepare(device)

    def extract(self, clip: Clip) -> Tokens:
        """One token for each line of text that was not there in the frame before."""
        if self._reader is None:
            self.prepare("cpu")
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return Tokens.none(self.dim, frames)
        texts: list[str] = []
        times: list[float] = []
        ends: list[float] = []
        before: dict[str, int] = {}
        for image, time_s in zip(frames.images, frames.times, strict=True):
            shown: dict[str, int] = {}
            for line in self.read(image):
                # Against the frame before alone, and whatever the case: a title that comes back later is told again.
                at = before.get(line.casefold(), len(texts))
                if at == len(texts):
                    texts.append(line)
                    times.append(float(time_s))
                    ends.append(float(time_s))
                ends[at] = float(time_s)
                shown[line.casefold()] = at
            before = shown
        if not texts:
            return Tokens.none(self.dim, State.NOTHING_FOUND)
        # It came and went somewhere between two frames: halfway, so that no time is further off than half of that.
        half_s = 0.5 / (self.sampling.frames_per_second or 1.0)
        spans = tuple(
            (max(begin - half_s, clip.start_s), min(end + half_s, clip.end_s))
            for begin, end in zip(times, ends, strict=True)
        )
        return Tokens(self._embedder.vectors(texts), np.array(times, np.float32), words=tuple(texts), spans=spans)

    def read(self, image: NDArray[np.uint8]) -> list[str]:
        """The lines of text in an RGB frame, from top to bottom, each once."""
        found = self._reader(np.ascontiguousarray(presentable(image)[..., ::-1]))
        if found.txts is None:
            return []
        sure = [
            " ".join(text.split())
            for text, score in zip(found.txts, found.scores, strict=True)
            if score >= LEAST_SCORE and sum(letter.isalnum() for letter in text) >= LEAST_LETTERS
        ]
        return list(dict.fromkeys(sure))
