"""Confidences are held against what is known of questions with an answer and without."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.evaluation.calibration import binned


def test_confidences_that_hold_have_no_error_and_others_have_theirs() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(200_000)
    fits = rng.random(200_000) < sure
    found = binned(sure, fits, fits & (rng.random(200_000) < 0.5))
    assert found.ece < 0.01 and sum(each.questions for each in found.bins) == 200_000
    seventh = found.bins[7]
    assert (seventh.low, seventh.high) == (0.7, 0.8) and seventh.fits == pytest.approx(0.75, abs=0.02)
    assert seventh.right == pytest.approx(seventh.fits / 2, abs=0.02)
    wrong = binned(np.minimum(sure + 0.2, 1), fits, fits)
    assert wrong.ece == pytest.approx(0.18, abs=0.02)  # 0.2, but less where it cannot be more than 1
    assert wrong.bins[0].questions == 0 and wrong.bins[0].fits == 0


def test_one_question_lies_in_one_bin() -> None:
    found = binned(np.array([1.0]), np.array([False]), np.array([False]))
    assert found.ece == 1 and [each.questions for each in found.bins] == [0] * 9 + [1]
