"""The k best against sorting everything."""

from __future__ import annotations

import numpy as np
import pytest

from hcq_cli.scan.topk import NOTHING_FOUND, TopK, best, merge, merge_one


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
    scores, rows = rng.integers(0, 5, (3, 40)).astype(np.float64), np.stack([rng.permutation(40) for _ in range(3)])
    parts = [TopK(scores[:, at : at + 10], rows[:, at : at + 10]) for at in range(0, 40, 10)]
    found = merge(parts, 3, 7)
    for query in range(3):
        wanted = best(scores[query], rows[query], 7)
        assert np.array_equal(found.scores[query], wanted[0]) and np.array_equal(found.rows[query], wanted[1])
        alone = merge_one([TopK(part.scores[query], part.rows[query]) for part in parts], 7)
        assert np.array_equal(alone.rows, wanted[1])


def test_nothing_to_merge() -> None:
    assert merge([], 4, 3).rows.shape == (4, 0)
    assert merge_one([], 3) is NOTHING_FOUND and not len(NOTHING_FOUND.rows)
