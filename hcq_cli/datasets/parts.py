"""One part of a data set: which rows of the features, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """One part of the data set (train, validation or test).

    Args:
        rows: int64 [N], rows of the features.
        captions: of each video, at least one.
        groups: int64 [N]; videos of the same content have the same number.
    """

    rows: NDArray[np.int64]
    captions: Sequence[Sequence[str]]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        """How many videos."""
        return len(self.rows)

    @property
    def sentences(self) -> list[str]:
        """All captions, video after video."""
        return [caption for captions in self.captions for caption in captions]

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 [sentences], the position of each one's video."""
        return np.repeat(np.arange(len(self.captions)), [len(captions) for captions in self.captions])
