"""Ranks and recalls, both ways, for several captions a video.

The protocol of the field (Dong et al., CVPR 2019; Gabeur et al., ECCV 2020): ties share their ranks, and a video is
found in video-to-text by the best-ranked of its captions. Letters: Q captions, N videos.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcq_cli.evaluation.scores import Scores

SCORES_AT_ONCE = 1 << 22
"""Scores held at a time, whatever the collection: 32 MiB of them."""


@dataclass(frozen=True)
class Metrics:
    """How well one direction retrieves.

    Args:
        R1, R5, R10, R50: recall at k, in percent.
        MedR, MeanR: median and mean rank; the best rank is 1.
        GM: geometric mean of R1, R5 and R10.
    """

    R1: float
    R5: float
    R10: float
    R50: float
    MedR: float
    MeanR: float
    GM: float

    def to_dict(self) -> dict[str, float]:
        """Figures by the names that `hcq eval --json` gives them."""
        return dataclasses.asdict(self)


def tied_ranks(scores: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """0-based rank of a target score among the scores of its row; half of those that tie with it come before it.

    Args:
        scores: [Q, N], the target's own score included.
        target: [Q].
    """
    # Half of the ties before it: what a shuffled order would give in the mean, so that a model whose scores are all
    # alike ranks as chance does, and not as the perfect one (as `>` alone would have it).
    above = (scores > target[:, None]).sum(1)
    tied = (scores == target[:, None]).sum(1)
    return np.asarray(above + (tied - 1) / 2, np.float64)


def score_blocks(scores: Scores) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Some rows of scores at a time, with the number of the first of them."""
    rows, columns = scores.shape
    step = max(1, SCORES_AT_ONCE // max(columns, 1))
    for first in range(0, rows, step):
        yield first, scores[first : first + step]


def text_to_video_ranks(scores: Scores, owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """0-based rank of each caption's own video.

    Args:
        scores: [Q, N], captions by videos.
        owner: int64 [Q], column of each caption's video.
    """
    ranks = np.empty(len(owner))
    for first, block in score_blocks(scores):
        part = slice(first, first + len(block))
        ranks[part] = tied_ranks(block, block[np.arange(len(block)), owner[part]])
    return ranks


def video_to_text_ranks(scores: Scores, owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """0-based rank of each video's best-ranked own caption.

    Args:
        scores: [N, Q], videos by captions (what text-to-video has, transposed, where both are the same numbers).
        owner: int64 [Q], row of each caption's video.

    Returns:
        float64 [videos that have a caption], in row order.
    """
    captions = np.argsort(owner, kind="stable")
    owners, ranks = owner[captions], [np.empty(0)]
    for first, block in score_blocks(scores):
        low, high = np.searchsorted(owners, [first, first + len(block)])
        videos, own = owners[low:high] - first, captions[low:high]
        # `maximum.at`, because a plain `best[videos] = …` keeps one of several captions of a video, not the best.
        best = np.full(len(block), -np.inf, block.dtype)
        np.maximum.at(best, videos, block[videos, own])
        captioned = np.unique(videos)
        ranks.append(tied_ranks(block[captioned], best[captioned]))
    return np.concatenate(ranks)


def summarise(ranks: NDArray[np.float64]) -> Metrics:
    """Recalls and ranks of 0-based `ranks`, which must not be empty."""
    # A tie for the first place is no hit at 1 (rank ½); this is how the field counts.
    recall = {k: 100.0 * float(np.sum(ranks < k if k > 1 else ranks == 0)) / len(ranks) for k in (1, 5, 10, 50)}
    with np.errstate(divide="ignore"):  # a recall of 0 makes the mean 0: exp(−∞)
        geometric = float(np.exp(np.mean(np.log([recall[1], recall[5], recall[10]]))))
    median, mean = float(np.median(ranks)) + 1.0, float(np.mean(ranks)) + 1.0
    return Metrics(**{f"R{k}": value for k, value in recall.items()}, MedR=median, MeanR=mean, GM=geometric)
