"""The text side of a search: from a query's words to its vectors.

A seam, because a cold query should not wait for torch: where an index holds the model's text side
(`exported_tower.ExportedTower`), that takes the place of `CheckpointTextEncoder`. A code file has none: it is
searched without an index now and then, and loads the checkpoint. torch is imported when an encoder is
prepared, never by this module.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.model.exported_tower import ExportedTower

if TYPE_CHECKING:
    from hcq_cli.model.checkpoint import Model
    from hcq_cli.search.collection import SearchableCodes


class TextEncoder(Protocol):
    """Encodes queries.

    Attributes:
        hash: of the model, as code files and indexes name it.
        source: where it was loaded from, for messages.
    """

    hash: str
    source: Path

    def prepare(self) -> None:
        """Load what `encode` needs; done once."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [Q, L+1, D], ready for the table: the levels, rotated if the model's quantizer rotates."""
        ...


class CheckpointTextEncoder:
    """The text tower of a checkpoint. Its hash is known at once; torch and the weights come with `prepare`.

    Args:
        checkpoint: a folder that `hcq train` or `hcq fit` wrote.

    Raises:
        NotFoundError, DamagedError: as the checkpoint's reader finds.
    """

    def __init__(self, checkpoint: Path) -> None:
        from hcq_cli.model.checkpoint import model_hash

        self.hash, self.source = model_hash(checkpoint), checkpoint
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The whole model; loaded at the first use."""
        from hcq_cli.model import checkpoint

        if self._model is None:
            self._model = checkpoint.load(self.source)
        return self._model

    def prepare(self) -> None:
        """See `TextEncoder.prepare`."""
        _ = self.model

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextEncoder.encode`."""
        return self.model.search_vectors(self.model.encode_texts(texts))


def open_text_encoder(
    collection: SearchableCodes, more: Sequence[Path] = (), *, lasting: bool = False, threads: int = 1
) -> TextEncoder:
    """What encodes queries for a collection: the text side in its index, else its checkpoint.

    Args:
        collection: what will be searched.
        more: where else its checkpoint may lie.
        lasting: whether many queries will come.
        threads: cores to use.

    Raises:
        NotFoundError: it has neither.
        DamagedError: what it has is damaged.
    """
    if collection.text_encoder_file is not None:
        return ExportedTower(collection.text_encoder_file, lasting=lasting, threads=threads)
    return open_checkpoint_encoder([*collection.checkpoints, *more], collection.header.model_hash)


def find_checkpoint(candidates: Sequence[Path], model_hash: str) -> Path | None:
    """The first checkpoint folder that holds the wanted model; unreadable ones are passed over."""
    from hcq_cli.model.checkpoint import read_header

    for folder in dict.fromkeys(candidates):
        with suppress(HcqError, OSError):
            if folder.is_dir() and read_header(folder).hash == model_hash:
                return folder
    return None


def open_checkpoint_encoder(candidates: Sequence[Path], model_hash: str = "") -> CheckpointTextEncoder:
    """The tower of the first checkpoint folder that holds the wanted model; else of the first that is there.

    Raises:
        NotFoundError: none of them is there.
        DamagedError: the first that is there cannot be read, and no other fits.
    """
    towers: list[CheckpointTextEncoder] = []
    problems: list[HcqError] = []
    for folder in dict.fromkeys(candidates):
        if not folder.is_dir():
            continue
        try:
            tower = CheckpointTextEncoder(folder)
        except HcqError as error:
            problems.append(error)
            continue
        if tower.hash == model_hash:
            return tower
        towers.append(tower)
    if towers:
        return towers[0]
    if problems:
        raise problems[0]
    places = " or ".join(dict.fromkeys(os.path.normpath(folder) for folder in candidates))
    raise NotFoundError(f"no checkpoint at {places}", "hcq query --ckpt CHECKPOINT, or train one: hcq train")
