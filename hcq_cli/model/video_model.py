"""What encoding a collection needs of a model: the seam between the network in torch and its export."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.batches import VideoBatch
from hcq_cli.model.config import ModelConfig


class VideoModel(Protocol):
    """What turns videos into codes: a `Model`, or its `ExportedVideoEncoder`. Everything it takes and gives is NumPy.

    Attributes:
        hash: of the model.
        folder: of its checkpoint.
        config: its shape.
        codebooks: float32 [S, K, d], s = level · M + m.
        scale: float32 [S], what each inner product counts in the hybrid score.
        nearness: mean cosine between the training videos that it keeps; None where it keeps few or none.
    """

    hash: str
    folder: Path | None

    @property
    def config(self) -> ModelConfig:
        """As above."""
        ...

    @property
    def codebooks(self) -> NDArray[np.float32]:
        """As above."""
        ...

    @property
    def scale(self) -> NDArray[np.float32]:
        """As above."""
        ...

    @property
    def nearness(self) -> float | None:
        """As above."""
        ...

    def encode_videos(self, batch: VideoBatch) -> NDArray[np.float32]:
        """Videos → levels, float32 [B, L+1, D]; an expert that the batch lacks is missing."""
        ...

    def encode_video_queries(self, batch: VideoBatch) -> NDArray[np.float32]:
        """Videos → what their tables are made of: levels, rotated if the codes are; float32 [B, L+1, D]."""
        ...

    def encode_codes(self, batch: VideoBatch) -> NDArray[np.uint8]:
        """Videos → codes, uint8 [B, S]."""
        ...
