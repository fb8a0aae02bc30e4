"""How sure a hit is, calibrated without labels.

A search ranks everything, also where nothing fits. What a score is worth is told by generic sentences, which nobody
wrote for this collection (fitting/sentences.py): the best scores that they reach in it are its chance scores. A hit
0.3 deviations below their average is as likely right as wrong, one at the average is right about two times of three,
one far above nearly always. Where confidence rises, and how fast, was found on 56 real clips, with one of two halves
of tests/fitting/paraphrases.jsonl.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIDDLE = -0.3
"""Deviations from the average chance score at which a hit is as likely right as wrong: some generic sentences fit."""
SLOPE = 2.0
"""How fast confidence rises with a deviation."""
CUT_OFF = 0.25
"""Below this the best hit of a query means that nothing fits."""


@dataclass(frozen=True)
class ChanceScores:
    """The best score in a collection of each generic sentence.

    Args:
        mean, deviation: of them.
    """

    mean: float
    deviation: float

    def confidence(self, score: float) -> float:
        """Of a hit with such a score, 0 to 1."""
        z = (score - self.mean) / max(self.deviation, 1e-6)
        return 1 / (1 + math.exp(-max(min(SLOPE * (z - MIDDLE), 50.0), -50.0)))
