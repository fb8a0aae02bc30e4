"""Which videos train, which validate, which test. Test videos are never used in training or to choose a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.datasets.captions import CaptionedVideo
from hcq_cli.printable import counted

MIN_VIDEOS_TO_HOLD_OUT = 500
"""With fewer training videos none is held out: all train, and the last epoch is kept."""
HELD_OUT_SHARE = 0.05
MAX_HELD_OUT = 1000


@dataclass(frozen=True)
class Split:
    """One split of a data set (train, val or test): N videos and their captions.

    Args:
        rows: int64 [N], rows of the features.
        captions: of each video, at least one.
        groups: int64 [N]; videos of the same content have the same number.
    """

    rows: NDArray[np.int64]
    captions: Sequence[Sequence[str]]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        """N, how many videos."""
        return len(self.rows)

    @classmethod
    def empty(cls) -> Split:
        """A split without videos."""
        return cls(np.zeros(0, np.int64), [], np.zeros(0, np.int64))

    @property
    def sentences(self) -> list[str]:
        """All Q captions, video after video."""
        return [caption for captions in self.captions for caption in captions]

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 [Q], the position of each caption's video."""
        return np.repeat(np.arange(len(self.captions)), [len(captions) for captions in self.captions])


@dataclass(frozen=True)
class SplitPositions:
    """Positions in the list that was split, each list ascending.

    Args:
        train: those to learn from.
        val: those to choose the best epoch by; empty if the last epoch is to be kept.
        test: those to evaluate on, and for nothing else.
        explanation: a sentence for people on where the validation videos come from.
    """

    train: list[int]
    val: list[int]
    test: list[int]
    explanation: str


def split_videos(videos: Sequence[CaptionedVideo]) -> SplitPositions:
    """Split by what the caption file says; videos without a split train.

    Without any "val" video, a share of the training videos is held out if there are enough of them: 5 %, at most
    1,000.
    """
    train = [at for at, video in enumerate(videos) if video.split in (None, "train")]
    val = [at for at, video in enumerate(videos) if video.split == "val"]
    test = [at for at, video in enumerate(videos) if video.split == "test"]
    if val:
        explanation = f"to validate: {counted(len(val), 'video')}, as the caption file says"
        return SplitPositions(train, val, test, explanation)
    if len(train) < MIN_VIDEOS_TO_HOLD_OUT:
        why = (
            f"{counted(len(train), 'training video')}: too few to hold some out (from {MIN_VIDEOS_TO_HOLD_OUT} on), "
            "so all train, and the last epoch is kept"
        )
        return SplitPositions(train, [], test, why)

    def hashed_name(at: int) -> tuple[bytes, str]:
        # "surrogatepass", because file names may hold bytes that are no UTF-8; the name itself settles equal hashes.
        name = videos[at].video
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), name

    # By a hash of the names, not by a generator: the same videos are held out on every machine, in whatever order the
    # file lists them, and adding videos changes the choice little.
    count = min(MAX_HELD_OUT, math.ceil(len(train) * HELD_OUT_SHARE))
    held_out = set(sorted(train, key=hashed_name)[:count])
    rest = [at for at in train if at not in held_out]
    explanation = f"{count} of {len(train)} training videos are held out to validate"
    return SplitPositions(rest, sorted(held_out), test, explanation)
