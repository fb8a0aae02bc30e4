"""Confidence is a matter of the chance scores alone."""

from __future__ import annotations

import pytest

from hcq_cli.model.confidence import MIDDLE, SLOPE, ChanceScores


def test_confidence_rises_with_the_score_from_0_to_1() -> None:
    chance = ChanceScores(0.2, 0.05, MIDDLE, SLOPE)
    found = [chance.confidence(score) for score in (-1e9, 0.0, 0.2, 0.3, 1e9)]
    assert found == sorted(found) and found[0] < 1e-9 and found[-1] > 1 - 1e-9
    assert chance.confidence(0.2 + MIDDLE * 0.05) == pytest.approx(0.5)
    assert ChanceScores(0.2, 0.0).confidence(0.3) > 0.99  # sentences that find one and the same video


def test_a_scale_and_a_bias_of_all_scores_change_nothing() -> None:
    chance, scaled = (
        ChanceScores(0.2, 0.05, MIDDLE, SLOPE),
        ChanceScores(112.0 * 0.2 - 16, 112.0 * 0.05, MIDDLE, SLOPE),
    )
    for score in (0.1, 0.2, 0.27):
        assert scaled.confidence(112.0 * score - 16) == pytest.approx(chance.confidence(score))
