"""The k best against sorting everything."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.scan.topk import NOTHING_FOUND, TopK, best, merge, stack


@pytest.mark.parametrize("values", [1, 3, 1000])
@pytest.mark.parametrize("k", [1, 10, 99, 100, 200])
def test_the_best_come_first_and_equal_ones_by_row(values: int, k: int) -> None:
    rng = np.random.default_rng(values)
    scores, rows = rng.integers(0, values, 100).astype(np.float64), rng.permutation(1000)[:100]
    wanted = sorted(zip(-scores, rows.tolist(), strict=True))[:k]
    found = best(scores, rows, k)
    assert list(zip(-found[0], found[1].tolist(), strict=True)) == wanted


def test_answers_over_different_rows_are_merged() -> None:
    rng = np.random.default_rng(0)
    scores, rows = rng.integers(0, 5, 40).astype(np.float64), rng.permutation(40)
    parts = [TopK(scores[at : at + 10], rows[at : at + 10]) for at in range(0, 40, 10)]
    found, wanted = merge(parts, 7), best(scores, rows, 7)
    assert np.array_equal(found.scores, wanted[0]) and np.array_equal(found.rows, wanted[1])


def test_nothing_to_merge() -> None:
    assert merge([], 3) is NOTHING_FOUND and not len(NOTHING_FOUND.rows)
    assert stack([merge([], 3)] * 4).rows.shape == (4, 0) and stack([]).rows.shape == (0, 0)
