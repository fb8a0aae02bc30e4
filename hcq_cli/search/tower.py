"""The text side of a search: from a query's words to its vectors.

A seam, because a cold query should not wait for torch: an exported encoder can take the place of `TorchTower`.
torch is imported when a tower is opened, never when this module is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hcq_cli.errors import NotFoundError


class TextTower(Protocol):
    """Encodes queries.

    Attributes:
        hash: of the model, as code files and indexes name it.
        source: where it was loaded from, for messages.
    """

    hash: str
    source: Path

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [Q, L+1, D]: level 0 coarse, then the fine levels, each L2-normalised; ready for the table."""
        ...


class TorchTower:
    """The text tower of a checkpoint.

    Args:
        checkpoint: a folder that `hcq train` or `hcq fit` wrote.

    Raises:
        NotFoundError, DamagedError: as the checkpoint's loader finds.
    """

    def __init__(self, checkpoint: Path) -> None:
        from hcq_cli.model import checkpoint as checkpoints

        self._model = checkpoints.load(checkpoint)
        self.hash, self.source = self._model.hash, checkpoint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextTower.encode`."""
        return self._model.encode_texts(list(texts))


def open_tower(candidates: Sequence[Path]) -> TextTower:
    """The tower of the first checkpoint folder that is there.

    Raises:
        NotFoundError: none of them is.
    """
    for folder in candidates:
        if folder.is_dir():
            return TorchTower(folder)
    places = " or ".join(dict.fromkeys(map(str, candidates)))
    raise NotFoundError(f"no checkpoint at {places}", "hcq query --ckpt CHECKPOINT, or train one: hcq train")
