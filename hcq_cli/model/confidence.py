"""How sure a hit is, calibrated without labels.

A search ranks everything, also where nothing fits. What a score is worth is told by generic sentences, which nobody
wrote for this collection (fitting/sentences.py): the best scores that they reach in it are its chance scores. A hit
at their average is as likely right as wrong, because some of them do fit; one far above is nearly always right. Where
confidence rises, and how fast, was found on subsets of 56 real clips, from 14 to all of them, each asked for what it
holds and for what lies in the others alone: the same two numbers suited all sizes (examples/EXPERIMENTS.md).

The scale and the bias by which a dual encoder makes probabilities of its cosines do not enter, though a fitted model
keeps them (`logits` in its config.json). Deviations from the chance scores are the same whatever all scores are
multiplied with and whatever is added to them. And the probability itself, SigLIP's sigmoid(scale · cosine + bias), is
that of one pair among all pairs of a training batch of some ten thousand, not that the best of these videos fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIDDLE = 0.0
"""Deviations from the average chance score at which a hit is as likely right as wrong."""
SLOPE = 1.25
"""How fast confidence rises with a deviation."""
CUT_OFF = 0.27
"""Below this the best hit of a query means that nothing fits."""


@dataclass(frozen=True)
class ChanceScores:
    """The best score in a collection of each generic sentence.

    Args:
        mean, deviation: of them.
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
