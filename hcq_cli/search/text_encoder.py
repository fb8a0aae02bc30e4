"""The text encoder of a search: from a query's words to its vectors.

A seam, because a cold query should not wait for torch: where an index holds the model's exported text encoder
(`ExportedTextEncoder`, run by NumPy or onnxruntime; text_side.py), that takes the place of `CheckpointTextEncoder`. A
code file has none: it is searched without an index now and then, and loads the checkpoint. torch is imported when an
encoder is prepared, never by this module.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hcq_cli.errors import HcqError, NotFoundError

if TYPE_CHECKING:
    from hcq_cli.model.confidence import ChanceScores
    from hcq_cli.model.trained_model import Model


class TextEncoder(Protocol):
    """Encodes queries.

    Attributes:
        hash: of the model, as code files and indexes name it.
        source: where it was loaded from, for messages.
        chance_scores: for confidences; None where the model does not say. Known once it is prepared.
        made_up: made-up videos, float32 [M, L+1, D], for confidences, too; None where the model has none.
        most_tokens: of a text that are read; what is behind them counts for nothing.
    """

    hash: str
    source: Path

    @property
    def chance_scores(self) -> ChanceScores | None:
        """As above."""
        ...

    @property
    def made_up(self) -> np.ndarray | None:
        """As above."""
        ...

    @property
    def most_tokens(self) -> int:
        """As above."""
        ...

    def prepare(self) -> None:
        """Load what `encode` needs; done once."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of these the vocabulary knows."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [Q, L+1, D], ready for the table: the levels, rotated if the model's quantizer rotates."""
        ...


class CheckpointTextEncoder:
    """The text encoder of a checkpoint. Its hash is known at once; torch and the weights come with `prepare`.

    Args:
        checkpoint: a folder that `hcq train` or `hcq import official` wrote.

    Raises:
        NotFoundError, DamagedError: as the checkpoint's reader finds.
    """

    def __init__(self, checkpoint: Path) -> None:
        from hcq_cli.model.checkpoint import model_hash

        self.hash, self.source = model_hash(checkpoint), checkpoint
        self._model: Model | None = None

    @property
    def chance_scores(self) -> ChanceScores | None:
        """See `TextEncoder.chance_scores`."""
        return self.model.network.chance_scores()

    @cached_property
    def made_up(self) -> np.ndarray | None:
        """See `TextEncoder.made_up`; every search asks for them."""
        return self.model.made_up_videos()

    @property
    def model(self) -> Model:
        """The whole model; loaded at the first use."""
        from hcq_cli.model import checkpoint

        if self._model is None:
            self._model = checkpoint.load(self.source)
        return self._model

    @property
    def most_tokens(self) -> int:
        """See `TextEncoder.most_tokens`."""
        return self.model.most_tokens

    def prepare(self) -> None:
        """See `TextEncoder.prepare`."""
        _ = self.model

    def count_tokens(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """See `TextEncoder.count_tokens`."""
        return self.model.count_tokens(texts)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextEncoder.encode`."""
        return self.model.search_vectors(self.model.encode_texts(texts))


def open_checkpoint_encoder(candidates: Sequence[Path], model_hash: str = "") -> CheckpointTextEncoder:
    """The text encoder of the first checkpoint folder that holds the wanted model; else of the first that is there.

    Raises:
        NotFoundError: none of them is there.
        DamagedError: the first that is there cannot be read, and no other fits.
    """
    encoders: list[CheckpointTextEncoder] = []
    problems: list[HcqError] = []
    for folder in dict.fromkeys(candidates):
        if not folder.is_dir():
            continue
        try:
            encoder = CheckpointTextEncoder(folder)
        except HcqError as error:
            problems.append(error)
            continue
        if encoder.hash == model_hash:
            return encoder
        encoders.append(encoder)
    # None is of the wanted model: the caller says which model was found instead (`query.check_model`).
    if encoders:
        return encoders[0]
    if problems:
        raise problems[0]
    places = " or ".join(dict.fromkeys(os.path.normpath(folder) for folder in candidates))
    raise NotFoundError(f"no checkpoint at {places}", "hcq query --ckpt CHECKPOINT, or train one: hcq train")
