"""Which videos train, which validate, which test. Test videos are never used in training or to choose a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hcq_cli.datasets.captions import CaptionedVideo

MIN_VIDEOS_TO_HOLD_OUT = 500
"""With fewer training videos none is held out: all train, and the last epoch is kept."""
HELD_OUT_SHARE = 0.05
MAX_HELD_OUT = 1000


@dataclass(frozen=True)
class Splits:
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


def split_videos(videos: Sequence[CaptionedVideo]) -> Splits:
    """Split by what the caption file says; videos without a split train.

    Without any "val" video, a share of the training videos is held out if there are enough of them: 5 %, at most
    1,000, chosen by a hash of their names, so that the choice is the same on every machine and in any order.
    """
    train = [at for at, video in enumerate(videos) if video.split in (None, "train")]
    val = [at for at, video in enumerate(videos) if video.split == "val"]
    test = [at for at, video in enumerate(videos) if video.split == "test"]
    if val:
        return Splits(train, val, test, f"{len(val)} videos validate, as the caption file says")
    if len(train) < MIN_VIDEOS_TO_HOLD_OUT:
        why = (
            f"{len(train)} training videos are too few to hold some out (from {MIN_VIDEOS_TO_HOLD_OUT} on): "
            "all train, and the last epoch is kept"
        )
        return Splits(train, [], test, why)
    count = min(MAX_HELD_OUT, math.ceil(len(train) * HELD_OUT_SHARE))
    held_out = set(sorted(train, key=lambda at: _name_hash(videos[at].video))[:count])
    rest = [at for at in train if at not in held_out]
    return Splits(rest, sorted(held_out), test, f"{count} of {len(train)} training videos are held out to validate")


def _name_hash(name: str) -> tuple[bytes, str]:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), name
