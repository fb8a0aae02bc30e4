"""The reference's metrics: ranks averaged over ties stay fractions, and recall at 1 counts ranks of exactly 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
CUTS = (1, 5, 10, 50)


def tied_ranks(scores: Floats, target: Floats) -> NDArray[np.float64]:
    """0-based rank of a target score in its row, the mean over the places of its ties.

    Args:
        scores: [Q, N], the target's own score included.
        target: [Q].
    """
    above, tied = (scores > target[:, None]).sum(1), (scores == target[:, None]).sum(1)
    return above + (tied - 1) / 2


def text_to_video_ranks(scores: Floats, there: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Rank of each caption's own video.

    Args:
        scores: [N·C, N], the C captions of a video adjacent.
        there: bool [N·C]; captions that do not exist give no rank.
    """
    owner = np.arange(len(scores)) // (len(scores) // scores.shape[1])
    ranks = tied_ranks(scores, scores[np.arange(len(owner)), owner])
    return ranks if there is None else ranks[there]


def video_to_text_ranks(scores: Floats, there: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Rank of each video's best-ranked own caption, among all captions; [N·C, N] as above → [N]."""
    videos = scores.shape[1]
    captions = len(scores) // videos
    if there is not None:
        scores = np.where(there[:, None], scores, -np.inf)
    own = scores.T.reshape(videos, videos, captions)[np.arange(videos), np.arange(videos)]
    return tied_ranks(scores.T, own.max(1))


def summarise(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Recalls in percent and ranks (1-based), under the reference's names."""
    recalls = {cut: 100.0 * float(np.sum(ranks < cut if cut > 1 else ranks == 0)) / len(ranks) for cut in CUTS}
    with np.errstate(divide="ignore"):
        geometric = float(np.exp(np.mean(np.log([recalls[1], recalls[5], recalls[10]]))))
    return {
        **{f"R{cut}": recalls[cut] for cut in CUTS},
        "MedR": float(np.median(ranks)) + 1,
        "MeanR": float(np.mean(ranks)) + 1,
        "geometric_mean_R1-R5-R10": geometric,
    }


def best_videos(scores: Floats, there: NDArray[np.bool_], count: int = 10) -> NDArray[np.int64]:
    """The best videos of each caption that exists, best first: [N·C, N], bool [N·C] → int64 [·, count]."""
    return np.argsort(-scores[there], axis=1, kind="stable")[:, :count]
