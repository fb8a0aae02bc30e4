"""How sure a hit is, calibrated without labels.

A search ranks everything, also where nothing fits. What a score is worth is told by made-up videos: as much is seen
and heard in them as in real ones of the collection, but of classes drawn at random. A hit that is no better than the
best of as many made-up videos would be is likely there by chance; one far better is nearly always right. Where
confidence rises, and how fast, was found on subsets of 56 real clips, at random and by subjects, from 3 to all of
them, each asked for what it holds and for what lies in the others alone: the same two numbers suited all
(examples/EXPERIMENTS.md).

Where a dual encoder looks nothing can be made up. There, and in models of earlier versions, generic sentences tell
it, which nobody wrote for this collection (fitting/sentences.py): the best scores that they reach in it are its
chance scores. A hit at their average is as likely right as wrong, because some of them do fit.

The scale and the bias by which a dual encoder makes probabilities of its cosines do not enter, though a fitted model
keeps them (`logits` in its config.json). Deviations from the chance scores are the same whatever all scores are
multiplied with and whatever is added to them. And the probability itself, SigLIP's sigmoid(scale · cosine + bias), is
that of one pair among all pairs of a training batch of some ten thousand, not that the best of these videos fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MIDDLE = 0.0
"""Deviations from the average chance score at which a hit is as likely right as wrong."""
SLOPE = 1.25
"""How fast confidence rises with a deviation."""
OVER_MADE_UP, SLOPE_OVER_MADE_UP = 0.17, 12.0
"""The same beside made-up videos: what a hit has more than their best, in shares of what a query could reach."""
CUT_OFF = 0.25
"""Below this the best hit of a query means that nothing fits."""


@dataclass(frozen=True)
class ChanceScores:
    """The best score in a collection of each generic sentence; or of one query among made-up videos.

    Args:
        mean, deviation: of them; or what made-up videos score, 0 until the query is known, and the score of all that
            a query could reach.
        middle, slope: of the confidence, as `MIDDLE` and `SLOPE`; files of earlier versions say none, and mean these.
    """

    mean: float
    deviation: float
    middle: float = -0.3
    slope: float = 2.0

    def confidence(self, score: float) -> float:
        """Of a hit with such a score, 0 to 1."""
        z = (score - self.mean) / max(self.deviation, 1e-6)
        return 1 / (1 + math.exp(-max(min(self.slope * (z - self.middle), 50.0), -50.0)))


def chance_among(model: ChanceScores, made_up: np.ndarray, levels: np.ndarray, videos: int) -> list[ChanceScores]:
    """What the best of `videos` made-up ones would score, for each query.

    Args:
        model: those of its model, which knows no query.
        made_up: float32 [M, L+1, D], some made-up videos; of more the best is told by the normal distribution.
        levels: float32 [Q, L+1, D], of the queries.
        videos: in the collection.
    """
    scores = levels.reshape(len(levels), -1) @ made_up.reshape(len(made_up), -1).T
    deviations = NormalDist().inv_cdf(1 - 1 / (videos + 1)) if videos else 0.0
    return [replace(model, mean=float(best)) for best in scores.mean(1) + deviations * scores.std(1)]
