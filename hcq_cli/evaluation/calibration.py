"""Whether confidences hold: how often what is said with a confidence is so.

Every caption is asked twice: of all videos, and of all but its own. Of the first question it is known that something
fits, of the second that it does not (but for videos that look alike, of which one has the caption of the other). A
confidence of 0.7 is right where of all first hits with about so much seven in ten are to questions that something
fits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.errors import HcqError
from hcq_cli.evaluation.scores import QUERIES_AT_ONCE, LookUpScores
from hcq_cli.model.confidence import chance_among
from hcq_cli.model.encoding import Encoded
from hcq_cli.model.trained_model import Model
from hcq_cli.scan.blocks import to_blocks
from hcq_cli.search import chance

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Questions whose first hit has a confidence between two bounds.

    Args:
        low, high: the bounds; `high` belongs to the next.
        questions: how many.
        confidence: theirs, the mean; 0 where there is none.
        fits: share of them that something fits.
        right: share of them whose first hit is the caption's own video.
    """

    low: float
    high: float
    questions: int
    confidence: float
    fits: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How well confidences hold.

    Args:
        bins: by confidence, the least sure first.
        ece: expected calibration error: the mean over all questions of how far the mean confidence of their bin lies
            from the share of it that something fits (Naeini et al., AAAI 2015).
    """

    bins: tuple[Bin, ...]
    ece: float

    def to_dict(self) -> dict[str, Any]:
        """As `hcq eval --json` has it."""
        return {"ece": round(self.ece, 4), "bins": [asdict(each) for each in self.bins]}


def calibrate(model: Model, encoded: Encoded) -> Calibration:
    """Ask every caption with its video and without.

    Args:
        model: that has confidences.
        encoded: videos and their captions; two videos at least.

    Raises:
        HcqError: the model has no confidences, or there is one video alone.
    """
    generic, known = model.generic_queries(), model.network.chance_scores()
    if generic is None or known is None:
        raise HcqError("--calibration: this model does not say how sure hits are", "hcq fit makes one that does")
    if len(encoded.videos) < 2:
        raise HcqError("--calibration: without its video a caption needs another one", "hcq eval --split all")
    codes = model.quantize(encoded.videos, "videos")
    made_up, asked = model.made_up_videos(), model.search_vectors(encoded.texts)
    if made_up is not None:
        known_of = chance_among(known, made_up, asked, len(codes))
    else:  # anew in these codes, as in every index: what a score is worth depends on what else there is to find
        known_of = [chance.measure([to_blocks(codes)], generic, model.codebooks, model.scale, known)] * len(asked)
    best, own, rest = _best(LookUpScores(asked, codes, model.codebooks, model.scale), encoded.owner)
    both = zip(known_of * 2, np.concatenate([best, rest]).tolist(), strict=True)
    sure = np.array([measured.confidence(score) for measured, score in both])
    fits = np.repeat([True, False], len(best))
    return binned(sure, fits, np.concatenate([own, np.zeros(len(best), bool)]))


def _best(
    scores: LookUpScores, owner: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Of each caption the best score, whether it is its own video's, and the best score of the others, [Q] each."""
    best, own, rest = np.zeros(len(owner)), np.zeros(len(owner), bool), np.zeros(len(owner))
    for first in range(0, len(owner), QUERIES_AT_ONCE):
        part = slice(first, first + QUERIES_AT_ONCE)
        found, at = scores[part], np.arange(len(owner[part]))
        best[part], own[part] = found.max(1), found.argmax(1) == owner[part]
        # The same question of a collection without that video: all other scores stay as they are.
        found[at, owner[part]] = -np.inf
        rest[part] = found.max(1)
    return best, own, rest


def binned(sure: NDArray[np.float64], fits: NDArray[np.bool_], right: NDArray[np.bool_]) -> Calibration:
    """Confidences [n] in bins of equal width, with what is known of them, [n] each."""
    # A confidence of 1 itself belongs into the last bin.
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        within = place == number
        means = [float(each[within].mean()) if within.any() else 0.0 for each in (sure, fits, right)]
        bins.append(Bin(number / BINS, (number + 1) / BINS, int(within.sum()), *means))
    error = sum(each.questions * abs(each.confidence - each.fits) for each in bins)
    return Calibration(tuple(bins), error / max(len(sure), 1))
