"""Confidence is a matter of the null alone."""

from __future__ import annotations

import pytest

from hcq_cli.model.confidence import MIDDLE, Null


def test_confidence_rises_with_the_score_from_0_to_1() -> None:
    null = Null(0.2, 0.05)
    found = [null.confidence(score) for score in (-1e9, 0.0, 0.2, 0.3, 1e9)]
    assert found == sorted(found) and found[0] < 1e-9 and found[-1] > 1 - 1e-9
    assert null.confidence(0.2 + MIDDLE * 0.05) == pytest.approx(0.5)
    assert Null(0.2, 0.0).confidence(0.3) > 0.99  # a bank that finds one and the same video
