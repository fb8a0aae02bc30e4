"""Confidence is a matter of the chance scores alone."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.model.confidence import MIDDLE, SLOPE, ChanceScores, chance_among


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


def test_a_hit_must_be_better_than_the_best_of_as_many_made_up_videos() -> None:
    made_up = np.random.default_rng(0).normal(size=(256, 1, 8)).astype(np.float32)
    asked, model = np.eye(8, dtype=np.float32)[:2, None] * [[[1]], [[3]]], ChanceScores(0.0, 0.5, 0.2, 12.0)
    expected = [made_up[:, 0, 0], 3 * made_up[:, 0, 1]]
    for count, deviations in ((0, 0), (1, 0), (56, 2.107)):
        for found, scores in zip(chance_among(model, made_up, asked, count), expected, strict=True):
            assert found.mean == pytest.approx(scores.mean() + deviations * scores.std(), abs=2e-3)
            assert (found.deviation, found.middle, found.slope) == (0.5, 0.2, 12.0)
